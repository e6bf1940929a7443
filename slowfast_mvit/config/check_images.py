"""Rules about data sets of images, and about models that take them."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from slowfast_mvit.config.check_mvit import Rule, num_axes
from slowfast_mvit.config.schema import Config
from slowfast_mvit.config.schema_model import DETECTOR_ARCHS

IMAGE_SETS = frozenset({"imagenet", "coco"})


def used_datasets(config: Config) -> set[str]:
    """The data sets that the job reads."""
    train = {config.TRAIN.DATASET} if config.TRAIN.ENABLE else set()
    return train | ({config.TEST.DATASET} if config.TEST.ENABLE else set())


def images_or_video(config: Config) -> str:
    """What is wrong between the data sets of a job and what its MViT takes; empty if nothing is.

    It is asked for when a job starts, since a config that only describes a model names no data set.
    """
    used = used_datasets(config)
    takes_images = config.MODEL.ARCH in ("mvit", *DETECTOR_ARCHS) and num_axes(config) == 2
    wrong = sorted(used - IMAGE_SETS if takes_images else used & IMAGE_SETS)
    if not wrong:
        return ""
    if takes_images:
        return (
            f"MVIT.PATCH_2D: {wrong[0]} has videos, and a stem of 2 numbers (MVIT.PATCH_KERNEL) takes images; set "
            "TRAIN.DATASET and TEST.DATASET to imagenet, or give the stem 3 numbers"
        )
    return (
        f"MVIT.PATCH_2D: {wrong[0]} has images; set it to True, and MVIT.PATCH_KERNEL, PATCH_STRIDE and PATCH_PADDING to 2 "
        "numbers each (height, width), or TRAIN.DATASET and TEST.DATASET to a data set of videos"
    )


def _joint_set(config: Config) -> Iterator[str]:
    used, root_1k, takes_both = used_datasets(config), config.DATA.IN22k_VAL_IN1K, config.DATA.IN22K_TRAINVAL
    given = {"DATA.IN22k_VAL_IN1K": bool(root_1k), "DATA.IN22K_TRAINVAL": takes_both}
    for name, is_given in given.items():
        if is_given and used - {"imagenet"}:
            yield f"{name}: it is for imagenet, and not for {', '.join(sorted(used - {'imagenet'}))}; leave it out"
    if takes_both and not root_1k and "imagenet" in used:
        yield (
            "DATA.IN22K_TRAINVAL: no images are left to validate on; set DATA.IN22k_VAL_IN1K to the folder of ImageNet-1K, or "
            "this to False"
        )


def _one_view(config: Config) -> Iterator[str]:
    if config.TEST.ENABLE and config.TEST.DATASET == "imagenet" and config.TEST.NUM_TEMPORAL_CLIPS:
        yield "TEST.NUM_TEMPORAL_CLIPS: an image has no clips; leave it empty"


# Each rule with the keys that it reads.
IMAGE_RULES: Mapping[Rule, tuple[str, ...]] = MappingProxyType(
    {
        _joint_set: (
            "TRAIN.ENABLE",
            "TRAIN.DATASET",
            "TEST.ENABLE",
            "TEST.DATASET",
            "DATA.IN22K_TRAINVAL",
            "DATA.IN22k_VAL_IN1K",
        ),
        _one_view: (
            "TEST.ENABLE",
            "TEST.DATASET",
            "TEST.NUM_TEMPORAL_CLIPS",
        ),
    }
)
