"""Scores of views joined, worked by hand."""

import math

import numpy as np
import pytest
import torch

from slowfast_mvit.ops.ensemble import join_views, softmax

VIEWS = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.75, 0.25], [0.125, 0.125, 0.75]])


def joined(method, start, videos):
    totals = np.full((3, 3), start)
    join_views(totals, np.array(videos), VIEWS.numpy(), method)
    return totals.tolist()


def test_sum_and_max():
    assert joined("sum", 0.0, [1, 1, 1]) == [[0, 0, 0], [0.625, 1.125, 1.25], [0, 0, 0]]
    assert joined("max", -1.0, [1, 1, 1]) == [[-1, -1, -1], [0.5, 0.75, 0.75], [-1, -1, -1]]


def test_views_of_several_videos():
    assert joined("sum", 1.0, [2, 0, 2]) == [[1, 1.75, 1.25], [1, 1, 1], [1.625, 1.375, 2.0]]
    assert joined("max", 0.25, [2, 0, 2]) == [[0.25, 0.75, 0.25], [0.25] * 3, [0.5, 0.25, 0.75]]


def test_no_views():
    totals = np.ones((2, 3))
    join_views(totals, np.zeros(0, dtype=np.int64), np.zeros((0, 3)), "sum")
    assert (totals == 1).all()


def test_unknown_method():
    with pytest.raises(ValueError, match=r"DATA.ENSEMBLE_METHOD is 'mean'; it must be sum or max"):
        joined("mean", 0.0, [0, 0, 0])


def test_softmax_is_over_classes_and_in_float32():
    logits = torch.tensor([[0.0, math.log(3.0)], [1000.0, 1000.0]])
    torch.testing.assert_close(softmax(logits), torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
    half = softmax(torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.bfloat16))
    assert half.dtype == torch.float32
    total = 1 + math.e + math.e**2
    torch.testing.assert_close(half, torch.tensor([[1 / total, math.e / total, math.e**2 / total]]))
