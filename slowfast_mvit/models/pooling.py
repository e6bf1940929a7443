"""Pooling of tokens over their grid.

Letters: B batch, N tokens of a grid (t-major, then h, then w), C channels. Tokens [B, N, C] are already a channels-last
volume, so pooling views them as one instead of copying: the depthwise kernel, shared across heads, is repeated over the
heads and applied to all channels at once.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_mvit.models.depthwise import depthwise_conv
from slowfast_mvit.models.kernels import no_autocast
from slowfast_mvit.models.layout import Axes, PoolSpec
from slowfast_mvit.ops.caching import cached_table

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_FIXED_POOL: Mapping[str, Mapping[int, Callable[..., Tensor]]] = {
    "max": {2: F.max_pool2d, 3: F.max_pool3d},
    "avg": {2: F.avg_pool2d, 3: F.avg_pool3d},
}


def pool_conv(channels: int, pool: PoolSpec) -> nn.Module:
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


def conv_pool(tokens: Tensor, grid: Sequence[int], kernels: Sequence[Tensor], pool: PoolSpec) -> Tensor:
    """Convolve tokens [B, N, C] over their grid, each of ``kernels`` [D, 1, *kernel] over its equal share of the channels.

    A kernel is shared by the heads of its share. Returns the pooled tokens [B, N', C].
    """
    C = tokens.shape[-1]
    heads = C // (len(kernels) * kernels[0].shape[0])
    weight = torch.cat([kernel for kernel in kernels for _ in range(heads)])
    with no_autocast(tokens.device.type):
        volume = depthwise_conv(_to_volume(tokens, grid), weight, pool.stride)
    return _to_tokens(volume)


@cached_table(64)
def needed_tokens(grid: Axes, pool: PoolSpec, num_prefix: int) -> tuple[Tensor, Axes, PoolSpec] | None:
    """Which tokens a pool looks at, where its stride steps over some: their rows int64 [M], their grid, the pool over them.

    With a stride of 8 and a kernel of 3, that is a seventh of the tokens. Closed up, they are pooled by the same kernel with
    its own width for a stride, which gives the same. None where every token is looked at.
    """
    if all(stride <= kernel for stride, kernel in zip(pool.stride, pool.kernel, strict=True)):
        return None
    kept, strides = [], []
    for extent, stride, kernel in zip(grid, pool.stride, pool.kernel, strict=True):
        reach = kernel // 2
        places = [stride * i + j for i in range(-(-extent // stride)) for j in range(-reach, reach + 1)]
        skips = stride > kernel
        kept.append([place for place in places if 0 <= place < extent] if skips else list(range(extent)))
        strides.append(kernel if skips else stride)
    rows = torch.zeros(1, dtype=torch.int64)
    for extent, places in zip(grid, kept, strict=True):
        rows = (rows[:, None] * extent + torch.tensor(places)).flatten()
    rows = torch.cat((torch.arange(num_prefix), rows + num_prefix))
    return rows, tuple(map(len, kept)), PoolSpec(pool.kernel, tuple(strides))


def fixed_pool(tokens: Tensor, grid: Sequence[int], pool: PoolSpec, mode: str) -> Tensor:
    """Pool of tokens [B, N, C] over their grid without weights: ``max``, or ``avg`` (padding counts as zeros)."""
    volume, padding = _to_volume(tokens, grid), [k // 2 for k in pool.kernel]
    if mode == "avg":
        # avg_pool3d itself refuses a volume that is smaller than its kernel before the padding.
        volume, padding = F.pad(volume, [p for p in reversed(padding) for _ in range(2)]), [0] * len(padding)
    return _to_tokens(_FIXED_POOL[mode][len(grid)](volume, pool.kernel, stride=pool.stride, padding=padding))


def pooled_skip(tokens: Tensor, grid: Sequence[int], pool: PoolSpec | None, num_prefix: int) -> Tensor:
    """Tokens [B, prefix + N, C] of the skip path on the grid that the queries are pooled to: their maxima."""
    if pool is None:
        return tokens
    prefix, patches = split_prefix(tokens, num_prefix)
    return join_prefix(prefix, fixed_pool(patches, grid, pool, "max"))


def split_prefix(tokens: Tensor, num_prefix: int) -> tuple[Tensor | None, Tensor]:
    """Class token [B, 1, C] (or None) and patch tokens [B, N, C]."""
    if num_prefix == 0:
        return None, tokens
    # Not two slices: the backward pass of each would fill a tensor of the whole size with zeros.
    prefix, patches = tokens.split((num_prefix, tokens.shape[1] - num_prefix), dim=1)
    return prefix, patches


def join_prefix(prefix: Tensor | None, tokens: Tensor) -> Tensor:
    """The reverse of :func:`split_prefix`."""
    return tokens if prefix is None else torch.cat((prefix, tokens), dim=1)


def _to_volume(tokens: Tensor, grid: Sequence[int]) -> Tensor:
    return tokens.unflatten(1, tuple(grid)).movedim(-1, 1)


def _to_tokens(volume: Tensor) -> Tensor:
    return volume.movedim(1, -1).flatten(1, -2)
