"""Detections as a file: format by hand, and read again they score exactly as in memory."""

import time

import numpy as np
import pytest

from slowfast_mvit.evaluation.ava import evaluate
from slowfast_mvit.evaluation.ava_boxes import ActionBoxes, ActionClass, KeySeconds
from slowfast_mvit.evaluation.ava_detections import ScoredBoxes, boxes_table, detections_of, write_detections
from slowfast_mvit.evaluation.ava_files import read_detections

CLASSES = (ActionClass(2, "sit"), ActionClass(1, "stand"), ActionClass(4, "talk to (e.g., a person)"))


def scored_boxes():
    at = KeySeconds.of(["a b", "a b", 'x,"y"'], [902, 902, 1034])
    boxes = np.array([[0.1, 0.2, 1 / 3, 1], [0, 0.5, 0.25, 0.75], [0.123456789123, 0, 1e-7, 1]])
    scores = np.array([[0.25, 0.5, 0.9, 1e-9], [1, 0, 0, 0.125], [1 / 3, 0.1, 0, 0.2]], dtype=np.float32)
    return ScoredBoxes.of(at, boxes, scores)


def test_the_file_by_hand(tmp_path):
    write_detections(scored_boxes(), CLASSES, tmp_path / "new" / "detections.csv")
    assert (tmp_path / "new" / "detections.csv").read_text().splitlines() == [
        "a b,0902,0.1,0.2,0.333333333,1,2,0.5",
        "a b,0902,0.1,0.2,0.333333333,1,1,0.25",
        "a b,0902,0.1,0.2,0.333333333,1,4,9.99999972e-10",
        "a b,0902,0,0.5,0.25,0.75,2,0",
        "a b,0902,0,0.5,0.25,0.75,1,1",
        "a b,0902,0,0.5,0.25,0.75,4,0.125",
        '"x,""y""",1034,0.123456789,0,1e-07,1,2,0.100000001',
        '"x,""y""",1034,0.123456789,0,1e-07,1,1,0.333333343',
        '"x,""y""",1034,0.123456789,0,1e-07,1,4,0.200000003',
    ]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["detections.csv"]


def test_the_table_for_people():
    table = boxes_table(scored_boxes(), CLASSES)
    assert table["video"].tolist() == ["a b", "a b", 'x,"y"'] and table["second"].tolist() == [902, 902, 1034]
    assert table["action_1"].tolist() == ["sit", "stand", "stand"]
    assert table["score_1"].tolist() == pytest.approx([0.5, 1, 1 / 3])
    assert table["action_3"].tolist() == ["talk to (e.g., a person)", "sit", "sit"]


def random_boxes(rng, count):
    low = rng.uniform(0, 0.6, (count, 2))
    return np.concatenate((low, low + rng.uniform(0.05, 0.4, (count, 2))), axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_the_file_scores_as_memory_does(tmp_path, seed):
    """Corners with all digits of a float64, float32 scores with ties and neighbours that differ in the last bit."""
    rng = np.random.default_rng(seed)
    count = 300
    videos, seconds = rng.integers(0, 5, count).astype(str), rng.integers(902, 930, count)
    order = np.lexsort((seconds, videos))
    at, boxes = KeySeconds.of(videos[order], seconds[order]), random_boxes(rng, count)
    scores = rng.choice(np.nextafter(np.float32(0.3), np.float32(1), dtype=np.float32) + np.float32([0, 3e-8, 1e-7, 0.2]),
                        (count, 4)).astype(np.float32)  # fmt: skip
    truth = ActionBoxes(at, boxes + rng.normal(0, 0.02, boxes.shape), rng.integers(1, 5, count).astype(np.int32))
    scored = ScoredBoxes.of(at, boxes, scores)
    classes = tuple(ActionClass(number, str(number)) for number in range(1, 5))
    write_detections(scored, classes, tmp_path / "detections.csv")
    memory = evaluate(truth, detections_of(scored, classes), classes, ious=(0.5, 0.75))
    file = evaluate(truth, read_detections(tmp_path / "detections.csv"), classes, ious=(0.5, 0.75))
    assert np.array_equal(memory.average_precisions, file.average_precisions) and 0 < memory.mean() < 1


def test_a_hundred_thousand_rows_are_written_in_a_second(tmp_path):
    count, classes = 1700, tuple(ActionClass(number, str(number)) for number in range(1, 61))
    rng = np.random.default_rng(0)
    at = KeySeconds.of(np.zeros(count, dtype=np.int64), np.arange(count))
    scored = ScoredBoxes.of(at, random_boxes(rng, count), rng.random((count, 80), dtype=np.float32))
    begun = time.process_time()
    write_detections(scored, classes, tmp_path / "detections.csv")
    assert time.process_time() - begun < 1


def test_a_box_that_reaches_the_threshold_by_its_last_digits_alone(tmp_path):
    """An IoU of 0.5 - 1e-13 in memory is 0.5 in nine digits: both are scored as the file says."""
    at, classes = KeySeconds.of(["a"], [1]), (ActionClass(1, "act"),)
    scored = ScoredBoxes.of(at, np.array([[0, 0, 1, 0.5 - 1e-13]]), np.array([[0.5]], dtype=np.float32))
    truth = ActionBoxes(at, np.array([[0.0, 0, 1, 1]]), np.array([1], dtype=np.int32))
    write_detections(scored, classes, tmp_path / "detections.csv")
    assert evaluate(truth, read_detections(tmp_path / "detections.csv"), classes).mean() == 1
    assert evaluate(truth, detections_of(scored, classes), classes).mean() == 1
