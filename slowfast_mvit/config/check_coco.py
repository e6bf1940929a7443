"""Rules about detectors and COCO; they say nothing where a config has neither."""

import itertools
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from slowfast_mvit.config.check_images import used_datasets
from slowfast_mvit.config.check_mvit import Rule
from slowfast_mvit.config.schema import Config
from slowfast_mvit.config.schema_model import DETECTOR_ARCHS


def _network(config: Config) -> Iterator[str]:
    used, arch = used_datasets(config), config.MODEL.ARCH
    if "coco" in used and arch not in DETECTOR_ARCHS:
        yield f"MODEL.ARCH: {arch} finds no objects in images, which coco asks; set it to {' or '.join(DETECTOR_ARCHS)}"
    others = sorted(used - {"coco"})
    if others and arch in DETECTOR_ARCHS:
        yield (
            f"MODEL.ARCH: {arch} finds objects in images, and {', '.join(others)} has none; set TRAIN.DATASET and TEST.DATASET "
            "to coco, or this to mvit"
        )


def _backbone(config: Config) -> Iterator[str]:
    arch = config.MODEL.ARCH
    if arch not in DETECTOR_ARCHS:
        return
    if config.MVIT.CLS_EMBED_ON:
        yield f"MVIT.CLS_EMBED_ON: the backbone of {arch} gives maps and has no class token; set it to False"
    if config.DETECTION.ENABLE:
        yield f"DETECTION.ENABLE: it is for actions of given boxes (ava), and {arch} finds its own; set it to False"
    if config.TRAIN.ENABLE and config.SOLVER.LAYER_DECAY < 1:
        yield (
            f"SOLVER.LAYER_DECAY: {config.SOLVER.LAYER_DECAY:g} is for a lone MViT, and the published recipes of {arch} have "
            "none; set it to 1.0"
        )
    if config.TRAIN.ENABLE and config.DISTRIBUTED.STRATEGY == "fsdp":
        yield f"DISTRIBUTED.STRATEGY: fsdp shares out the blocks of a lone MViT, and {arch} is more than that; set it to ddp"


def _augmentation(config: Config) -> Iterator[str]:
    if not config.TRAIN.ENABLE or config.TRAIN.DATASET != "coco":
        return
    if config.AUG.ENABLE:
        yield "AUG.ENABLE: images with objects are mirrored, cropped and resized and nothing else; set it to False"
    if config.AUG.NUM_SAMPLE > 1:
        yield f"AUG.NUM_SAMPLE: {config.AUG.NUM_SAMPLE}, but images with objects are not repeated; set it to 1"
    if config.MIXUP.ENABLE:
        yield "MIXUP.ENABLE: images with objects are not mixed; set it to False"


def _sizes(config: Config) -> Iterator[str]:
    sides = {
        "TRAIN_SHORT_SIDES": config.COCO.TRAIN_SHORT_SIDES,
        "CROP_SHORT_SIDES": config.COCO.CROP_SHORT_SIDES,
        "TEST_SHORT_SIDES": config.COCO.TEST_SHORT_SIDES,
    }
    for name, values in sides.items():
        if not values:
            yield f"COCO.{name}: it is empty; give at least one short side in pixels"
        elif any(after <= before for before, after in itertools.pairwise(values)):
            yield f"COCO.{name}: {', '.join(map(str, values))} must grow from each side to the next"
    for name, pair in {"CROP_SIDES": config.COCO.CROP_SIDES, "JITTER_SCALES": config.COCO.JITTER_SCALES}.items():
        if pair and pair[0] > pair[1]:
            yield f"COCO.{name}: the least, {pair[0]:g}, is more than the greatest, {pair[1]:g}; swap them"
    for name, most, of, values in (
        ("MAX_SIDE", config.COCO.MAX_SIDE, "TRAIN_SHORT_SIDES", config.COCO.TRAIN_SHORT_SIDES),
        ("TEST_MAX_SIDE", config.COCO.TEST_MAX_SIDE, "TEST_SHORT_SIDES", config.COCO.TEST_SHORT_SIDES),
    ):
        if values and max(values) > most:
            yield f"COCO.{name}: {most} is less than the short side {max(values)} of COCO.{of}; set {max(values)} or more"


