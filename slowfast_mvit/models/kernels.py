"""Which kernel does the work, by device, precision and mode: pure functions, each choice with its measurement."""

import torch


def attention_kernel(device: str, dtype: torch.dtype, *, needs_grad: bool) -> str:
    """``fused`` (no [queries, keys] tensor is made) or ``plain`` (two products and a softmax), by device type and precision."""
    if device == "cpu" and dtype == torch.bfloat16 and not needs_grad:
        return "plain"
    return "fused"


def pool_dtype(device: str, dtype: torch.dtype, *, needs_grad: bool) -> torch.dtype:
    """Precision of the pooling convolutions for tokens of ``dtype``."""
    if device == "cpu" and needs_grad:
        return torch.float32
    return dtype
