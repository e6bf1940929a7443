"""Depthwise convolution of a channels-last volume with a backward pass of our own for the CPU.

oneDNN's backward pass of one over volumes takes ten times as long as its forward pass. Here the gradient of the input is made
of depthwise convolutions of the output's gradient, one for all inputs that meet the same places of the kernel, and that of the
kernel is made as of pictures, for which oneDNN is fast.

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

from slowfast_mvit.models.kernels import channels_first, conv_dtype
from slowfast_mvit.models.layout import Axes

_CONV = {2: F.conv2d, 3: F.conv3d}


def depthwise_conv(volume: Tensor, weight: Tensor, stride: Axes) -> Tensor:
    """Volume [B, C, *extent] by kernels [C, 1, *kernel] of odd sizes, padded by half a kernel -> [B, C, *extent'].

    The result has the volume's precision. On a CPU, the gradient of the kernels, a sum over all places, is made in float32 at
    least.
    """
    needs_grad = torch.is_grad_enabled() and (volume.requires_grad or weight.requires_grad)
    device = volume.device.type
    if device == "cpu" and needs_grad and not torch.compiler.is_compiling():
        return _DepthwiseConv.apply(volume, weight, stride)
    dtype = conv_dtype(device, volume.dtype, needs_grad=needs_grad)
    inputs = volume.contiguous() if channels_first(device, len(stride)) else volume
    return _convolve(inputs.to(dtype), weight.to(dtype), stride).to(volume.dtype)


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
        wanted, stride = ctx.needs_input_grad, ctx.stride
        into_volume = _input_gradient(grad, weight.to(grad.dtype), stride, volume) if wanted[0] else None
        into_weight = _kernel_gradient(grad, volume, stride, weight) if wanted[1] else None
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
    if prod(stride) == 1:
        return _convolve(grad, weight.flip(*range(2, weight.dim())), stride)
    numbers = zip(volume.shape[2:], grad.shape[2:], weight.shape[2:], stride, strict=True)
    axes = [list(_phases(*axis)) for axis in numbers]
    into_volume = torch.empty_like(volume, dtype=grad.dtype)
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
        place.copy_(made[:, :, *(phase.kept for phase in phases)])
    return into_volume


def _kernel_gradient(grad: Tensor, volume: Tensor, stride: Axes, weight: Tensor) -> Tensor:
    precise = torch.promote_types(grad.dtype, torch.float32)
    weight = weight.to(precise)
    if len(stride) == 2:
        return _kernel_gradient_of_pictures(grad.to(precise), volume.to(precise), stride, weight)
    # The frames of a sample are pictures: a kernel of three axes is one of two for each of its places in time.
    into_weight, size = torch.zeros_like(weight), weight.shape[2]
    for grads, frames in zip(grad.transpose(1, 2), volume.transpose(1, 2), strict=True):
        grads, frames = grads.to(precise), frames.to(precise)
        for place in range(size):
            offset, step = place - size // 2, stride[0]
            met = _meeting(len(grads), len(frames), step, offset)
            if met:
                inputs = frames[met.start * step + offset : (met.stop - 1) * step + offset + 1 : step]
                kernel = weight[:, :, place]
                into_weight[:, :, place] += _kernel_gradient_of_pictures(
                    grads[met.start : met.stop], inputs, stride[1:], kernel
                )
    return into_weight


def _kernel_gradient_of_pictures(grad: Tensor, pictures: Tensor, stride: Axes, weight: Tensor) -> Tensor:
    # 56 x 56 tokens of 8 frames and 96 channels, twice (Intel Xeon): 6 ms, where oneDNN takes 49 ms for volumes.
    padding, no, of_kernel = [size // 2 for size in weight.shape[2:]], (0,) * len(stride), (False, True, False)
    return torch.ops.aten.convolution_backward(
        grad, pictures, weight, None, stride, padding, (1,) * len(stride), False, no, len(weight), of_kernel
    )[1]


def _meeting(pooled: int, extent: int, jump: int, offset: int) -> range:
    """Places of a pooled axis whose input at ``offset`` from their centre lies on the axis and not in the padding."""
    return range(max(0, -(offset // jump)), min(pooled, (extent - 1 - offset) // jump + 1))
