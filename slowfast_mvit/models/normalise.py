"""Layer norm as functions, for backward passes of our own; and which layers may be used through their parameters alone.

Letters: N tokens, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def as_precise(x: Tensor, gain: Tensor) -> Tensor:
    """Half-precision tokens meet float32 parameters. On a CPU the kernel takes both as they are, on a GPU it refuses."""
    return x if x.device.type == "cpu" else x.to(gain.dtype)


def normalise(x: Tensor, gain: Tensor, shift: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised tokens [..., C], and the mean and inverse deviation of each."""
    return torch.native_layer_norm(as_precise(x, gain), x.shape[-1:], gain, shift, eps)


def normalise_backward(
    grad: Tensor, x: Tensor, mean: Tensor, scale: Tensor, gain: Tensor, shift: Tensor, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the tokens, of the gain and of the shift, as far as ``wanted``, from that of the normalised tokens."""
    tokens = as_precise(x, gain)
    into_x, into_gain, into_shift = torch.ops.aten.native_layer_norm_backward(
        grad.to(tokens.dtype), tokens, x.shape[-1:], mean, scale, gain, shift, list(wanted)
    )
    return (into_x.to(x.dtype) if wanted[0] else None), into_gain, into_shift


def stock(*layers: nn.Module | None) -> bool:
    """Whether layers are torch's own and nobody listens to them: only then may their parameters stand for them.

    Adapters (LoRA), quantised layers and layers with hooks must be called.
    """
    return all(
        type(layer) in (nn.Linear, nn.LayerNorm)
        and not (layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)
        for layer in layers
        if layer is not None
    )
