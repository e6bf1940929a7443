"""SoftNMS against the paper's loop, written down box by box, and against numbers worked by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slowfast_mvit.ops.soft_nms import soft_nms, soft_nms_by_class


def overlap(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def paper_loop(boxes, scores, method, sigma, threshold, min_score):
    """Figure 2 of the paper: B is the set of boxes that are left, S their scores, D what is detected."""
    B, S, D = list(range(len(boxes))), list(scores), []
    while B:
        m = max(B, key=lambda i: (S[i], -i))
        D.append((m, S[m]))
        B.remove(m)
        for i in B:
            u = overlap(boxes[m], boxes[i])
            if method == "gaussian":
                S[i] = S[i] * math.exp(-(u**2) / sigma)
            elif u >= threshold:
                S[i] = S[i] * (1 - u)
    return [(i, s) for i, s in D if s >= min_score]


# Whole numbers make equal boxes, boxes without area and equal scores likely.
BOX = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(0, 8)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
SCORED = st.lists(st.tuples(BOX, st.integers(0, 20)), max_size=25)


@given(SCORED, st.sampled_from(["linear", "gaussian"]), st.sampled_from([0.3, 0.5]), st.sampled_from([0.0, 0.05]))
@settings(max_examples=100, deadline=None)
def test_it_is_the_papers_loop(scored, method, number, min_score):
    boxes, scores = [box for box, _ in scored], [score / 20 for _, score in scored]
    expected = paper_loop(boxes, scores, method, number, number, min_score)
    keep, lowered = soft_nms(
        torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float64),
        method,
        number,
        number,
        min_score,
    )
    # Products are made in the same order, so that equal scores stay equal; exp may differ by a unit in the last place.
    if method == "linear":
        assert list(zip(keep.tolist(), lowered.tolist(), strict=True)) == expected
    else:
        assert lowered.tolist() == pytest.approx([score for _, score in expected], rel=1e-12)
        assert dict(zip(keep.tolist(), lowered.tolist(), strict=True)) == pytest.approx(dict(expected), rel=1e-12)


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_a_hundred_sets_in_float32(method):
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        corners = torch.rand(40, 2, generator=generator) * 60
        boxes = torch.cat((corners, corners + 5 + torch.rand(40, 2, generator=generator) * 40), dim=1)
        scores = torch.rand(40, generator=generator)
        expected = paper_loop(boxes.tolist(), scores.tolist(), method, 0.5, 0.3, 0.01)
        keep, lowered = soft_nms(boxes, scores, method, 0.5, 0.3, 0.01)
        assert keep.tolist() == [index for index, _ in expected]
        assert lowered.tolist() == pytest.approx([score for _, score in expected], rel=1e-4)


BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4], [20, 20, 30, 30], [0, 0, 10, 10]])
SCORES = torch.tensor([0.9, 0.8, 0.7, 0.1, 0.6])


def test_linear_by_hand():
    """With the first box the second overlaps by 0.5, the third by 0.4, the last by 1; the third with the second by 0.8."""
    keep, scores = soft_nms(BOXES, SCORES, "linear", iou_threshold=0.5, min_score=0.0)
    assert keep.tolist() == [0, 2, 3, 1, 4]
    assert scores.tolist() == pytest.approx([0.9, 0.7, 0.1, 0.8 * 0.5 * 0.2, 0.0])
    assert soft_nms(BOXES, SCORES, "linear", min_score=0.09)[0].tolist() == [0, 2, 3]


def test_gaussian_by_hand():
    keep, scores = soft_nms(BOXES[:2], SCORES[:2], "gaussian", sigma=0.5)
    assert keep.tolist() == [0, 1]
    assert scores.tolist() == pytest.approx([0.9, 0.8 * math.exp(-0.5)])


def test_classes_do_not_touch_each_other():
    labels = torch.tensor([7, 2, 7, 2, 2])
    keep, scores = soft_nms_by_class(BOXES, SCORES, labels, "linear", iou_threshold=0.45, min_score=0.0)
    assert keep.tolist() == [0, 1, 2, 4, 3]
    assert scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6 * 0.5, 0.1])


@given(SCORED, st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_a_limit_keeps_the_best(scored, limit):
    boxes = torch.tensor([box for box, _ in scored], dtype=torch.float64).reshape(-1, 4)
    scores = torch.tensor([score / 20 for _, score in scored], dtype=torch.float64)
    labels = torch.arange(len(scored)) % 3
    every = soft_nms_by_class(boxes, scores, labels)
    some = soft_nms_by_class(boxes, scores, labels, limit=limit)
    assert [part.tolist() for part in some] == [part[:limit].tolist() for part in every]


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_no_boxes(method):
    keep, scores = soft_nms(torch.zeros(0, 4), torch.zeros(0), method)
    assert keep.dtype == torch.int64 and len(keep) == len(scores) == 0
    assert len(soft_nms(BOXES, SCORES * 1e-4, method)[0]) == 0
