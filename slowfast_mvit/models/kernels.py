"""Which kernel does the work, by device, precision and mode: pure functions, each choice with its measurement.

Measured on 2 cores of an AMD EPYC with AVX-512 and bfloat16 instructions, torch 2.14, for the layers of S 16x4.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

# Numbers of an MLP's hidden layer, without a backward pass. Layers over the first are computed by as many at a time as the
# second says, 4 MiB in float32, which stay in a processor's cache: the first block takes 24 ms instead of 53 (bfloat16: 14
# instead of 28). Smaller ones gain nothing.
HIDDEN_AT_ONCE, HIDDEN_AT_A_TIME = 2**22, 2**20


def attention_kernel(device: str, dtype: torch.dtype) -> str:
    """How attention is computed, by device type and precision of its operands.

    ``fused``: one kernel, no tensor of queries x keys. ``chunked``: products and a softmax over 1024 queries at a time.
    """
    # bfloat16 on a CPU: the fused kernel takes 243 ms for the 16 blocks, 1024 queries at a time 123 ms; a training step of two
    # clips takes 4.0 s instead of 5.2 s. In float32 it is 256 against 279 ms, and 7.0 against 8.0 s.
    return "chunked" if device == "cpu" and dtype == torch.bfloat16 else "fused"


def linear_kernel(device: str, dtype: torch.dtype, *, needs_grad: bool) -> str:
    """``matmul``, or ``convolution`` of size 1 over the tokens as a channels-last picture."""
    # float32 on a CPU: 446 ms against 508 ms. oneDNN's convolution adds the bias as it writes, where the product first fills
    # its result with the bias; and it has AVX-512 kernels on processors where MKL uses none. bfloat16: 217 against 222 ms.
    # A backward pass through oneDNN's is slower than through the product.
    return "convolution" if device == "cpu" and dtype != torch.float16 and not needs_grad else "matmul"


def conv_dtype(device: str, dtype: torch.dtype, *, needs_grad: bool) -> torch.dtype:
    """Precision of the convolutions, of the stem and of the pools, for an input of ``dtype``."""
    # On a CPU the backward pass of a depthwise convolution in bfloat16 is five times slower than in float32; and where the
    # input has fewer frames than the kernel, oneDNN leaves parts of the kernel's gradient unset (torch 2.14).
    return torch.float32 if device == "cpu" and needs_grad else dtype


def compute_dtype(x: Tensor) -> torch.dtype:
    """The precision that work on ``x`` is done in: autocast's where it is on."""
    kind = x.device.type
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if on else x.dtype


def no_autocast(device: str) -> AbstractContextManager[object]:
    """A context in which autocast changes nothing."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear map of contiguous tokens [..., C] by weight [O, C] -> [..., O]."""
    needs_grad = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if torch.compiler.is_compiling() or linear_kernel(x.device.type, x.dtype, needs_grad=needs_grad) == "matmul":
        return F.linear(x, weight, bias)
    picture = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)
    out = F.conv2d(picture, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], weight.shape[0])
