"""COCO's files: what is read, and what is said of mistakes in them."""

import json

import pytest

from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.coco import score
from slowfast_mvit.evaluation.coco_files import read_results, read_truth
from tests.evaluation.coco_cases import SIDE, annotated, found, write_truth


def test_truth(tmp_path) -> None:
    given = annotated(7, 3, 1, 2, 3, 4)
    del given["area"], given["iscrowd"]
    stray = [annotated(8, 3, 1, 2, 3, 4), annotated(9, 2, 1, 2, 3, 4)]  # no such image, no such category
    truth = read_truth(write_truth(tmp_path, [*stray, given]))
    assert list(truth.categories.items()) == [(1, "person"), (3, "car"), (44, "bottle")]
    assert list(truth.images) == [7, 9] and truth.has_masks
    assert truth.annotations is not None and len(truth.annotations) == 1
    assert truth.annotations[0] == {**given, "id": 3, "area": 12, "iscrowd": 0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"annotations": [{"image_id": 7, "bbox": [0, 0, 1, 1]}]}, "annotations[0] has no category_id: mend"),
        ({"annotations": [annotated(7, 3, 1, 2, 3, 4) | {"bbox": [1, 2, 3]}]}, "bbox of annotations[0] is [1, 2, 3]"),
        ({"annotations": [annotated(7, 3, 1, 2, 3, 4) | {"area": "a"}]}, "area of annotations[0] is 'a'"),
        *(
            (
                {"annotations": [annotated(7, 3, 1, 2, 3, 4) | {"segmentation": outline}]},
                "the segmentation of annotations[0] is neither polygons [[x, y, ...], ...] nor run lengths of its image",
            )
            for outline in (
                "code",
                [1, 2, 3, 4, 5, 6],
                [["1", 2, 3, 4, 5, 6]],
                {"size": [SIDE, SIDE]},
                {"size": [9, SIDE], "counts": "0"},
                {"size": [SIDE, SIDE], "counts": [5]},
            )
        ),
        ({"annotations": {}}, "has no list 'annotations'"),
        ({"images": [{"id": 7, "height": 5}]}, "images[0] has no width"),
        ({"images": [{"id": "a", "height": 5, "width": 4}]}, "the id of images[0] is 'a'"),
        ({"images": [{"id": 3, "height": 0, "width": 4}]}, "image 3 is of height 0 and width 4"),
        ({"categories": None}, "has no list 'categories'"),
    ],
)
def test_mistakes_in_annotations(change, said, tmp_path) -> None:
    path = write_truth(tmp_path, **{"annotations": [], **change})
    with pytest.raises(UserError) as error:
        read_truth(path)
    assert str(error.value).startswith(str(path)) or f"{path}: " in str(error.value)
    assert said in str(error.value)


def test_polygons_without_three_corners_are_left_out(tmp_path) -> None:
    """pycocotools fails on them."""
    given = annotated(7, 3, 1, 2, 3, 4)
    triangle = [1, 2, 4, 2, 4, 6]
    for outline, kept in (([[], [1, 2, 3, 4], triangle], [triangle]), ([[]], None), ([[1, 2, 3, 4]], None), ([], None)):
        truth = read_truth(write_truth(tmp_path, [given | {"segmentation": outline}]))
        assert truth.annotations is not None and truth.annotations[0]["segmentation"] == kept
        assert truth.has_masks == (kept is not None)
        score(truth, [found(7, 3, 0.5, 1, 2, 3, 4)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_id": 8}, "entry 1 is of the unknown image 8: give results of the images of"),
        ({"image_id": [7]}, "entry 1 is of the unknown image [7]"),
        ({"category_id": 2}, "entry 1 is of the unknown category 2"),
        ({"score": None}, "entry 1 has the score None"),
        ({"score": float("nan")}, "entry 1 has the score nan"),
        ({"bbox": [1, 2, 3, "4"]}, "entry 1 has the bbox [1, 2, 3, '4']"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6]]}, "entry 1 has a segmentation that is no compressed run-length code"),
        (
            {"segmentation": {"size": [20, 200], "counts": "0"}},
            "entry 1 has a mask of [20, 200] in an image of [200, 200]",
        ),
    ],
)
def test_mistakes_in_results(change, said, tmp_path) -> None:
    truth = read_truth(write_truth(tmp_path, []))
    path = tmp_path / "results.json"
    good = found(7, 3, 0.5, 1, 2, 3, 4)
    path.write_text(json.dumps([good, good | change]))
    with pytest.raises(UserError) as error:
        read_results(path, truth)
    assert str(error.value).startswith(f"{path}: {said}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("{}", "holds no JSON list"),
        ("[3]", "entry 0 is no JSON object"),
        ('[{"image_id": 7}]', "entry 0 has no category_id and no score"),
        ('[{"image_id": 7, "category_id": 3, "score": 1}]', "entry 0 has no bbox and no segmentation"),
    ],
)
def test_files_that_are_no_results(content, said, tmp_path) -> None:
    truth = read_truth(write_truth(tmp_path, []))
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        read_results(path, truth)


def test_masks_of_some_results_only(tmp_path) -> None:
    truth = read_truth(write_truth(tmp_path, []))
    path = tmp_path / "results.json"
    good = found(7, 3, 0.5, 1, 2, 3, 4)
    path.write_text(json.dumps([good, {name: good[name] for name in good if name != "segmentation"}]))
    with pytest.raises(UserError, match="1 of 2 entries have a segmentation"):
        read_results(path, truth)


def test_files_that_are_not_there(tmp_path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        read_truth(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match="holds no JSON object"):
        read_truth(tmp_path / "list.json")
