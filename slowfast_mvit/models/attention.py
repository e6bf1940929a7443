"""Pooling attention with decomposed relative positions and residual pooling (paper, section 4.1).

Letters: B batch, N query tokens, M key tokens, D channels of a head, E columns of position terms. A class token, where the
model has one, is row 0 of every token tensor: it is normalised but never pooled, and has no position.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_mvit.models.chunked import chunked_attention
from slowfast_mvit.models.kernels import (
    aligned_width,
    attention_kernel,
    compute_dtype,
    kv_together,
    linear,
    no_autocast,
    value_width,
    writes_in_place,
)
from slowfast_mvit.models.layout import Architecture, Axes, BlockSpec, PoolSpec, pooled_grid
from slowfast_mvit.models.normalise import as_precise, stock
from slowfast_mvit.models.pooling import (
    conv_pool,
    fixed_pool,
    join_prefix,
    needed_tokens,
    pool_conv,
    pooled_skip,
    split_prefix,
)
from slowfast_mvit.models.projection import Linear, project
from slowfast_mvit.models.relpos import key_codes, query_terms
from slowfast_mvit.models.windows import (
    Tokens,
    from_windows,
    join_rows,
    shift_mask,
    split_rows,
    to_windows,
    window_counts,
)

AXIS_NAMES = ("t", "h", "w")


class Attended(NamedTuple):
    """What the attention gives: tokens [B, prefix + prod(grid), dim_att], their grid, and the skip path's tokens, if asked."""

    tokens: Tensor
    grid: Axes
    skip: Tensor | None


class Heads(NamedTuple):
    """What is attended: queries [B, N, heads, D], keys and values [B, M, heads, D], their grids, and the skip path's tokens."""

    q: Tensor
    k: Tensor
    v: Tensor
    q_grid: Axes
    k_grid: Axes
    skip: Tensor | None


