"""The plan of an MViT: from the lists of a recipe to one exact specification per block.

Plain arithmetic, no tensors. An axis tuple is ``(H, W)`` for images and ``(T, H, W)`` for video; everything here works on
either. The constructors in this package only read what is planned here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm, prod

from slowfast_mvit.errors import UserError

Axes = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Every number that an MViTv2 is made of, as plain data.

    Attributes:
        input_size: input extent that sizes the position tables, ``(H, W)`` or ``(T, H, W)``; other sizes run too.
        patch_kernel, patch_stride, patch_padding: the stem convolution, one entry per axis.
        embed_dim, num_heads: width and heads of the first block.
        depth: number of blocks.
        dim_mul, head_mul: ``(block, factor)`` pairs, blocks counted from 0.
        pool_q_stride: ``(block, stride per axis)`` pairs; a block that is listed pools its queries.
        pool_kv_stride: key and value stride of block 0; it shrinks with every query stride (never under 1).
            ``None`` leaves keys and values unpooled, but for the blocks of ``pool_kv_strides``.
        pool_kv_strides: ``(block, stride per axis)`` pairs, for key and value strides spelt out; not with ``pool_kv_stride``.
        pool_kv_mul: ``(block, factor)`` pairs: the key and value stride of that block alone is so many times the usual.
        pool_kernel: kernel of all pools; ``None`` derives it from each stride (stride + 1, or 1).
        pool_mode: ``conv`` (learned, with a norm), ``avg`` or ``max`` (without).
        pool_norm_eps: of the norms after pools; PyTorchVideo's MViTv1 has 1e-5, all others 1e-6 as everywhere else.
        mlp_ratio: hidden width of the MLP over the width of the attention.
        expand_in_attention: a stage widens in its first block's attention (MViTv2), or else in the MLP of the block before.
        abs_pos: absolute positions: ``none``, ``separable`` (space, time and class token; MViTv1) or ``joint`` (ViT).
        rel_pos_space, rel_pos_time: relative positions along H and W, and along T.
        rel_pos_joint: axes that share one table: ``none`` (decomposed), ``space`` or ``spacetime`` (paper, Table A.6).
        rel_pos_terms: which of ``qkv`` the position vectors meet (paper, A.4); ``q`` in all released models.
        rel_pos_zero_init: start those tables at zero instead of a truncated normal.
        windows: ``none`` (global attention), ``fixed``, ``shifted`` in every second block (Swin), or ``hybrid``: local in all
            but the last blocks of the last three stages (paper, section 4.2).
        window_sides: side of the query windows of each stage, in tokens; they span all frames.
        residual_pooling: add the pooled queries to the attention's output.
        cls_token: prepend a class token and classify from it; otherwise from the mean over tokens.
        mean_pooling: classify from the mean over patch tokens, taken before the last norm, with a class token or without.
        qkv_bias: bias of the query, key and value projection.
    """

    input_size: Axes
    patch_kernel: Axes
    patch_stride: Axes
    patch_padding: Axes
    embed_dim: int
    num_heads: int
    depth: int
    dim_mul: tuple[tuple[int, float], ...] = ()
    head_mul: tuple[tuple[int, float], ...] = ()
    pool_q_stride: tuple[tuple[int, Axes], ...] = ()
    pool_kv_stride: Axes | None = None
    pool_kv_strides: tuple[tuple[int, Axes], ...] = ()
    pool_kv_mul: tuple[tuple[int, int], ...] = ()
    pool_kernel: Axes | None = None
    pool_mode: str = "conv"
    pool_norm_eps: float = 1e-6
    mlp_ratio: float = 4.0
    expand_in_attention: bool = True
    abs_pos: str = "none"
    rel_pos_space: bool = True
    rel_pos_time: bool = True
    rel_pos_joint: str = "none"
    rel_pos_terms: str = "q"
    rel_pos_zero_init: bool = False
    windows: str = "none"
    window_sides: Axes = ()
    residual_pooling: bool = True
    cls_token: bool = True
    mean_pooling: bool = False
    qkv_bias: bool = True


@dataclass(frozen=True)
class PoolSpec:
    """A pooling window: kernel and stride per axis. The padding is kernel // 2."""

    kernel: Axes
    stride: Axes


@dataclass(frozen=True)
class WindowSpec:
    """Local attention: sides of the windows of queries and of keys in tokens, and how far both are rolled first (Swin)."""

    q_side: int
    k_side: int
    q_shift: int = 0
    k_shift: int = 0


