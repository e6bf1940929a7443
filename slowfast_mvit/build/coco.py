"""COCO by config: lists, and what a training of a detector is given."""

from collections.abc import Sequence
from pathlib import Path

import torch

from slowfast_mvit.build.parts import ToTrain
from slowfast_mvit.build.precision import DTYPES
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.coco import CocoList, read_coco
from slowfast_mvit.data.coco_images import DetectionImages, Recipe, collate_images
from slowfast_mvit.data.coco_transforms import LargeScaleJitter, ShortSides
from slowfast_mvit.errors import UserError
from slowfast_mvit.pictures import STRIDE, DetectionBatch, Objects
from slowfast_mvit.tasks.detect import ObjectDetection


def coco_list(config: Config, split: str, label_names: Sequence[str] = (), *, must_exist: bool = True) -> CocoList:
    """The list of a split; validation and test have the same images.

    Raises:
        UserError: see :func:`~slowfast_mvit.data.coco.read_coco`; or a key that it needs is not set.
    """
    annotations, folder = coco_paths(config, split)
    return read_coco(
        annotations,
        folder,
        training=split == "train",
        num_classes=config.MODEL.NUM_CLASSES,
        label_names=label_names,
        must_exist=must_exist,
    )


def coco_paths(config: Config, split: str) -> tuple[Path, Path]:
    """The annotation file and the image folder of a split.

    Raises:
        UserError: a key is not set.
    """
    which = "TRAIN" if split == "train" else "VAL"
    keys = {
        "DATA.PATH_TO_DATA_DIR": config.DATA.PATH_TO_DATA_DIR,
        f"COCO.{which}_ANNOTATIONS": getattr(config.COCO, f"{which}_ANNOTATIONS"),
    }
    for key, value in keys.items():
        if not value:
            raise UserError(
                f"{key} is not set: give COCO's folder, and the annotation files in it by COCO.*_ANNOTATIONS"
            )
    root = Path(config.DATA.PATH_TO_DATA_DIR)
    return root / keys[f"COCO.{which}_ANNOTATIONS"], root / getattr(config.COCO, f"{which}_IMAGES")


def detection_task(config: Config, precision: str) -> ObjectDetection:
    """The task."""
    return ObjectDetection(config.DATA.MEAN, config.DATA.STD, DTYPES[precision])


def recipe_of(config: Config) -> Recipe:
    """How training images are cropped, resized and mirrored."""
    coco, flip = config.COCO, config.DATA.RANDOM_FLIP
    if coco.JITTER_SCALES:
        return LargeScaleJitter((coco.JITTER_SCALES[0], coco.JITTER_SCALES[1]), coco.JITTER_SIZE, flip)
    return ShortSides(
        coco.TRAIN_SHORT_SIDES,
        coco.MAX_SIDE,
        coco.CROP_PROB,
        coco.CROP_SHORT_SIDES,
        (coco.CROP_SIDES[0], coco.CROP_SIDES[1]),
        flip,
    )


def images_to_train(config: Config, images: CocoList, precision: str) -> ToTrain:
    """What a training on the list is given."""
    return ToTrain(
        dataset=DetectionImages(images, recipe_of(config), seed=config.RNG_SEED),
        collate=collate_images,
        task=detection_task(config, precision),
        blank=_blank_batch(),
    )


def _blank_batch() -> DetectionBatch:
    """An image of no size: it has no proposals, so that all parts of a detector have their pass, and the heads' norms, whose
    statistics are over all ranks, count nothing of it."""
    side = 4 * STRIDE
    nothing = Objects(
        torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, side, side, dtype=torch.uint8)
    )
    images = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    return DetectionBatch(images, torch.zeros(1, 2, dtype=torch.int64), (nothing,), torch.zeros(1, dtype=torch.int64))
