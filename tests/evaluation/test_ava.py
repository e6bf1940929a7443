"""Frame mAP of AVA: by hand, against the protocol word for word, and at full size."""

import random

import numpy as np
import pytest

from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation import ava
from slowfast_mvit.evaluation.ava import evaluate
from slowfast_mvit.evaluation.ava_boxes import ActionBoxes, ActionClass, KeySeconds
from tests.evaluation.ava_protocol import slow_average_precisions

LEFT, RIGHT, ALL = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)
FLAT = (0.5, 0.0, 0.5, 1.0)
CLASSES = (ActionClass(1, "stand"), ActionClass(3, "sit"), ActionClass(7, "swim"))
NAN = float("nan")


def table(rows, scored):
    """Rows (video, second, box, action[, score])."""
    videos, seconds, boxes, actions, *scores = zip(*rows, strict=True) if rows else [()] * (5 if scored else 4)
    return ActionBoxes.of(videos, seconds, boxes, actions, *scores)


def score(truth, detections, excluded=None, ious=(0.5,)):
    excluded = KeySeconds.of(*zip(*excluded, strict=True)) if excluded else None
    return evaluate(table(truth, False), table(detections, True), CLASSES, excluded=excluded, ious=ious)


def stand(*detections, second=902):
    """Detections (box, score) of standing."""
    return [("a", second, box, 1, score) for box, score in detections]


T = [("a", 902, LEFT, 1)]


@pytest.mark.parametrize(
    ("truth", "detections", "expected"),
    [
        pytest.param(T, stand((LEFT, 0.1)), 1.0, id="found"),
        pytest.param(T, stand((RIGHT, 0.1)), 0.0, id="another place"),
        pytest.param(T, [], 0.0, id="no detections"),
        pytest.param(T, stand((ALL, 0.1)), 1.0, id="an IoU of just 0.5"),
        pytest.param(T, stand(((0, 0, 1, 1.0000001), 0.1)), 0.0, id="an IoU of just less"),
        pytest.param(T, stand((LEFT, 0.9), (LEFT, 0.8)), 1.0, id="a duplicate, later and lower"),
        # The first in the file takes the box, whatever its score: wrong (0.9), right (0.3).
        pytest.param(T, stand((LEFT, 0.3), (LEFT, 0.9)), 1 / 2, id="a duplicate, later and higher"),
        # Both look at the left box; the second does not turn to the other, which it overlaps by 2/3.
        pytest.param(
            [*T, ("a", 902, (0.1, 0, 0.6, 1), 1)], stand((LEFT, 0.9), (LEFT, 0.8)), 1 / 2, id="a box matched twice"
        ),
        pytest.param(
            [*T, *T], stand((LEFT, 0.9), (LEFT, 0.8)), 1 / 2, id="equal boxes of truth: the first is looked at"
        ),
        pytest.param([*T, *T], stand((LEFT, 0.9)), 1 / 2, id="every box of truth counts"),
        # Taken by a detection that is no better than the threshold, the box is gone for the perfect one.
        pytest.param(T, stand((ALL, 0.1), (LEFT, 0.9)), 1 / 2, id="taken by a worse one"),
        pytest.param(T, [*stand((LEFT, 0.9), second=903), *stand((LEFT, 0.8))], 1 / 2, id="a second without truth"),
        pytest.param(T, [("b", 902, LEFT, 1, 0.9), *stand((LEFT, 0.8))], 1 / 2, id="a video without truth"),
        pytest.param(T, [("a", 902, LEFT, 3, 0.9), *stand((LEFT, 0.8))], 1.0, id="another action at the same box"),
        pytest.param(T, [("a", 902, LEFT, 2, 0.9), *stand((LEFT, 0.8))], 1.0, id="an action that is not scored"),
        pytest.param(T, stand((FLAT, 0.9), ((0.6, 0, 0.4, 1), 0.9), (LEFT, 0.8)), 1.0, id="detections without area"),
        pytest.param([*T, ("a", 902, FLAT, 1)], stand((LEFT, 0.8), (FLAT, 0.7)), 1 / 2, id="truth without area"),
        # Right, wrong, right, wrong, wrong, right of 3: precision 1, 2/3, 3/6 where recall rises.
        pytest.param(
            [("a", s, LEFT, 1) for s in (1, 2, 3)],
            [
                ("a", s, box, 1, score)
                for s, box, score in zip(
                    (1, 1, 2, 2, 3, 3),
                    (LEFT, RIGHT, LEFT, RIGHT, RIGHT, LEFT),
                    (0.9, 0.8, 0.7, 0.6, 0.5, 0.4),
                    strict=True,
                )
            ],
            (1 + 2 / 3 + 1 / 2) / 3,
            id="the area",
        ),
        # Wrong, right, right of 2: precision 1/2 is raised to the 2/3 that a higher recall has.
        pytest.param(
            [*T, ("a", 903, LEFT, 1)],
            [*stand((RIGHT, 0.9), (LEFT, 0.8)), *stand((LEFT, 0.7), second=903)],
            2 / 3,
            id="the area, raised from the right",
        ),
        # Equal scores: the later comes first.
        pytest.param(T, [*stand((RIGHT, 0.5)), *stand((LEFT, 0.5))], 1.0, id="a tie, the right one later"),
        pytest.param(T, [*stand((LEFT, 0.5)), *stand((RIGHT, 0.5))], 1 / 2, id="a tie, the wrong one later"),
        # Later is: in an image that appears later among the detections of any scored action, without area too.
        pytest.param(
            T,
            [("a", 902, ALL, 3, 0.1), *stand((RIGHT, 0.5), second=903), *stand((LEFT, 0.5))],
            1 / 2,
            id="a tie, its image first by another action",
        ),
        pytest.param(
            T,
            [*stand((FLAT, 0.1)), *stand((RIGHT, 0.5), second=903), *stand((LEFT, 0.5))],
            1 / 2,
            id="a tie, its image first by a box without area",
        ),
        pytest.param(
            T,
            [("a", 902, ALL, 2, 0.1), *stand((RIGHT, 0.5), second=903), *stand((LEFT, 0.5))],
            1.0,
            id="a tie, its image first by an action that is not scored",
        ),
    ],
)
def test_by_hand(truth, detections, expected):
    result = score(truth, detections)
    assert result.average_precisions[0, 0] == pytest.approx(expected, abs=1e-15)
    assert result.mean() == pytest.approx(expected, abs=1e-15)
    assert np.isnan(result.average_precisions[0, 1:]).all()  # no truth