@dataclass(frozen=True)
class BlockSpec:
    """One block, fully determined.

    ``grid`` is the planned input grid, ``dim_att`` the width inside the attention, ``table_rows`` the distances along each axis
    that the relative positions know (0: none), ``pool_* = None`` an identity without norm, ``pool_skip`` the max pool on the
    skip path, ``window = None`` global attention.
    """

    index: int
    dim: int
    dim_att: int
    dim_out: int
    num_heads: int
    grid: Axes
    pool_q: PoolSpec | None
    pool_kv: PoolSpec | None
    pool_skip: PoolSpec | None
    table_rows: Axes
    drop_path: float
    window: WindowSpec | None = None

    @property
    def head_dim(self) -> int:
        """Channels of one head."""
        return self.dim_att // self.num_heads


def round_width(width: int, multiplier: float, divisor: int = 1, min_width: int = 1) -> int:
    """``width * multiplier`` rounded to a multiple of ``divisor``, never more than 10 % below the product."""
    if not multiplier:
        return width
    scaled = width * multiplier
    rounded = max(min_width, int(scaled + divisor / 2) // divisor * divisor)
    if rounded < 0.9 * scaled:
        rounded += divisor
    return int(rounded)


def patch_grid(arch: Architecture) -> Axes:
    """Token grid that the plan assumes after the stem: input_size // patch_stride."""
    return tuple(size // stride for size, stride in zip(arch.input_size, arch.patch_stride, strict=True))


def convolved_grid(size: Sequence[int], kernel: Axes, stride: Axes, padding: Axes) -> Axes:
    """What a convolution or a pool makes of a grid."""
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, padding, strict=True))


