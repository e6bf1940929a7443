"""The MLP of normalised tokens, some at a time, of which the backward pass keeps the tokens and at most the hidden layer.

The hidden layer is four times as wide as the tokens. Where it is narrow, the processor waits for memory and not for products:
computing it again costs less than writing it and reading it back. So it is made a part at a time, forward and backward.

Letters: B batch, N tokens, C channels, H hidden channels, O output channels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from slowfast_mvit.models.kernels import bias_gradient, compute_dtype, input_gradient, linear, mlp_plan, weight_gradient
from slowfast_mvit.models.normalise import normalise, normalise_backward, stock


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
    # A compiler makes its own plan of what to keep, and of what fits into the cache.
    if torch.compiler.is_compiling() or not stock(norm, fc1, fc2, skip):
        normed = norm(x)
        out = fc2(F.gelu(fc1(normed)))
        return (out,) if skip is None else (out, skip(normed))
    flat: tuple[Tensor, ...] = (norm.weight, norm.bias, fc1.weight, fc1.bias, fc2.weight, fc2.bias)
    if skip is not None:
        flat = (*flat, skip.weight, skip.bias)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *flat)):
        return _Mlp.apply(x, norm.eps, *flat)
    weights = _Weights(*flat).to_compute(compute_dtype(x))
    return _forward(x, norm.eps, weights, mlp_plan(x.device.type, x[..., 0].numel(), fc1.weight.shape).step)[0]


def _forward(x: Tensor, eps: float, weights: _Weights, step: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """The results, and the hidden layer of the last part."""
    dtype, tokens = weights.weight1.dtype, x.flatten(0, 1)
    layers = [weights.weight2] if weights.weight_skip is None else [weights.weight2, weights.weight_skip]
    # Each part is copied to its place while it is in the cache.
    results = [] if len(tokens) <= step else [tokens.new_empty(len(tokens), len(w), dtype=dtype) for w in layers]
    for place, part in enumerate(tokens.split(step)):
        normed = normalise(part, weights.gain, weights.shift, eps)[0].to(dtype)
        hidden = linear(normed, weights.weight1, weights.bias1)
        made = [linear(F.gelu(hidden), weights.weight2, weights.bias2)]
        if weights.weight_skip is not None:
            made.append(linear(normed, weights.weight_skip, weights.bias_skip))
        if results:
            for result, rows in zip(results, made, strict=True):
                result[place * step :][: len(rows)] = rows
    return tuple(result.unflatten(0, x.shape[:2]) for result in results or made), hidden


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, *flat: Tensor) -> tuple[Tensor, ...]:
        weights = _Weights(*flat).to_compute(compute_dtype(x))
        step, keep = mlp_plan(x.device.type, x[..., 0].numel(), weights.weight1.shape, needs_grad=True)
        results, hidden = _forward(x, eps, weights, step)
        ctx.save_for_backward(x, hidden if keep else None, *flat)
        ctx.eps, ctx.step, ctx.dtype = eps, step, weights.weight1.dtype
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, kept, *flat = ctx.saved_tensors
        weights = _Weights(*flat).to_compute(ctx.dtype)
        wanted = (ctx.needs_input_grad[0], *ctx.needs_input_grad[2:])
        into_x = torch.empty_like(x, memory_format=torch.contiguous_format) if wanted[0] else x
        sums: list[Tensor | None] = [None] * len(flat)

        def add(place: int, make: Callable[..., Tensor], *operands: Tensor) -> None:
            """Add a part's gradient to that of ``flat[place]``, in float32 at least: the sum runs over all parts."""
            if wanted[1 + place]:
                part, total = make(*operands), sums[place]
                precise = part.to(torch.promote_types(part.dtype, torch.float32))
                sums[place] = precise if total is None else total.add_(precise)

        pieces = [tensor.flatten(0, 1).split(ctx.step) for tensor in (x, into_x, *grads)]
        for part, into_part, grad, *skip_grads in zip(*pieces, strict=True):
            normed, mean, scale = normalise(part, weights.gain, weights.shift, ctx.eps)
            normed = normed.to(ctx.dtype)
            hidden = linear(normed, weights.weight1, weights.bias1) if kept is None else kept
            add(4, lambda grad, hidden: weight_gradient(grad, F.gelu(hidden)), grad, hidden)
            add(5, bias_gradient, grad)
            for skip_grad in skip_grads:
                add(6, weight_gradient, skip_grad, normed)
                add(7, bias_gradient, skip_grad)
            if not any(wanted[:5]):
                continue
            into_hidden = torch.ops.aten.gelu_backward(input_gradient(grad, weights.weight2), hidden)
            add(2, weight_gradient, into_hidden, normed)
            add(3, bias_gradient, into_hidden)
            if not any(wanted[:3]):
                continue
            into_normed = input_gradient(into_hidden, weights.weight1)
            for skip_grad in skip_grads:
                assert weights.weight_skip is not None
                into_normed += input_gradient(skip_grad, weights.weight_skip)
            into_tokens, into_gain, into_shift = normalise_backward(
                into_normed, part, mean, scale, weights.gain, weights.shift, wanted[:3]
            )
            if into_tokens is not None:
                into_part.copy_(into_tokens)
            for place, into in enumerate((into_gain, into_shift)):
                if into is not None:
                    add(place, torch.clone, into)
        cast = (total if total is None else total.to(tensor.dtype) for total, tensor in zip(sums, flat, strict=True))
        return into_x if wanted[0] else None, None, *cast
