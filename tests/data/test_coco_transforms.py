"""Where images and their objects are put, worked by hand and held against detectron2's rules."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from slowfast_mvit.data.coco_transforms import LargeScaleJitter, Placement, ShortSides, resized, whole
from slowfast_mvit.ops.randomness import sample_rng

SHORT_SIDES = tuple(range(480, 801, 32))
STANDARD = ShortSides(SHORT_SIDES, 1333, 0.5, (400, 500, 600), (384, 600))


@pytest.mark.parametrize(
    ("height", "width", "short", "expected"),
    [
        (480, 640, 800, (800, 1067)),  # 1066.67 is rounded up
        (640, 480, 800, (1067, 800)),
        (2, 5, 5, (5, 13)),  # 12.5 as well, to no even number
        (427, 640, 800, (800, 1199)),  # 1199.06
        (500, 500, 800, (800, 800)),
        (300, 640, 800, (625, 1333)),  # 1706.67 is over 1333: 800 * 1333 / 1706.67 = 624.84
        (1, 5000, 800, (1, 1333)),
        (5000, 1, 800, (1333, 1)),
    ],
)
def test_sizes(height, width, short, expected):
    assert resized(height, width, short, 1333) == expected


def test_a_whole_image():
    assert whole(480, 640, 800, 1333) == Placement(0, 0, 640, 480, 1067, 800, 1067, 800)


def test_boxes_and_points_of_a_window():
    """The window x 10..30, y 20..60 is made twice as wide and half as high."""
    place = Placement(10, 20, 30, 60, 40, 20, 40, 20)
    assert place.of_points(np.array([[10.0, 20], [20, 40], [0, 100]])).tolist() == [[0, 0], [20, 10], [-20, 40]]
    boxes = np.array([[12.0, 24, 20, 40], [0, 0, 15, 100], [40, 20, 50, 30]])
    assert place.of_boxes(boxes).tolist() == [[4, 2, 20, 10], [0, 0, 10, 20], [40, 0, 40, 5]]


def test_boxes_of_a_mirrored_window():
    place = Placement(10, 20, 30, 60, 40, 20, 64, 32, flip=True)
    assert place.of_boxes(np.array([[12.0, 24, 20, 40]])).tolist() == [[20, 2, 36, 10]]


def test_pixels_are_those_of_a_resize_and_a_crop():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    resized_image = np.array(image.resize((120, 80), Image.Resampling.BILINEAR))
    # Columns 20..100 and rows 10..70 of the image at twice the size, and beside it grey.
    place = Placement(10, 5, 50, 35, 80, 60, 96, 64)
    found = place.of_image(image)
    assert found.shape == (64, 96, 3)
    assert np.abs(found[:60, :80].astype(int) - resized_image[10:70, 20:100]).max() <= 1
    assert (found[60:] == 128).all() and (found[:, 80:] == 128).all()
    mirrored = Placement(10, 5, 50, 35, 80, 60, 80, 60, flip=True).of_image(image)
    assert np.array_equal(mirrored, found[:60, :80][:, ::-1])
    assert np.array_equal(Placement(0, 0, 60, 40, 60, 40, 60, 40).of_image(image), pixels)


def test_boxes_lie_where_their_pixels_do():
    """A white rectangle is found again in the picture of every placement."""
    pixels = np.zeros((60, 90, 3), dtype=np.uint8)
    pixels[20:44, 30:60] = 255
    image, box = Image.fromarray(pixels), np.array([[30.0, 20, 60, 44]])
    recipes = (ShortSides((48, 96), 140, 0.5, (60, 90), (40, 80)), LargeScaleJitter((0.5, 2.0), 128))
    checked = 0
    for recipe in recipes:
        for sample in range(30):
            place = recipe.draw(60, 90, sample_rng(0, 0, sample))
            x1, y1, x2, y2 = place.of_boxes(box)[0]
            lit = place.of_image(image)[: place.height, : place.width, 0] > 127
            if min(x2 - x1, y2 - y1) < 2:
                continue
            rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
            around = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert np.abs(np.array([x1, y1, x2, y2]) - around).max() <= 1
            checked += 1
    assert checked > 40


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 10**6))
def test_what_the_standard_recipe_draws(height, width, seed):
    place = STANDARD.draw(height, width, np.random.default_rng(seed))
    assert 1 <= min(place.width, place.height) <= 800
    assert max(place.width, place.height) <= 1333
    assert (place.canvas_width, place.canvas_height) == (place.width, place.height)
    assert -1e-9 <= place.left < place.right <= width + 1e-9
    assert -1e-9 <= place.top < place.bottom <= height + 1e-9


def test_the_shares_of_what_the_standard_recipe_draws():
    """Of a 480 x 640 image half are cropped, half mirrored; crops are of 400, 500 or 600 pixels, and 384 or more of them."""
    drawn = [STANDARD.draw(480, 640, sample_rng(1, 0, sample)) for sample in range(3000)]
    cropped = [place for place in drawn if (place.right - place.left, place.bottom - place.top) != (640, 480)]
    # 1 in 117 crops of 400 x 533 and 1 in 25,000 or so of the others is the whole image, and cannot be told apart.
    assert len(cropped) / 3000 == pytest.approx(0.5, abs=0.03)
    assert sum(place.flip for place in drawn) / 3000 == pytest.approx(0.5, abs=0.03)
    uncropped = [place for place in drawn if place.bottom - place.top == 480 and place.right - place.left == 640]
    assert {min(place.height, place.width) for place in uncropped} == set(SHORT_SIDES)
    shares = np.array([(place.bottom - place.top) / 480 for place in cropped])
    assert (shares.min(), shares.max()) == pytest.approx((384 / 600, 1.0), abs=0.01)
    # A crop is of whole pixels of one of the three sizes.
    pixels = shares[:, None] * np.array([400, 500, 600])
    assert (np.abs(pixels - pixels.round()).min(axis=1) < 1e-6).all()


def test_large_scale_jitter():
    """A scale fits the image into 1024 times it; what is larger is cut, what is smaller lies at the top left of the square."""
    recipe = LargeScaleJitter((0.1, 2.0), 1024)
    drawn = [recipe.draw(480, 640, sample_rng(2, 0, sample)) for sample in range(1000)]
    assert {(place.canvas_height, place.canvas_width) for place in drawn} == {(1024, 1024)}
    scales = np.array([place.width / (place.right - place.left) * 640 / 1024 for place in drawn])
    assert (scales.min(), scales.max()) == pytest.approx((0.1, 2.0), abs=0.01)
    assert np.mean(scales < 1.05) == pytest.approx(0.5, abs=0.05)
    for place, scale in zip(drawn, scales, strict=True):
        assert place.width == min(1024, round(1024 * scale))
        assert abs(place.height - min(1024, 768 * scale)) <= 1
        if scale < 1:
            assert (place.left, place.top, place.right, place.bottom) == (0, 0, 640, 480)
    # One share is drawn for both axes; mirrored, the crop counts from the right.
    large = [place for place in drawn if place.bottom - place.top < 400]  # so that rounding to pixels is small
    assert len(large) > 100
    for place in large:
        across = place.left / (640 - (place.right - place.left))
        down = place.top / (480 - (place.bottom - place.top))
        assert (1 - across if place.flip else across) == pytest.approx(down, abs=0.01)


def test_large_scale_jitter_of_a_line():
    for sample in range(50):
        place = LargeScaleJitter((0.1, 2.0), 64).draw(1, 5000, sample_rng(0, 0, sample))
        assert 1 <= place.height <= 64 and 1 <= place.width <= 64


@pytest.mark.parametrize(("width", "height"), ((1, 9), (9, 1), (1, 1)))
def test_a_mirrored_line_is_a_tensor(width, height):
    """NumPy has an axis of 1 with a stride below 0 for contiguous, which torch refuses."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    placed = Placement(0, 0, width, height, width, height, width, height, flip=True).of_image(Image.fromarray(pixels))
    assert np.array_equal(torch.from_numpy(placed).numpy(), pixels[:, ::-1])
