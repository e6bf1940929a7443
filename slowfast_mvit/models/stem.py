"""The patch embedding: one strided convolution over overlapping patches."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_mvit.models.kernels import compute_dtype, conv_dtype, no_autocast
from slowfast_mvit.models.layout import Architecture, Axes

_CONV, _CONVOLVE = {2: nn.Conv2d, 3: nn.Conv3d}, {2: F.conv2d, 3: F.conv3d}


class PatchEmbed(nn.Module):
    """Maps [B, C, H, W] or [B, C, T, H, W] to tokens [B, N, embed_dim] (t-major, then h, then w) and their grid."""

    def __init__(self, arch: Architecture, in_channels: int) -> None:
        super().__init__()
        self.proj = _CONV[len(arch.patch_kernel)](
            in_channels,
            arch.embed_dim,
            arch.patch_kernel,  # type: ignore[arg-type]
            stride=arch.patch_stride,  # type: ignore[arg-type]
            padding=arch.patch_padding,  # type: ignore[arg-type]
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Axes]:
        """Embed patches."""
        needs_grad = torch.is_grad_enabled() and (x.requires_grad or self.proj.weight.requires_grad)
        dtype = conv_dtype(x.device.type, compute_dtype(x), needs_grad=needs_grad)
        if dtype == compute_dtype(x):
            x = self.proj(x)
        else:
            with no_autocast(x.device.type):
                assert self.proj.bias is not None
                weight, bias = self.proj.weight.to(dtype), self.proj.bias.to(dtype)
                volume = _CONVOLVE[weight.dim() - 2](x.to(dtype), weight, bias, self.proj.stride, self.proj.padding)
            x = volume.to(compute_dtype(x))
        return x.flatten(2).transpose(1, 2), tuple(x.shape[2:])
