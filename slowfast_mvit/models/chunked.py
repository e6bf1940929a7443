"""Softmax attention over some queries at a time, forward and backward, for where matrix products beat the fused kernel.

Letters: B batch, n heads, N queries, M keys, E channels of queries and keys, D of values. Of the weights [N, M] only some rows
exist at any time, and none is kept: the backward pass computes them again.
"""

from typing import Any

import torch
from torch import Tensor

QUERIES_AT_A_TIME = 1024


def chunked_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention without a scale: q [B, n, N, E], k [B, n, M, E], v [B, n, M, D] -> [B, n, N, D]."""
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return _ChunkedAttention.apply(q, k, v)
    return _attend(q, k, v)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    keys = k.transpose(2, 3)
    return torch.cat([(part @ keys).softmax(dim=-1) @ v for part in q.split(QUERIES_AT_A_TIME, dim=2)], dim=2)


class _ChunkedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v)
        return _attend(q, k, v)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = ctx.saved_tensors
        keys, values = k.transpose(2, 3), v.transpose(2, 3)
        into_q = []
        # Sums over many queries, so in float32 whatever the precision.
        into_k, into_v = (torch.zeros(x.shape, dtype=torch.float32, device=x.device) for x in (k, v))
        parts = zip(q.split(QUERIES_AT_A_TIME, dim=2), grad.split(QUERIES_AT_A_TIME, dim=2), strict=True)
        for queries, out in parts:
            weights = (queries @ keys).softmax(dim=-1)
            into_v += weights.transpose(2, 3) @ out
            into_logits = torch._softmax_backward_data(out @ values, weights, -1, weights.dtype)
            into_q.append(into_logits @ k)
            into_k += into_logits.transpose(2, 3) @ queries
        return torch.cat(into_q, dim=2), into_k.to(k.dtype), into_v.to(v.dtype)