def pooled_grid(grid: Sequence[int], pool: PoolSpec | None) -> Axes:
    """The grid that a pool leaves: ``ceil(extent / stride)`` for odd kernels."""
    if pool is None:
        return tuple(grid)
    return convolved_grid(grid, pool.kernel, pool.stride, tuple(k // 2 for k in pool.kernel))


def plan_blocks(arch: Architecture, drop_path_rate: float = 0.0) -> tuple[BlockSpec, ...]:
    """The specification of every block.

    Widths, heads, strides and table sizes follow the official model builder's arithmetic (SlowFast,
    ``slowfast/models/video_model_builder.py``): the planned grid is divided with floor, although a strided convolution
    rounds up, so tables of odd sizes are stored one or two rows short and interpolated at run time.

    Raises:
        UserError: an even pool kernel, an input so small that no token is left in some block, or windows that do not divide.
    """
    if arch.pool_kernel is not None and any(kernel % 2 == 0 for kernel in arch.pool_kernel):
        raise UserError(
            f"the pool kernel {list(arch.pool_kernel)} must be odd on every axis, or the grids would not fit"
        )
    dim_mul = _per_block(arch.dim_mul, arch.depth + 1)
    head_mul = _per_block(arch.head_mul, arch.depth + 1)
    q_strides, kv_strides, kv_mul = dict(arch.pool_q_stride), dict(arch.pool_kv_strides), dict(arch.pool_kv_mul)
    sides = plan_windows(arch)
    dim, heads, grid, kv_stride = arch.embed_dim, arch.num_heads, patch_grid(arch), arch.pool_kv_stride
    specs = []
    for i in range(arch.depth):
        heads = round_width(heads, head_mul[i])
        widening = i if arch.expand_in_attention else i + 1
        dim_out = round_width(dim, dim_mul[widening], divisor=round_width(heads, head_mul[widening]))
        q_stride = q_strides.get(i)
        if any(size // stride < 1 for size, stride in zip(grid, q_stride or (1,) * len(grid), strict=True)):
            raise UserError(f"an input of {arch.input_size} is too small: block {i} is left without tokens")
        if kv_stride is not None and q_stride is not None:
            kv_stride = tuple(max(kv // q, 1) for kv, q in zip(kv_stride, q_stride, strict=True))
        block_kv_stride = kv_strides.get(i) if kv_stride is None else kv_stride
        if block_kv_stride is not None:
            block_kv_stride = tuple(stride * kv_mul.get(i, 1) for stride in block_kv_stride)
        window = _window(i, sides[i], q_stride, block_kv_stride, shifted=arch.windows == "shifted" and i % 2 == 1)
        specs.append(
            BlockSpec(
                index=i,
                dim=dim,
                dim_att=dim_out if arch.expand_in_attention else dim,
                dim_out=dim_out,
                num_heads=heads,
                grid=grid,
                pool_q=_pool(q_stride, arch.pool_kernel),
                pool_kv=_pool(block_kv_stride, arch.pool_kernel),
                pool_skip=_pool(q_stride, None),
                table_rows=_table_rows(arch, grid, q_stride, block_kv_stride, window),
                window=window,
                drop_path=drop_path_rate * i / max(arch.depth - 1, 1),
            )
        )
        dim = dim_out
        if q_stride is not None:
            grid = tuple(g // q for g, q in zip(grid, q_stride, strict=True))
    return tuple(specs)


def _per_block(pairs: Sequence[tuple[int, float]], length: int) -> list[float]:
    factors = [1.0] * length
    for block, factor in pairs:
        factors[block] = factor
    return factors


def _pool(stride: Axes | None, kernel: Axes | None) -> PoolSpec | None:
    if stride is None:
        return None
    kernel = kernel or tuple(s + 1 if s > 1 else s for s in stride)
    if prod(kernel) == 1 and prod(stride) == 1:
        return None
    return PoolSpec(kernel, stride)


def _table_rows(
    arch: Architecture, grid: Axes, q_stride: Axes | None, kv_stride: Axes | None, window: WindowSpec | None
) -> Axes:
    ones = (1,) * len(grid)
    q_grid, k_grid = (
        [size // stride for size, stride in zip(grid, strides or ones, strict=True)]
        for strides in (q_stride, kv_stride)
    )
    if window is not None:
        q_grid[-2:] = [min(size, window.q_side) for size in q_grid[-2:]]
        k_grid[-2:] = [min(size, window.k_side) for size in k_grid[-2:]]
    rows = [2 * max(q, k) - 1 if arch.rel_pos_space else 0 for q, k in zip(q_grid, k_grid, strict=True)]
    if len(grid) == 3:
        rows[0] = 2 * grid[0] - 1 if arch.rel_pos_time else 0
    return tuple(rows)


def table_groups(table_rows: Axes, joint: str) -> tuple[Axes, ...]:
    """Axes that share a table, one tuple per table; an axis of 0 rows has none."""
    axes = tuple(axis for axis, rows in enumerate(table_rows) if rows)
    if joint == "spacetime":
        return (axes,)
    if joint == "space":
        return (*((axis,) for axis in axes[:-2]), axes[-2:])
    return tuple((axis,) for axis in axes)


def plan_windows(arch: Architecture) -> list[int | None]:
    """Side of the query windows of every block; None where its attention is global."""
    if arch.windows == "none":
        return [None] * arch.depth
    if arch.cls_token:
        raise UserError("local attention has no place for a class token: set cls_token (MVIT.CLS_EMBED_ON) to False")
    stages = _stages(arch)
    sides = arch.window_sides * (stages[-1] + 1) if len(arch.window_sides) == 1 else arch.window_sides
    if len(sides) != stages[-1] + 1:
        raise UserError(
            f"window_sides (MVIT.WINDOW_SIDES) {list(sides)} must have one side per stage, {stages[-1] + 1}, or a single one"
        )
    blocks: list[int | None] = [sides[stage] for stage in stages]
    if arch.windows == "hybrid":
        for block in stage_ends(arch)[-3:]:
            blocks[block] = None
    return blocks


def _stages(arch: Architecture) -> list[int]:
    """Stage of every block, from 0; a stage begins where queries are strided."""
    starts = {block for block, stride in arch.pool_q_stride if prod(stride) > 1}
    return [sum(start <= block for start in starts - {0}) for block in range(arch.depth)]


def stage_ends(arch: Architecture) -> list[int]:
    """Last block of every stage; a model of one stage (ViT) counts as four equal ones."""
    stages = _stages(arch)
    if stages[-1] == 0:
        return [arch.depth * (quarter + 1) // 4 - 1 for quarter in range(4)]
    return [block for block in range(arch.depth) if block + 1 == arch.depth or stages[block + 1] > stages[block]]


def _window(
    index: int, side: int | None, q_stride: Axes | None, kv_stride: Axes | None, *, shifted: bool
) -> WindowSpec | None:
    """The windows of a block whose query windows have ``side`` tokens: both kinds cover the same part of the input grid."""
    if side is None:
        return None
    q, k = (q_stride or (1,))[-1], (kv_stride or (1,))[-1]
    covered = side * q
    if covered % k or {(q_stride or (1, 1))[-2], (kv_stride or (1, 1))[-2]} - {q, k}:
        raise UserError(
            f"block {index}: a window of {side} queries covers {covered} input tokens, which the key stride {k} must divide, "
            "with the same strides along height and width: choose other window_sides (MVIT.WINDOW_SIDES)"
        )
    # Half a window, in steps that both strides take: the windows of queries and keys stay on the same place.
    shift = covered // 2 // lcm(q, k) * lcm(q, k) if shifted else 0
    return WindowSpec(side, covered // k, shift // q, shift // k)
