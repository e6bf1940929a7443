"""A state dict brought to a model's clip length and crop size.

Position tables are resized, and kernels of one frame lose or gain their time axis.
"""

from collections.abc import Mapping

from torch import Tensor

from slowfast_mvit.ops.tables import resize_absolute, resize_joint_table, resize_space, resize_table, resize_time
from slowfast_mvit.weights.grids import Grids, source_grid

STEM = "patch_embed.proj.weight"
_POOLS = tuple(f".attn.pool_{x}.weight" for x in "qkv")
_NO_GRIDS = Grids()


def adapt(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], grids: Grids = _NO_GRIDS
) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict in the shapes of a model's, as far as the rules of its tables go, and the names of what was changed.

    Relative tables are resized linearly, absolute ones over time linearly, over space bicubically, joint ones over all their
    axes at once. The model's grids are those given; the source's are taken for square, and of a joint table over time and space
    as :func:`slowfast_mvit.weights.grids.source_grid` says. Whatever fits no rule stays as it is.

    Args:
        state: tensors by official name.
        own: the model's tensors.
        grids: of the model's tables; without them tables over several axes stay as they are.
    """
    adapted, changed = dict(state), []
    for name in own:
        if name not in state or state[name].shape == own[name].shape:
            continue
        tensor = _fitted(name, state[name], own[name].shape, grids)
        if tensor is not None and tensor.shape == own[name].shape:
            adapted[name] = tensor
            changed.append(name)
    return adapted, changed


def is_convolution(name: str) -> bool:
    """Whether a name is that of the stem's weight or of a pool's: the convolutions that have a time axis in video models."""
    return name == STEM or name.endswith(_POOLS)


def is_table(name: str) -> bool:
    """Whether a name is that of a position table."""
    return ".rel_pos_" in name or name.startswith("pos_embed")


def _fitted(name: str, tensor: Tensor, wanted: tuple[int, ...], grids: Grids) -> Tensor | None:
    """The tensor in the model's shape, or in another if the model's cannot be reached; None without a rule for it."""
    if is_convolution(name):
        dims = (tensor.dim(), len(wanted))
        return tensor.squeeze(2) if dims == (5, 4) else tensor.unsqueeze(2) if dims == (4, 5) else None
    if tensor.dim() != len(wanted) or tensor.shape[-1] != wanted[-1] or not tensor.numel():
        return None
    if ".rel_pos_" in name and tensor.dim() == 2:
        return _fitted_relative(name, tensor, wanted[0], grids)
    if name == "pos_embed_temporal":
        return resize_time(tensor, wanted[1])
    if name == "pos_embed_spatial" and grids.tokens:
        space = grids.tokens[-2:]
        old = source_grid(tensor.shape[1], space)
        return None if old is None else resize_space(tensor, space, old)
    if name == "pos_embed" and grids.tokens:
        return _fitted_joint(tensor, grids)
    return None


def _fitted_relative(name: str, table: Tensor, rows: int, grids: Grids) -> Tensor | None:
    axes = name.rpartition("_")[2]
    if len(axes) == 1:
        return resize_table(table, rows)
    new = grids.joint.get(name, ())
    old = source_grid(len(table), new) if new else None
    # Distances along an axis are 2 * extent - 1: an even number is no source's.
    return resize_joint_table(table, old, new) if old and all(extent % 2 for extent in old) else None


def _fitted_joint(table: Tensor, grids: Grids) -> Tensor | None:
    """A table [1, prefix + prod(grid), C]; a class token's row that the model has no place for is dropped."""
    candidates = [(prefix, source_grid(table.shape[1] - prefix, grids.tokens)) for prefix in (0, 1)]
    known = [(prefix, grid) for prefix, grid in candidates if grid]
    if len(known) != 1 or known[0][0] < grids.num_prefix:
        return None
    ((prefix, old),) = known
    return resize_absolute(table[:, prefix - grids.num_prefix :], grids.tokens, old, grids.num_prefix)
