"""Depthwise convolution of a channels-last volume with a backward pass of our own for the CPU.

oneDNN's backward pass of it takes ten times as long as its forward pass. The gradient of the input is itself a depthwise
convolution, of the output's gradient spread out by the stride with the kernel turned round; that of the kernel is a product and
a sum for each of its places.

Letters: B batch, C channels; an extent is (H, W) or (T, H, W).
"""

import itertools
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_mvit.models.layout import Axes

_CONV = {2: F.conv2d, 3: F.conv3d}
_NUMBERS_AT_A_TIME = 2**20  # of a product that is to be summed: 4 MiB in float32, which stay in the cache


def depthwise_conv(volume: Tensor, weight: Tensor, stride: Axes) -> Tensor:
    """Volume [B, C, *extent] by kernels [C, 1, *kernel] of odd sizes, padded by half a kernel -> [B, C, *extent']."""
    needs_grad = torch.is_grad_enabled() and (volume.requires_grad or weight.requires_grad)
    if volume.device.type != "cpu" or not needs_grad or torch.compiler.is_compiling():
        return _convolve(volume, weight, stride)
    return _DepthwiseConv.apply(volume, weight, stride)


def _convolve(volume: Tensor, weight: Tensor, stride: Axes) -> Tensor:
    padding = [kernel // 2 for kernel in weight.shape[2:]]
    return _CONV[len(stride)](volume, weight, stride=stride, padding=padding, groups=len(weight))


class _DepthwiseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, volume: Tensor, weight: Tensor, stride: Axes) -> Tensor:
        ctx.save_for_backward(volume, weight)
        ctx.stride = stride
        return _convolve(volume, weight, stride)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        volume, weight = ctx.saved_tensors
        into_volume = _input_gradient(grad, weight, ctx.stride, volume) if ctx.needs_input_grad[0] else None
        into_weight = _kernel_gradient(grad, volume, ctx.stride, weight) if ctx.needs_input_grad[1] else None
        return into_volume, into_weight, None


def _input_gradient(grad: Tensor, weight: Tensor, stride: Axes, volume: Tensor) -> Tensor:
    spread = grad
    if prod(stride) > 1:
        places = (slice(None), *(slice(None, None, step) for step in stride))
        last = grad.new_zeros(volume.movedim(1, -1).shape)
        last[places] = grad.movedim(1, -1)
        spread = last.movedim(-1, 1)
    return _convolve(spread, weight.flip(*range(2, weight.dim())), (1,) * len(stride))


def _kernel_gradient(grad: Tensor, volume: Tensor, stride: Axes, weight: Tensor) -> Tensor:
    kernel = weight.shape[2:]
    around = [reach for size in reversed(kernel) for reach in (size // 2,) * 2]
    padded = F.pad(volume.movedim(1, -1), [0, 0, *around])
    grad = grad.movedim(1, -1)  # [B, *extent', C]
    extent = grad.shape[1:-1]
    # A few rows of the first axis at a time.
    step = max(1, _NUMBERS_AT_A_TIME // max(1, prod(extent[1:]) * grad.shape[-1]))
    buffer = grad.new_empty((min(step, extent[0]), *extent[1:], grad.shape[-1]))
    into_weight = grad.new_zeros(prod(kernel), grad.shape[-1])
    for sample, start in itertools.product(range(len(grad)), range(0, extent[0], step)):
        rows = grad[sample, start : start + step]
        product = buffer[: len(rows)]
        for place, offsets in enumerate(itertools.product(*map(range, kernel))):
            first = offsets[0] + start * stride[0]
            windows = [slice(first, first + (len(rows) - 1) * stride[0] + 1, stride[0])]
            for offset, size, jump in zip(offsets[1:], extent[1:], stride[1:], strict=True):
                windows.append(slice(offset, offset + (size - 1) * jump + 1, jump))
            torch.mul(padded[sample][tuple(windows)], rows, out=product)
            into_weight[place] += product.flatten(0, -2).sum(dim=0)
    return into_weight.t().reshape(weight.shape)