def _of_clips(config: Config) -> Iterator[str]:
    """What a test of clips has and a test of detections would ignore."""
    if not config.TEST.ENABLE or config.TEST.DATASET != "coco":
        return
    if config.TEST.NUM_TEMPORAL_CLIPS:
        yield "TEST.NUM_TEMPORAL_CLIPS: an image has no clips; leave it empty"
    if config.TEST.SAVE_PROBABILITIES:
        yield "TEST.SAVE_PROBABILITIES: predictions/coco_results.json has the scores of all detections; set it to False"
    if config.TEST.SAVE_RESULTS_PATH:
        yield "TEST.SAVE_RESULTS_PATH: the results are in predictions/coco_results.json; leave it empty"


def _names(config: Config) -> Iterator[str]:
    if "coco" in used_datasets(config) and config.TENSORBOARD.CLASS_NAMES_PATH:
        yield "TENSORBOARD.CLASS_NAMES_PATH: objects are named by the categories of the annotation file; leave it empty"


def _length(config: Config) -> Iterator[str]:
    solver = config.SOLVER
    if not config.TRAIN.ENABLE:
        return
    if solver.WARMUP_STEPS and not solver.MAX_STEPS:
        yield (
            f"SOLVER.WARMUP_STEPS: {solver.WARMUP_STEPS} goes with SOLVER.MAX_STEPS, which is 0; set both, or WARMUP_EPOCHS in "
            "its place"
        )
    if solver.MAX_STEPS and solver.WARMUP_EPOCHS:
        yield (
            f"SOLVER.WARMUP_EPOCHS: {solver.WARMUP_EPOCHS:g}, but with SOLVER.MAX_STEPS the rate follows optimizer steps; "
            "set it to 0, and WARMUP_STEPS in its place"
        )
    if solver.MAX_STEPS and solver.WARMUP_STEPS > solver.MAX_STEPS:
        yield f"SOLVER.WARMUP_STEPS: {solver.WARMUP_STEPS} is more than SOLVER.MAX_STEPS {solver.MAX_STEPS}"


_USED = ("TRAIN.ENABLE", "TRAIN.DATASET", "TEST.ENABLE", "TEST.DATASET")

# Each rule with the keys that it reads.
COCO_RULES: Mapping[Rule, tuple[str, ...]] = MappingProxyType(
    {
        _network: (*_USED, "MODEL.ARCH"),
        _backbone: (
            "TRAIN.ENABLE",
            "MODEL.ARCH",
            "MVIT.CLS_EMBED_ON",
            "DETECTION.ENABLE",
            "SOLVER.LAYER_DECAY",
            "DISTRIBUTED.STRATEGY",
        ),
        _augmentation: ("TRAIN.ENABLE", "TRAIN.DATASET", "AUG.ENABLE", "AUG.NUM_SAMPLE", "MIXUP.ENABLE"),
        _sizes: (
            "COCO.TRAIN_SHORT_SIDES",
            "COCO.CROP_SHORT_SIDES",
            "COCO.TEST_SHORT_SIDES",
            "COCO.CROP_SIDES",
            "COCO.JITTER_SCALES",
            "COCO.MAX_SIDE",
            "COCO.TEST_MAX_SIDE",
        ),
        _of_clips: (
            "TEST.ENABLE",
            "TEST.DATASET",
            "TEST.NUM_TEMPORAL_CLIPS",
            "TEST.SAVE_PROBABILITIES",
            "TEST.SAVE_RESULTS_PATH",
        ),
        _names: (*_USED, "TENSORBOARD.CLASS_NAMES_PATH"),
        _length: (
            "TRAIN.ENABLE",
            "SOLVER.MAX_STEPS",
            "SOLVER.WARMUP_STEPS",
            "SOLVER.WARMUP_EPOCHS",
        ),
    }
)
