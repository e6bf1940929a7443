"""Which kernel does the work, by device, precision and mode: pure functions, each choice with its measurement.

Measured on 2 cores of an AMD EPYC with AVX-512 and bfloat16 instructions, torch 2.14, for the layers of S 16x4.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Numbers of an MLP's hidden layer. Layers over the first are computed by as many at a time as the second says, 8 MiB in
# float32, which stay in a processor's cache. Forward, the first block takes 24 ms instead of 53 (bfloat16: 14 instead of 28);
# forward and backward, 111 instead of 150 (65 instead of 70), the second stage's 165 instead of 203 (98 instead of 114).
# Smaller ones gain nothing.
HIDDEN_AT_ONCE, HIDDEN_AT_A_TIME = 2**22, 2**21
# Channels up to which such a layer is computed again in the backward pass. Wider ones are kept, and computed at once: a third
# product costs more than the way to the memory (384 channels: 125 ms at once, 152 in parts and again).
NARROW = 192
# Tokens from which the gradient of a linear layer's input is computed by the faster of the kernels for forward passes.
MANY_TOKENS = 1024


# Numbers that a block projects its input to at once, of samples and of keys and values: 20 MiB in float32. The allocator
# hands larger tensors back to the system, which clears their pages anew each time, and a cache holds none of them.
PROJECTED_AT_ONCE = 5 * 2**20


def samples_at_a_time(device: str, num_tokens: int, projected: int) -> int:
    """Samples of a batch that a block computes together, by its tokens and the channels that it projects each to."""
    # A batch of 8 images: the second block takes 103 ms instead of 124, the fourth 83 instead of 95; with samples alone, the
    # last ones take twice as long as together.
    return max(1, PROJECTED_AT_ONCE // max(1, num_tokens * projected)) if device == "cpu" else 2**31


def kv_together(device: str, numbers: int) -> bool:
    """Whether keys and values, of so many numbers before their pool, are projected and pooled together."""
    # An image of 800 x 1216 in the backbone of detectors: made apart, its tensors take 159 MiB at most instead of 223, and the
    # pass as long. On a GPU, two calls in one.
    return device != "cpu" or numbers <= PROJECTED_AT_ONCE


class MlpPlan(NamedTuple):
    """How an MLP is computed: tokens at a time, and whether the hidden layer is kept for the backward pass."""

    step: int
    keep: bool


def mlp_plan(device: str, num_tokens: int, weight1: Sequence[int], *, needs_grad: bool = False) -> MlpPlan:
    """The plan for ``num_tokens`` tokens and a first layer [H, C]."""
    hidden, channels = weight1
    keep = needs_grad and channels > NARROW
    if device != "cpu" or num_tokens * hidden <= HIDDEN_AT_ONCE or keep:
        return MlpPlan(max(1, num_tokens), keep=needs_grad)
    return MlpPlan(max(1, HIDDEN_AT_A_TIME // hidden), keep=False)


def attention_kernel(device: str, dtype: torch.dtype, *, needs_grad: bool) -> str:
    """How attention is computed, by device type, precision of its operands, and whether a backward pass follows.

    ``fused``: one kernel, no tensor of queries x keys. ``chunked``: products and a softmax of some heads or queries at a time.
    """
    # bfloat16 on a CPU: the fused kernel takes 274 ms for the 16 blocks, parts 134 ms; backward, for two clips, 914 against 663
    # ms. float32 on an Intel Xeon: the whole pass takes 803 ms against 712, of 8 images 766 against 725; backward, the kernels
    # take the same.
    chunked = dtype == torch.bfloat16 or (dtype == torch.float32 and not needs_grad)
    return "chunked" if device == "cpu" and chunked else "fused"


def linear_kernel(device: str, dtype: torch.dtype) -> str:
    """``matmul``, or ``convolution`` of size 1 over the tokens as a channels-last picture."""
    # float32 on a CPU: 446 ms against 508 ms. oneDNN's convolution adds the bias as it writes, where the product first fills
    # its result with the bias; and it has AVX-512 kernels on processors where MKL uses none. bfloat16: 217 against 222 ms.
    return "convolution" if device == "cpu" and dtype != torch.float16 else "matmul"


def conv_dtype(device: str, dtype: torch.dtype, *, needs_grad: bool) -> torch.dtype:
    """Precision of a convolution with torch's own backward pass, for an input of ``dtype``."""
    # On a CPU, that of a depthwise convolution in bfloat16 is five times slower than in float32; and where the input has fewer
    # frames than the kernel, oneDNN leaves parts of the kernel's gradient unset (torch 2.14).
    return torch.float32 if device == "cpu" and needs_grad and dtype in (torch.bfloat16, torch.float16) else dtype


