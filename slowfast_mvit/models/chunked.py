"""Softmax attention over some heads or queries at a time, forward and backward, for where products beat the fused kernel.

Letters: B batch, n heads, N queries, M keys, E channels of queries and keys, D of values. Of the weights [n, N, M] only a part
exists at any time, in buffers that are used again; none is kept: the backward pass computes them again. Queries are taken where
they lie, as rows with a stride; in bfloat16, keys, and values in the backward pass, are copied upright.
"""

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# On an Intel Xeon, backward, for two clips in S: 496 ms, with 2**20 562, with 2**25 537. As batches of products, where all
# weights of several heads fit, 436 ms.
WEIGHTS_AT_A_TIME = 2**22


def chunked_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention without a scale: q [B, n, N, E], k [B, n, M, E], v [B, n, M, D] -> [B, n, N, D]."""
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return _ChunkedAttention.apply(q, k, v)
    return _attend(q, k, v)


class _Part(NamedTuple):
    """Heads whose weights are made at once, as a batch of products, or a head alone; of its queries some at a time.

    Attributes:
        heads: a slice of them, or the number of one.
        rows: slices of the queries.
        shape: of the weights of the first and largest of them.
    """

    heads: slice | int
    rows: list[slice]
    shape: tuple[int, ...]


def _parts(n: int, N: int, M: int) -> list[_Part]:
    """What is attended at a time. Several heads if all their weights fit: slices of a batch of products are slow."""
    together = WEIGHTS_AT_A_TIME // max(1, N * M)
    if together > 1 and n > 1:
        return [_Part(some, [slice(0, N)], (some.stop - some.start, N, M)) for some in _equal(n, together)]
    rows = _equal(N, WEIGHTS_AT_A_TIME // max(1, M))
    return [_Part(head, rows, (rows[0].stop if rows else 0, M)) for head in range(n)]


def _equal(total: int, most: int) -> list[slice]:
    """Slices of equal length but for the last, each of ``most`` at the most, or of 1."""
    step = max(1, -(-total // max(1, -(-total // max(1, most)))))
    return [slice(start, min(start + step, total)) for start in range(0, total, step)]


def _upright(rows: Tensor) -> Tensor:
    """Keys or values [*, M, C] as [*, C, M]: in bfloat16 a copy, float32's products take them as they lie."""
    # In bfloat16, of 1,569 that lie across, oneDNN makes the logits in 0.53 ms instead of 0.33 (Xeon).
    across = rows.transpose(-2, -1)
    return across.contiguous() if rows.dtype == torch.bfloat16 else across


def _heads_last(B: int, n: int, N: int, D: int, like: Tensor) -> Tensor:
    """An empty [B, n, N, D] in the layout of tokens, [B, N, n, D]."""
    return like.new_empty(B, N, n, D).transpose(1, 2)


def _room(parts: Sequence[_Part], like: Tensor) -> Tensor:
    """Memory for the weights of any part, which is used again for the next."""
    return like.new_empty(prod(parts[0].shape) if parts else 0)


def _first(room: Tensor, shape: tuple[int, ...], size: int) -> Tensor:
    """The start of a room as weights of ``shape``, of ``size`` queries."""
    shape = (*shape[:-2], size, shape[-1])
    return room[: prod(shape)].view(shape)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    (B, n, N, _), M, D = q.shape, k.shape[2], v.shape[3]
    out = _heads_last(B, n, N, D, q)
    parts = _parts(n, N, M)
    room = _room(parts, q)
    for sample, part in itertools.product(range(B), parts):
        queries, keys, values, attended = (tensor[sample, part.heads] for tensor in (q, k, v, out))
        upright = _upright(keys)
        for rows in part.rows:
            weights = _first(room, part.shape, rows.stop - rows.start)
            torch.matmul(queries[..., rows, :], upright, out=weights)
            torch.softmax(weights, dim=-1, out=weights)
            torch.matmul(weights, values, out=attended[..., rows, :])
    return out


class _ChunkedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v)
        return _attend(q, k, v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = ctx.saved_tensors
        (B, n, N, E), M, D = q.shape, k.shape[2], v.shape[3]
        into_q = _heads_last(B, n, N, E, q)
        # Sums over many queries, so in float32 whatever the precision.
        into_k, into_v = (q.new_zeros(B, n, M, width, dtype=torch.float32) for width in (E, D))
        parts = _parts(n, N, M)
        rooms = [_room(parts, q) for _ in range(2)]
        for sample, part in itertools.product(range(B), parts):
            queries, keys, values, into_out = (tensor[sample, part.heads] for tensor in (q, k, v, grad))
            into_queries, into_keys, into_values = (tensor[sample, part.heads] for tensor in (into_q, into_k, into_v))
            upright_keys, upright_values = _upright(keys), _upright(values)
            for rows in part.rows:
                weights, into_weights = (_first(room, part.shape, rows.stop - rows.start) for room in rooms)
                some, into_some = queries[..., rows, :], into_out[..., rows, :]
                torch.matmul(some, upright_keys, out=weights)
                torch.softmax(weights, dim=-1, out=weights)
                torch.matmul(into_some, upright_values, out=into_weights)
                into_values += weights.transpose(-2, -1) @ into_some
                into_logits = torch.ops.aten._softmax_backward_data.out(
                    into_weights, weights, -1, q.dtype, grad_input=into_weights
                )
                torch.matmul(into_logits, keys, out=into_queries[..., rows, :])
                into_keys += into_logits.transpose(-2, -1) @ some
        return into_q, into_k.to(k.dtype), into_v.to(v.dtype)
