"""Small models, and random weights behind which nothing hides, for the tests of the weights room."""

from dataclasses import replace

import torch
from torch import nn

from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.variants import image_architecture, video_architecture

SIZES = {"embed_dim": 8, "num_heads": 1, "depth": 4, "stage_starts": (1, 2, 3), "crop_size": 64}


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in eval mode with no neutral value in it: norms scale and shift, biases and position tables are not zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            draw = torch.randn(parameter.shape, generator=generator)
            is_scale = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(draw * 0.1 + 1 if is_scale else draw * (0.05 if parameter.dim() > 1 else 0.1))
    return model.eval()


def small_architecture(num_axes: int = 3, **changes) -> Architecture:
    """MViTv2 of four blocks and as many stages, for 64 pixels and 8 frames."""
    arch = video_architecture(**SIZES, num_frames=8) if num_axes == 3 else image_architecture(**SIZES)
    return replace(arch, **changes)


def small(num_axes: int = 3, num_classes: int = 5, seed: int = 0, **changes) -> nn.Module:
    """A small model with random weights."""
    return randomised(MViT(small_architecture(num_axes, **changes), num_classes), seed)


def copied(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict in memory of its own."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