def test_classes_without_truth_or_detections():
    truth = [*T, ("a", 902, LEFT, 3)]
    result = score(truth, [*stand((LEFT, 0.5)), ("a", 902, LEFT, 7, 0.5)])
    assert result.average_precisions[0] == pytest.approx([1, 0, NAN], nan_ok=True)
    assert result.mean() == 0.5
    assert result.num_truth.tolist() == [1, 1, 0] and result.num_detections.tolist() == [1, 0, 1]


def test_nothing_at_all():
    result = score([], [])
    assert np.isnan(result.average_precisions).all() and np.isnan(result.mean())
    assert score(T, []).mean() == 0 and np.isnan(score([], stand((LEFT, 0.5))).mean())


def test_what_is_left_out_is_counted():
    truth = [*T, ("a", 903, LEFT, 1), ("a", 904, LEFT, 1), ("a", 902, LEFT, 2), ("b", 903, LEFT, 1)]
    found = [
        *stand((LEFT, 0.9), (FLAT, 0.9)),
        *stand((RIGHT, 0.95), (FLAT, 0.9), second=903),
        ("a", 902, LEFT, 80, 0.9),
        ("c", 5, LEFT, 1, 0.1),
    ]
    result = score(truth, found, excluded=[("a", 903), ("a", 7), ("nowhere", 902)])
    assert result.dropped == ava.Dropped(truth_unknown=1, truth_excluded=1, unknown=1, excluded=2, invalid=1)
    assert (result.images_of_truth, result.images_of_detections, result.images_of_both) == (3, 2, 1)
    assert result.num_truth[0] == 3 and result.num_detections[0] == 2
    assert result.average_precisions[0, 0] == pytest.approx(1 / 3)  # second 903 of video b is not excluded
    assert result.best_ious[0] == 1


