"""Detectors by name, and by config."""

from collections.abc import Mapping
from typing import Any

from slowfast_mvit.config.schema import Config
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.detectors import ATTENTION, COCO_CLASSES, DETECTORS, detector
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.levels import detection_architecture
from slowfast_mvit.models.rcnn import Detector
from slowfast_mvit.models.rcnn_options import RcnnOptions
from slowfast_mvit.models.switches import apply_switches


def create_detector(
    name: str, arch: Architecture, arguments: Mapping[str, Any], switches: Mapping[str, Any]
) -> Detector:
    """The detector of a name, with fresh weights.

    Args:
        name: a key of ``DETECTORS``.
        arch: of its backbone, of the size that position tables are made for.
        arguments: of :func:`slowfast_mvit.build.model.create_model`, None for an open one.
        switches: of :func:`slowfast_mvit.models.switches.apply_switches`.

    Raises:
        UserError: an argument that detectors do not take.
    """
    for keyword in ("num_frames", "dropout_rate", "boxes"):
        if arguments.get(keyword):
            raise UserError(f"{name} finds objects in images and takes no {keyword}: leave it out")
    if "cls_token" in switches or "mean_pooling" in switches:
        raise UserError(f"{name} has neither class token nor classifier: leave cls_token and mean_pooling out")
    arch = apply_switches(arch, **{"attention": ATTENTION, **switches})
    sides = switches.get("window_sides", ())
    return detector(
        detection_architecture(arch, (sides,) if isinstance(sides, int) else sides),
        arguments.get("num_classes") or COCO_CLASSES,
        cascade=DETECTORS[name].cascade,
        in_channels=arguments["in_channels"],
        drop_path_rate=arguments.get("drop_path_rate") or 0.0,
    )


def build_detector(config: Config, arch: Architecture) -> Detector:
    """The detector that a config describes, with fresh weights; ``arch`` is the architecture under the config's keys.

    Raises:
        UserError: the architecture is not one for detectors.
    """
    rcnn, mvit = config.RCNN, config.MVIT
    return detector(
        detection_architecture(arch, mvit.WINDOW_SIDES),
        config.MODEL.NUM_CLASSES,
        cascade=config.MODEL.ARCH == "cascade_mask_rcnn",
        fpn=rcnn.FPN,
        options=RcnnOptions(
            anchor_sizes=rcnn.ANCHOR_SIZES,
            anchor_ratios=rcnn.ANCHOR_RATIOS,
            proposals_before_nms_train=rcnn.PROPOSALS_BEFORE_NMS_TRAIN,
            proposals_before_nms_test=rcnn.PROPOSALS_BEFORE_NMS_TEST,
            proposals=rcnn.PROPOSALS,
            boxes_per_image=rcnn.BOXES_PER_IMAGE,
            score_thresh=rcnn.SCORE_THRESH,
            nms_thresh=rcnn.NMS_THRESH,
            max_detections=rcnn.MAX_DETECTIONS,
            soft_nms=rcnn.SOFT_NMS,
            soft_nms_sigma=rcnn.SOFT_NMS_SIGMA,
            soft_nms_min_score=rcnn.SOFT_NMS_MIN_SCORE,
        ),
        fpn_dim=rcnn.FPN_DIM,
        conv_dim=rcnn.CONV_DIM,
        fc_dim=rcnn.FC_DIM,
        drop_path_rate=mvit.DROPPATH_RATE,
        init=mvit.INIT,
        checkpoint_activations=config.MODEL.ACT_CHECKPOINT,
    )
