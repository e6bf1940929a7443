"""Scores of views joined, worked by hand."""

import math

import pytest
import torch

from slowfast_mvit.ops.ensemble import combine_views, softmax

VIEWS = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.75, 0.25], [0.125, 0.125, 0.75]])


def test_sum_and_max():
    assert combine_views(VIEWS, "sum").tolist() == [0.625, 1.125, 1.25]
    assert combine_views(VIEWS, "max").tolist() == [0.5, 0.75, 0.75]


def test_one_view_is_the_video():
    for method in ("sum", "max"):
        assert combine_views(VIEWS[:1], method).tolist() == VIEWS[0].tolist()


def test_unknown_method():
    with pytest.raises(ValueError, match=r"DATA.ENSEMBLE_METHOD is 'mean'; it must be sum or max"):
        combine_views(VIEWS, "mean")


def test_softmax_is_over_classes_and_in_float32():
    logits = torch.tensor([[0.0, math.log(3.0)], [1000.0, 1000.0]])
    torch.testing.assert_close(softmax(logits), torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
    half = softmax(torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.bfloat16))
    assert half.dtype == torch.float32
    total = 1 + math.e + math.e**2
    torch.testing.assert_close(half, torch.tensor([[1 / total, math.e / total, math.e**2 / total]]))
