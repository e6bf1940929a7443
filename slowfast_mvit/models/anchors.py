"""Anchors: the boxes that proposals start from, as detectron2 lays them (its DefaultAnchorGenerator with offset 0)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from slowfast_mvit.ops.caching import cached_table


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Anchors float32 [sizes x ratios, 4] around the origin, in pixels and not rounded, ratios running fastest.

    Args:
        sizes: square roots of areas, in pixels.
        ratios: heights over widths.
    """
    anchors = []
    for size in sizes:
        for ratio in ratios:
            width = size / ratio**0.5
            height = width * ratio
            anchors.append((-width / 2, -height / 2, width / 2, height / 2))
    return torch.tensor(anchors, dtype=torch.float32)


@cached_table(maxsize=64)
def grid_anchors(height: int, width: int, stride: int, sizes: tuple[float, ...], ratios: tuple[float, ...]) -> Tensor:
    """Anchors float32 [height x width x A, 4] of a map, in pixels of the image: by row, by column, then of a cell.

    Those of the cell in row i and column j lie around (j x stride, i x stride), its upper left corner.
    """
    ys, xs = torch.meshgrid(torch.arange(height) * stride, torch.arange(width) * stride, indexing="ij")
    centres = torch.stack((xs, ys, xs, ys), dim=-1).reshape(-1, 1, 4)
    return (centres + cell_anchors(sizes, ratios)).reshape(-1, 4)
