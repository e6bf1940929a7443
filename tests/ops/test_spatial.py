"""Sizes, crops, normalisation and resizing, worked by hand; random crops through draws that the test chooses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.ops.spatial import (
    CropBox,
    area_aspect_crop,
    jitter_crop,
    normalize,
    resize,
    short_side_size,
    view_crop,
)

ASPECT = (3 / 4, 4 / 3)


class Draws:
    """A generator that gives the points at ``fractions`` of the asked ranges, and ``integers`` as they are."""

    def __init__(self, fractions, integers):
        self.fractions, self.choices, self.highs = list(fractions), list(integers), []

    def uniform(self, low, high):
        return low + self.fractions.pop(0) * (high - low)

    def integers(self, low, high):
        assert low == 0
        self.highs.append(high)
        value = self.choices.pop(0)
        assert low <= value < high
        return value


# Short side.


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (240, 320, 256, (256, 341)),  # 341.33
        (320, 240, 256, (341, 256)),
        (360, 640, 224, (224, 398)),  # 398.22
        (640, 360, 224, (398, 224)),
        (480, 853, 256, (256, 454)),  # 454.93
        (853, 480, 256, (454, 256)),
        (300, 300, 224, (224, 224)),
        (112, 224, 112, (112, 224)),
        (90, 121, 180, (180, 242)),  # enlarging
    ],
)
def test_short_side(height, width, size, expected):
    assert short_side_size(height, width, size) == expected


# Test crops.


@pytest.mark.parametrize(
    ("height", "width", "size", "offsets"),
    [
        (256, 341, 224, [(16, 0), (16, 59), (16, 117)]),  # centre 58.5 goes up
        (257, 341, 224, [(17, 0), (17, 59), (17, 117)]),  # 16.5 goes up
        (341, 256, 224, [(0, 16), (59, 16), (117, 16)]),
        (341, 257, 224, [(0, 17), (59, 17), (117, 17)]),
        (256, 256, 224, [(16, 0), (16, 16), (16, 32)]),  # a square is cut like a landscape
        (224, 398, 224, [(0, 0), (0, 87), (0, 174)]),
        (398, 224, 224, [(0, 0), (87, 0), (174, 0)]),
        (224, 224, 224, [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_view_crops(height, width, size, offsets):
    expected = [CropBox(top, left, size, size) for top, left in offsets]
    assert [view_crop(height, width, size, i, 3) for i in range(3)] == expected
    assert view_crop(height, width, size, 0, 1) == expected[1]


@pytest.mark.parametrize(("height", "width"), [(223, 400), (400, 223), (100, 100)])
def test_view_crop_that_does_not_fit(height, width):
    with pytest.raises(ValueError, match=rf"a crop of 224 pixels does not fit into a frame of {height}x{width}"):
        view_crop(height, width, 224, 1, 3)


# Inception crops.


@pytest.mark.parametrize(
    ("at", "size"),
    [
        (0.5, (71, 71)),  # aspect 1 of 5000 pixels: 70.71
        (1.0, (61, 82)),  # aspect 4/3: 61.24 x 81.65
        (0.0, (82, 61)),
        (0.25, (76, 66)),  # log-uniform: 3/4 * sqrt(4/3) = 0.866, 75.98 x 65.80 (0.896 if uniform, 75 x 67)
    ],
)
def test_area_and_aspect_by_hand(at, size):
    rng = Draws([(0.25 - 0.08) / 0.92, at], [3, 100])  # a quarter of 100 x 200
    assert area_aspect_crop(100, 200, (0.08, 1.0), ASPECT, rng) == CropBox(3, 100, *size)
    assert rng.highs == [100 - size[0] + 1, 200 - size[1] + 1]


def test_area_crop_draws_again_after_a_miss():
    # The whole area at aspect 1 does not fit into 100 x 200: 141 pixels high.
    rng = Draws([1.0, 0.5, (0.25 - 0.08) / 0.92, 0.5], [29, 129])
    assert area_aspect_crop(100, 200, (0.08, 1.0), ASPECT, rng) == CropBox(29, 129, 71, 71)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (100, 400, CropBox(0, 133, 100, 133)),  # as wide as 4/3 allows: 133.3; (400 - 133) // 2
        (400, 100, CropBox(133, 0, 133, 100)),  # as high as 3/4 allows
        (100, 120, CropBox(0, 0, 100, 120)),  # within the range: the whole frame
    ],
)
def test_area_crop_falls_back_to_the_centre(height, width, expected):
    misses = [1.0, 0.5] * 10  # twice the frame's area, ten times
    rng = Draws([*misses, 0.0, 0.5], [])
    assert area_aspect_crop(height, width, (2.0, 2.0), ASPECT, rng) == expected
    assert rng.fractions == [0.0, 0.5]  # ten attempts, not eleven


@given(
    height=st.integers(16, 400), width=st.integers(16, 400), low=st.floats(0.05, 0.9), seed=st.integers(0, 2**32 - 1)
)
def test_area_crop_stays_inside_and_keeps_its_ranges(height, width, low, seed):
    box = area_aspect_crop(height, width, (low, 1.0), ASPECT, np.random.default_rng(seed))
    assert box.top >= 0 and box.left >= 0 and box.height > 0 and box.width > 0
    assert box.top + box.height <= height and box.left + box.width <= width
    # Both sides are rounded by at most half a pixel.
    assert (box.width + 0.5) / (box.height - 0.5) >= ASPECT[0]
    assert (box.width - 0.5) / (box.height + 0.5) <= ASPECT[1]
    central = box.top == (height - box.height) // 2 and box.left == (width - box.width) // 2
    assert central or (box.height + 0.5) * (box.width + 0.5) >= low * height * width


def test_area_and_aspect_are_uniform():
    rng = np.random.default_rng(0)
    boxes = [area_aspect_crop(240, 320, (0.1, 0.5), ASPECT, rng) for _ in range(2000)]  # none of these can miss
    areas = np.array([box.height * box.width for box in boxes]) / (240 * 320)
    log_aspects = np.log([box.width / box.height for box in boxes])
    assert areas.min() < 0.105 and areas.max() > 0.495
    assert areas.mean() == pytest.approx(0.3, abs=0.01)
    assert log_aspects.mean() == pytest.approx(0, abs=0.015)
    assert log_aspects.std() == pytest.approx(math.log(16 / 9) / math.sqrt(12), abs=0.01)


# Short-side jitter.


@pytest.mark.parametrize(
    ("inverse", "at", "short"),
    [
        (False, 0.0, 256),
        (False, 0.25, 272),
        (False, 0.51, 289),  # 288.64
        (False, 1.0, 320),
        (True, 0.0, 320),
        (True, 0.25, 301),  # 1 / 0.0033203125 = 301.18
        (True, 0.5, 284),  # 284.44
        (True, 1.0, 256),
    ],
)
def test_jitter_draws_the_short_side(inverse, at, short):
    rng = Draws([at], [0, 0])
    box = jitter_crop(240, 320, (256, 320), 224, inverse, rng)
    long = math.floor(320 / 240 * short)
    assert rng.highs == [short - 224 + 1, long - 224 + 1]
    assert box == CropBox(0, 0, round(224 * 240 / short), round(224 * 320 / long))


def test_jitter_crop_by_hand():
    # 240 x 320 at short side 272 is 272 x 362; the last crop of 224 there starts at 48, 138.
    rng = Draws([0.25], [48, 138])
    # In the source: 48 * 240/272 = 42.35, 138 * 320/362 = 121.99, 224 * 240/272 = 197.65, 224 * 320/362 = 198.01.
    assert jitter_crop(240, 320, (256, 320), 224, False, rng) == CropBox(42, 122, 198, 198)
    rng = Draws([0.25], [138, 48])
    assert jitter_crop(320, 240, (256, 320), 224, False, rng) == CropBox(122, 42, 198, 198)


def test_jitter_crop_where_the_axes_scale_differently():
    # 100 x 399 at short side 10 is 10 x 39 (39.9): 10 and 399/39 = 10.23 source pixels for each of its own.
    rng = Draws([0.0], [2, 31])
    assert jitter_crop(100, 399, (10, 10), 8, False, rng) == CropBox(20, 317, 80, 82)


def test_jitter_crop_of_the_whole_short_side():
    rng = Draws([0.0], [0, 75])
    assert jitter_crop(240, 320, (240, 240), 240, False, rng) == CropBox(0, 75, 240, 240)


def test_jitter_crop_that_does_not_fit():
    with pytest.raises(ValueError, match="a crop of 224 pixels does not fit into a short side of 200"):
        jitter_crop(240, 320, (200, 200), 224, False, np.random.default_rng(0))


@given(
    height=st.integers(16, 500),
    width=st.integers(16, 500),
    inverse=st.booleans(),
    size=st.integers(16, 224),
    seed=st.integers(0, 2**32 - 1),
)
def test_jitter_crop_stays_inside(height, width, inverse, size, seed):
    box = jitter_crop(height, width, (224, 320), size, inverse, np.random.default_rng(seed))
    assert box.top >= 0 and box.left >= 0 and box.height > 0 and box.width > 0
    assert box.top + box.height <= height and box.left + box.width <= width


# Pixels.


def test_normalize_by_hand():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    out = normalize(pixels, (0.45, 0.2, 0.5), (0.225, 0.1, 0.25))
    assert out.dtype == torch.float32 and out.shape == (2, 3, 4, 5)
    expected = torch.tensor([-2.0, 0.0, 2.0]).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6)


def test_normalize_takes_video_and_float_pixels():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 4, 8, 8).expand(1, 3, 4, 8, 8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    out = normalize(pixels, mean, std)
    values = np.arange(256).reshape(4, 8, 8) / 255
    for channel in range(3):
        expected = torch.from_numpy((values - mean[channel]) / std[channel]).float()
        torch.testing.assert_close(out[0, channel], expected, rtol=0, atol=2e-6)
    assert torch.equal(normalize(pixels.double(), mean, std), out)


def test_resize_by_hand():
    row = torch.tensor([0.0, 10.0]).view(1, 1, 1, 2)
    assert resize(row, 1, 4).flatten().tolist() == [0.0, 2.5, 7.5, 10.0]  # half-pixel centres
    impulse = torch.tensor([0.0, 0, 0, 8, 0, 0, 0, 0]).view(1, 1, 1, 8)
    assert resize(impulse, 1, 2).flatten().tolist() == [0.0, 0.0]  # no antialiasing: only pixels 1, 2, 5 and 6 are read


def test_resize_against_plain_bilinear():
    frames = torch.rand(2, 3, 7, 11, generator=torch.Generator().manual_seed(0))
    out = resize(frames, 5, 14)

    def weights(size_in, size_out):
        matrix = torch.zeros(size_out, size_in)
        for r in range(size_out):
            x = max((r + 0.5) * size_in / size_out - 0.5, 0.0)
            low = math.floor(x)
            matrix[r, low] += 1 - (x - low)
            matrix[r, min(low + 1, size_in - 1)] += x - low
        return matrix

    expected = weights(7, 5) @ frames @ weights(11, 14).T
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6)


def test_resize_to_the_same_size_changes_nothing():
    frames = torch.rand(2, 3, 7, 11)
    assert resize(frames, 7, 11) is frames
    assert resize(frames, 11, 7).shape == (2, 3, 11, 7)