class PoolingAttention(nn.Module):
    """Multi-head attention whose queries, keys and values are pooled over the token grid after their projection.

    Maps tokens [B, prefix + prod(grid), dim] and their grid to tokens [B, prefix + prod(q_grid), dim_att] and ``q_grid``. The
    norm before the projection is the block's, and is applied here: so the normalised tokens need not be kept.
    Works on grids of two and three axes and of any extent: position tables are interpolated where they do not fit.
    """

    def __init__(self, spec: BlockSpec, arch: Architecture) -> None:
        super().__init__()
        self.num_heads = spec.num_heads
        self.scale = spec.head_dim**-0.5
        self.residual_pooling = arch.residual_pooling
        self.num_prefix = int(arch.cls_token)
        self.pools = (spec.pool_q, spec.pool_kv)
        self.pool_skip = spec.pool_skip
        self.pool_mode = arch.pool_mode
        self.window = spec.window
        self.qkv = nn.Linear(spec.dim, 3 * spec.dim_att, bias=arch.qkv_bias)
        self.proj = nn.Linear(spec.dim_att, spec.dim_att)
        for name, pool in zip("qkv", (spec.pool_q, spec.pool_kv, spec.pool_kv), strict=True):
            if pool is not None and self.pool_mode == "conv":
                self.add_module(f"pool_{name}", pool_conv(spec.head_dim, pool))
                self.add_module(f"norm_{name}", nn.LayerNorm(spec.head_dim, eps=arch.pool_norm_eps))
        self.table_names = tuple(f"rel_pos_{name}" for name in AXIS_NAMES[-len(spec.grid) :])
        for name, rows in zip(self.table_names, spec.table_rows, strict=True):
            table = nn.Parameter(torch.empty(rows, spec.head_dim)) if rows else None
            self.register_parameter(name, table)

    def forward(self, x: Tensor, grid: Sequence[int], norm: nn.LayerNorm, skip: nn.Linear | None = None) -> Attended:
        """Attend over ``norm(x)``.

        Args:
            x: tokens [B, prefix + prod(grid), dim].
            grid: their extents.
            norm: of the tokens.
            skip: the linear map of the normalised tokens by which the skip path widens; its result is pooled as that path is.
        """
        q, k, v, q_grid, k_grid, skipped = self.heads(x, grid, norm, skip)
        attend = self._attend if self.window is None else self._attend_locally
        out = attend(q, k, v, q_grid, k_grid)
        del k, v  # without gradients, nothing else holds them
        if self.residual_pooling:
            out = torch.addcmul(out, q, self._is_patch(q)) if self.num_prefix else out + q
        del q
        tokens = out.flatten(2)
        tokens = linear(tokens, self.proj.weight, self.proj.bias) if stock(self.proj) else self.proj(tokens)
        return Attended(tokens, q_grid, skipped)

    def heads(self, x: Tensor, grid: Sequence[int], norm: nn.LayerNorm, skip: nn.Linear | None = None) -> Heads:
        """Queries, keys and values of the tokens, pooled; the arguments are those of :meth:`forward`."""
        pool_q, pool_kv = self.pools
        needed = None if pool_kv is None else needed_tokens(tuple(grid), pool_kv, self.num_prefix, device=x.device)
        rows, kv_grid, pool_kv = (None, tuple(grid), pool_kv) if needed is None else needed
        kv_numbers = 2 * x.shape[0] * prod(kv_grid) * self.proj.in_features
        together = torch.compiler.is_compiling() or kv_together(x.device.type, kv_numbers)
        kv_names = ("kv",) if together else ("k", "v")
        projected = self._project(x, norm, skip, kv_names, rows)
        # The widest first, while there is nothing beside it.
        skipped = None if skip is None else pooled_skip(next(projected), grid, self.pool_skip, self.num_prefix)
        (q,), q_grid = self._pool(next(projected), grid, "q", pool_q)
        kv: list[Tensor] = []
        for names in kv_names:
            parts, k_grid = self._pool(next(projected), kv_grid, names, pool_kv)
            kv += parts
        k, v = kv
        return Heads(q, k, v, q_grid, k_grid, skipped)

    def _project(
        self, x: Tensor, norm: nn.LayerNorm, skip: nn.Linear | None, kv_names: Sequence[str], rows: Tensor | None
    ) -> Iterator[Tensor]:
        """The skip path's map, if any, queries [B, N, C], keys and values [B, M, C or 2 * C] of ``rows`` (None: all)."""
        sizes = [self.proj.in_features * len(names) for names in ("q", *kv_names)]
        if not stock(norm, self.qkv, skip):
            normed = norm(x)
            q, *kv = self.qkv(normed).split(sizes, dim=-1)
            kv = kv if rows is None else [part.index_select(1, rows) for part in kv]
            return iter((q, *kv) if skip is None else (skip(normed), q, *kv))
        weights = self.qkv.weight.split(sizes)
        biases = [None] * len(sizes) if self.qkv.bias is None else self.qkv.bias.split(sizes)
        maps = [
            Linear(weight, bias, rows if place else None)
            for place, (weight, bias) in enumerate(zip(weights, biases, strict=True))
        ]
        if skip is not None:
            maps.insert(0, Linear(skip.weight, skip.bias))
        return project(x, norm, maps)

    def _is_patch(self, q: Tensor) -> Tensor:
        """[N, 1, 1]: 0 for the class token, whose query is not added, and 1 for the patches."""
        mask = q.new_ones(q.shape[1], 1, 1)
        mask[: self.num_prefix] = 0
        return mask

    def _pool(
        self, x: Tensor, grid: Sequence[int], names: str, pool: PoolSpec | None
    ) -> tuple[tuple[Tensor, ...], Axes]:
        """Projected tokens [B, *, len(names) * C] -> for each name pooled, normalised heads [B, *, heads, D]; their grid."""
        grid = tuple(grid)
        if pool is None:
            return x.unflatten(-1, (len(names), self.num_heads, -1)).unbind(2), grid
        return self._pooled(x, grid, names, pool), pooled_grid(grid, pool)

    def _pooled(self, x: Tensor, grid: Axes, names: str, pool: PoolSpec) -> tuple[Tensor, ...]:
        prefix, tokens = split_prefix(x, self.num_prefix)
        if self.pool_mode != "conv":
            tokens = fixed_pool(tokens, grid, pool, self.pool_mode)
            return join_prefix(prefix, tokens).unflatten(-1, (len(names), self.num_heads, -1)).unbind(2)
        tokens = conv_pool(tokens, grid, [self.get_parameter(f"pool_{name}.weight") for name in names], pool)
        heads = join_prefix(prefix, tokens).unflatten(-1, (len(names), self.num_heads, -1)).unbind(2)
        norms = [self.get_submodule(f"norm_{name}") for name in names]
        return tuple(_normalised(part, norm) for norm, part in zip(norms, heads, strict=True))

    def _attend_locally(self, q: Tensor, k: Tensor, v: Tensor, q_grid: Axes, k_grid: Axes) -> Tensor:
        """:meth:`_attend` inside each window of the grid."""
        window = self.window
        assert window is not None
        q_side, k_side, counts = window.q_side, window.k_side, window_counts(q_grid, window.q_side)
        # A single window has no neighbours to meet (as in Swin).
        q_shift, k_shift = (window.q_shift, window.k_shift) if prod(counts) > 1 else (0, 0)
        if not q_shift and counts[0] > 1 and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # Windows are copies of the tokens: those of a row of windows at a time, where no backward pass keeps them all.
            split = split_rows(q, q_grid, q_side), split_rows(k, k_grid, k_side), split_rows(v, k_grid, k_side)
            return join_rows((self._attend_in_windows(*row) for row in zip(*split, strict=True)), q_grid, q_side)
        mask = None
        if q_shift:
            frames = prod(q_grid[:-2]), prod(k_grid[:-2])
            mask = shift_mask(counts, (q_side, k_side), (q_shift, k_shift), frames, device=q.device)
            mask = mask.repeat(len(q), 1, 1)[:, None]
        return self._attend_in_windows(
            Tokens(q, q_grid), Tokens(k, k_grid), Tokens(v, k_grid), (q_shift, k_shift), mask
        )

    def _attend_in_windows(
        self, q: Tokens, k: Tokens, v: Tokens, shifts: tuple[int, int] = (0, 0), mask: Tensor | None = None
    ) -> Tensor:
        window = self.window
        assert window is not None
        out = self._attend(
            to_windows(*q, window.q_side, shifts[0]),
            to_windows(*k, window.k_side, shifts[1]),
            to_windows(*v, window.k_side, shifts[1]),
            (*q.grid[:-2], window.q_side, window.q_side),
            (*k.grid[:-2], window.k_side, window.k_side),
            mask,
        )
        return from_windows(out, q.grid, window.q_side, shifts[0])

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, q_grid: Axes, k_grid: Axes, mask: Tensor | None = None
    ) -> Tensor:
        """Attention over heads [B, N, heads, D], [B, M, heads, D] -> [B, N, heads, D].

        ``mask``, bool [B, 1, N, M], is true where a query may look at a key.
        """
        q, k = self.with_positions(q, k, q_grid, k_grid)
        return attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask).transpose(1, 2)

    def with_positions(self, q: Tensor, k: Tensor, q_grid: Axes, k_grid: Axes) -> tuple[Tensor, Tensor]:
        """Queries [B, N, heads, E] and keys [B, M, heads, E] whose plain dot products are the logits, positions and all."""
        tables = [getattr(self, name) for name in self.table_names]
        axes = tuple(axis for axis, table in enumerate(tables) if table is not None)
        k = k * self.scale  # and not q, which has more tokens
        if axes:
            terms = query_terms(q[:, self.num_prefix :], tables, q_grid, k_grid)
            zeros = q.new_zeros(()).expand(*q.shape[:3], 1)
            if self.num_prefix:  # the class token gets no position term, neither as query nor as key
                of_prefix = zeros[:, : self.num_prefix]
                terms = [torch.cat((of_prefix.expand(-1, -1, -1, term.shape[-1]), term), dim=1) for term in terms]
            width = q.shape[-1] + sum(term.shape[-1] for term in terms)
            more = aligned_width(q.device.type, width) - width
            codes = key_codes(k_grid, axes, self.num_prefix, more, device=k.device).to(k.dtype)
            q = torch.cat((q, *(term.to(q.dtype) for term in terms), zeros.expand(-1, -1, -1, more)), dim=-1)
            k = torch.cat((k, codes[:, None].expand(*k.shape[:3], -1)), dim=-1)
        return q, k


def _normalised(heads: Tensor, norm: nn.Module) -> Tensor:
    """Pooled heads after their norm, in their own precision."""
    gain = norm.weight
    assert isinstance(gain, Tensor)
    if type(norm) is not nn.LayerNorm or heads.dtype == torch.float16:  # adapters; float16 rounds coarsely below 1e-4
        return norm(heads.to(gain.dtype)).to(heads.dtype)
    with no_autocast(heads.device.type):  # which would write all of them in float32
        return norm(as_precise(heads, gain)).to(heads.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention without a scale: q [B, heads, N, E], k [B, heads, M, E], v [B, heads, M, D] -> [B, heads, N, D]."""
    dtype = compute_dtype(q)  # which autocast does not give to products that are written into a given tensor
    q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    needs_grad = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    chunked = attention_kernel(q.device.type, q.dtype, needs_grad=needs_grad) == "chunked"
    if chunked and mask is None and writes_in_place():
        return chunked_attention(q, k, v)
    D = v.shape[-1]
    more = value_width(q.device.type, q.dtype, D, q.shape[-1]) - D
    v = torch.cat((v, v.new_zeros(()).expand(*v.shape[:-1], more)), dim=-1) if more else v  # F.pad writes them twice
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)[..., :D]
