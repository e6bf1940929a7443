"""Mean average precision: by hand, against a slow transcription of its definition, and its properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from slowfast_mvit.evaluation.multilabel import average_precisions, mean_average_precision


def column(values, dtype=None):
    return np.array(values, dtype=dtype)[:, None]


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([0.9, 0.8, 0.7], [1, 0, 0], 1.0),
        ([0.9, 0.8, 0.7], [0, 0, 1], 1 / 3),
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (1 / 1 + 2 / 3) / 2),
        ([0.6, 0.9, 0.7, 0.8], [1, 1, 0, 0], (1 / 1 + 2 / 4) / 2),  # in any order
        # scikit-learn's own example: 0.5 * 1 + 0.5 * 2/3.
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.5 + 1 / 3),
        # Equal scores are taken in at once: two of three are right there.
        ([0.5, 0.5, 0.5], [1, 0, 1], 2 / 3),
        ([0.9, 0.5, 0.5, 0.5], [1, 0, 1, 0], (1 / 1 + 2 / 4) / 2),
        ([0.9, 0.9, 0.1], [0, 1, 1], (1 / 2 + 2 / 3) / 2),
        ([0.3], [1], 1.0),
    ],
)
def test_by_hand(scores, labels, expected):
    assert average_precisions(column(scores), column(labels, bool))[0] == pytest.approx(expected, rel=1e-12)
    turned = average_precisions(column(scores[::-1]), column(labels[::-1], bool))
    assert turned[0] == pytest.approx(expected, rel=1e-12)


def slow(scores, labels):
    """Threshold by threshold: the sum over falling thresholds of the gain in recall times the precision."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = [label for score, label in zip(scores, labels, strict=True) if score >= threshold]
        new = sum(taken) / sum(labels)
        total += (new - recall) * sum(taken) / len(taken)
        recall = new
    return total


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_equals_the_definition(data):
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 4)))
    scores = data.draw(arrays(np.float64, shape, elements=st.integers(0, 5).map(lambda n: n / 5)))
    labels = data.draw(arrays(np.bool_, shape))
    found = average_precisions(scores, labels)
    for k in range(shape[1]):
        if labels[:, k].any():
            assert found[k] == pytest.approx(slow(scores[:, k].tolist(), labels[:, k].tolist()), rel=1e-12)
        else:
            assert np.isnan(found[k])


def test_a_large_set_equals_the_definition():
    rng = np.random.default_rng(0)
    scores, labels = rng.random((400, 6)).round(2), rng.random((400, 6)) < 0.1
    expected = [slow(scores[:, k].tolist(), labels[:, k].tolist()) for k in range(6)]
    assert average_precisions(scores, labels) == pytest.approx(expected, rel=1e-12)
    assert mean_average_precision(scores, labels) == pytest.approx(np.mean(expected) * 100, rel=1e-12)


def test_classes_that_no_video_has_are_left_out():
    scores = np.array([[0.9, 0.2, 0.5], [0.1, 0.8, 0.5]])
    labels = np.array([[True, False, False], [False, False, True]])
    assert average_precisions(scores, labels) == pytest.approx([1.0, np.nan, 0.5], nan_ok=True)
    assert mean_average_precision(scores, labels) == 75.0


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_to_score(count):
    assert np.isnan(mean_average_precision(np.zeros((count, 4)), np.zeros((count, 4), dtype=bool)))
