"""Decomposed relative positions: index rule, table interpolation, and the form in which the attention takes them.

Letters: Q and K are the query and key extents along one axis, R the rows of that axis' table, D the channels of a head,
E the sum of the key extents over the axes that have a table.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from slowfast_mvit.ops.caching import cached_table
from slowfast_mvit.ops.tables import resize_table


@cached_table(256)
def relative_index(num_queries: int, num_keys: int) -> Tensor:
    """Row of the table for every (query, key) pair of an axis: int64 [Q, K] in 0 .. 2 * max(Q, K) - 2.

    The order of operations and their types are those that the published weights were trained with: scaled positions in
    float32, the constant in double, added and rounded once, truncated. At non-integer Q / K (the 312-pixel model) some
    exact integers fall just below and land one row lower; exact arithmetic would read other rows than the official code.
    """
    ratio_q = max(num_keys / num_queries, 1.0)
    ratio_k = max(num_queries / num_keys, 1.0)
    queries, keys = torch.arange(num_queries), torch.arange(num_keys)
    distance = queries[:, None] * ratio_q - keys[None, :] * ratio_k
    distance += (num_keys - 1) * ratio_k
    return distance.long()


def position_vectors(table: Tensor, num_queries: int, num_keys: int) -> Tensor:
    """The vector of every (query, key) pair along one axis: [Q, K, D] from a table [R, D] of any length."""
    table = resize_table(table, 2 * max(num_queries, num_keys) - 1)
    return table[relative_index(num_queries, num_keys).to(table.device)]


def query_terms(q: Tensor, tables: Sequence[Tensor | None], q_grid: Sequence[int], k_grid: Sequence[int]) -> Tensor:
    """Dot products of every query with the position vectors of each axis.

    Args:
        q: pooled, unscaled queries [B, N, heads, D] with N = prod(q_grid).
        tables: one table [R, D] per axis, ``None`` where the axis has none.
        q_grid, k_grid: token extents of queries and keys, one entry per axis.

    Returns:
        [B, N, heads, E]: for each axis that has a table, one column per key position on that axis.
    """
    B, N, heads, D = q.shape
    terms = []
    for axis, table in enumerate(tables):
        if table is None:
            continue
        Q, K = q_grid[axis], k_grid[axis]
        vectors = position_vectors(table, Q, K).to(q.dtype).transpose(1, 2)
        outer, inner = B * prod(q_grid[:axis]), prod(q_grid[axis + 1 :]) * heads
        # A product per place on the axis. Its queries are taken where they lie, as rows along the inner axes or along the outer
        # ones, whichever are more: the queries are never copied, and the vectors are repeated along the fewer.
        volume = q.reshape(outer, Q, inner, D)
        if outer <= inner:
            term = volume.flatten(0, 1) @ vectors.repeat(outer, 1, 1)
        else:
            rows = volume.flatten(1, 2).transpose(0, 1) @ vectors.repeat_interleave(inner, dim=0)
            term = rows.transpose(0, 1)
        terms.append(term.reshape(B, N, heads, K))
    return torch.cat(terms, dim=-1)


@cached_table(256)
def key_codes(k_grid: tuple[int, ...], axes: tuple[int, ...]) -> Tensor:
    """One-hot codes of each key's own position: float32 [prod(k_grid), E].

    The dot product of a row of :func:`query_terms` with a row of these codes is the sum of the position terms of that
    (query, key) pair, so appending both to q and k turns a biased attention into a plain one that fused kernels take.
    """
    codes = []
    for axis in axes:
        shape = [1] * len(k_grid) + [k_grid[axis]]
        shape[axis] = k_grid[axis]
        one_hot = torch.eye(k_grid[axis]).reshape(shape)
        codes.append(one_hot.expand(*k_grid, -1).flatten(0, -2))
    return torch.cat(codes, dim=-1)
