"""The MLP of normalised tokens, some at a time, of which the backward pass keeps the tokens and at most the hidden layer.

The hidden layer is four times as wide as the tokens. Where it is narrow, the processor waits for memory and not for products:
computing it again costs less than writing it and reading it back. So it is made a part at a time, forward and backward.

Letters: B batch, N tokens, C channels, H hidden channels, O output channels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from slowfast_mvit.models.kernels import compute_dtype, input_gradient, linear, mlp_plan


class _Weights(NamedTuple):
    """Weights and biases of the norm, the two layers, and the skip path's map, if there is one."""

    gain: Tensor
    shift: Tensor
    weight1: Tensor
    bias1: Tensor
    weight2: Tensor
    bias2: Tensor
    weight_skip: Tensor | None = None
    bias_skip: Tensor | None = None

    def to_compute(self, dtype: torch.dtype) -> "_Weights":
        """The matrices in ``dtype``."""
        return self._replace(
            weight1=self.weight1.to(dtype),
            weight2=self.weight2.to(dtype),
            weight_skip=None if self.weight_skip is None else self.weight_skip.to(dtype),
        )


def mlp(
    x: Tensor, norm: nn.LayerNorm, fc1: nn.Linear, fc2: nn.Linear, skip: nn.Linear | None = None
) -> tuple[Tensor, ...]:
    """``fc2(gelu(fc1(norm(x))))`` of tokens x [B, N, C]: [B, N, O]; and ``skip(norm(x))`` [B, N, O] where it is given."""
    flat: tuple[Tensor, ...] = (norm.weight, norm.bias, fc1.weight, fc1.bias, fc2.weight, fc2.bias)
    if skip is not None:
        flat = (*flat, skip.weight, skip.bias)
    if torch.compiler.is_compiling():  # a compiler makes its own plan of what to keep, and of what fits into the cache
        normed = norm(x)
        out = F.linear(F.gelu(F.linear(normed, fc1.weight, fc1.bias)), fc2.weight, fc2.bias)
        return (out,) if skip is None else (out, F.linear(normed, skip.weight, skip.bias))
    if torch.is_grad_enabled():
        return _Mlp.apply(x, norm.eps, *flat)
    weights = _Weights(*flat).to_compute(compute_dtype(x))
    return _forward(x, norm.eps, weights, mlp_plan(x.device.type, x[..., 0].numel(), fc1.weight.shape).step)[0]


def _forward(
    x: Tensor, eps: float, weights: _Weights, step: int, keep: bool = False
) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """The results, and the hidden layer [B * N, H] where it is to be kept."""
    dtype, tokens = weights.weight1.dtype, x.flatten(0, 1)
    results: list[list[Tensor]] = [[], []]
    kept = []
    for part in tokens.split(step):
        normed = _normalise(part, eps, weights)[0].to(dtype)
        hidden = linear(normed, weights.weight1, weights.bias1)
        results[0].append(linear(F.gelu(hidden), weights.weight2, weights.bias2))
        if weights.weight_skip is not None:
            results[1].append(linear(normed, weights.weight_skip, weights.bias_skip))
        if keep:
            kept.append(hidden)
    joined = tuple(_join(parts).unflatten(0, x.shape[:2]) for parts in results if parts)
    return joined, _join(kept) if keep else None


def _normalise(tokens: Tensor, eps: float, weights: _Weights) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised tokens, and the mean and inverse deviation of each."""
    return torch.native_layer_norm(tokens, tokens.shape[-1:], weights.gain, weights.shift, eps)


def _join(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, *flat: Tensor) -> tuple[Tensor, ...]:
        weights = _Weights(*flat).to_compute(compute_dtype(x))
        step, keep = mlp_plan(x.device.type, x[..., 0].numel(), weights.weight1.shape, needs_grad=True)
        results, hidden = _forward(x, eps, weights, step, keep)
        ctx.save_for_backward(x, hidden, *flat)
        ctx.eps, ctx.step, ctx.dtype = eps, step, weights.weight1.dtype
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, kept, *flat = ctx.saved_tensors
        weights = _Weights(*flat).to_compute(ctx.dtype)
        into_x = torch.empty_like(x, memory_format=torch.contiguous_format)
        sums: list[Tensor | None] = [None] * len(flat)
        pieces = [tensor.flatten(0, 1).split(ctx.step) for tensor in (x, into_x, *grads)]
        for number, (part, into_part, grad, *skip_grad) in enumerate(zip(*pieces, strict=True)):
            normed, mean, scale = _normalise(part, ctx.eps, weights)
            normed = normed.to(ctx.dtype)
            hidden = linear(normed, weights.weight1, weights.bias1) if kept is None else kept.split(ctx.step)[number]
            into_hidden = torch.ops.aten.gelu_backward(input_gradient(grad, weights.weight2), hidden)
            into_normed = input_gradient(into_hidden, weights.weight1)
            parts = [
                *_linear_gradients(into_hidden, normed),
                *_linear_gradients(grad, F.gelu(hidden)),
            ]
            if skip_grad:
                assert weights.weight_skip is not None
                into_normed += input_gradient(skip_grad[0], weights.weight_skip)
                parts += _linear_gradients(skip_grad[0], normed)
            into_tokens, *into_norm = torch.ops.aten.native_layer_norm_backward(
                into_normed.to(part.dtype), part, part.shape[-1:], mean, scale, weights.gain, weights.shift, [True] * 3
            )
            into_part.copy_(into_tokens)
            for place, into in enumerate((*into_norm, *parts)):
                total = sums[place]
                # In float32 whatever the precision: the sum runs over all parts.
                sums[place] = into.float() if total is None else total.add_(into)
        return (
            into_x,
            None,
            *(total if total is None else total.to(w.dtype) for total, w in zip(sums, flat, strict=True)),
        )


def _linear_gradients(grad: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the weight [O, C] and of the bias [O] of a linear map of tokens [N, C], from that of its result [N, O]."""
    return grad.t() @ tokens, grad.sum(dim=0, dtype=torch.float32)
