"""What the shapes of a model's position tables do not tell: how their rows lie on the token grid."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isqrt, prod

from torch import nn

_AXES = "thw"


@dataclass(frozen=True)
class Grids:
    """Extents of a model's tables.

    Attributes:
        tokens: the grid after the stem that the absolute tables are for, (H, W) or (T, H, W); empty for a model without one.
        num_prefix: rows of a joint absolute table before those of the grid, 1 with a class token.
        joint: extents of every relative table over several axes, by its name.
    """

    tokens: tuple[int, ...] = ()
    num_prefix: int = 0
    joint: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def grids_of(model: nn.Module) -> Grids:
    """The grids that a model was planned with.

    Read are ``model.arch`` (``input_size``, ``patch_stride`` and ``cls_token``) and ``table_rows`` of its attention modules,
    the rows of each axis; a model that has neither has no tables.
    """
    joint = {}
    for place, module in model.named_modules():
        rows = getattr(module, "table_rows", None)
        if rows is None:
            continue
        extents = dict(zip(_AXES[-len(rows) :], rows, strict=True))
        for name, _ in module.named_parameters(recurse=False):
            axes = name.rpartition("_")[2]
            if name.startswith("rel_pos_") and len(axes) > 1:
                joint[f"{place}.{name}" if place else name] = tuple(extents[axis] for axis in axes)
    arch = getattr(model, "arch", None)
    if arch is None:
        return Grids(joint=joint)
    tokens = tuple(size // stride for size, stride in zip(arch.input_size, arch.patch_stride, strict=True))
    return Grids(tokens, int(arch.cls_token), joint)


def source_grid(rows: int, wanted: tuple[int, ...]) -> tuple[int, ...] | None:
    """The grid of a source's table of ``rows`` rows, where the model's is ``wanted``; None if it cannot be told.

    Over (H, W) it is taken for square. Over (T, H, W) either the time or the space is taken for the model's: a table of which
    both or neither may be so does not tell its grid.
    """
    side = square_side(rows)
    if len(wanted) == 2:
        return (side, side) if side else None
    time, space = wanted[0], prod(wanted[1:])
    found = set()
    if rows % space == 0 and rows:
        found.add((rows // space, *wanted[1:]))
    if rows % time == 0 and (side := square_side(rows // time)):
        found.add((time, side, side))
    return found.pop() if len(found) == 1 else None


def square_side(count: int) -> int:
    """The root of a square number; 0 for any other."""
    side = isqrt(max(count, 0))
    return side if side * side == count else 0
