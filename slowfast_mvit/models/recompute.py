"""Keeping less for the backward pass: what is cheap to compute is computed again."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_Result = TypeVar("_Result", Tensor, tuple[Tensor, ...])


def recompute(function: Callable[..., _Result], *inputs: Tensor) -> _Result:
    """``function(*inputs)``, of which only ``inputs`` are kept for the backward pass.

    It is run again there up to the last tensor that its backward pass needs. A function that ends in a linear layer is so
    computed again but for that layer's product: a norm or an activation costs far less than the memory it would take.
    ``function`` must draw no random numbers.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():  # a compiler makes its own plan
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
