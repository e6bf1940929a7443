"""The paper's other position terms, by the plain formula and off the hot path: they are compared, and owe nothing to speed.

Joint tables (Tables 6 and A.6) and terms that meet keys and values besides the queries (A.4). Letters: n heads, N query and M
key tokens, D channels of a head.
"""

from dataclasses import replace
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from slowfast_mvit.models.attention import AXIS_NAMES, PoolingAttention
from slowfast_mvit.models.layout import Architecture, Axes, BlockSpec, table_groups
from slowfast_mvit.models.relpos import relative_index
from slowfast_mvit.ops.caching import cached_table
from slowfast_mvit.ops.tables import resize_joint_table


def attention_of(spec: BlockSpec, arch: Architecture) -> PoolingAttention:
    """The attention of a block: the fast one, unless the architecture has position terms that only this module knows."""
    if arch.rel_pos_joint == "none" and arch.rel_pos_terms == "q":
        return PoolingAttention(spec, arch)
    return PairwiseAttention(spec, arch)


class PairwiseAttention(PoolingAttention):
    """Attention with the vector of every (query, key) pair written out (paper, Eq. 3 and A.4):

    logits_ij = scale q_i . k_j + R_ij . q_i + R'_ij . k_j and output_i = sum_j A_ij (v_j + R''_ij), each term where
    ``rel_pos_terms`` has its letter. R is the sum of one vector per table.
    """

    def __init__(self, spec: BlockSpec, arch: Architecture) -> None:
        super().__init__(replace(spec, table_rows=(0,) * len(spec.grid)), arch)
        self.terms = arch.rel_pos_terms
        self.table_rows = spec.table_rows
        self.groups = table_groups(spec.table_rows, arch.rel_pos_joint)
        for term in self.terms:
            for group in self.groups:
                rows = prod(spec.table_rows[axis] for axis in group)
                self.register_parameter(self._table_name(term, group), nn.Parameter(torch.empty(rows, spec.head_dim)))

    def _table_name(self, term: str, group: Axes) -> str:
        """``rel_pos_h`` meets the queries (the official name), ``rel_pos_k_h`` the keys; ``rel_pos_hw`` is a joint table."""
        names = AXIS_NAMES[-len(self.table_rows) :]
        axes = "".join(names[axis] for axis in group)
        return f"rel_pos_{axes}" if term == "q" else f"rel_pos_{term}_{axes}"

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, q_grid: Axes, k_grid: Axes, mask: Tensor | None = None
    ) -> Tensor:
        first = self.num_prefix
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        logits = (q * self.scale) @ k.transpose(2, 3)
        if mask is not None:
            logits = logits.masked_fill(~mask, float("-inf"))
        tables = [
            [
                resize_joint_table(
                    self.get_parameter(self._table_name(term, group)),
                    [self.table_rows[axis] for axis in group],
                    [_num_distances(q_grid[axis], k_grid[axis]) for axis in group],
                )
                for group in self.groups
            ]
            for term in self.terms
        ]
        out = []
        if first:  # the class token has no position, as query and as key
            out.append(logits[:, :, :first].softmax(dim=-1) @ v)
        # The vectors of all pairs would take N * M * D numbers: a few queries at a time, and again in the backward pass.
        step = max(1, prod(q_grid[-2:]) // 4)
        for start in range(0, prod(q_grid), step):
            rows = slice(first + start, min(first + start + step, q.shape[2]))
            indices = [pair_index(group, q_grid, k_grid)[start : start + step] for group in self.groups]
            part = (logits[:, :, rows], q[:, :, rows], k, v, indices, tables)
            out.append(checkpoint(self._attend_pairs, *part, use_reentrant=False))
        return torch.cat(out, dim=2).transpose(1, 2)

    def _attend_pairs(
        self, logits: Tensor, q: Tensor, k: Tensor, v: Tensor, indices: list[Tensor], tables: list[list[Tensor]]
    ) -> Tensor:
        """Outputs [B, n, Q, D] of some patch queries from their content logits [B, n, Q, M]."""
        first = self.num_prefix
        vectors = {}  # each [Q, M, D]
        for term, group in zip(self.terms, tables, strict=True):
            summands = [table[index.to(table.device)] for table, index in zip(group, indices, strict=True)]
            vectors[term] = torch.stack(summands).sum(dim=0).to(q.dtype)
        if "q" in vectors:
            logits = logits + F.pad(torch.einsum("bnqd,qkd->bnqk", q, vectors["q"]), (first, 0))
        if "k" in vectors:
            logits = logits + F.pad(torch.einsum("bnkd,qkd->bnqk", k[:, :, first:], vectors["k"]), (first, 0))
        weights = logits.softmax(dim=-1)
        out = weights @ v
        return out + torch.einsum("bnqk,qkd->bnqd", weights[..., first:], vectors["v"]) if "v" in vectors else out


@cached_table(4)  # a table of S at 16 frames takes 79 MB
def pair_index(group: Axes, q_grid: Axes, k_grid: Axes) -> Tensor:
    """Row of a joint table for every pair of tokens: int64 [N, M]; the last axis of the group runs fastest."""
    index = torch.zeros((), dtype=torch.int64)
    for axis in group:
        shape = [1] * (2 * len(q_grid))
        shape[axis], shape[len(q_grid) + axis] = q_grid[axis], k_grid[axis]
        along = relative_index(q_grid[axis], k_grid[axis]).reshape(shape)
        index = index * _num_distances(q_grid[axis], k_grid[axis]) + along
    return index.expand(*q_grid, *k_grid).reshape(prod(q_grid), prod(k_grid))


def _num_distances(num_queries: int, num_keys: int) -> int:
    return 2 * max(num_queries, num_keys) - 1
