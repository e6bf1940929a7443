"""COCO's numbers, against values worked by hand."""

import copy
import math

import numpy as np
import pytest

from slowfast_mvit.evaluation.coco import NUMBERS, in_lines, score
from slowfast_mvit.evaluation.coco_files import read_results, read_truth, write_results
from tests.evaluation.coco_cases import annotated, found, write_truth

# A small person (30 x 30 < 32^2) and a medium car in image 7, a large person (96 x 97 > 96^2) in image 9.
TRUTH = [annotated(7, 1, 10, 20, 30, 30), annotated(7, 3, 60, 60, 50, 40), annotated(9, 1, 0, 0, 96, 97)]
PERFECT = [found(one["image_id"], one["category_id"], 0.9, *one["bbox"]) for one in TRUTH]


@pytest.fixture
def scored(tmp_path):
    def make(annotations, results):
        return score(read_truth(write_truth(tmp_path, annotations)), results)

    return make


def test_perfect_detections_have_100(scored, capsys) -> None:
    results = copy.deepcopy(PERFECT)
    scores = scored(TRUTH, results)
    assert list(scores.numbers) == [f"{kind}_{name}" for kind in ("box", "mask") for name in NUMBERS]
    # With one detection of an image, of the person in image 7 and of the car there one each: recall is per class.
    assert scores.numbers == pytest.approx(dict.fromkeys(scores.numbers, 100.0))
    assert scores.reasons == ()
    assert results == PERFECT
    assert capsys.readouterr().out == ""  # pycocotools is quiet
    assert scores.summary.count("Average Precision") == 12 and scores.summary.startswith("bbox\n Average Precision")
    table = scores.classes
    assert table["category_id"].tolist() == [1, 3, 44] and table["name"].tolist() == ["person", "car", "bottle"]
    assert table["num_truth"].tolist() == [2, 1, 0]
    for column in ("box_ap", "box_ap50", "box_ap75", "mask_ap", "mask_ap50", "mask_ap75"):
        assert table[column].tolist() == pytest.approx([100, 100, math.nan], nan_ok=True)


def test_a_shifted_box_counts_at_the_thresholds_that_it_reaches(scored) -> None:
    """Shifted by 10 of 50: IoU 40/60 is above 0.5, 0.55, 0.6 and 0.65, four of ten thresholds."""
    scores = scored([annotated(7, 3, 60, 60, 50, 40)], [found(7, 3, 0.9, 70, 60, 50, 40)])
    for kind in ("box", "mask"):
        assert scores.numbers[f"{kind}_ap"] == pytest.approx(40)
        assert scores.numbers[f"{kind}_ap50"] == pytest.approx(100)
        assert scores.numbers[f"{kind}_ap75"] == 0
        assert scores.numbers[f"{kind}_ar1"] == pytest.approx(40)
        assert scores.numbers[f"{kind}_ap_medium"] == pytest.approx(40)
        assert math.isnan(scores.numbers[f"{kind}_ap_small"])


def test_a_duplicate_is_a_mistake(scored) -> None:
    """Right, wrong, right: precision 1 up to recall 0.5 (51 of 101 recalls), then 2/3."""
    truth = [annotated(7, 3, 0, 0, 40, 40), annotated(9, 3, 0, 0, 40, 40)]
    results = [found(7, 3, 0.9, 0, 0, 40, 40), found(7, 3, 0.8, 0, 0, 40, 40), found(9, 3, 0.7, 0, 0, 40, 40)]
    expected = 100 * (51 + 50 * 2 / 3) / 101
    assert scored(truth, results).numbers["box_ap"] == pytest.approx(expected)
    assert scored(truth, results).numbers["mask_ap"] == pytest.approx(expected)
    after = [results[0], results[2], {**results[1], "score": 0.1}]
    assert scored(truth, after).numbers["box_ap"] == pytest.approx(100)


