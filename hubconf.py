"""Every model for torch.hub: ``torch.hub.load(REPOSITORY, "mvitv2_s_16x4", pretrained=True)``.

``slowfast_mvit.list_models()`` names them, and ``help(slowfast_mvit.create_model)`` says what each takes.
"""

from collections.abc import Callable as _Callable
from typing import Any as _Any

from torch import nn as _nn

from slowfast_mvit import create_model as _create_model
from slowfast_mvit import list_models as _list_models

dependencies = ["torch", "torchvision", "pytorchvideo", "fvcore", "iopath", "numpy", "safetensors"]


def _entry_point(name: str) -> _Callable[..., _nn.Module]:
    def build(pretrained: bool | str | None = None, **arguments: _Any) -> _nn.Module:
        return _create_model(name, pretrained=pretrained, **arguments)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""``slowfast_mvit.create_model("{name}", pretrained=..., ...)``: the model as a torch Module.

    Args:
        pretrained: True for the published weights of this model, a tag, path or URL for others; fresh weights by default.
        **arguments: num_classes, num_frames, crop_size, in_channels, drop_path_rate, dropout_rate and what else create_model
            takes.
    """
    return build


globals().update({_name: _entry_point(_name) for _name in _list_models()})
