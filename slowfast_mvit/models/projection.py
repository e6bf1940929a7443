"""Linear maps of normalised tokens, of which the backward pass keeps the tokens alone.

Letters: B batch, N tokens, C channels, M rows of a selection. A norm costs little to compute again, and its result would
take as much memory as the tokens themselves.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from slowfast_mvit.models.kernels import bias_gradient, compute_dtype, input_gradient, linear, weight_gradient
from slowfast_mvit.models.normalise import normalise, normalise_backward


class Linear(NamedTuple):
    """A linear map: weight [O, C], bias [O] or None, and the tokens that it is of (int64 [M], distinct; None: all)."""

    weight: Tensor
    bias: Tensor | None
    rows: Tensor | None = None


def project(x: Tensor, norm: nn.LayerNorm, maps: Sequence[Linear]) -> Iterator[Tensor]:
    """Each of ``maps`` of the normalised tokens ``x`` [B, N, C], one after the other: [B, N or M, O].

    Without gradients each is made when it is asked for, so that what is made of one can replace it before the next.
    """
    flat = [tensor for map_ in maps for tensor in map_]
    trained = any(tensor is not None and tensor.requires_grad for tensor in (x, norm.weight, norm.bias, *flat))
    # A compiler makes its own plan of what to keep.
    if torch.compiler.is_compiling() or not torch.is_grad_enabled() or not trained:
        normed = norm(x).to(compute_dtype(x))  # once for all maps
        made = (linear(_select(normed, rows), weight, bias) for weight, bias, rows in maps)
        return iter(tuple(made)) if torch.compiler.is_compiling() else made
    return iter(_Project.apply(x, norm.weight, norm.bias, norm.eps, *flat))


def _select(tokens: Tensor, rows: Tensor | None) -> Tensor:
    return tokens if rows is None else tokens.index_select(1, rows)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, shift: Tensor, eps: float, *flat: Tensor | None
    ) -> tuple[Tensor, ...]:
        normed, mean, scale = normalise(x, gain, shift, eps)
        normed = normed.to(compute_dtype(x))  # once for all maps
        ctx.save_for_backward(x, gain, shift, mean, scale, *flat)
        ctx.eps = eps
        return tuple(linear(_select(normed, map_.rows), map_.weight, map_.bias) for map_ in _linears(flat))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, shift, mean, scale, *flat = ctx.saved_tensors
        dtype, of_norm, of_flat = grads[0].dtype, ctx.needs_input_grad[:3], ctx.needs_input_grad[4:]
        normed = normalise(x, gain, shift, ctx.eps)[0].to(dtype)
        into_normed: Tensor | None = None
        into_flat: list[Tensor | None] = [None] * len(flat)
        for place, (grad, (weight, _, rows)) in enumerate(zip(grads, _linears(flat), strict=True)):
            if any(of_norm):
                part = input_gradient(grad, weight.to(dtype))
                if rows is None:
                    into_normed = part if into_normed is None else into_normed.add_(part)
                else:
                    into_normed = torch.zeros_like(normed) if into_normed is None else into_normed
                    into_normed[:, rows] += part
            rowwise = grad.flatten(0, 1)
            if of_flat[3 * place]:
                into_flat[3 * place] = weight_gradient(rowwise, _select(normed, rows).flatten(0, 1))
            if of_flat[3 * place + 1]:
                into_flat[3 * place + 1] = bias_gradient(rowwise)
        if into_normed is None:
            return None, None, None, None, *into_flat
        return *normalise_backward(into_normed, x, mean, scale, gain, shift, of_norm), None, *into_flat


def _linears(flat: Sequence[Any]) -> list[Linear]:
    return [Linear(*flat[i : i + 3]) for i in range(0, len(flat), 3)]
