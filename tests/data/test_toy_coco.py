"""The toy set in COCO's format: what is annotated is what is drawn."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from slowfast_mvit.data.coco import read_coco
from slowfast_mvit.data.toy_coco import ANNOTATIONS, CLASSES, FOLDERS, ToyCoco, draw_image, make_toy_coco
from slowfast_mvit.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_toy_coco(tmp_path_factory.mktemp("toy"), ToyCoco(40, 20, side=64), processes=1)


def test_annotations_are_cocos(root):
    """pycocotools reads them; areas, boxes and masks say the same; outlines are of all forms, and crowds are among them."""
    coco = COCO(root / ANNOTATIONS["train"])
    forms = set()
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x, y, w, h = annotation["bbox"]
        assert (x, y, x + w, y + h) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        assert annotation["area"] == mask.sum() > 0
        outline = annotation["segmentation"]
        forms.add("polygon" if isinstance(outline, list) else type(outline["counts"]).__name__)
    assert forms == {"polygon", "str", "list"}
    assert 1 <= sum(annotation["iscrowd"] for annotation in coco.anns.values()) <= 2
    assert {coco.cats[annotation["category_id"]]["name"] for annotation in coco.anns.values()} == set(CLASSES)


def test_shapes_stand_out_by_their_masks():
    picture, annotations = draw_image(96, np.random.default_rng(3))
    assert annotations
    again, same = draw_image(96, np.random.default_rng(3))
    assert np.array_equal(picture, again) and annotations == same


def test_it_is_read_as_coco(root):
    listed = read_coco(root / ANNOTATIONS["train"], root / FOLDERS["train"], training=True, num_classes=4)
    assert len(listed) == 40 and listed.label_names == CLASSES
    with Image.open(listed.path(7)) as image:
        assert image.size == (listed.widths[7], listed.heights[7])
    ids = {
        split: {image["id"] for image in json.loads((root / ANNOTATIONS[split]).read_text())["images"]}
        for split in ANNOTATIONS
    }
    assert not ids["train"] & ids["val"]


def test_categories_may_be_more(tmp_path):
    make_toy_coco(tmp_path, ToyCoco(4, 2, side=64, num_classes=80), processes=1)
    listed = read_coco(tmp_path / ANNOTATIONS["train"], tmp_path / FOLDERS["train"], training=True, num_classes=80)
    assert len(listed.label_names) == 80 and listed.box_labels.max() <= 4


def test_a_foreign_set_is_not_overwritten(tmp_path):
    (tmp_path / "train2017").mkdir()
    with pytest.raises(UserError, match="holds train2017 of another dataset"):
        make_toy_coco(tmp_path, ToyCoco(4, 2))
