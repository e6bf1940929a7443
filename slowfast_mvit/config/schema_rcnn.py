"""The config's section about the heads of detectors: proposals, boxes, masks and what is kept of them."""

from dataclasses import dataclass

from slowfast_mvit.config.keys import key


@dataclass(frozen=True)
class Rcnn:
    """What stands on the backbone where MODEL.ARCH is mask_rcnn or cascade_mask_rcnn, at detectron2's values (ours)."""

    FPN: bool = key(True, "Heads on a feature pyramid of all stages; False: on the last map alone (paper, Table 9)")
    ANCHOR_SIZES: tuple[float, ...] = key(
        (32.0, 64.0, 128.0, 256.0, 512.0),
        "Square roots of the anchors' areas in pixels, one per map of the pyramid; all on the last map with FPN False",
        above=0,
    )
    ANCHOR_RATIOS: tuple[float, ...] = key((0.5, 1.0, 2.0), "Heights over widths of the anchors", above=0)
    PROPOSALS_BEFORE_NMS_TRAIN: int = key(2000, "Best proposals of each map that go into NMS, in training", at_least=1)
    PROPOSALS_BEFORE_NMS_TEST: int = key(1000, "The same in tests", at_least=1)
    PROPOSALS: int = key(1000, "Best proposals of an image that the heads look at", at_least=1)
    BOXES_PER_IMAGE: int = key(512, "Proposals of an image that the heads are trained on", at_least=1)
    FPN_DIM: int = key(256, "Channels of the feature pyramid", at_least=1)
    CONV_DIM: int = key(256, "Channels of the heads' convolutions", at_least=1)
    FC_DIM: int = key(1024, "Outputs of the linear layers before the last", at_least=1)
    SCORE_THRESH: float = key(0.05, "Detections must score above this", at_least=0, below=1)
    NMS_THRESH: float = key(
        0.5, "IoU with a better detection of its class above which one is dropped", at_least=0, at_most=1
    )
    MAX_DETECTIONS: int = key(100, "Detections kept of an image; COCO's scores count 100", at_least=1)
    SOFT_NMS: str = key(
        "none",
        "Overlapping detections lose score instead of being dropped (SoftNMS); linear takes NMS_THRESH, and both go best with "
        "a lower SCORE_THRESH",
        choices=("none", "linear", "gaussian"),
    )
    SOFT_NMS_SIGMA: float = key(0.5, "Width of the gaussian SoftNMS", above=0)
    SOFT_NMS_MIN_SCORE: float = key(
        0.001, "With SoftNMS, detections that fall below this score are dropped", at_least=0, below=1
    )
