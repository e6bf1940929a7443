"""Objects on images, pixel by pixel."""

import itertools

import numpy as np
from PIL import Image

from slowfast_mvit.data.objects_on_image import DrawnObject, colour_of, draw_objects


def grey(width: int = 120, height: int = 90) -> Image.Image:
    return Image.new("RGB", (width, height), (100, 100, 100))


def test_mask_box_and_words() -> None:
    image, mask = grey(), np.zeros((90, 120), dtype=bool)
    mask[50:60, 40:60] = True
    drawn = np.array(draw_objects(image, [DrawnObject((30, 40, 80, 70), "dog 0.93", 18, mask)]))
    colour = np.array(colour_of(18))
    assert (drawn[50:60, 40:60] == np.round(100 + (colour - 100) * 0.45)).all()
    assert (
        (drawn[40, 30:80] == colour).all() and (drawn[40:70, 79] == colour).all() and (drawn[69, 30:80] == colour).all()
    )
    assert (drawn[61:68, 32:78] == 100).all() and (drawn[:, 90:] == 100).all()
    words = drawn[22:40, 30:80].reshape(-1, 3)
    assert (words < 80).all(axis=1).any() and (words == colour).all(axis=1).any()  # black on the colour, above the box
    assert np.array(image).min() == 100  # the given image is as it was


def test_words_stay_in_the_image() -> None:
    drawn = np.array(draw_objects(grey(), [DrawnObject((110, 0, 120, 20), "traffic light 0.50", 1)]))
    assert (drawn[1, :30] == 100).all() and (drawn[1, 60] != 100).any()
    assert (drawn < 80).all(axis=2).any()


def test_the_first_object_is_on_top() -> None:
    mask = np.ones((90, 120), dtype=bool)
    over = DrawnObject((0, 20, 120, 90), "a", 1, mask), DrawnObject((0, 20, 120, 90), "b", 2, mask)
    drawn = np.array(draw_objects(grey(), over))
    assert (drawn[60, 0] == colour_of(1)).all()
    below = np.round(100 + (np.array(colour_of(2)) - 100) * 0.45)
    assert (drawn[60, 60] == np.round(below + (np.array(colour_of(1)) - below) * 0.45)).all()


def test_colours_are_bright_and_differ() -> None:
    colours = [colour_of(label) for label in range(1, 81)]
    assert len(set(colours)) == 80
    assert min(0.299 * r + 0.587 * g + 0.114 * b for r, g, b in colours) > 100
    for one, other in itertools.pairwise(colours):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 150


def test_no_objects() -> None:
    assert np.array_equal(np.array(draw_objects(grey(), [])), np.array(grey()))
