"""Features of boxes: RoIAlign on the level of a pyramid that fits the size of the box (arXiv 1612.03144, equation 1)."""

from collections.abc import Sequence

import torch
from torch import Tensor

_SIDE, _LEVEL = 224, 4  # a box of that side, square root of its area, is pooled from level 4, of stride 16
_EPS = 1e-8


def levels_of(boxes: Tensor, lowest: int, highest: int) -> Tensor:
    """The level that each box [n, 4] is pooled from, int64 [n] in lowest..highest; a level l has the stride 2 ** l."""
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
    return torch.floor(_LEVEL + torch.log2(sides / _SIDE + _EPS)).clamp(lowest, highest).long()


def pool_regions(maps: Sequence[Tensor], strides: Sequence[int], boxes: Sequence[Tensor], resolution: int) -> Tensor:
    """Features float32 [R, C, resolution, resolution] of boxes on maps [B, C, h, w], boxes image by image.

    RoIAlign with the half-pixel correction takes as many samples in a cell as the map has cells there.

    Args:
        maps: finest first. Of several, each box is pooled from one, see :func:`levels_of`.
        strides: pixels of the image per cell of each map, doubling from map to map.
        boxes: float [n, 4] of each image, in its pixels.
    """
    from torchvision.ops import roi_align  # takes a second to import

    def pool(level: int, rows: Tensor) -> Tensor:
        scale = 1 / strides[level]
        return roi_align(maps[level].float(), rows, resolution, spatial_scale=scale, sampling_ratio=0, aligned=True)

    places = [torch.cat((of_image.new_full((len(of_image), 1), i), of_image), 1) for i, of_image in enumerate(boxes)]
    rows = torch.cat(places).float()
    if len(maps) == 1:
        return pool(0, rows)
    lowest = strides[0].bit_length() - 1
    levels = levels_of(rows[:, 1:], lowest, lowest + len(maps) - 1) - lowest
    pooled = rows.new_zeros(len(rows), maps[0].shape[1], resolution, resolution)
    for level in range(len(maps)):
        chosen = (levels == level).nonzero()[:, 0]
        # Every map takes part, boxes or not, so that every rank's gradients are of the same tensors.
        pooled = pooled.index_copy(0, chosen, pool(level, rows[chosen]))
    return pooled
