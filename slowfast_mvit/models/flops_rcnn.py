"""FLOPs of a detector by arithmetic, in the convention of the paper's Table 5.

An image of 800 x 1280, 1000 proposals that every box head looks at, and 100 masks: with them all nine figures of the table come
out within 0.3 %, and of Table 9 those of MViTv2-S and of ViT-B with a pyramid within 0.1 %. What is counted is what
:mod:`slowfast_mvit.models.flops` counts; and every element of an upsampled map as one and of a batch norm as two, as fvcore
does. RoIAlign and NMS count nothing.
"""

from dataclasses import dataclass
from math import prod

from slowfast_mvit.models.cascade import CascadeHeads
from slowfast_mvit.models.flops import Flops, count_pyramid_flops
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.levels import plan_levels
from slowfast_mvit.models.pyramid import PyramidBackbone
from slowfast_mvit.models.rcnn import Detector

PAPER_IMAGE = (800, 1280)
_BATCH_NORM_FLOPS = 2
_STAGES, _CONVS = 3, 4
_BOX, _MASK = 7 * 7, 14 * 14  # cells of a pooled box


@dataclass(frozen=True)
class HeadWork:
    """What the heads of a detector are, and what they look at.

    Attributes:
        num_classes: without the background.
        cascade: three box heads instead of one.
        fpn: heads on a pyramid, or on the last map.
        num_anchors: in a cell.
        conv_dim, fc_dim: widths of the heads.
        num_proposals, num_masks: of an image.
    """

    num_classes: int
    cascade: bool
    fpn: bool = True
    num_anchors: int = 3
    conv_dim: int = 256
    fc_dim: int = 1024
    num_proposals: int = 1000
    num_masks: int = 100


def count_detector_flops(
    arch: Architecture, work: HeadWork, size: tuple[int, int] = PAPER_IMAGE, pyramid_width: int = 256
) -> dict[str, Flops]:
    """FLOPs for one image of ``size``, by part: ``backbone``, ``pyramid``, ``proposals``, ``boxes``, ``masks``.

    Args:
        arch: of the backbone, as a detector has it.
        work: of the heads.
        size: height and width in pixels, multiples of 32.
        pyramid_width: channels of the pyramid's maps.
    """
    last = plan_levels(arch)[-1]
    backbone, pyramid = count_pyramid_flops(arch, size, fpn=work.fpn, fpn_width=pyramid_width)
    strides, width = [last.stride], last.channels
    if work.fpn:
        strides, width = [4, 8, 16, 32, 64], pyramid_width
        pyramid += Flops(width * sum(_cells(size, stride) for stride in strides[:3]), 0)  # the coarser maps, upsampled
    every = sum(_cells(size, stride) for stride in strides)
    convs = 2 if work.cascade else 1
    return {
        "backbone": backbone,
        "pyramid": pyramid,
        "proposals": Flops(every * width * (convs * 9 * width + 5 * work.num_anchors), 0),
        "boxes": _times(work.num_proposals, _box_heads(work, width)),
        "masks": _times(work.num_masks, _mask_head(work, width)),
    }


def detector_flops(model: Detector, size: tuple[int, int] = PAPER_IMAGE) -> Flops:
    """FLOPs of a detector on an MViT for one image of ``size``, all parts together."""
    bottom_up = model.backbone.bottom_up
    assert isinstance(bottom_up, PyramidBackbone)
    options, sizes = model.options, model.sizes
    fpn = len(model.proposal_generator.strides) > 1
    work = HeadWork(
        sizes.num_classes,
        cascade=isinstance(model.roi_heads, CascadeHeads),
        fpn=fpn,
        num_anchors=len(options.anchor_ratios) * (1 if fpn else len(options.anchor_sizes)),
        conv_dim=sizes.conv_dim,
        fc_dim=sizes.fc_dim,
        num_proposals=options.proposals,
        num_masks=options.max_detections,
    )
    parts = count_detector_flops(bottom_up.arch, work, size, sizes.channels).values()
    return sum(parts, Flops(0, 0))


def _cells(size: tuple[int, int], stride: int) -> int:
    return prod(-(-side // stride) for side in size)


def _box_heads(work: HeadWork, width: int) -> Flops:
    """Of one proposal."""
    classes = work.num_classes + 1
    if not work.cascade:
        outputs = classes + 4 * work.num_classes
        return Flops(work.fc_dim * (_BOX * width + work.fc_dim + outputs), 0)
    convs = _convolutions(_BOX, width, work.conv_dim, norm=True)
    linear = work.fc_dim * (_BOX * work.conv_dim + classes + 4)
    return _times(_STAGES, convs + Flops(linear, 0))


def _mask_head(work: HeadWork, width: int) -> Flops:
    """Of one box."""
    upsampled = _MASK * 4 * work.conv_dim**2
    predicted = 4 * _MASK * work.conv_dim * work.num_classes
    return _convolutions(_MASK, width, work.conv_dim, norm=work.cascade) + Flops(upsampled + predicted, 0)


def _convolutions(cells: int, width: int, conv_dim: int, *, norm: bool) -> Flops:
    products = cells * 9 * conv_dim * (width + (_CONVS - 1) * conv_dim)
    return Flops(products, _BATCH_NORM_FLOPS * _CONVS * cells * conv_dim if norm else 0)


def _times(number: int, flops: Flops) -> Flops:
    return Flops(number * flops.multiply_adds, number * flops.norms)