def test_thresholds():
    found = stand(((0, 0, 0.5, 0.8), 0.9), (ALL, 0.5))  # IoU 0.8 and 0.5
    result = score(T, found, ious=(0.5, 0.8, 0.81))
    assert [result.mean(i) for i in range(3)] == [1.0, 1.0, 0.0]
    assert score(T, found[::-1], ious=(0.5, 0.8)).average_precisions[:, 0].tolist() == [1 / 2, 1.0]
    for wrong in ((), (0.0,), (0.5, 1.1), (NAN,)):
        with pytest.raises(UserError, match="thresholds of IoU must be more than 0 and at most 1"):
            score(T, found, ious=wrong)


def test_curves():
    truth = [*T, ("a", 903, LEFT, 1)]
    curve = score(truth, [*stand((RIGHT, 0.9), (LEFT, 0.8)), *stand((LEFT, 0.7), second=903)]).curves[0][0]
    assert curve.scores.tolist() == [0.8, 0.7] and curve.recall.tolist() == [0.5, 1.0]
    assert curve.precision.tolist() == [1 / 2, 2 / 3]


@pytest.mark.parametrize(
    ("truth", "found"),
    [
        (T, stand((LEFT, NAN))),
        (T, stand((LEFT, float("inf")))),
        (T, stand(((0, NAN, 1, 1), 0.5))),
        ([("a", 902, (0, 0, 1, float("inf")), 1)], stand((LEFT, 0.5))),
    ],
)
def test_numbers_that_are_none(truth, found):
    with pytest.raises(UserError, match="of action 1, in video 'a' at second 902, is not of finite numbers"):
        score(truth, found)


def test_a_label_map_without_classes():
    with pytest.raises(UserError, match="the label map has no classes"):
        evaluate(table(T, False), table([], True), [])


def random_rows(rng, count, scored, coarse):
    """Rows on a coarse grid: equal boxes, IoUs of just the threshold, boxes without area, and many equal scores."""
    rows = []
    for _ in range(count):
        x1, x2 = sorted((rng.randrange(5), rng.randrange(5)))
        y1, y2 = sorted((rng.randrange(5), rng.randrange(5)))
        if rng.random() < 0.9:
            x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
        elif rng.random() < 0.5:
            x1, x2 = x2, x1
        box = tuple(corner / 4 if coarse else corner / 4 + rng.random() / 20 for corner in (x1, y1, x2, y2))
        rows.append((rng.choice("abc"), rng.choice((0, 4, 902, 903, 12345)), box, rng.choice((1, 2, 3, 7, 7, 0))))
        if scored:
            rows[-1] += (rng.randrange(6) / 5 if coarse else rng.random(),)
    return rows


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("max_pairs", [1 << 20, 7])
def test_equals_the_protocol_word_for_word(seed, max_pairs, monkeypatch):
    monkeypatch.setattr(ava, "_MAX_PAIRS", max_pairs)
    rng = random.Random(seed)
    coarse = seed % 3 > 0
    truth = random_rows(rng, rng.randrange(0, 60), False, coarse)
    found = random_rows(rng, rng.randrange(0, 400), True, coarse)
    if seed % 2:  # as most files are
        found.sort(key=lambda row: row[:2])
    excluded = [(rng.choice("abcd"), rng.choice((0, 4, 903))) for _ in range(rng.randrange(3))]
    ious = (0.5, 0.25, 0.75)
    result = score(truth, found, excluded, ious)
    flat_truth, flat_found = ([(*row[:2], *row[2], *row[3:]) for row in rows] for rows in (truth, found))
    for i, threshold in enumerate(ious):
        expected, mean = slow_average_precisions(flat_truth, flat_found, [1, 3, 7], excluded, threshold)
        assert result.average_precisions[i] == pytest.approx(list(expected.values()), abs=1e-12, nan_ok=True)
        assert result.mean(i) == pytest.approx(mean, abs=1e-12, nan_ok=True)


def test_videos_may_be_numbers_and_listed_in_any_order():
    truth = ActionBoxes.of([7, 3], [1, 1], [LEFT, RIGHT], [1, 1])
    found = ActionBoxes.of(np.array([3, 7]), np.array([1, 1]), np.array([RIGHT, LEFT]), np.array([1, 1]), [0.5, 0.5])
    assert found.at.video_names == ("3", "7")
    assert evaluate(truth, found, CLASSES).mean() == 1.0
    assert evaluate(truth, found.rows(found.at.videos == 0), CLASSES).mean() == 0.5
    assert evaluate(truth.rows(truth.at.seconds % 4 == 0), found, CLASSES).images_of_truth == 0
