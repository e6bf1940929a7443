"""FLOPs of an MViT by arithmetic on its plan: nothing is allocated or run.

One multiply-add counts as one FLOP, for convolutions, linear layers, attention products and position terms, and every element
of a LayerNorm as five: the convention of fvcore's counter, which the paper's numbers follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from slowfast_mvit.models.layout import Architecture, Axes, BlockSpec, PoolSpec, plan_blocks

LAYER_NORM_FLOPS = 5


@dataclass(frozen=True)
class Flops:
    """FLOPs of one forward pass: of the products (``multiply_adds``), and of the norms besides."""

    multiply_adds: int
    norms: int

    @property
    def total(self) -> int:
        """Both together, as the paper counts."""
        return self.multiply_adds + self.norms

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.multiply_adds + other.multiply_adds, self.norms + other.norms)


def count_flops(
    arch: Architecture, num_classes: int, input_size: Sequence[int] | None = None, in_channels: int = 3
) -> Flops:
    """FLOPs for one input of ``input_size`` (the planned size by default)."""
    size = tuple(input_size or arch.input_size)
    grid = _convolved(size, arch.patch_kernel, arch.patch_stride, arch.patch_padding)
    flops = Flops(prod(grid) * arch.embed_dim * in_channels * prod(arch.patch_kernel), 0)
    prefix = int(arch.cls_token)
    specs = plan_blocks(arch)
    for spec in specs:
        block, grid = _block(spec, arch, grid, prefix)
        flops += block
    width = specs[-1].dim_out
    return flops + Flops(width * num_classes, LAYER_NORM_FLOPS * (prod(grid) + prefix) * width)


def _block(spec: BlockSpec, arch: Architecture, grid: Axes, prefix: int) -> tuple[Flops, Axes]:
    """FLOPs of a block on ``grid``, and the grid that it leaves."""
    q_grid, k_grid = _pooled(grid, spec.pool_q), _pooled(grid, spec.pool_kv)
    N, Q, K = (prod(g) + prefix for g in (grid, q_grid, k_grid))
    C = spec.dim_att
    products = N * spec.dim * 3 * C  # queries, keys and values
    norms = N * spec.dim + Q * C  # norm1 and norm2
    for pool, pooled, copies in ((spec.pool_q, q_grid, 1), (spec.pool_kv, k_grid, 2)):
        if pool is not None:
            products += copies * prod(pooled) * C * prod(pool.kernel)
            norms += copies * (prod(pooled) + prefix) * C
    products += 2 * Q * K * C
    products += sum(prod(q_grid) * C * k for k, rows in zip(k_grid, spec.table_rows, strict=True) if rows)
    products += Q * C * C  # attention's output
    hidden = int(C * arch.mlp_ratio)
    products += Q * hidden * (C + spec.dim_out)
    if spec.dim != spec.dim_att:
        products += N * spec.dim * spec.dim_out  # skip path, before it is pooled
    elif spec.dim_att != spec.dim_out:
        products += Q * spec.dim * spec.dim_out
    return Flops(products, LAYER_NORM_FLOPS * norms), q_grid


def _pooled(grid: Axes, pool: PoolSpec | None) -> Axes:
    if pool is None:
        return grid
    return _convolved(grid, pool.kernel, pool.stride, tuple(k // 2 for k in pool.kernel))


def _convolved(size: Axes, kernel: Axes, stride: Axes, padding: Axes) -> Axes:
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, padding, strict=True))
