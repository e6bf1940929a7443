"""Lists of images with objects, read from small files whose content is known."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as masks_of

from slowfast_mvit.data.coco import read_coco
from slowfast_mvit.errors import UserError
from tests.data.coco_files import CATEGORIES, annotation, image, write_coco


def read(path, *, training=True, num_classes=2, **others):
    return read_coco(path, path.parent / "images", training=training, num_classes=num_classes, **others)


def rle(height, width, *, compressed=True):
    """Run lengths of the left half of an image."""
    mask = np.zeros((height, width), dtype=np.uint8, order="F")
    mask[:, : width // 2] = 1
    half = height * (width // 2)
    if not compressed:
        return {"size": [height, width], "counts": [0, half, height * width - half]}
    return {"size": [height, width], "counts": masks_of.encode(mask)["counts"].decode()}


def test_a_training_list(tmp_path, caplog):
    """Objects lie by image, in the file's order; labels follow the categories' ids; what cannot be trained on is left out."""
    path = write_coco(
        tmp_path,
        [image(30), image(10), image(20), image(40)],
        [
            annotation(1, 10, [1, 2, 3, 4]),
            annotation(2, 30, [5, 0, 2, 2], category_id=7),
            annotation(3, 10, [0, 0, 20, 10], iscrowd=1, segmentation=rle(10, 20)),
            annotation(4, 20, [0, 0, 20, 10], iscrowd=1, segmentation=rle(10, 20, compressed=False)),
            annotation(5, 10, [4, 4, 0, 3]),
            annotation(6, 10, [0.5, 0, 8, 8], category_id=7),
            annotation(7, 30, [2, 2, 2, 2], segmentation=[[2, 2, 4, 4]]),
        ],
    )
    with caplog.at_level(logging.INFO):
        listed = read(path)
    assert listed.names.tolist() == ["30.png", "10.png"]
    assert listed.ids.tolist() == [30, 10]
    assert [list(listed.rows(index)) for index in range(2)] == [[0], [1, 2]]
    assert listed.boxes.tolist() == [[5, 0, 7, 2], [1, 2, 4, 6], [0.5, 0, 8.5, 8]]
    assert listed.box_labels.tolist() == [2, 1, 2]
    assert listed.label_names == ("square", "disc")
    assert listed.category_ids.tolist() == [3, 7]
    assert listed.labels.tolist() == [[False, True], [True, True]]
    assert listed.path(1) == str(tmp_path / "images" / "10.png")
    assert listed.outlines is not None and len(listed.outlines) == 3
    assert caplog.messages == [
        f"{path}: left out of training are 2 of 4 images, which have no object, 2 crowds, 1 boxes without area, 1 outlines "
        "without three corners"
    ]


def test_a_test_list_has_every_image(tmp_path):
    path = write_coco(tmp_path, [image(2), image(1)], [annotation(1, 1, [0, 0, 2, 2])])
    listed = read(path, training=False)
    assert listed.ids.tolist() == [2, 1]
    assert listed.annotated and listed.outlines is None
    assert [list(listed.rows(index)) for index in range(2)] == [[], [0]]


def test_images_without_annotations_are_tested_and_not_trained_on(tmp_path):
    path = write_coco(tmp_path, [image(1)], None)
    listed = read(path, training=False)
    assert len(listed) == 1 and not listed.annotated
    with pytest.raises(UserError, match="has no annotations to train on: give an instances file"):
        read(path)
    path = write_coco(tmp_path, [image(1)], [])
    assert read(path, training=False).annotated
    with pytest.raises(UserError, match="has no object to train on"):
        read(path)


def test_labels_are_those_of_the_checkpoint(tmp_path):
    path = write_coco(tmp_path, [image(1)], [annotation(1, 1, [0, 0, 2, 2])])
    listed = read(path, label_names=("disc", "square"))
    assert listed.box_labels.tolist() == [2]
    assert listed.category_ids.tolist() == [7, 3]
    assert listed.label_names == ("disc", "square")
    with pytest.raises(UserError, match="are not those that the model was trained on, for example 'disc'"):
        read(path, label_names=("square", "star"))


def test_a_changed_file_is_read_again(tmp_path):
    path = write_coco(tmp_path, [image(1)], [annotation(1, 1, [0, 0, 2, 2])])
    assert read(path) is read(path)  # a job asks twice
    write_coco(tmp_path, [image(1), image(2)], [annotation(1, 1, [0, 0, 2, 2]), annotation(2, 2, [0, 0, 2, 2])])
    assert len(read(path)) == 2


def test_missing_files(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*/images of the images of"):
        read(tmp_path / "none.json")
    path = write_coco(tmp_path, [image(1)], [annotation(1, 1, [0, 0, 2, 2])])
    with pytest.raises(UserError, match=r"there is no file .*none.json"):
        read(tmp_path / "none.json")
    (tmp_path / "images" / "1.png").unlink()
    with pytest.raises(
        UserError, match=r"1 of the 1 images of .*instances.json are not in .*images, for example 1.png"
    ):
        read(path)
    assert len(read(path, must_exist=False)) == 1


def test_images_in_folders_of_their_own(tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    path = write_coco(tmp_path, [image(1, file_name="a/1.png")], [annotation(1, 1, [0, 0, 2, 2])])
    assert read(path).path(0) == str(tmp_path / "images" / "a" / "1.png")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[1, 2]", "is not in COCO's format: Expected `object`, got `array`"),
        ('{"images": []}', "is not in COCO's format: Object missing required field `categories`"),
        (
            json.dumps({"images": [{"id": 1}], "categories": [], "annotations": []}),
            r"is not in COCO's format: Object missing required field `file_name` - at `\$.images\[0\]`",
        ),
        (
            json.dumps(
                {
                    "images": [image(1)],
                    "categories": CATEGORIES,
                    "annotations": [annotation(1, 1, [0, 0, 1, 1], bbox=[1])],
                }
            ),
            "is not in COCO's format: Expected `array` of length 4",
        ),
    ],
)
def test_files_that_are_not_coco(tmp_path, text, said):
    (tmp_path / "images").mkdir()
    path = tmp_path / "instances.json"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": []}, "has no images"),
        ({"categories": []}, "has no categories"),
        ({"images": [image(1), image(1)]}, r"ids of images come more than once \(1\)"),
        ({"categories": [*CATEGORIES, {"id": 9, "name": "disc"}]}, "several categories have the name 'disc'"),
        ({"images": [image(1) | {"height": 0}]}, r"1 image without width or height \(id 1\)"),
        (
            {"annotations": [annotation(5, 4, [0, 0, 1, 1])]},
            r"the image_id of 1 annotation is of nothing .*annotations 5",
        ),
        (
            {"annotations": [annotation(5, 1, [0, 0, 1, 1], category_id=4)]},
            r"the category_id of 1 annotation is of nothing .*annotations 5",
        ),
        (
            {"categories": CATEGORIES[:1]},
            r"the category_id of 1 annotation|has 1 categories, and MODEL.NUM_CLASSES is 2",
        ),
        (
            {"annotations": [annotation(5, 1, [0, 0, 1, 1]) | {"segmentation": []}]},
            "1 annotations have no segmentation, first 5 of image 1.png",
        ),
        (
            {"annotations": [annotation(5, 1, [0, 0, 1, 1], segmentation=rle(10, 10))]},
            r"annotation 5 of image 1.png is wrong \(its size is \[10, 10\], and its image is \[10, 20\]\)",
        ),
        (
            {"annotations": [annotation(5, 1, [0, 0, 1, 1], segmentation={"size": [10, 20], "counts": [1, 5]})]},
            r"annotation 5 of image 1.png is wrong \(its counts give 6 pixels, and its image has 200\)",
        ),
        ({"annotations": [annotation(5, 1, [0, 0, 1, 1], segmentation="x")]}, "annotation 5 of image 1.png is wrong"),
    ],
)
def test_faults(tmp_path, change, said):
    path = write_coco(tmp_path, [image(1)], [annotation(1, 1, [0, 0, 2, 2])])
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=said):
        read(path)


def test_the_number_of_classes(tmp_path):
    path = write_coco(tmp_path, [image(1)], [annotation(1, 1, [0, 0, 2, 2])])
    said = f"{re.escape(str(Path(path)))} has 2 categories, and MODEL.NUM_CLASSES is 80: set it to 2"
    with pytest.raises(UserError, match=said):
        read(path, num_classes=80)
