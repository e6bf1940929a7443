"""A state dict brought to a model's clip length and crop size.

Position tables are resized, and kernels of one frame lose or gain their time axis.
"""

from collections.abc import Mapping
from math import isqrt

from torch import Tensor

from slowfast_mvit.ops.tables import resize_absolute, resize_joint_table, resize_space, resize_table, resize_time

STEM = "patch_embed.proj.weight"
_POOLS = tuple(f".attn.pool_{x}.weight" for x in "qkv")


def adapt(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict in the shapes of a model's, as far as the rules of its tables go, and the names of what was changed.

    Relative tables are resized linearly, absolute ones over time linearly, over space bicubically. A joint absolute table is
    resized for images alone, and a joint relative one over space alone: with a time axis its length does not tell its grid.
    Grids are taken for square. Whatever fits no rule stays as it is.

    Args:
        state: tensors by official name.
        own: the model's tensors.
    """
    adapted, changed = dict(state), []
    for name in own:
        if name not in state or state[name].shape == own[name].shape:
            continue
        tensor = _fitted(name, state[name], own)
        if tensor is not None and tensor.shape == own[name].shape:
            adapted[name] = tensor
            changed.append(name)
    return adapted, changed


def is_convolution(name: str) -> bool:
    """Whether a name is that of the stem's weight or of a pool's: the convolutions that have a time axis in video models."""
    return name == STEM or name.endswith(_POOLS)


def _fitted(name: str, tensor: Tensor, own: Mapping[str, Tensor]) -> Tensor | None:
    """The tensor in the model's shape, or in another if the model's cannot be reached; None without a rule for it."""
    wanted = own[name].shape
    if is_convolution(name):
        dims = (tensor.dim(), len(wanted))
        return tensor.squeeze(2) if dims == (5, 4) else tensor.unsqueeze(2) if dims == (4, 5) else None
    if tensor.dim() != len(wanted) or tensor.shape[-1] != wanted[-1] or not tensor.numel():
        return None
    if ".rel_pos_" in name and tensor.dim() == 2:
        return _fitted_relative(name.rpartition("_")[2], tensor, wanted[0])
    if name == "pos_embed_temporal":
        return resize_time(tensor, wanted[1])
    if name == "pos_embed_spatial" and _side(tensor.shape[1]) and _side(wanted[1]):
        return resize_space(tensor, [_side(wanted[1])] * 2)
    if name == "pos_embed" and STEM in own and own[STEM].dim() == 4:
        return _fitted_joint(tensor, wanted[1])
    return None


def _fitted_relative(axes: str, table: Tensor, rows: int) -> Tensor | None:
    if len(axes) == 1:
        return resize_table(table, rows)
    old, new = _side(table.shape[0]), _side(rows)
    return resize_joint_table(table, [old] * 2, [new] * 2) if axes == "hw" and old and new else None


def _fitted_joint(table: Tensor, rows: int) -> Tensor | None:
    """A table [1, prefix + side ** 2, C] of an image model; a class token's row that the model has no place for is dropped."""
    old_prefix, new_prefix = (int(not _side(count)) for count in (table.shape[1], rows))
    old, new = _side(table.shape[1] - old_prefix), _side(rows - new_prefix)
    if not old or not new or new_prefix > old_prefix:
        return None
    return resize_absolute(table[:, old_prefix - new_prefix :], [new] * 2, [old] * 2, new_prefix)


def _side(count: int) -> int:
    """The root of a square number; 0 for any other."""
    side = isqrt(max(count, 0))
    return side if side * side == count else 0
