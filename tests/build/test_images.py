"""ImageNet by config: the recipes' transforms and views, one view whatever the keys say, which images a split has."""

import shutil
from pathlib import Path

import pytest

from slowfast_mvit.build.data import has_split, single_tests, videos_of, view_protocol
from slowfast_mvit.build.images import image_transform, image_view, scored_classes
from slowfast_mvit.config.load import ConfigError, load_config, load_config_text
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.augment import RandAugmentPolicy
from slowfast_mvit.errors import UserError

RECIPES = Path(__file__).parents[2] / "configs" / "ImageNet"
IMAGES = """
TRAIN: {DATASET: imagenet}
TEST: {DATASET: imagenet}
MVIT: {PATCH_2D: True, PATCH_KERNEL: [7, 7], PATCH_STRIDE: [4, 4], PATCH_PADDING: [3, 3]}
MODEL: {ARCH: mvit, NUM_CLASSES: 2}
DATA: {TRAIN_CROP_SIZE: 224, TEST_CROP_SIZE: 224}
"""


def images(*overrides: str) -> Config:
    return load_config_text(IMAGES, "images", overrides)


def test_the_published_recipe() -> None:
    """Paper, B.2, and the official files: 224 pixels, area 0.08 to 1, m9 n6 filled with the mean colour, erasing 0.25."""
    config = load_config(RECIPES / "MVITV2_B.yaml")
    transform = image_transform(config)
    assert (transform.size, transform.area, transform.flip, transform.interpolation) == (
        224,
        (0.08, 1.0),
        True,
        "bicubic",
    )
    assert transform.aspect == pytest.approx((3 / 4, 4 / 3), abs=1e-4)
    augment, erasing = transform.augment, transform.erasing
    assert augment.policy == RandAugmentPolicy(9, 6, 0.5, True) and augment.interpolation == "bicubic"
    assert augment.fill == (124, 116, 104)  # 255 * (0.485, 0.456, 0.406), rounded
    assert (erasing.prob, erasing.count, erasing.mode) == (0.25, 1, "pixel")
    assert str(image_view(config)) == "centre crop 224 of short side 256"


def test_recipes_of_other_sizes() -> None:
    for name, size in (("MVITV2_B_384", 384), ("MVITV2_H_512_in21k", 512)):
        config = load_config(RECIPES / f"{name}.yaml")
        assert image_transform(config).size == image_view(config).size == size


def test_without_augmentation_and_with_other_crops() -> None:
    plain = image_transform(images())
    assert (
        plain.augment is None and plain.erasing is None and (plain.area, plain.aspect) == ((0.08, 1.0), (3 / 4, 4 / 3))
    )
    crops = ("DATA.TRAIN_JITTER_SCALES_RELATIVE", "[0.5, 0.9]", "DATA.TRAIN_JITTER_ASPECT_RELATIVE", "[1.0, 1.5]")
    other = image_transform(images(*crops, "DATA.RANDOM_FLIP", "False", "AUG.INTERPOLATION", "bilinear"))
    assert (other.area, other.aspect, other.flip, other.interpolation) == ((0.5, 0.9), (1.0, 1.5), False, "bilinear")


@pytest.mark.parametrize("views", [(), ("TEST.NUM_ENSEMBLE_VIEWS", "5"), ("TEST.NUM_ENSEMBLE_VIEWS", "-1")])
def test_one_view_whatever_the_keys_say(views) -> None:
    (test,) = single_tests(images(*views))
    protocol = view_protocol(test)
    assert (protocol.num_clips, protocol.num_crops, protocol.short_side, protocol.crop_size) == (1, 1, 224, 224)
    assert str(protocol) == "centre crop 224 of short side 256"
    assert str(view_protocol(images("DATA.IN_VAL_CROP_RATIO", "0"))) == "whole image resized to 224"


def make(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def test_the_test_is_on_val_unless_there_are_test_images(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg", "val/b/3.jpg", "test/unlabelled.jpg")
    config = images("DATA.PATH_TO_DATA_DIR", str(tmp_path))
    assert videos_of(config, "test").source == str(tmp_path / "val")
    make(tmp_path, "test/b/4.jpg")
    assert videos_of(config, "test").names.tolist() == ["b/4.jpg"]
    assert [has_split(config, split) for split in ("train", "val")] == [True, True]


def test_names_of_classes_by_key(tmp_path: Path) -> None:
    make(tmp_path, "val/a/2.jpg")
    (tmp_path / "names.json").write_text('["b", "a"]')
    given = ("DATA.PATH_TO_DATA_DIR", str(tmp_path), "TENSORBOARD.CLASS_NAMES_PATH", str(tmp_path / "names.json"))
    assert videos_of(images(*given), "val").labels.tolist() == [1]


def test_the_joint_set(tmp_path: Path) -> None:
    make(tmp_path, "w21/train/x/1.jpg", "w21/val/x/2.jpg", "k1/train/z/3.jpg", "k1/val/z/4.jpg")
    joint = images("DATA.PATH_TO_DATA_DIR", str(tmp_path / "w21"), "DATA.IN22k_VAL_IN1K", str(tmp_path / "k1"))
    assert videos_of(joint, "train").names.tolist() == ["x/1.jpg", "z/3.jpg"]
    val = videos_of(joint, "val", ("z", "x"))
    assert val.names.tolist() == videos_of(joint, "test").names.tolist() == ["z/4.jpg"]
    assert scored_classes(joint, val) == 1 and scored_classes(images(), val) == 2
    both = images(
        *("DATA.PATH_TO_DATA_DIR", str(tmp_path / "w21"), "DATA.IN22k_VAL_IN1K", str(tmp_path / "k1")),
        *("DATA.IN22K_TRAINVAL", "True"),
    )
    assert videos_of(both, "train").names.tolist() == ["x/1.jpg", "x/2.jpg", "z/3.jpg"]
    assert [has_split(joint, split) for split in ("train", "val", "test")] == [True, True, False]
    shutil.rmtree(tmp_path / "k1" / "train")  # ImageNet-21K alone is trained on
    assert has_split(joint, "train") and videos_of(joint, "train").names.tolist() == ["x/1.jpg"]
    only_test = images("DATA.IN22k_VAL_IN1K", str(tmp_path / "k1"))  # needs no ImageNet-21K
    assert len(videos_of(only_test, "test")) == 1
    with pytest.raises(UserError, match=r"DATA\.PATH_TO_DATA_DIR is not set"):
        videos_of(only_test, "train")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("DATA.IN22K_TRAINVAL", "True"), "DATA.IN22K_TRAINVAL: no images are left to validate on"),
        (("TEST.NUM_TEMPORAL_CLIPS", "[1]"), "TEST.NUM_TEMPORAL_CLIPS: an image has no clips"),
        (("DATA.IN22k_VAL_IN1K", "/k1", "TEST.DATASET", "kinetics"), "it is for imagenet, and not for kinetics"),
    ],
)
def test_rules(overrides, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        images(*overrides)
