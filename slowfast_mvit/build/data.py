"""Datasets, loaders and test protocols by config."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from slowfast_mvit.build.augmentation import augmentation_of, erasing_of, spares_first
from slowfast_mvit.build.images import has_image_split, image_protocol, images_of, test_images, train_images
from slowfast_mvit.build.lists import list_format
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.clips import ClipSampling, MultiViewVideos, Sampling, SegmentSampling, TrainClips
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.images import TestImages, TrainImages
from slowfast_mvit.data.kinetics import read_label_names, read_split
from slowfast_mvit.data.lists import LabelledList, VideoList
from slowfast_mvit.data.loader import StepPlan
from slowfast_mvit.data.ssv2 import has_ssv2, read_ssv2
from slowfast_mvit.data.transforms import AreaAspectCrop, CropRule, JitterCrop, TrainTransform
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.multiview import ViewProtocol

_LOG = logging.getLogger(__name__)

_Number = TypeVar("_Number", int, float)


def videos_of(
    config: Config, split: str, label_names: Sequence[str] = (), *, must_exist: bool = True
) -> VideoList | ImageList:
    """The list of a split (train, val, test); with ``must_exist`` a list that names missing files is refused.

    Its labels are numbered by ``label_names`` (of a checkpoint), else by TENSORBOARD.CLASS_NAMES_PATH, else by the dataset.
    """
    if not label_names and config.TENSORBOARD.CLASS_NAMES_PATH:
        label_names = read_label_names(Path(config.TENSORBOARD.CLASS_NAMES_PATH))
    if dataset_of(config, split) == "imagenet":
        return images_of(config, split, label_names, must_exist=must_exist)
    if not config.DATA.PATH_TO_DATA_DIR:
        raise UserError("DATA.PATH_TO_DATA_DIR is not set: give the folder that holds train.csv, val.csv and test.csv")
    read = (
        read_ssv2 if dataset_of(config, split) == "ssv2" else partial(read_split, multi_label=config.DATA.MULTI_LABEL)
    )
    return read(
        Path(config.DATA.PATH_TO_DATA_DIR),
        split,
        num_classes=config.MODEL.NUM_CLASSES,
        label_names=label_names,
        form=list_format(config),
        must_exist=must_exist,
    )


def dataset_of(config: Config, split: str) -> str:
    """Name of the data set that a split is of."""
    return config.TEST.DATASET if split == "test" else config.TRAIN.DATASET


def has_split(config: Config, split: str) -> bool:
    """Whether the dataset has a list or a folder of that split."""
    if dataset_of(config, split) == "imagenet":
        return has_image_split(config, split)
    if dataset_of(config, split) == "coco":
        return bool(config.COCO.TRAIN_ANNOTATIONS if split == "train" else config.COCO.VAL_ANNOTATIONS)
    if dataset_of(config, split) == "ava":
        return bool(config.AVA.GROUNDTRUTH_FILE) or split != "val"
    root = Path(config.DATA.PATH_TO_DATA_DIR)
    if dataset_of(config, split) == "ssv2":
        return has_ssv2(root, split)
    return (root / f"{split}.csv").is_file() or (root / split).is_dir()


def sampling_of(config: Config, split: str) -> Sampling:
    """How clips are laid over the videos of a split."""
    data = config.DATA
    if dataset_of(config, split) == "ssv2":
        return SegmentSampling(data.NUM_FRAMES, data.TARGET_FPS)
    return ClipSampling(data.NUM_FRAMES, data.SAMPLING_RATE, data.TARGET_FPS, data.USE_OFFSET_SAMPLING)


def train_transform(config: Config) -> TrainTransform:
    """Augmentation, crop and flip of the recipe."""
    data = config.DATA
    crop: CropRule
    if data.TRAIN_JITTER_SCALES_RELATIVE:
        crop = AreaAspectCrop(_pair(data.TRAIN_JITTER_SCALES_RELATIVE), _pair(data.TRAIN_JITTER_ASPECT_RELATIVE))
    else:
        crop = JitterCrop(_pair(data.TRAIN_JITTER_SCALES), data.TRAIN_CROP_SIZE, data.INV_UNIFORM_SAMPLE)
    return TrainTransform(
        size=data.TRAIN_CROP_SIZE,
        crop=crop,
        flip=data.RANDOM_FLIP,
        augment=augmentation_of(config, fill=(128, 128, 128)),
        erasing=erasing_of(config),
    )


def train_clips(config: Config, videos: VideoList | ImageList) -> TrainClips | TrainImages:
    """The training set."""
    if isinstance(videos, ImageList):
        return train_images(config, videos)
    if config.DATA.RANDOM_FLIP:
        _warn_of_sides(videos.label_names)
    return TrainClips(
        videos,
        sampling_of(config, "train"),
        train_transform(config),
        seed=config.RNG_SEED,
        num_repeats=config.AUG.NUM_SAMPLE,
        spare_first=spares_first(config),
        backend=config.DATA.DECODING_BACKEND,
    )


def _warn_of_sides(label_names: Sequence[str]) -> None:
    """Where labels tell left from right, a mirrored clip has a wrong label."""
    left, right = (
        [name for name in label_names if re.search(rf"(?<![a-z]){side}(?![a-z])", name.lower())]
        for side in ("left", "right")
    )
    if left and right:
        _LOG.warning(
            "DATA.RANDOM_FLIP mirrors half of the clips, and labels tell left from right (%s; %s): set it to False",
            left[0],
            right[0],
        )


def step_plan(config: Config, videos: LabelledList, num_ranks: int = 1) -> StepPlan:
    """How the training videos make steps, on ``num_ranks`` processes of all NUM_SHARDS machines.

    Raises:
        UserError: mixing is on, and some forward pass of a process would hold a single clip.
    """
    plan = StepPlan(len(videos), config.TRAIN.BATCH_SIZE * config.NUM_SHARDS, config.TRAIN.ACCUMULATE_STEPS, num_ranks)
    if config.MIXUP.ENABLE and config.MIXUP.PROB > 0 and plan.smallest_share * config.AUG.NUM_SAMPLE < 2:
        raise UserError(
            f"{len(videos)} training videos make a forward pass of one clip{' on a process' if num_ranks > 1 else ''}, which "
            "MIXUP cannot mix: raise TRAIN.BATCH_SIZE or AUG.NUM_SAMPLE, or set MIXUP.PROB 0"
        )
    return plan


_ALL_CLIP_NUMBERS = (1, 3, 5, 7, 10)  # what PySlowFast tests for NUM_ENSEMBLE_VIEWS -1


def single_tests(config: Config) -> tuple[Config, ...]:
    """One config per number of clips that the test asks for; each has that number as its NUM_ENSEMBLE_VIEWS."""
    if config.TEST.DATASET in ("imagenet", "ava", "coco"):
        return (config,)
    test = config.TEST
    asked = _ALL_CLIP_NUMBERS if test.NUM_ENSEMBLE_VIEWS < 0 else (test.NUM_ENSEMBLE_VIEWS,)
    return tuple(
        replace(config, TEST=replace(test, NUM_ENSEMBLE_VIEWS=number, NUM_TEMPORAL_CLIPS=()))
        for number in test.NUM_TEMPORAL_CLIPS or asked
    )


def view_protocol(config: Config) -> ViewProtocol:
    """The protocol of a test with one number of clips.

    Without TEST.SHORT_SIDE the official code's rule: with one crop the short side is TRAIN_JITTER_SCALES[0], with three, and
    always for ssv2, it is the crop size. One crop is the centre; PySlowFast takes the left one of ssv2.
    """
    if config.TEST.DATASET == "imagenet":
        return image_protocol(config)
    data, crops = config.DATA, config.TEST.NUM_SPATIAL_CROPS
    jittered = crops == 1 and config.TEST.DATASET != "ssv2"
    return ViewProtocol(
        num_clips=config.TEST.NUM_ENSEMBLE_VIEWS,
        num_crops=crops,
        short_side=config.TEST.SHORT_SIDE or (data.TRAIN_JITTER_SCALES[0] if jittered else data.TEST_CROP_SIZE),
        crop_size=data.TEST_CROP_SIZE,
        mean=data.MEAN,
        std=data.STD,
        ensemble=data.ENSEMBLE_METHOD,
    )


def multi_view_videos(config: Config, videos: VideoList | ImageList, num_clips: int) -> MultiViewVideos | TestImages:
    """The test set: videos with all their clips."""
    if isinstance(videos, ImageList):
        return test_images(config, videos)
    sampling = sampling_of(config, "test")
    return MultiViewVideos(videos, sampling, num_clips=num_clips, backend=config.DATA.DECODING_BACKEND)


def _pair(values: tuple[_Number, ...]) -> tuple[_Number, _Number]:
    first, second = values
    return first, second
