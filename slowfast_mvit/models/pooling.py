"""Pooling of tokens over their grid.

Letters: B batch, N tokens of a grid (t-major, then h, then w), C channels. Tokens [B, N, C] are already a channels-last
volume, so pooling views them as one instead of copying: the depthwise kernel, shared across heads, is repeated over the
heads and applied to all channels at once.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_mvit.models.layout import PoolSpec

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_CONV_FUNCTION = {2: F.conv2d, 3: F.conv3d}
_FIXED_POOL: Mapping[str, Mapping[int, Callable[..., Tensor]]] = {
    "max": {2: F.max_pool2d, 3: F.max_pool3d},
    "avg": {2: F.avg_pool2d, 3: F.avg_pool3d},
}


def depthwise_conv(channels: int, pool: PoolSpec) -> nn.Module:
    """The learned pool of one head: a depthwise convolution without bias, padding kernel // 2."""
    return _CONV[len(pool.kernel)](
        channels,
        channels,
        pool.kernel,  # type: ignore[arg-type]
        stride=pool.stride,  # type: ignore[arg-type]
        padding=tuple(k // 2 for k in pool.kernel),  # type: ignore[arg-type]
        groups=channels,
        bias=False,
    )


def conv_pool(tokens: Tensor, grid: Sequence[int], weight: Tensor, pool: PoolSpec) -> tuple[Tensor, tuple[int, ...]]:
    """Convolve tokens [B, N, C] over their grid with a kernel [D, 1, *kernel] shared by C / D heads.

    Returns the pooled tokens [B, N', C] and their grid, ``ceil(extent / stride)`` for odd kernels.
    """
    C = tokens.shape[-1]
    repeats = C // weight.shape[0]
    weight = weight.repeat(repeats, *[1] * (weight.dim() - 1))
    volume = _CONV_FUNCTION[len(grid)](
        _to_volume(tokens, grid), weight, stride=pool.stride, padding=[k // 2 for k in pool.kernel], groups=C
    )
    return _to_tokens(volume)


def fixed_pool(tokens: Tensor, grid: Sequence[int], pool: PoolSpec, mode: str) -> tuple[Tensor, tuple[int, ...]]:
    """Pool of tokens [B, N, C] over their grid without weights: ``max``, or ``avg`` (padding counts as zeros)."""
    volume, padding = _to_volume(tokens, grid), [k // 2 for k in pool.kernel]
    if mode == "avg":
        # avg_pool3d itself refuses a volume that is smaller than its kernel before the padding.
        volume, padding = F.pad(volume, [p for p in reversed(padding) for _ in range(2)]), [0] * len(padding)
    return _to_tokens(_FIXED_POOL[mode][len(grid)](volume, pool.kernel, stride=pool.stride, padding=padding))


def split_prefix(tokens: Tensor, num_prefix: int) -> tuple[Tensor | None, Tensor]:
    """Class token [B, 1, C] (or None) and patch tokens [B, N, C]."""
    if num_prefix == 0:
        return None, tokens
    return tokens[:, :num_prefix], tokens[:, num_prefix:]


def join_prefix(prefix: Tensor | None, tokens: Tensor) -> Tensor:
    """The reverse of :func:`split_prefix`."""
    return tokens if prefix is None else torch.cat((prefix, tokens), dim=1)


def _to_volume(tokens: Tensor, grid: Sequence[int]) -> Tensor:
    return tokens.unflatten(1, tuple(grid)).movedim(-1, 1)


def _to_tokens(volume: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    return volume.movedim(1, -1).flatten(1, -2), tuple(volume.shape[2:])
