"""What publishers wrap around a state dict: the one place that knows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slowfast_mvit.errors import UserError

# PySlowFast, mvit, PyTorchVideo and ours; mmaction2 and Lightning; detectron2.
_CONTAINERS = ("model_state", "state_dict", "model")
_WRAPPERS = ("module.", "_orig_mod.")  # put before every name by DistributedDataParallel and by torch.compile


def unwrap(content: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Tensors by name, out of the container of any publisher, or as they are where there is none.

    The prefixes that DistributedDataParallel and torch.compile put before every name are taken off.

    Args:
        content: of a weight file, or a state dict.
        source: for messages.

    Raises:
        UserError: there is no state dict, or something in it is no tensor.
    """
    if not content:
        raise UserError(f"{source} is empty: there are no weights in it")
    keys = [key for key in _CONTAINERS if isinstance(content.get(key), Mapping)]
    state = content[keys[0]] if keys else content
    if not keys and not any(isinstance(value, Tensor | np.ndarray) for value in content.values()):
        raise UserError(f"{source} holds no model_state; its keys are {', '.join(map(str, list(content)[:8]))}")
    if not state:
        raise UserError(f"{source} holds an empty {keys[0]}: there are no weights in it")
    state = {name: _as_tensor(t, name, source) if isinstance(t, np.ndarray) else t for name, t in state.items()}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UserError(f"{source} holds a {type(tensor).__name__} under {name!r}, where a tensor should be")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise UserError(f"{source} holds {name} as a sparse, quantized or empty tensor: save it as a plain one")
    state = {name: tensor.detach() for name, tensor in state.items()}
    while wrapper := next((w for w in _WRAPPERS if all(name.startswith(w) for name in state)), ""):
        state = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    return state


def _as_tensor(array: np.ndarray, name: object, source: str) -> Tensor:
    """An array as a tensor: of the machine's byte order, and never backwards, which torch has not."""
    if not array.dtype.isnative or any(stride < 0 for stride in array.strides):
        array = array.astype(array.dtype.newbyteorder("="), order="C")
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise UserError(f"{source} holds {name} as an array of {array.dtype}, which are no weights") from error
