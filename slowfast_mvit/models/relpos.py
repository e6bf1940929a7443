"""Decomposed relative positions: index rule, table interpolation, and the form in which the attention takes them.

Letters: Q and K are the query and key extents along one axis, R the rows of that axis' table, D the channels of a head,
E the sum of the key extents over the axes that have a table.
"""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
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
    queries, keys = (torch.arange(num, dtype=torch.float32) for num in (num_queries, num_keys))
    distance = queries[:, None] * ratio_q - keys[None, :] * ratio_k
    distance += (num_keys - 1) * ratio_k
    return distance.long()


def position_vectors(table: Tensor, num_queries: int, num_keys: int) -> Tensor:
    """The vector of every (query, key) pair along one axis: [Q, K, D] from a table [R, D] of any length."""
    table = resize_table(table, 2 * max(num_queries, num_keys) - 1)
    return table[relative_index(num_queries, num_keys, device=table.device)]


def query_terms(
    q: Tensor, tables: Sequence[Tensor | None], q_grid: Sequence[int], k_grid: Sequence[int]
) -> list[Tensor]:
    """Dot products of every query with the position vectors of each axis.

    Args:
        q: pooled, unscaled queries [B, N, heads, D] with N = prod(q_grid).
        tables: one table [R, D] per axis, ``None`` where the axis has none.
        q_grid, k_grid: token extents of queries and keys, one entry per axis.

    Returns:
        [B, N, heads, E] in one or two parts of its columns: for each axis that has a table, one column per key position on it.
    """
    B, _, heads, D = q.shape
    outer, P, W = tuple(q_grid[:-1]), prod(q_grid[:-1]), q_grid[-1]
    vectors = {
        axis: position_vectors(table, q_grid[axis], k_grid[axis]).to(q.dtype)
        for axis, table in enumerate(tables)
        if table is not None
    }
    last = vectors.pop(len(outer), None)
    terms = []
    # No query is copied. Those of a row of the grid share their vectors of all axes but the last, hence one product for these;
    # those of a column share the vectors of the last axis.
    if vectors:
        of_rows = [
            part.reshape(*(Q if axis == i else 1 for i, Q in enumerate(outer)), *part.shape[1:]).expand(*outer, -1, -1)
            for axis, part in vectors.items()
        ]
        shared = torch.cat(of_rows, dim=-2).reshape(P, -1, D)
        terms.append((q.reshape(B, P, W * heads, D) @ shared.transpose(1, 2)).reshape(B, P, W, heads, -1))
    if last is not None:
        columns = q.reshape(B * P, W * heads, D).transpose(0, 1)  # [W * heads, B * P, D]
        term = columns @ last.transpose(1, 2).repeat_interleave(heads, dim=0)
        terms.append(term.transpose(0, 1).reshape(B, P, W, heads, -1))
    return [term.flatten(1, 2) for term in terms]


@cached_table(64)  # those of 25,089 keys take 10 MB
def key_codes(k_grid: tuple[int, ...], axes: tuple[int, ...], num_prefix: int = 0, more: int = 0) -> Tensor:
    """One-hot codes of each key's own position: float32 [num_prefix + prod(k_grid), E + more].

    The dot product of a row of :func:`query_terms` with a row of these codes is the sum of the position terms of that
    (query, key) pair, so appending both to q and k turns a biased attention into a plain one that fused kernels take. The rows
    of the prefix, which has no position, and ``more`` columns are zero.
    """
    codes = []
    for axis in axes:
        shape = [1] * len(k_grid) + [k_grid[axis]]
        shape[axis] = k_grid[axis]
        one_hot = torch.eye(k_grid[axis], dtype=torch.float32).reshape(shape)
        codes.append(one_hot.expand(*k_grid, -1).flatten(0, -2))
    return F.pad(torch.cat(codes, dim=-1), (0, more, num_prefix, 0))
