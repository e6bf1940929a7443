"""Lists of images: folders in the official order, the joint set, list files, and what is wrong said in a sentence."""

import os
import pickle
import time

import numpy as np
import pytest

from slowfast_mvit.data.imagenet import (
    ImageList,
    class_folders,
    has_images,
    image_suffixes,
    joint_names,
    read_1k,
    read_images,
    read_joint,
)
from slowfast_mvit.data.lists import ListFormat
from slowfast_mvit.errors import UserError


def make(root, files):
    """Empty files: a list looks at names only."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def rows(images):
    return [(os.path.relpath(images.path(i), images.roots[0]), int(images.labels[i])) for i in range(len(images))]


@pytest.fixture
def imagenet(tmp_path):
    files = [
        "train/n02/b.JPEG",
        "train/n02/a.JPEG",
        "train/n01/n01_10.JPEG",
        "train/n01/n01_9.jpeg",
        "train/n10/x y.png",
        "train/n10/.DS_Store.png",
        "train/n10/readme.txt",
        "train/n10/film.mpg",
        "val/n01/v1.JPEG",
        "val/n10/v2.webp",
        "train/LOC.csv",
    ]
    (make(tmp_path / "in1k", files) / "val" / "n02").mkdir()
    return tmp_path / "in1k"


def test_folders_in_sorted_order(imagenet):
    train = read_images(imagenet, "train", num_classes=3)
    assert train.label_names == ("n01", "n02", "n10")
    assert train.names.tolist() == ["n01/n01_10.JPEG", "n01/n01_9.jpeg", "n02/a.JPEG", "n02/b.JPEG", "n10/x y.png"]
    assert train.labels.tolist() == [0, 0, 1, 1, 2] and train.labels.dtype == np.int64
    assert train.path(4) == str(imagenet / "train/n10/x y.png")
    assert train.source == str(imagenet / "train") and len(train) == 5
    val = read_images(imagenet, "val", num_classes=3)
    assert rows(val) == [("n01/v1.JPEG", 0), ("n10/v2.webp", 2)]


def test_classes_are_numbered_over_all_splits(tmp_path):
    root = make(tmp_path, ["train/b/1.jpg", "train/c/1.jpg", "val/a/1.jpg", "val/c/2.jpg"])
    assert read_images(root, "val", num_classes=3).labels.tolist() == [0, 2]
    assert read_images(root, "train", num_classes=3).labels.tolist() == [1, 2]


def test_names_in_force_number_the_classes(imagenet):
    names = ("n10", "n77", "n02", "n01")
    assert read_images(imagenet, "val", num_classes=4, label_names=names).labels.tolist() == [3, 0]
    (imagenet / "labels.json").write_text('["n02", "n10", "n01"]')
    assert read_images(imagenet, "val", num_classes=3).labels.tolist() == [2, 1]


def test_what_is_an_image():
    suffixes = image_suffixes()
    assert {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".jp2"} <= suffixes
    assert not suffixes & {".mp4", ".mpg", ".pdf", ".txt", ".json", ".eps", ".h5", ""}


def test_which_splits_there_are(imagenet, tmp_path):
    # The official test images lie in one folder and have no classes.
    make(imagenet, ["test/ILSVRC2012_test_00000001.JPEG"])
    assert [has_images(imagenet, split) for split in ("train", "val", "test")] == [True, True, False]
    (tmp_path / "val.csv").write_text("a.jpg 0\n")
    assert has_images(tmp_path, "val") and not has_images(tmp_path, "train")


@pytest.mark.parametrize("ending", ["", "\n"])
def test_list_files_as_for_videos(tmp_path, ending):
    make(tmp_path, ["images/one.jpg", "images/two three.png"])
    (tmp_path / "train.csv").write_text("images/one.jpg 4\nimages/two three.png 0" + ending)
    images = read_images(tmp_path, "train", num_classes=5)
    assert images.names.tolist() == ["images/one.jpg", "images/two three.png"] and images.labels.tolist() == [4, 0]
    assert [images.path(i) for i in range(2)] == [str(tmp_path / name) for name in images.names]
    assert images.source == str(tmp_path / "train.csv")
    elsewhere = tmp_path / "lists"
    elsewhere.mkdir()
    (elsewhere / "val.csv").write_text(f"one.jpg,cat\n{tmp_path}/images/two three.png,big dog\n")
    val = read_images(elsewhere, "val", num_classes=2, form=ListFormat(prefix=str(tmp_path / "images")))
    assert [val.path(i) for i in range(2)] == [f"{tmp_path}/images/one.jpg", f"{tmp_path}/images/two three.png"]
    assert val.label_names == ("big dog", "cat") and val.labels.tolist() == [1, 0]


@pytest.mark.parametrize("whole", [0, 1])
def test_some_paths_of_a_list_begin_at_the_root_of_the_disk(tmp_path, whole):
    make(tmp_path, ["images/0.jpg", "images/1.jpg"])
    names = ["images/0.jpg", "images/1.jpg"]
    names[whole] = f"{tmp_path}/{names[whole]}"
    (tmp_path / "train.csv").write_text("".join(f"{name} 0\n" for name in names))
    images = read_images(tmp_path, "train", num_classes=1)
    assert [images.path(i) for i in range(2)] == [f"{tmp_path}/images/{i}.jpg" for i in range(2)]


def test_names_of_labels_may_hold_spaces_and_lists_a_header(tmp_path):
    make(tmp_path, ["a cat.JPEG", "b.png"])
    (tmp_path / "val.csv").write_text("image label\na cat.JPEG tiger cat\nb.png great white shark\n")
    images = read_images(tmp_path, "val", num_classes=2)
    assert images.names.tolist() == ["a cat.JPEG", "b.png"] and images.labels.tolist() == [1, 0]
    assert images.label_names == ("great white shark", "tiger cat")


def test_odd_names_of_files(tmp_path):
    name = os.fsdecode(b"caf\xc3\xa9 \xff.jpg")  # not all of it is UTF-8
    make(tmp_path, [f"val/c/{name}", "val/c/naïve.JPG"])
    images = read_images(tmp_path, "val", num_classes=1)
    assert sorted(images.path(i) for i in range(2)) == sorted(str(tmp_path / "val/c" / n) for n in (name, "naïve.JPG"))
    assert all(os.path.isfile(images.path(i)) for i in range(2))  # noqa: PTH113


# The joint set.


@pytest.fixture
def joint(tmp_path):
    """ImageNet-21K of five classes, ImageNet-1K of two: n3 is in both, n9 in ImageNet-1K alone."""
    make(
        tmp_path / "w21",
        [
            "train/n1/a.JPEG",
            "train/n2/b.JPEG",
            "train/n3/same.JPEG",
            "train/n3/c.JPEG",
            "train/n4/d.JPEG",
            "val/n1/held.JPEG",
            "val/n8/held.JPEG",
        ],
    )
    make(
        tmp_path / "k1",
        ["train/n3/same.JPEG", "train/n3/own.JPEG", "train/n9/e.JPEG", "val/n3/v.JPEG", "val/n9/w.JPEG"],
    )
    return tmp_path / "w21", tmp_path / "k1"


def test_the_classes_of_imagenet_1k_come_first(joint):
    assert joint_names(*joint) == ("n3", "n9", "n1", "n2", "n4", "n8")
    images = read_joint(*joint, ("train",), num_classes=6)
    assert list(zip(images.names.tolist(), images.labels.tolist(), images.root_of.tolist(), strict=True)) == [
        ("n1/a.JPEG", 2, 0),
        ("n2/b.JPEG", 3, 0),
        ("n3/c.JPEG", 0, 0),
        ("n3/same.JPEG", 0, 0),  # in both sets, and counted once
        ("n4/d.JPEG", 4, 0),
        ("n3/own.JPEG", 0, 1),
        ("n9/e.JPEG", 1, 1),
    ]
    assert images.path(3) == str(joint[0] / "train/n3/same.JPEG") and images.path(5) == str(
        joint[1] / "train/n3/own.JPEG"
    )
    assert images.source == f"{joint[0]}/train and {joint[1]}/train"


def test_validation_images_of_21k_are_trained_on_too(joint):
    images = read_joint(*joint, ("train", "val"), num_classes=6)
    assert {("n1/held.JPEG", 2), ("n8/held.JPEG", 5)} <= set(
        zip(images.names.tolist(), images.labels.tolist(), strict=True)
    )
    assert len(images) == 9


def test_without_training_images_of_1k(tmp_path, joint):
    make(tmp_path / "only_val", ["val/n3/v.JPEG"])
    images = read_joint(joint[0], tmp_path / "only_val", ("train",), num_classes=5)
    assert images.label_names == ("n3", "n1", "n2", "n4", "n8") and len(images) == 5


def test_validation_is_on_1k_by_its_own_names(joint):
    val = read_1k(joint[1], "val", num_classes=6, label_names=joint_names(*joint))
    assert rows(val) == [("n3/v.JPEG", 0), ("n9/w.JPEG", 1)] and val.label_names == ("n3", "n9")
    assert read_1k(joint[1], "val", num_classes=6).labels.tolist() == [0, 1]


def test_another_order_of_classes_is_refused(joint):
    with pytest.raises(UserError, match=r"do not begin with the 2 classes of .*k1: set DATA.IN22k_VAL_IN1K"):
        read_1k(joint[1], "val", num_classes=6, label_names=("n1", "n3", "n9"))
    with pytest.raises(UserError, match="are not those of the checkpoint in OUTPUT_DIR"):
        read_joint(*joint, ("train",), num_classes=6, label_names=("n1", "n3", "n9", "n2", "n4", "n8"))
    assert len(read_joint(*joint, ("train",), num_classes=6, label_names=joint_names(*joint))) == 7


# Mistakes.


def test_another_number_of_classes(imagenet, joint):
    with pytest.raises(
        UserError, match=r"in1k holds folders of 3 classes, and MODEL.NUM_CLASSES is 1000: set it to 3, or,"
    ):
        read_images(imagenet, "train", num_classes=1000)
    with pytest.raises(UserError, match=r"holds folders of 6 classes, and MODEL.NUM_CLASSES is 19168"):
        read_joint(*joint, ("train",), num_classes=19168)
    with pytest.raises(UserError, match=r"folders of 2 classes, and MODEL.NUM_CLASSES is 1"):
        read_1k(joint[1], "val", num_classes=1)
    with pytest.raises(UserError, match=r"label 3 of class n01 is out of range 0\.\.2: set MODEL.NUM_CLASSES"):
        read_images(imagenet, "val", num_classes=3, label_names=("n10", "n77", "n02", "n01"))


def test_missing_and_empty_folders(tmp_path, imagenet, joint):
    with pytest.raises(UserError, match=r"gone does not exist: set DATA.PATH_TO_DATA_DIR"):
        read_images(tmp_path / "gone", "train", num_classes=3)
    with pytest.raises(
        UserError, match=r"in1k/test holds no folders of classes: expected .*in1k/test/<class>/<image>.JPEG"
    ):
        read_images(imagenet, "test", num_classes=3)
    with pytest.raises(UserError, match="1 unknown classes, for example n10; the names in force"):
        read_images(imagenet, "val", num_classes=3, label_names=("n01", "n02"))
    (tmp_path / "empty/train/n01").mkdir(parents=True)
    with pytest.raises(UserError, match=r"empty/train holds no images \("):
        read_images(tmp_path / "empty", "train", num_classes=1)
    with pytest.raises(UserError, match=r"nowhere does not exist: set DATA.IN22k_VAL_IN1K"):
        read_joint(joint[0], tmp_path / "nowhere", ("train",), num_classes=6)
    with pytest.raises(UserError, match=r"nowhere does not exist: set DATA.IN22k_VAL_IN1K"):
        read_1k(tmp_path / "nowhere", "val", num_classes=6)
    (tmp_path / "val.csv").write_text("gone.jpg 0\n")
    with pytest.raises(UserError, match=r"1 of 1 files do not exist, for example .*gone\.jpg"):
        read_images(tmp_path, "val", num_classes=1)


# Millions.


def test_a_list_is_small_and_quick():
    """Of the size of ImageNet-1K: 28 bytes of name and 9 of the rest for each image, and any path at once."""
    files = np.array([f"n{i % 1000:08d}/n{i % 1000:08d}_{i // 1000}.JPEG".encode() for i in range(1_281_167)])
    images = ImageList(("/data/train",), np.zeros(len(files), np.uint8), files, np.zeros(len(files), np.int64), (), "")
    assert sum(array.nbytes for array in (images.root_of, images.files, images.labels)) < 40 * len(images)
    assert len(pickle.dumps(images)) < 41 * len(images)
    start = time.process_time()
    for index in range(0, len(images), 1000):
        images.path(index)
    assert time.process_time() - start < 1
    assert images.path(1_281_166) == "/data/train/n00000166/n00000166_1281.JPEG"


@pytest.mark.slow
def test_listing_a_hundred_thousand_files(tmp_path):
    for number in range(100):
        folder = tmp_path / "train" / f"n{number:08d}"
        folder.mkdir(parents=True)
        for image in range(1000):
            (folder / f"n{number:08d}_{image}.JPEG").touch()
    start = time.process_time()
    images = read_images(tmp_path, "train", num_classes=100)
    assert len(images) == 100_000 and class_folders(tmp_path) == images.label_names
    assert time.process_time() - start < 2  # about 0.2 s: 3 s for ImageNet-1K
