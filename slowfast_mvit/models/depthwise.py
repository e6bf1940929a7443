"""Depthwise convolution of a channels-last volume with a backward pass of our own for the CPU.

oneDNN's backward pass of it takes ten times as long as its forward pass. The gradient of the input is made of depthwise
convolutions of the output's gradient, one for all inputs that meet the same places of the kernel. That of the kernel is a
product and a sum for each of its places; with a stride of 1, oneDNN's is as fast.

Letters: B batch, C channels; an extent is (H, W) or (T, H, W).
"""

import itertools
from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from slowfast_mvit.models.kernels import conv_dtype
from slowfast_mvit.models.layout import Axes

_CONV = {2: F.conv2d, 3: F.conv3d}
_NUMBERS_AT_A_TIME = 2**20  # of a product that is to be summed: 4 MiB in float32, which stay in the cache


def depthwise_conv(volume: Tensor, weight: Tensor, stride: Axes) -> Tensor:
    """Volume [B, C, *extent] by kernels [C, 1, *kernel] of odd sizes, padded by half a kernel -> [B, C, *extent'].

    Computed in the volume's precision; the gradient of the kernels, a sum over all places, in float32 at least.
    """
    needs_grad = torch.is_grad_enabled() and (volume.requires_grad or weight.requires_grad)
    device = volume.device.type
    if device == "cpu" and needs_grad and not torch.compiler.is_compiling():
        return _DepthwiseConv.apply(volume, weight, stride)
    dtype = conv_dtype(device, volume.dtype, needs_grad=needs_grad)
    return _convolve(volume.to(dtype), weight.to(dtype), stride).to(volume.dtype)


def _convolve(volume: Tensor, weight: Tensor, stride: Axes) -> Tensor:
    padding = [kernel // 2 for kernel in weight.shape[2:]]
    return _CONV[len(stride)](volume, weight, stride=stride, padding=padding, groups=len(weight))


class _DepthwiseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, volume: Tensor, weight: Tensor, stride: Axes) -> Tensor:
        ctx.save_for_backward(volume, weight)
        ctx.stride = stride
        return _convolve(volume, weight.to(volume.dtype), stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        volume, weight = ctx.saved_tensors
        into_volume = (
            _input_gradient(grad, weight.to(grad.dtype), ctx.stride, volume) if ctx.needs_input_grad[0] else None
        )
        into_weight = None
        if ctx.needs_input_grad[1]:
            precise = torch.promote_types(grad.dtype, torch.float32)
            into_weight = _kernel_gradient(grad.to(precise), volume.to(precise), ctx.stride, weight).to(weight.dtype)
        return into_volume, into_weight, None


class _Phase(NamedTuple):
    """Every so many places of an axis: which of them, and how they come from the gradient of the output.

    Attributes:
        places: of the axis.
        taps: of the kernel that meet them, in the order in which they meet the gradient.
        padding: of the gradient, for their convolution.
        kept: of its result.
    """

    places: slice
    taps: list[int]
    padding: int
    kept: slice


def _phases(extent: int, pooled: int, size: int, stride: int) -> Iterator[_Phase]:
    """The phases of an axis of ``extent`` that a kernel of ``size`` has pooled to ``pooled``."""
    for first in range(min(stride, extent)):
        # Output i reads input stride * i + tap - size // 2: input stride * a + first meets output a + offset.
        offsets = {
            (first + size // 2 - tap) // stride: tap for tap in range(size) if (first + size // 2 - tap) % stride == 0
        }
        count, low, high = -(-(extent - first) // stride), min(offsets, default=0), max(offsets, default=0)
        padding = max(0, -low, high + count - pooled)
        taps = [offsets[offset] for offset in sorted(offsets)]
        yield _Phase(slice(first, None, stride), taps, padding, slice(padding + low, padding + low + count))


def _input_gradient(grad: Tensor, weight: Tensor, stride: Axes, volume: Tensor) -> Tensor:
    into_volume = torch.empty_like(volume, dtype=grad.dtype)
    axes = [
        list(_phases(*numbers))
        for numbers in zip(volume.shape[2:], grad.shape[2:], weight.shape[2:], stride, strict=True)
    ]
    for phases in itertools.product(*axes):
        kernel = weight
        for axis, phase in enumerate(phases, start=2):
            kernel = kernel.index_select(axis, torch.tensor(phase.taps, dtype=torch.int64))
        place = into_volume[:, :, *(phase.places for phase in phases)]
        if not kernel.numel():  # a stride that steps over inputs
            place.zero_()
            continue
        padding = [phase.padding for phase in phases]
        made = _CONV[len(stride)](grad, kernel, padding=padding, groups=len(weight))
        if all(len(axis) == 1 for axis in axes):  # it is the whole
            return made
        place.copy_(made[:, :, *(phase.kept for phase in phases)])
    return into_volume


def _kernel_gradient(grad: Tensor, volume: Tensor, stride: Axes, weight: Tensor) -> Tensor:
    kernel = weight.shape[2:]
    if prod(stride) == 1 and all(extent >= size for extent, size in zip(grad.shape[2:], kernel, strict=True)):
        padding, no = [size // 2 for size in kernel], (0,) * len(stride)
        of_kernel = (False, True, False)
        return torch.ops.aten.convolution_backward(
            grad, volume, weight.to(grad.dtype), None, stride, padding, stride, False, no, len(weight), of_kernel
        )[1]
    grad, volume = grad.movedim(1, -1), volume.movedim(1, -1)  # [B, *extent, C]
    extent, extents = grad.shape[1:-1], tuple(zip(grad.shape[1:-1], volume.shape[1:-1], stride, strict=True))
    # A few rows of the first axis at a time, which stay in the cache for all places of the kernel.
    row = prod(extent[1:]) * grad.shape[-1]
    step = min(extent[0], max(1, _NUMBERS_AT_A_TIME // max(1, row)))
    buffer, ones = grad.new_empty(step * row), grad.new_ones(1, step * prod(extent[1:]))
    into_weight = grad.new_zeros(prod(kernel), grad.shape[-1])
    places = [
        (offsets, [_meeting(*axis, offset) for axis, offset in zip(extents, offsets, strict=True)])
        for offsets in itertools.product(*(range(-(size // 2), size // 2 + 1) for size in kernel))
    ]
    for sample, start in itertools.product(range(len(grad)), range(0, extent[0], step)):
        for place, (offsets, (first, *others)) in enumerate(places):
            ranges = [range(max(first.start, start), min(first.stop, start + step)), *others]
            if not all(ranges):
                continue
            outputs = tuple(slice(axis.start, axis.stop) for axis in ranges)
            inputs = tuple(
                slice(axis.start * jump + offset, (axis.stop - 1) * jump + offset + 1, jump)
                for axis, jump, offset in zip(ranges, stride, offsets, strict=True)
            )
            shape = (*map(len, ranges), grad.shape[-1])
            product = buffer[: prod(shape)].view(shape)
            torch.mul(volume[sample][inputs], grad[sample][outputs], out=product)
            rows = product.flatten(0, -2)
            into_weight[place] += torch.mm(ones[:, : len(rows)], rows)[0]
    return into_weight.t().reshape(weight.shape)


def _meeting(pooled: int, extent: int, jump: int, offset: int) -> range:
    """Places of a pooled axis whose input at ``offset`` from their centre lies on the axis and not in the padding."""
    return range(max(0, -(offset // jump)), min(pooled, (extent - 1 - offset) // jump + 1))