def test_detections_in_a_crowd_are_neither_right_nor_wrong(scored) -> None:
    truth = [annotated(7, 3, 0, 0, 40, 40), annotated(7, 3, 100, 100, 80, 80, crowd=True)]
    results = [found(7, 3, 0.9, 110, 110, 20, 20), found(7, 3, 0.8, 140, 120, 20, 20), found(7, 3, 0.7, 0, 0, 40, 40)]
    scores = scored(truth, results)
    assert scores.numbers["box_ap"] == pytest.approx(100) and scores.numbers["mask_ap"] == pytest.approx(100)
    assert scores.classes["num_truth"].tolist() == [0, 1, 0]
    plain = [truth[0], {**truth[1], "iscrowd": 0}]
    assert scored(plain, results).numbers["box_ap"] < 50


def test_a_mask_has_its_own_size(scored) -> None:
    """A thin diagonal object: 1000 pixels, small, in a large box. The wrong detection has such a mask and such a box."""
    truth = [annotated(7, 3, 0, 0, 30, 30)]
    thin = {**found(7, 3, 0.9, 100, 100, 20, 20), "bbox": [60, 60, 120, 120]}
    results = [thin, found(7, 3, 0.8, 0, 0, 30, 30)]
    numbers = scored(truth, results).numbers
    assert numbers["box_ap_small"] == pytest.approx(100)  # the wrong box is large
    assert numbers["mask_ap_small"] == pytest.approx(50)  # its mask is small


def test_no_detections(scored) -> None:
    scores = scored(TRUTH, [])
    assert scores.numbers == dict.fromkeys(scores.numbers, 0.0) and len(scores.numbers) == 24
    assert scores.metrics()["reasons"] == ["there are no detections"]


def test_nothing_is_annotated(scored) -> None:
    empty = scored([], PERFECT)
    assert len(empty.numbers) == 24 and all(map(math.isnan, empty.numbers.values()))
    assert len(empty.reasons) == 1 and "annotates no object in its 2 images" in empty.reasons[0]
    none = scored(None, PERFECT)
    assert none.numbers == {} and "has no annotations" in none.reasons[0] and len(none.reasons) == 1
    assert none.classes["num_truth"].tolist() == [0, 0, 0]


def test_boxes_alone(scored) -> None:
    """Results or annotations without masks are scored by their boxes."""
    bare = [{name: value for name, value in one.items() if name != "segmentation"} for one in TRUTH]
    of_truth = scored(bare, PERFECT)
    assert len(of_truth.numbers) == 12 and of_truth.numbers["box_ap"] == pytest.approx(100)
    assert "annotations without masks" in of_truth.reasons[0]
    no_masks = [{name: value for name, value in one.items() if name != "segmentation"} for one in PERFECT]
    of_results = scored(TRUTH, no_masks)
    assert len(of_results.numbers) == 12 and of_results.reasons == ("the results have no masks",)


def test_a_file_scores_as_what_was_written_to_it(scored, tmp_path) -> None:
    draw = np.random.default_rng(0)
    results = []
    for number in range(300):
        x, y, width, height = (int(value) for value in draw.integers(1, 90, 4))
        results.append(
            found((7, 9)[number % 2], (1, 3)[number % 3 % 2], float(np.float32(draw.random())), x, y, width, height)
        )
        results[-1]["bbox"] = [float(np.float32(value + draw.normal())) for value in (x, y, width, height)]
    truth = read_truth(write_truth(tmp_path, TRUTH))
    write_results(results, tmp_path / "results.json")
    again = read_results(tmp_path / "results.json", truth)
    assert again == results
    one, other = score(truth, results), score(truth, again)
    assert one.numbers == pytest.approx(other.numbers, abs=0) and one.classes.equals(other.classes)
    assert 0 < one.numbers["box_ap"] < 100


def test_lines_for_the_screen(scored) -> None:
    lines = in_lines(scored(TRUTH, PERFECT))
    assert lines[0].split()[:4] == ["category_id", "name", "num_truth", "box_ap"]
    assert lines[3].split() == ["44", "bottle", "0"] + ["none"] * 6
    assert lines[4].split() == ["box_ap", "100.00", "%"]
