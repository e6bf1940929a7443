"""The plan of a backbone of detectors: an image architecture as detectors run it, and the maps that it gives.

Plain arithmetic, no tensors, as :mod:`slowfast_mvit.models.layout`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.layout import Architecture, Axes, patch_grid, plan_blocks, stage_ends


@dataclass(frozen=True)
class Level:
    """One map of a backbone.

    Attributes:
        name: ``scale2`` .. ``scale5`` for the stages 1 to 4, as in detectron2.
        block: the block that it leaves.
        channels: of the map.
        stride: pixels of the image along a side of its cells.
    """

    name: str
    block: int
    channels: int
    stride: int


def detection_architecture(arch: Architecture, window_sides: Sequence[int] = ()) -> Architecture:
    """An architecture for images in the form that detectors have it (paper, section 4.2; detectron2's ``mvit.py``).

    There is no class token. Windows stay of the kind that they are; their sides are those of the whole grid of each stage at
    the size that the tables are for (56, 28, 14 and 7 at 224 pixels; 14 for ViT), so that windows attend over as much as in
    pre-training. Where hybrid windows leave the last blocks of stages 2 and 3 global, their key and value stride is doubled,
    as in detectron2; the last block of stage 4, and a model of one stage, keep theirs.

    Args:
        arch: for images.
        window_sides: in query tokens, one per stage or one for all, instead of those.

    Raises:
        UserError: the model is one for video, or ``window_sides`` are given to a model without windows.
    """
    if len(arch.input_size) != 2:
        raise UserError(
            "detectors take images: choose a model for images, as mvitv2_t (with a config, set MVIT.PATCH_2D to True)"
        )
    arch = replace(arch, cls_token=False)
    if arch.windows == "none":
        if window_sides:
            raise UserError(
                "window_sides (MVIT.WINDOW_SIDES) needs windows: set MVIT.ATTENTION to hybrid_window, window or "
                "shifted_window, or leave the sides out"
            )
        return arch
    ends = stage_ends(arch)
    sides = tuple(window_sides) or _whole_grids(arch)
    doubled = ends[1:-1] if arch.windows == "hybrid" and len(_whole_grids(arch)) > 1 else ()
    return replace(arch, window_sides=sides, pool_kv_mul=tuple((block, 2) for block in doubled))


def plan_levels(arch: Architecture) -> tuple[Level, ...]:
    """The map after every stage; a model of one stage (ViT) gives four, after each quarter of its blocks.

    Raises:
        UserError: the cells of a map are not square.
    """
    specs = plan_blocks(arch)
    levels: list[Level] = []
    strides = arch.patch_stride
    for spec in specs:
        if spec.pool_q is not None:
            strides = tuple(a * b for a, b in zip(strides, spec.pool_q.stride, strict=True))
        if spec.index in stage_ends(arch):
            if len(set(strides)) > 1:
                raise UserError(
                    f"the cells after block {spec.index} are {list(strides)} pixels, and detectors need square ones: set the "
                    "strides of height and width alike (MVIT.PATCH_STRIDE, MVIT.POOL_Q_STRIDE)"
                )
            levels.append(Level(f"scale{len(levels) + 2}", spec.index, spec.dim_out, strides[0]))
    return tuple(levels)


def _whole_grids(arch: Architecture) -> Axes:
    """The side of the planned grid of every stage, of queries."""
    sides = [patch_grid(arch)[-1]]
    for _, stride in sorted(arch.pool_q_stride):
        if stride[-1] > 1:
            sides.append(sides[-1] // stride[-1])
    return tuple(sides)
