"""From a backbone's maps to those that the heads of a detector look at: a feature pyramid, or the last map alone.

Both forms offer the same: ``forward(images)`` gives ordered maps by name, ``names`` and ``strides`` say of what, and
``out_channels`` how wide all of them are. A map of stride 2 ** l is named ``p`` and l, as in detectron2.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.levels import plan_levels
from slowfast_mvit.models.pyramid import PyramidBackbone

WIDTH = 256  # of a feature pyramid
_GROUPS = 32  # of a group norm, as its paper has them


class FeaturePyramid(nn.Module):
    """Maps images [B, C, H, W] to the maps p2 .. p6 [B, 256, h, w] of a feature pyramid (arXiv 1612.03144).

    The stages' maps of strides 4 to 32 are joined from coarse to fine, and p6 is every second cell of p5, for proposals alone.
    ViT's four maps of stride 16 are brought to these strides first (:class:`Resampling`).

    Attributes:
        bottom_up: the backbone.
        fpn: torchvision's; ``inner_blocks.i.0`` is detectron2's ``fpn_lateral`` of i + 2, ``layer_blocks.i.0`` its
            ``fpn_output`` of i + 2.
        out_channels, names, strides: of the maps, the finest first.

    Args:
        arch, **options: see :class:`PyramidBackbone`.
        width: channels of the maps.

    Raises:
        UserError: the stages are not of strides 4 to 32 or 16.
    """

    def __init__(self, arch: Architecture, *, width: int = WIDTH, **options: Any) -> None:
        super().__init__()
        from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool  # takes a second

        levels = plan_levels(arch)
        strides = tuple(level.stride for level in levels)
        if strides not in ((4, 8, 16, 32), (16, 16, 16, 16)):
            raise UserError(
                f"the stages of this model have the strides {list(strides)}, and a feature pyramid needs 4, 8, 16 and 32 "
                "(or ViT's 16): change MVIT.POOL_Q_STRIDE, or let the heads look at the last map alone (RCNN.FPN False)"
            )
        self.bottom_up = PyramidBackbone(arch, **options)
        self.resampling = Resampling(levels[0].channels) if strides[0] == 16 else None
        self.fpn = FeaturePyramidNetwork([level.channels for level in levels], width, extra_blocks=LastLevelMaxPool())
        self.out_channels = width
        self.strides = (4, 8, 16, 32, 64)
        self.names = _names(self.strides)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The maps p2 .. p6."""
        maps = self.bottom_up(images)
        if self.resampling is not None:
            maps = self.resampling(maps)
        return dict(zip(self.names, self.fpn(maps).values(), strict=True))


class Resampling(nn.Module):
    """Four maps of stride 16 to strides 4, 8, 16 and 32 (arXiv 2111.11429, section 2: how ViT is given a pyramid).

    The first is doubled twice by transposed convolutions 2 x 2, with a group norm and GELU between them, the second once, the
    third stays, the last is halved by a max pool.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        groups = _GROUPS if channels % _GROUPS == 0 else 1
        self.to_stride_4 = nn.Sequential(
            nn.ConvTranspose2d(channels, channels, 2, stride=2),
            nn.GroupNorm(groups, channels),
            nn.GELU(),
            nn.ConvTranspose2d(channels, channels, 2, stride=2),
        )
        self.to_stride_8 = nn.ConvTranspose2d(channels, channels, 2, stride=2)

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same names, each at its stride."""
        first, second, third, last = maps.values()
        resampled = (self.to_stride_4(first), self.to_stride_8(second), third, F.max_pool2d(last, 2))
        return dict(zip(maps, resampled, strict=True))


class SingleScale(nn.Module):
    """Maps images [B, C, H, W] to the map of the last block alone (paper, Table 9: heads on the last block).

    Its stride is 32 for MViT, 16 for ViT, and its width the last stage's.

    Attributes:
        bottom_up: the backbone.
        out_channels, names, strides: of the map.

    Args:
        arch, **options: see :class:`PyramidBackbone`.
    """

    def __init__(self, arch: Architecture, **options: Any) -> None:
        super().__init__()
        levels = plan_levels(arch)
        self.bottom_up = PyramidBackbone(arch, out_stages=(len(levels),), **options)
        self.out_channels = levels[-1].channels
        self.strides = (levels[-1].stride,)
        self.names = _names(self.strides)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The map under its name."""
        return dict(zip(self.names, self.bottom_up(images).values(), strict=True))


def _names(strides: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"p{stride.bit_length() - 1}" for stride in strides)
