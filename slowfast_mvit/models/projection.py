"""Linear maps of normalised tokens, of which the backward pass keeps the tokens alone.

Letters: B batch, N tokens, C channels, M rows of a selection. A norm costs little to compute again, and its result would
take as much memory as the tokens themselves.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from slowfast_mvit.models.kernels import compute_dtype, input_gradient, linear


class Linear(NamedTuple):
    """A linear map: weight [O, C], bias [O] or None, and the tokens that it is of (int64 [M], distinct; None: all)."""

    weight: Tensor
    bias: Tensor | None
    rows: Tensor | None = None


def project(x: Tensor, norm: nn.LayerNorm, maps: Sequence[Linear]) -> tuple[Tensor, ...]:
    """Each of ``maps`` of the normalised tokens ``x`` [B, N, C]: a tuple of [B, N or M, O]."""
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():  # a compiler makes its own plan of what to keep
        normed = norm(x).to(compute_dtype(x))  # once for all maps
        return tuple(linear(_select(normed, rows), weight, bias) for weight, bias, rows in maps)
    flat = [tensor for map_ in maps for tensor in map_]
    return _Project.apply(x, norm.weight, norm.bias, norm.eps, *flat)


def _select(tokens: Tensor, rows: Tensor | None) -> Tensor:
    return tokens if rows is None else tokens.index_select(1, rows)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, shift: Tensor, eps: float, *flat: Tensor | None
    ) -> tuple[Tensor, ...]:
        normed, mean, scale = torch.native_layer_norm(x, x.shape[-1:], gain, shift, eps)
        normed = normed.to(compute_dtype(x))  # once for all maps
        ctx.save_for_backward(x, gain, shift, mean, scale, *flat)
        ctx.eps = eps
        return tuple(linear(_select(normed, map_.rows), map_.weight, map_.bias) for map_ in _linears(flat))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, shift, mean, scale, *flat = ctx.saved_tensors
        dtype = grads[0].dtype
        normed = torch.native_layer_norm(x, x.shape[-1:], gain, shift, ctx.eps)[0].to(dtype)
        into_normed: Tensor | None = None
        into_flat: list[Tensor | None] = []
        for grad, (weight, bias, rows) in zip(grads, _linears(flat), strict=True):
            part = input_gradient(grad, weight.to(dtype))
            if rows is None:
                into_normed = part if into_normed is None else into_normed.add_(part)
            else:
                into_normed = torch.zeros_like(normed) if into_normed is None else into_normed
                into_normed[:, rows] += part
            rowwise = grad.flatten(0, 1)
            into_flat.append((rowwise.t() @ _select(normed, rows).flatten(0, 1)).to(weight.dtype))
            into_flat.append(None if bias is None else rowwise.sum(dim=0, dtype=bias.dtype))
            into_flat.append(None)
        assert into_normed is not None
        into_x, into_gain, into_shift = torch.ops.aten.native_layer_norm_backward(
            into_normed.to(x.dtype), x, x.shape[-1:], mean, scale, gain, shift, [True, True, True]
        )
        return into_x, into_gain, into_shift, None, *into_flat


def _linears(flat: Sequence[Any]) -> list[Linear]:
    return [Linear(*flat[i : i + 3]) for i in range(0, len(flat), 3)]