def channels_first(device: str, axes: int) -> bool:
    """Whether a depthwise convolution over so many axes has its input copied from channels last to channels first."""
    # A volume whose channels are last goes to cuDNN. On an H100 (torch 2.11), 8 clips of 8 x 56 x 56 tokens and 96 channels,
    # forward: 3.7 ms instead of 0.64, copies in and out included (bfloat16: 1.6 instead of 0.63); forward and backward: 9.0
    # instead of 2.2 (57.7 instead of 2.4). In a training step of S with 8 clips in bfloat16 that was 500 of 648 ms.
    return device == "cuda" and axes == 3


def value_width(device: str, dtype: torch.dtype, width: int, of_queries: int) -> int:
    """Channels that values of ``width`` are filled up to with zeros, where queries have ``of_queries``."""
    # The memory-efficient kernel, the only one of a GPU in float32, takes them as they are: 8.3 ms instead of 8.7 (H100, first
    # block of S, 8 clips, forward and backward). Flash attention and the CPU's kernel want one width.
    return -(-width // 8) * 8 if device == "cuda" and dtype == torch.float32 else of_queries


def aligned_width(device: str, width: int) -> int:
    """Channels that queries and keys are filled up to with zeros."""
    # The memory-efficient kernels of GPUs want multiples of 4 in float32 and of 8 in half precision; otherwise torch falls back
    # to the formula with all weights. The CPU's kernel takes any width.
    return width if device == "cpu" else -(-width // 8) * 8


def compute_dtype(x: Tensor) -> torch.dtype:
    """The precision that work on ``x`` is done in: autocast's where it is on."""
    kind = x.device.type
    on = kind != "meta" and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if on else x.dtype


def writes_in_place() -> bool:
    """Whether kernels may write into tensors that they are given: no compiler traces them, and no transform as ``vmap``."""
    return not torch.compiler.is_compiling() and not torch._C._are_functorch_transforms_active()


def no_autocast(device: str) -> AbstractContextManager[object]:
    """A context in which autocast changes nothing."""
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear map of contiguous tokens [..., C] by weight [O, C] -> [..., O]."""
    bias = None if bias is None else bias.to(x.dtype)  # a backward pass runs outside of autocast
    matmul = linear_kernel(x.device.type, x.dtype) == "matmul" or not x.numel()
    if matmul or torch.compiler.is_compiling():
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return _Linear.apply(x, weight, bias)
    return _convolve(x, weight, bias)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    picture = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)
    out = F.conv2d(picture, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], weight.shape[0])


def input_gradient(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient [..., C] of a linear map's input, from that of its result [..., O] and its weight [O, C], both of one dtype."""
    # It is a linear map itself. On a CPU in float32, 50,178 tokens from 384 to 96 channels: 19 ms instead of 29; 3,138 from 384
    # to 1536: 18 ms instead of 24. With few tokens the weight, which oneDNN puts into another order, costs more than is won.
    many = grad.shape.numel() >= MANY_TOKENS * grad.shape[-1]
    if many and linear_kernel(grad.device.type, grad.dtype) == "convolution":
        return _convolve(grad, weight.t(), None)
    return grad @ weight


def weight_gradient(grad: Tensor, tokens: Tensor) -> Tensor:
    """Gradient [O, C] of a linear map's weight, from that of its result [N, O] and its tokens [N, C]."""
    return grad.t() @ tokens


def bias_gradient(grad: Tensor) -> Tensor:
    """Gradient [O] of a linear map's bias, from that of its result [N, O]; added in float32 at least.

    It has the precision of its operand, but for float16, in which a sum of many could be too large.
    """
    # With dtype=float32, a CPU writes all of a bfloat16 gradient in float32 first. On an Intel Xeon, 3,138 tokens of 1,536
    # channels: 4.7 ms instead of 0.4.
    return grad.sum(dim=0, dtype=torch.float32 if grad.dtype == torch.float16 else grad.dtype)


class _Linear(torch.autograd.Function):
    """A convolution of size 1 whose backward pass is products: that of oneDNN's convolution is slower."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.dtype = compute_dtype(x)
        x = x.to(ctx.dtype)
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight.to(ctx.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        into_x = input_gradient(grad, weight.to(ctx.dtype)) if ctx.needs_input_grad[0] else None
        into_weight = weight_gradient(rows, x.reshape(-1, x.shape[-1])) if ctx.needs_input_grad[1] else None
        into_bias = bias_gradient(rows) if ctx.needs_input_grad[2] else None
        # The engine gives each the precision of its own.
        return into_x, into_weight, into_bias
