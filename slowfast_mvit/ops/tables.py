"""Tables of positions brought to other lengths and grids; half-pixel centres throughout, as the official loaders have it.

Relative tables [R, D] hold a row per distance, absolute tables [1, N, C] a row per token (t-major, then h, then w).
"""

from collections.abc import Sequence
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def resize_table(table: Tensor, num_rows: int) -> Tensor:
    """A table [R, D] brought to ``num_rows`` rows by linear interpolation; unchanged if it has them."""
    return _resample(table, table.shape[:1], (num_rows,))


def resize_joint_table(table: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor:
    """A table [prod(old), D] over two or three axes brought to ``new`` extents by bilinear or trilinear interpolation."""
    return _resample(table, old, new)


def resize_time(table: Tensor, num_frames: int) -> Tensor:
    """A temporal table [1, T, C] brought to ``num_frames`` rows by linear interpolation."""
    return _resample(table[0], table.shape[1:2], (num_frames,))[None]


def resize_space(table: Tensor, new: Sequence[int], old: Sequence[int] | None = None) -> Tensor:
    """A spatial table [1, H * W, C] brought to the grid ``new`` by bicubic interpolation.

    ``old`` is its own grid; by default a square one.
    """
    return _resample(table[0], old or _square(table.shape[1]), new, mode="bicubic")[None]


def resize_absolute(table: Tensor, new: Sequence[int], old: Sequence[int] | None = None, num_prefix: int = 0) -> Tensor:
    """A table [1, num_prefix + prod(old), C] of one row per token brought to the grid ``new``.

    Trilinear over (T, H, W) as PySlowFast does, bicubic over (H, W) as detectron2 does; the rows before the grid stay. ``old``
    is by default a square.
    """
    rows = table[0, num_prefix:]
    resized = _resample(rows, old or _square(len(rows)), new, mode="bicubic" if len(new) == 2 else "trilinear")
    return torch.cat((table[0, :num_prefix], resized))[None]


def _square(num_tokens: int) -> tuple[int, int]:
    side = isqrt(num_tokens)
    return side, side


def _resample(rows: Tensor, old: Sequence[int], new: Sequence[int], mode: str | None = None) -> Tensor:
    """Rows [prod(old), C] on a grid -> rows [prod(new), C]."""
    if tuple(old) == tuple(new):
        return rows
    volume = rows.float().t().reshape(1, rows.shape[1], *old)
    resized = F.interpolate(volume, size=tuple(new), mode=mode or _MODES[len(new)], align_corners=False)
    return resized.flatten(2)[0].t().to(rows.dtype)
