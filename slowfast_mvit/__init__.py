"""slowfast_mvit: video understanding with MViTv2.

Public names are loaded when they are first used, so that importing the package costs little more than importing torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slowfast_mvit.build.model import build_model, create_model, list_models
    from slowfast_mvit.build.predict import Predictor
    from slowfast_mvit.config.load import load_config
    from slowfast_mvit.weights.class_names import class_names
    from slowfast_mvit.weights.load import load_weights
    from slowfast_mvit.weights.report import LoadReport
    from slowfast_mvit.weights.zoo import list_weights

import torch as _torch  # noqa: F401

__version__ = "0.1.0"
__all__ = [
    "LoadReport",
    "Predictor",
    "build_model",
    "class_names",
    "create_model",
    "list_models",
    "list_weights",
    "load_config",
    "load_weights",
]

_HOMES = {
    "LoadReport": "slowfast_mvit.weights.report",
    "Predictor": "slowfast_mvit.build.predict",
    "build_model": "slowfast_mvit.build.model",
    "class_names": "slowfast_mvit.weights.class_names",
    "create_model": "slowfast_mvit.build.model",
    "list_models": "slowfast_mvit.build.model",
    "list_weights": "slowfast_mvit.weights.zoo",
    "load_config": "slowfast_mvit.config.load",
    "load_weights": "slowfast_mvit.weights.load",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'slowfast_mvit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
