"""FLOPs of an MViT by arithmetic on its plan: nothing is allocated or run.

One multiply-add counts as one FLOP, for convolutions, linear layers, attention products and position terms, and every element
of a LayerNorm as five: the convention of fvcore's counter, which the paper's numbers follow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from slowfast_mvit.models.layout import (
    Architecture,
    Axes,
    BlockSpec,
    convolved_grid,
    plan_blocks,
    pooled_grid,
    table_groups,
)
from slowfast_mvit.models.levels import plan_levels
from slowfast_mvit.models.windows import window_counts

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
    arch: Architecture,
    num_classes: int,
    input_size: Sequence[int] | None = None,
    in_channels: int = 3,
    num_boxes: int = 1,
) -> Flops:
    """FLOPs for one input of ``input_size`` (the planned size by default).

    A model that scores boxes classifies ``num_boxes`` times; RoIAlign makes no products that fvcore counts.
    """
    parts = list(_trunk(arch, tuple(input_size or arch.input_size), in_channels))
    grid, width = parts[-1][1], plan_blocks(arch)[-1].dim_out
    head = Flops(num_boxes * width * num_classes, LAYER_NORM_FLOPS * (prod(grid) + int(arch.cls_token)) * width)
    return sum((flops for flops, _ in parts), head)


def count_pyramid_flops(
    arch: Architecture, image_size: Sequence[int], *, fpn: bool = True, fpn_width: int = 256, in_channels: int = 3
) -> tuple[Flops, Flops]:
    """FLOPs of a detector's backbone for one image of ``image_size`` (height, width): of its blocks with the norms of its maps,
    and of the feature pyramid on them (none without ``fpn``, where only the last map has a norm).

    The padding of windows counts, as it is attended to. Of the feature pyramid the convolutions count and ViT's group norm.
    """
    blocks, maps = Flops(0, 0), []
    levels = {level.block: level for level in plan_levels(arch)}
    for index, (flops, grid) in enumerate(
        _trunk(arch, tuple(image_size), in_channels), start=-1
    ):  # the stem comes first
        blocks += flops
        if index in levels:
            maps.append((levels[index], grid))
    maps = maps if fpn else maps[-1:]
    blocks += Flops(0, LAYER_NORM_FLOPS * sum(level.channels * prod(grid) for level, grid in maps))
    neck = Flops(0, 0)
    if not fpn:
        return blocks, neck
    grids: list[Axes] = [grid for _, grid in maps]
    if len({level.stride for level, _ in maps}) == 1:  # ViT's
        C, (h, w) = maps[0][0].channels, maps[0][1]
        # Transposed convolutions 2 x 2 at the first map, at its double, and at the second map.
        neck += Flops((1 + 4 + 1) * 4 * C**2 * h * w, LAYER_NORM_FLOPS * C * 4 * h * w)
        grids = [(4 * h, 4 * w), (2 * h, 2 * w), (h, w), (h // 2, w // 2)]
    for (level, _), grid in zip(maps, grids, strict=True):
        neck += Flops(prod(grid) * fpn_width * (level.channels + 9 * fpn_width), 0)
    return blocks, neck


def _trunk(arch: Architecture, size: Axes, in_channels: int) -> Iterator[tuple[Flops, Axes]]:
    """FLOPs of the stem and of every block, each with the grid that it leaves."""
    grid = convolved_grid(size, arch.patch_kernel, arch.patch_stride, arch.patch_padding)
    yield Flops(prod(grid) * arch.embed_dim * in_channels * prod(arch.patch_kernel), 0), grid
    for spec in plan_blocks(arch):
        flops, grid = _block(spec, arch, grid, int(arch.cls_token))
        yield flops, grid


def _block(spec: BlockSpec, arch: Architecture, grid: Axes, prefix: int) -> tuple[Flops, Axes]:
    """FLOPs of a block on ``grid``, and the grid that it leaves."""
    q_grid, k_grid = pooled_grid(grid, spec.pool_q), pooled_grid(grid, spec.pool_kv)
    N, Q = (prod(g) + prefix for g in (grid, q_grid))
    C = spec.dim_att
    products = N * spec.dim * 3 * C  # queries, keys and values
    norms = N * spec.dim + Q * C  # norm1 and norm2
    for pool, pooled, copies in ((spec.pool_q, q_grid, 1), (spec.pool_kv, k_grid, 2)):
        if pool is not None and arch.pool_mode == "conv":
            products += copies * prod(pooled) * C * prod(pool.kernel)
            norms += copies * (prod(pooled) + prefix) * C
    products += _attention(spec, arch, q_grid, k_grid, prefix)
    products += Q * C * C  # attention's output
    hidden = int(C * arch.mlp_ratio)
    products += Q * hidden * (C + spec.dim_out)
    if spec.dim != spec.dim_att:
        products += N * spec.dim * spec.dim_out  # skip path, before it is pooled
    elif spec.dim_att != spec.dim_out:
        products += Q * spec.dim * spec.dim_out
    return Flops(products, LAYER_NORM_FLOPS * norms), q_grid


def _attention(spec: BlockSpec, arch: Architecture, q_grid: Axes, k_grid: Axes, prefix: int) -> int:
    """Multiply-adds of queries by keys, weights by values, and the position terms; inside windows where the block has them."""
    windows = 1
    if spec.window is not None:
        windows = prod(window_counts(q_grid, spec.window.q_side))
        q_grid = (*q_grid[:-2], spec.window.q_side, spec.window.q_side)
        k_grid = (*k_grid[:-2], spec.window.k_side, spec.window.k_side)
    products = 2 * (prod(q_grid) + prefix) * (prod(k_grid) + prefix)
    for group in table_groups(spec.table_rows, arch.rel_pos_joint):
        queries, keys = prod(q_grid[axis] for axis in group), prod(k_grid[axis] for axis in group)
        # Each token meets the vectors of the places that differ along the table's axes.
        costs = {"q": prod(q_grid) * keys, "k": prod(k_grid) * queries, "v": prod(q_grid) * keys}
        products += sum(costs[term] for term in arch.rel_pos_terms)
    return windows * products * spec.dim_att
