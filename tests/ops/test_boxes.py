"""Boxes in crops and their overlaps, against numbers worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.ops.boxes import at_least, boxes_in_crop, mirrored, overlaps
from slowfast_mvit.ops.spatial import CropBox

CROP = CropBox(top=10, left=50, height=60, width=80)


def test_boxes_follow_the_crop():
    boxes = np.array([[0.3, 0.2, 0.5, 0.6]])  # 60..100 across and 20..60 down in 200x100 pixels
    assert boxes_in_crop(boxes, 100, 200, CROP, 120).tolist() == [[15.0, 20.0, 75.0, 100.0]]


def test_boxes_are_clipped_to_the_crop():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.2, 1], [0.7, 0.3, 1, 0.35]])
    assert boxes_in_crop(boxes, 100, 200, CROP, 120).tolist() == [
        [0, 0, 120, 120],
        [0, 0, 0, 120],  # left of the crop
        [120, 40, 120, 50],  # right of it
    ]


def test_mirrored():
    assert mirrored(np.array([[10.0, 20, 40, 50], [0, 0, 64, 64]]), 64).tolist() == [[24, 20, 54, 50], [0, 0, 64, 64]]


@given(
    st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=5),
    st.integers(8, 60),
    st.integers(8, 60),
    st.data(),
)
def test_mirroring_and_cropping_commute(boxes, height, width, data):
    """A crop of the mirrored frame at the mirrored place shows the mirrored boxes."""
    w, h = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
    left, top = data.draw(st.integers(0, width - w)), data.draw(st.integers(0, height - h))
    x1, y1, x2, y2 = np.sort(np.array(boxes).reshape(-1, 2, 2), axis=1).reshape(-1, 4).T
    boxes = np.stack((x1, y1, x2, y2), axis=1)
    there = boxes_in_crop(boxes, height, width, CropBox(top, left, h, w), 32)
    other = boxes_in_crop(mirrored(boxes, 1.0), height, width, CropBox(top, width - left - w, h, w), 32)
    np.testing.assert_allclose(mirrored(there, 32), other, atol=1e-9)


def test_at_least():
    boxes = np.array([[0, 0, 1, 1], [3, 3, 3.9, 9], [3, 3, 9, 3.9], [5, 5, 5, 5], [1, 1, 4, 2]])
    assert at_least(boxes, 1.0).tolist() == [True, False, False, False, True]


def test_overlaps():
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3]])
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [5, 5, 5, 5]])
    expected = [[1, 2 / 6, 0, 0], [1 / 7, 2 / 6, 1 / 7, 0]]
    assert overlaps(boxes, others) == pytest.approx(np.array(expected), abs=1e-15)


def test_overlaps_of_none():
    assert overlaps(np.empty((0, 4)), np.zeros((3, 4))).shape == (0, 3)
