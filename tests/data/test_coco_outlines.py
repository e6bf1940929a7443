"""Masks of polygons and run lengths, whole and placed."""

import json

import hypothesis.extra.numpy as arrays
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as masks_of

from slowfast_mvit.data.coco_outlines import num_pixels, pack_outlines
from slowfast_mvit.data.coco_transforms import Placement, whole

H, W = 10, 20


def packed(*segmentations):
    texts = [msgspec.Raw(json.dumps(one).encode()) for one in segmentations]
    return pack_outlines(texts, np.full(len(texts), H), np.full(len(texts), W), str)


SQUARE = [2, 1, 8, 1, 8, 5, 2, 5]  # x from 2 to 8, y from 1 to 5
FILLED = np.zeros((H, W), dtype=np.uint8)
FILLED[1:5, 2:8] = 1


def runs(mask, *, compressed=True):
    code = masks_of.encode(np.asfortranarray(mask))
    if compressed:
        return {"size": [*mask.shape], "counts": code["counts"].decode()}
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    return {"size": [*mask.shape], "counts": np.diff([0, *changes, len(flat)]).tolist()}


def test_whole_masks_of_every_form():
    outlines = packed([SQUARE], runs(FILLED), runs(FILLED, compressed=False))
    place = whole(H, W, H, W)
    for index in range(3):
        assert np.array_equal(outlines.mask(index, H, W, place), FILLED)


def test_an_object_of_several_polygons_among_others():
    outlines = packed([[0, 0, 1, 0, 1, 1, 0, 1]], [SQUARE, [10, 6, 14, 6, 14, 8, 10, 8], [1, 1, 2, 2]], runs(FILLED))
    both = FILLED.copy()
    both[6:8, 10:14] = 1
    assert np.array_equal(outlines.mask(1, H, W, whole(H, W, H, W)), both)
    kept = outlines.of(np.array([False, True, True]))
    assert len(kept) == 2
    assert np.array_equal(kept.mask(0, H, W, whole(H, W, H, W)), both)
    assert np.array_equal(kept.mask(1, H, W, whole(H, W, H, W)), FILLED)


@pytest.mark.parametrize("form", ["polygon", "runs"])
def test_a_placed_mask(form):
    """The window x 4..14, y 0..5, twice as large, mirrored, on a larger canvas: the square shows x 4..8, y 1..5."""
    outlines = packed([SQUARE] if form == "polygon" else runs(FILLED))
    place = Placement(4, 0, 14, 5, 20, 10, 24, 12, flip=True)
    expected = np.zeros((12, 24), dtype=np.uint8)
    expected[2:10, 12:20] = 1
    assert np.array_equal(outlines.mask(0, H, W, place), expected)


def test_polygons_are_cut_at_the_edge_of_the_picture():
    outlines = packed([[-5, -5, 30, -5, 30, 30, -5, 30]])
    place = Placement(0, 0, W, H, W, H, 32, 32)
    expected = np.zeros((32, 32), dtype=np.uint8)
    expected[:H, :W] = 1
    assert np.array_equal(outlines.mask(0, H, W, place), expected)


def test_polygons_without_three_corners_are_none():
    outlines = packed([[1, 1, 5, 5]], [[1, 1, 5, 5, 6]], [SQUARE], runs(FILLED))
    assert outlines.is_empty.tolist() == [True, True, False, False]


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1)))
def test_pixels_of_run_lengths(mask):
    assert num_pixels(masks_of.encode(np.asfortranarray(mask))["counts"]) == mask.size


@pytest.mark.parametrize("counts", [b"", b"P", b"\xff", b"0 0"])
def test_what_is_no_run_lengths(counts):
    assert num_pixels(counts) == -1


def test_run_lengths_of_another_mask():
    outlines = packed({"size": [H, W], "counts": runs(np.ones((5, 5), dtype=np.uint8))["counts"]})
    with pytest.raises(ValueError, match="are not those of its image"):
        outlines.mask(0, H, W, whole(H, W, H, W))
