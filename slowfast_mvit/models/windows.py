"""Local attention as a reshape: tokens of a grid to windows of tokens and back.

Letters: B batch, n heads, D channels of a head, S side of a window, W windows of a grid. Windows tile height and width and span
all frames. A grid that the side does not divide is padded with zeros at the bottom and at the right, and the padding takes part
in the attention, as in detectron2's MViT.
"""

from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_mvit.ops.caching import cached_table


class Tokens(NamedTuple):
    """Tokens [B, prod(grid), n, D] and their grid."""

    tokens: Tensor
    grid: tuple[int, ...]


def window_counts(grid: Sequence[int], side: int) -> tuple[int, int]:
    """Windows along height and along width."""
    height, width = grid[-2:]
    return -(-height // side), -(-width // side)


def to_windows(tokens: Tensor, grid: Sequence[int], side: int, shift: int = 0) -> Tensor:
    """Tokens [B, prod(grid), n, D] -> [B * W, T * S * S, n, D], rolled up and left by ``shift`` tokens before the cut."""
    rows, columns = window_counts(grid, side)
    B, _, n, D = tokens.shape
    T, (height, width) = prod(grid[:-2]), grid[-2:]
    volume = tokens.reshape(B, T, height, width, n, D)
    volume = F.pad(volume, (0, 0, 0, 0, 0, columns * side - width, 0, rows * side - height))
    if shift:
        volume = volume.roll((-shift, -shift), dims=(2, 3))
    volume = volume.reshape(B, T, rows, side, columns, side, n, D)
    return volume.permute(0, 2, 4, 1, 3, 5, 6, 7).reshape(B * rows * columns, T * side * side, n, D)


def from_windows(windows: Tensor, grid: Sequence[int], side: int, shift: int = 0) -> Tensor:
    """The reverse of :func:`to_windows`; padding is cut off."""
    rows, columns = window_counts(grid, side)
    _, _, n, D = windows.shape
    T, (height, width) = prod(grid[:-2]), grid[-2:]
    volume = windows.reshape(-1, rows, columns, T, side, side, n, D).permute(0, 3, 1, 4, 2, 5, 6, 7)
    volume = volume.reshape(-1, T, rows * side, columns * side, n, D)
    if shift:
        volume = volume.roll((shift, shift), dims=(2, 3))
    return volume[:, :, :height, :width].reshape(-1, T * height * width, n, D)


def split_rows(tokens: Tensor, grid: Sequence[int], side: int) -> list[Tokens]:
    """The tokens [B, prod(grid), n, D] of each row of windows, with a grid of their own; views of an image's."""
    volume = tokens.unflatten(1, (prod(grid[:-2]), *grid[-2:]))
    return [Tokens(part.flatten(1, 3), (*grid[:-2], *part.shape[2:4])) for part in volume.split(side, dim=2)]


def join_rows(rows: Iterable[Tensor], grid: Sequence[int], side: int) -> Tensor:
    """The reverse of :func:`split_rows`; each row is put in its place before the next is asked for."""
    T, (height, width) = prod(grid[:-2]), grid[-2:]
    joined = None
    for place, row in enumerate(rows):
        volume = row.unflatten(1, (T, -1, width))
        if joined is None:
            joined = volume.new_empty(len(volume), T, height, *volume.shape[3:])
        joined[:, :, place * side :][:, :, : volume.shape[2]] = volume
        del row, volume  # before the next is made
    assert joined is not None, "a grid has a row"
    return joined.flatten(1, 3)


@cached_table(16)  # that of 24 windows of 3136 queries and 196 keys takes 15 MB
def shift_mask(
    counts: tuple[int, int], sides: tuple[int, int], shifts: tuple[int, int], frames: tuple[int, int]
) -> Tensor:
    """Which queries may look at which keys of their window once the grid is rolled: bool [W, N, M].

    The roll brings the grid's far edges together in the last windows; tokens that are no neighbours stay apart (Swin).
    ``sides``, ``shifts`` and ``frames`` are each of the queries and of the keys.
    """
    regions = [_regions(counts, *numbers) for numbers in zip(sides, shifts, frames, strict=True)]
    return regions[0][:, :, None] == regions[1][:, None]


def _regions(counts: tuple[int, int], side: int, shift: int, num_frames: int) -> Tensor:
    """For each token of each window, whether the roll has carried it across the bottom (2) and the right edge (1): [W, N]."""
    rows, columns = (torch.arange(count * side) >= count * side - shift for count in counts)
    region = 2 * rows.long()[:, None] + columns.long()
    grid = (num_frames, *region.shape)
    return to_windows(region.expand(grid).reshape(1, -1, 1, 1), grid, side)[:, :, 0, 0]
