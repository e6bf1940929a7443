"""Rules about boxes (AVA); they say nothing where no data set has any."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from slowfast_mvit.config.check_images import used_datasets
from slowfast_mvit.config.check_mvit import Rule
from slowfast_mvit.config.schema import Config

BOX_ARCHS = ("mvit", "slow_r50", "slowfast_r50")


def _network(config: Config) -> Iterator[str]:
    if "ava" in used_datasets(config) and config.MODEL.ARCH not in BOX_ARCHS:
        yield f"MODEL.ARCH: {config.MODEL.ARCH} has no form that scores boxes; set it to {' or '.join(BOX_ARCHS)}"


def _augmentation(config: Config) -> Iterator[str]:
    if not config.TRAIN.ENABLE or config.TRAIN.DATASET != "ava":
        return
    if config.AUG.ENABLE:
        yield "AUG.ENABLE: clips with boxes are cropped and mirrored and nothing else, as in the paper; set it to False"
    if config.AUG.NUM_SAMPLE > 1:
        yield f"AUG.NUM_SAMPLE: {config.AUG.NUM_SAMPLE}, but clips with boxes are not repeated; set it to 1"
    if config.MIXUP.ENABLE:
        yield "MIXUP.ENABLE: clips with boxes are not mixed; set it to False"
    if config.DATA.TRAIN_JITTER_SCALES_RELATIVE:
        yield (
            "DATA.TRAIN_JITTER_SCALES_RELATIVE: clips with boxes are cropped after a resize of the short side "
            "(DATA.TRAIN_JITTER_SCALES); leave it and TRAIN_JITTER_ASPECT_RELATIVE empty"
        )


def _activation(config: Config) -> Iterator[str]:
    loss, activation = config.MODEL.LOSS_FUNC, config.MODEL.HEAD_ACT
    has_boxes = "ava" in used_datasets(config) and config.DETECTION.ENABLE
    if has_boxes and (activation == "sigmoid") != loss.startswith("bce"):
        yield (
            f"MODEL.HEAD_ACT: {activation} does not go with MODEL.LOSS_FUNC {loss}; set sigmoid and bce_logit where a person "
            "may do several things at once, as in AVA, or softmax and cross_entropy where each does one"
        )


def _views(config: Config) -> Iterator[str]:
    sides, size = config.AVA.TEST_SHORT_SIDES, config.DATA.TEST_CROP_SIZE
    small = [side for side in sides if side < size]
    if config.TEST.ENABLE and config.TEST.DATASET == "ava" and config.AVA.TEST_CENTRE_CROP and small:
        yield (
            f"AVA.TEST_SHORT_SIDES: {small[0]} is less than DATA.TEST_CROP_SIZE {size}, which AVA.TEST_CENTRE_CROP crops; "
            f"set {size} or more"
        )
    for side in sorted({side for side in sides if sides.count(side) > 1}):
        yield f"AVA.TEST_SHORT_SIDES: {side} comes more than once"


def _of_clips(config: Config) -> Iterator[str]:
    """What a test of clips has and a test of boxes would ignore."""
    if not config.TEST.ENABLE or config.TEST.DATASET != "ava":
        return
    if config.TEST.NUM_TEMPORAL_CLIPS:
        yield "TEST.NUM_TEMPORAL_CLIPS: boxes are tested by the clip around their key frame; leave it empty"
    if config.TEST.SAVE_PROBABILITIES:
        yield "TEST.SAVE_PROBABILITIES: predictions/detections.csv has the scores of all boxes; set it to False"
    if config.TEST.SAVE_RESULTS_PATH:
        yield "TEST.SAVE_RESULTS_PATH: the results of boxes are in predictions/detections.csv; leave it empty"
    if config.DATA.ENSEMBLE_METHOD != "sum":
        yield f"DATA.ENSEMBLE_METHOD: {config.DATA.ENSEMBLE_METHOD}, but the views of boxes are averaged; set it to sum"


def _names(config: Config) -> Iterator[str]:
    if "ava" in used_datasets(config) and config.TENSORBOARD.CLASS_NAMES_PATH:
        yield "TENSORBOARD.CLASS_NAMES_PATH: actions are named by AVA.LABEL_MAP_FILE, or in the box lists; leave it empty"


_USED = ("TRAIN.ENABLE", "TRAIN.DATASET", "TEST.ENABLE", "TEST.DATASET")

# Each rule with the keys that it reads.
AVA_RULES: Mapping[Rule, tuple[str, ...]] = MappingProxyType(
    {
        _network: (*_USED, "MODEL.ARCH"),
        _augmentation: (
            "TRAIN.ENABLE",
            "TRAIN.DATASET",
            "AUG.ENABLE",
            "AUG.NUM_SAMPLE",
            "MIXUP.ENABLE",
            "DATA.TRAIN_JITTER_SCALES_RELATIVE",
        ),
        _activation: (*_USED, "DETECTION.ENABLE", "MODEL.HEAD_ACT", "MODEL.LOSS_FUNC"),
        _views: (
            "TEST.ENABLE",
            "TEST.DATASET",
            "DATA.TEST_CROP_SIZE",
            "AVA.TEST_CENTRE_CROP",
            "AVA.TEST_SHORT_SIDES",
        ),
        _of_clips: (
            "TEST.ENABLE",
            "TEST.DATASET",
            "TEST.NUM_TEMPORAL_CLIPS",
            "TEST.SAVE_PROBABILITIES",
            "TEST.SAVE_RESULTS_PATH",
            "DATA.ENSEMBLE_METHOD",
        ),
        _names: (*_USED, "TENSORBOARD.CLASS_NAMES_PATH"),
    }
)
