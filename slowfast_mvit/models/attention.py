"""Pooling attention with decomposed relative positions and residual pooling (paper, section 4.1).

Letters: B batch, N query tokens, M key tokens, D channels of a head, E columns of position terms. A class token, where the
model has one, is row 0 of every token tensor: it is normalised but never pooled, and has no position.
"""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_mvit.models.layout import Architecture, Axes, BlockSpec, PoolSpec
from slowfast_mvit.models.pooling import conv_pool, depthwise_conv, fixed_pool, join_prefix, split_prefix
from slowfast_mvit.models.relpos import key_codes, query_terms
from slowfast_mvit.models.windows import from_windows, shift_mask, to_windows, window_counts

AXIS_NAMES = ("t", "h", "w")


class PoolingAttention(nn.Module):
    """Multi-head attention whose queries, keys and values are pooled over the token grid after their projection.

    Maps tokens [B, prefix + prod(grid), dim] and their grid to tokens [B, prefix + prod(q_grid), dim_att] and ``q_grid``.
    Works on grids of two and three axes and of any extent: position tables are interpolated where they do not fit.
    """

    def __init__(self, spec: BlockSpec, arch: Architecture) -> None:
        super().__init__()
        self.num_heads = spec.num_heads
        self.scale = spec.head_dim**-0.5
        self.residual_pooling = arch.residual_pooling
        self.num_prefix = int(arch.cls_token)
        self.pools = (spec.pool_q, spec.pool_kv, spec.pool_kv)
        self.pool_mode = arch.pool_mode
        self.window = spec.window
        self.qkv = nn.Linear(spec.dim, 3 * spec.dim_att, bias=arch.qkv_bias)
        self.proj = nn.Linear(spec.dim_att, spec.dim_att)
        for name, pool in zip("qkv", self.pools, strict=True):
            if pool is not None and self.pool_mode == "conv":
                self.add_module(f"pool_{name}", depthwise_conv(spec.head_dim, pool))
                self.add_module(f"norm_{name}", nn.LayerNorm(spec.head_dim, eps=arch.pool_norm_eps))
        self.table_names = tuple(f"rel_pos_{name}" for name in AXIS_NAMES[-len(spec.grid) :])
        for name, rows in zip(self.table_names, spec.table_rows, strict=True):
            table = nn.Parameter(torch.empty(rows, spec.head_dim)) if rows else None
            self.register_parameter(name, table)

    def forward(self, x: Tensor, grid: Sequence[int]) -> tuple[Tensor, Axes]:
        """Attend; shapes as in the class."""
        weights, biases = self.qkv.weight.chunk(3), _chunk_bias(self.qkv.bias)
        # Three products instead of one, because each result is then a volume of its own that pools without a copy.
        (q, q_grid), (k, k_grid), (v, _) = (
            self._pool(F.linear(x, weight, bias), grid, name, pool)
            for weight, bias, name, pool in zip(weights, biases, "qkv", self.pools, strict=True)
        )
        attend = self._attend if self.window is None else self._attend_locally
        out = attend(q, k, v, q_grid, k_grid)
        if self.residual_pooling:
            attended = out
            out = attended + q
            out[:, : self.num_prefix] = attended[:, : self.num_prefix]  # the class token's query is not added
        return self.proj(out.flatten(2)), q_grid

    def _pool(self, x: Tensor, grid: Sequence[int], name: str, pool: PoolSpec | None) -> tuple[Tensor, Axes]:
        """Projected tokens [B, *, C] -> pooled and normalised heads [B, *, heads, D] with their grid."""
        if pool is None:
            return x.unflatten(-1, (self.num_heads, -1)), tuple(grid)
        prefix, tokens = split_prefix(x, self.num_prefix)
        if self.pool_mode != "conv":
            tokens, grid = fixed_pool(tokens, grid, pool, self.pool_mode)
            return join_prefix(prefix, tokens).unflatten(-1, (self.num_heads, -1)), tuple(grid)
        weight = self.get_submodule(f"pool_{name}").weight
        tokens, grid = conv_pool(tokens, grid, weight, pool)  # type: ignore[arg-type]
        heads = join_prefix(prefix, tokens).unflatten(-1, (self.num_heads, -1))
        return self.get_submodule(f"norm_{name}")(heads), tuple(grid)

    def _attend_locally(self, q: Tensor, k: Tensor, v: Tensor, q_grid: Axes, k_grid: Axes) -> Tensor:
        """:meth:`_attend` inside each window of the grid."""
        window = self.window
        assert window is not None
        q_side, k_side, counts = window.q_side, window.k_side, window_counts(q_grid, window.q_side)
        # A single window has no neighbours to meet (as in Swin).
        q_shift, k_shift = (window.q_shift, window.k_shift) if prod(counts) > 1 else (0, 0)
        mask = None
        if q_shift:
            frames = prod(q_grid[:-2]), prod(k_grid[:-2])
            mask = shift_mask(counts, (q_side, k_side), (q_shift, k_shift), frames)
            mask = mask.to(q.device).repeat(len(q), 1, 1)[:, None]
        out = self._attend(
            to_windows(q, q_grid, q_side, q_shift),
            to_windows(k, k_grid, k_side, k_shift),
            to_windows(v, k_grid, k_side, k_shift),
            (*q_grid[:-2], q_side, q_side),
            (*k_grid[:-2], k_side, k_side),
            mask,
        )
        return from_windows(out, q_grid, q_side, q_shift)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, q_grid: Axes, k_grid: Axes, mask: Tensor | None = None
    ) -> Tensor:
        """Attention over heads [B, N, heads, D], [B, M, heads, D] -> [B, N, heads, D].

        ``mask``, bool [B, 1, N, M], is true where a query may look at a key.
        """
        D = q.shape[-1]
        scaled = q * self.scale
        tables = [getattr(self, name) for name in self.table_names]
        axes = tuple(axis for axis, table in enumerate(tables) if table is not None)
        if axes:
            terms = query_terms(q[:, self.num_prefix :], tables, q_grid, k_grid)
            codes = key_codes(k_grid, axes).to(device=k.device, dtype=k.dtype)
            # The class token's rows stay zero, so it gets no position term as query or as key.
            terms = F.pad(terms, (0, 0, 0, 0, self.num_prefix, 0))
            codes = F.pad(codes, (0, 0, self.num_prefix, 0))
            scaled = torch.cat((scaled, terms.to(scaled.dtype)), dim=-1)
            k = torch.cat((k, codes[:, None].expand(*k.shape[:3], -1)), dim=-1)
            v = F.pad(v, (0, scaled.shape[-1] - D))  # the fused CPU kernel wants equal widths
        out = F.scaled_dot_product_attention(
            scaled.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask, scale=1.0
        )
        return out[..., :D].transpose(1, 2)


def _chunk_bias(bias: Tensor | None) -> Sequence[Tensor | None]:
    return (None, None, None) if bias is None else bias.chunk(3)
