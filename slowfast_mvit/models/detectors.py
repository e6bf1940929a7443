"""Detectors by name, and a detector of any architecture (paper, Table 5; detectron2's ``projects/MViTv2``)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from torch import nn

from slowfast_mvit.models.fpn import WIDTH, FeaturePyramid, SingleScale
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.rcnn import Detector
from slowfast_mvit.models.rcnn_options import RcnnOptions
from slowfast_mvit.models.region_heads import HeadSizes
from slowfast_mvit.models.variants import VARIANTS

COCO_CLASSES = 80
ATTENTION = "hybrid_window"  # of all of them


@dataclass(frozen=True)
class DetectorVariant:
    """A detector of the paper.

    Attributes:
        backbone: the classifier it begins with, a key of ``VARIANTS``.
        cascade: three box heads instead of one.
    """

    backbone: str
    cascade: bool

    @property
    def arch(self) -> Architecture:
        """The backbone's architecture before it is that of a detector; all of them widen in the attention."""
        return replace(VARIANTS[self.backbone], expand_in_attention=True, cls_token=False)


DETECTORS: Mapping[str, DetectorVariant] = MappingProxyType(
    {f"mask_rcnn_mvitv2_{size}": DetectorVariant(f"mvitv2_{size}", cascade=False) for size in "tsbl"}
    | {f"cascade_mask_rcnn_mvitv2_{size}": DetectorVariant(f"mvitv2_{size}", cascade=True) for size in "tsblh"}
)


def detector(
    arch: Architecture,
    num_classes: int,
    *,
    cascade: bool,
    fpn: bool = True,
    options: RcnnOptions | None = None,
    fpn_dim: int = WIDTH,
    conv_dim: int = 256,
    fc_dim: int = 1024,
    **backbone: Any,
) -> Detector:
    """Mask R-CNN, or its cascade, on an MViT.

    Args:
        arch: of the backbone, as :func:`slowfast_mvit.models.levels.detection_architecture` gives it.
        num_classes: without the background.
        cascade: three box heads instead of one.
        fpn: heads on a feature pyramid, or on the last map alone (paper, Table 9).
        options: how it proposes, trains and chooses.
        fpn_dim: width of the feature pyramid.
        conv_dim, fc_dim: widths of the heads.
        **backbone: see :class:`slowfast_mvit.models.pyramid.PyramidBackbone`.

    Raises:
        UserError: an architecture or options that do not fit.
    """
    maps: nn.Module = FeaturePyramid(arch, width=fpn_dim, **backbone) if fpn else SingleScale(arch, **backbone)
    sizes = HeadSizes(maps.out_channels, num_classes, conv_dim, fc_dim)  # type: ignore[arg-type]
    return Detector(maps, maps.strides, sizes, cascade=cascade, options=options)  # type: ignore[arg-type]
