"""Metrics by the kind of labels, and their words."""

import numpy as np
import pytest

from slowfast_mvit.evaluation.metrics import in_words, metrics_of
from slowfast_mvit.evaluation.multiview import MultiViewResult

SCORES = np.array([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6]])


def result(labels):
    return MultiViewResult(
        np.arange(2), np.array(labels), SCORES, *(np.zeros((2, 1, 1)),) * 2, np.zeros((2, 1, 2)), None, 1
    )


def test_one_label():
    metrics = metrics_of(result([0, 1]))
    assert metrics == {"top1_acc": 50.0, "top5_acc": 100.0}
    assert in_words(metrics) == "top-1 50.00 %, top-5 100.00 %"


def test_several_labels():
    metrics = metrics_of(result([[True, True, False], [False, True, False]]))
    # Class 0 is ranked right, class 1 is in both, and no video has class 2.
    assert metrics == {"map": pytest.approx(100.0)}
    assert in_words(metrics_of(result([[False, False, True], [True, False, False]]))) == "mAP 50.00 %"


def test_words_of_objects() -> None:
    assert in_words({"box_ap": 48.3, "box_ap50": 70.0, "mask_ap": float("nan")}) == "box AP 48.30 %"
    assert in_words({"box_ap": float("nan"), "num_images": 3}) == "no score"
