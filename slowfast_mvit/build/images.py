"""ImageNet by config: lists, training and test sets, and how a test image is seen.

An image is a video of one frame with one view, whatever TEST.NUM_ENSEMBLE_VIEWS and TEST.NUM_SPATIAL_CROPS say: the published
image configs leave both at the values for video.
"""

from collections.abc import Sequence
from pathlib import Path

from slowfast_mvit.build.augmentation import augmentation_of, erasing_of, spares_first
from slowfast_mvit.build.lists import list_format
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.imagenet import ImageList, has_images, read_1k, read_images, read_joint
from slowfast_mvit.data.images import AREA, ASPECT, ImageTransform, ImageView, TestImages, TrainImages
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.multiview import ViewProtocol


def images_of(config: Config, split: str, label_names: Sequence[str] = (), *, must_exist: bool = True) -> ImageList:
    """The list of a split. ``test`` is ``val`` where the dataset has no test images with classes, as ImageNet.

    With DATA.IN22k_VAL_IN1K, training is on the joint set of ImageNet-21K and ImageNet-1K, and the rest on ImageNet-1K.
    """
    data, num_classes = config.DATA, config.MODEL.NUM_CLASSES
    joint = Path(data.IN22k_VAL_IN1K) if data.IN22k_VAL_IN1K else None
    if joint is not None and split != "train":
        return read_1k(joint, _labelled(joint, split), num_classes=num_classes, label_names=label_names)
    if not data.PATH_TO_DATA_DIR:
        raise UserError(
            "DATA.PATH_TO_DATA_DIR is not set: give the folder that holds train/<class>/ and val/<class>/, or train.csv and "
            "val.csv"
        )
    root = Path(data.PATH_TO_DATA_DIR)
    if joint is not None:
        splits = ("train", "val") if data.IN22K_TRAINVAL else ("train",)
        return read_joint(root, joint, splits, num_classes=num_classes, label_names=label_names)
    return read_images(
        root,
        _labelled(root, split),
        num_classes=num_classes,
        label_names=label_names,
        form=list_format(config),
        must_exist=must_exist,
    )


def has_image_split(config: Config, split: str) -> bool:
    """Whether the dataset has that split; of a joint set, training images are in the folder of ImageNet-21K."""
    root_1k = config.DATA.IN22k_VAL_IN1K if split != "train" else ""
    return has_images(Path(root_1k or config.DATA.PATH_TO_DATA_DIR), split)


def scored_classes(config: Config, images: ImageList) -> int:
    """How many of the model's outputs count in a test: those of ImageNet-1K where a joint model is tested on it."""
    return len(images.label_names) if config.DATA.IN22k_VAL_IN1K else config.MODEL.NUM_CLASSES


def train_images(config: Config, images: ImageList) -> TrainImages:
    """The training set."""
    return TrainImages(
        images,
        image_transform(config),
        seed=config.RNG_SEED,
        num_repeats=config.AUG.NUM_SAMPLE,
        spare_first=spares_first(config),
    )


def image_transform(config: Config) -> ImageTransform:
    """Crop, flip and augmentation of the recipe; warps are filled with the dataset's mean colour."""
    data = config.DATA
    red, green, blue = (min(255, round(255 * mean)) for mean in data.MEAN)
    return ImageTransform(
        size=data.TRAIN_CROP_SIZE,
        area=_pair(data.TRAIN_JITTER_SCALES_RELATIVE) or AREA,
        aspect=_pair(data.TRAIN_JITTER_ASPECT_RELATIVE) or ASPECT,
        flip=data.RANDOM_FLIP,
        augment=augmentation_of(config, fill=(red, green, blue)),
        erasing=erasing_of(config),
        interpolation=config.AUG.INTERPOLATION,
    )


def image_view(config: Config) -> ImageView:
    """The test's view."""
    return ImageView(config.DATA.TEST_CROP_SIZE, config.DATA.IN_VAL_CROP_RATIO)


def test_images(config: Config, images: ImageList) -> TestImages:
    """The test set."""
    return TestImages(images, image_view(config))


def image_protocol(config: Config) -> ViewProtocol:
    """One view, which comes resized and cropped."""
    data = config.DATA
    return ViewProtocol(
        num_clips=1,
        num_crops=1,
        short_side=data.TEST_CROP_SIZE,
        crop_size=data.TEST_CROP_SIZE,
        mean=data.MEAN,
        std=data.STD,
        words=str(image_view(config)),
    )


def _labelled(root: Path, split: str) -> str:
    return "val" if split == "test" and not has_images(root, "test") else split


def _pair(values: tuple[float, ...]) -> tuple[float, float] | None:
    return (values[0], values[1]) if values else None
