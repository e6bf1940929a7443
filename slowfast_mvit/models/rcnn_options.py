"""Numbers of a detector that are no sizes of layers."""

from dataclasses import dataclass

from slowfast_mvit.errors import UserError


@dataclass(frozen=True)
class RcnnOptions:
    """How a detector proposes, trains and chooses; detectron2's values by default.

    Attributes:
        anchor_sizes: square roots of the anchors' areas in pixels: one per map of a pyramid, or all on the one map there is.
        anchor_ratios: heights over widths.
        proposals_before_nms_train, proposals_before_nms_test: proposals of each map that go into NMS.
        proposals: of an image, after NMS.
        proposal_nms_thresh: IoU with a better proposal of the same map above which one is dropped.
        boxes_per_image: proposals that the heads are trained on.
        score_thresh: detections must be above it.
        nms_thresh: IoU with a better detection of the same class above which one is dropped.
        max_detections: of an image.
        soft_nms: none; or linear or gaussian: overlapping detections lose score and are not dropped (arXiv 1704.04503).
        soft_nms_sigma: width of the gaussian.
        soft_nms_min_score: detections whose score is lowered to below it are dropped.

    Raises:
        UserError: a value that no detector can work with.
    """

    anchor_sizes: tuple[float, ...] = (32, 64, 128, 256, 512)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    proposals_before_nms_train: int = 2000
    proposals_before_nms_test: int = 1000
    proposals: int = 1000
    proposal_nms_thresh: float = 0.7
    boxes_per_image: int = 512
    score_thresh: float = 0.05
    nms_thresh: float = 0.5
    max_detections: int = 100
    soft_nms: str = "none"
    soft_nms_sigma: float = 0.5
    soft_nms_min_score: float = 0.001

    def sizes_of_maps(self, num_maps: int) -> tuple[tuple[float, ...], ...]:
        """The anchor sizes of each map.

        Raises:
            UserError: there are several maps, and not as many sizes.
        """
        if num_maps == 1:
            return (self.anchor_sizes,)
        if len(self.anchor_sizes) != num_maps:
            raise UserError(
                f"there are {len(self.anchor_sizes)} anchor sizes for the {num_maps} maps of the pyramid: set one for each "
                "(RCNN.ANCHOR_SIZES)"
            )
        return tuple((size,) for size in self.anchor_sizes)
