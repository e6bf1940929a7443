"""An image with objects drawn on it: masks, boxes, names and scores."""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GOLDEN = (math.sqrt(5) - 1) / 2  # the hues of neighbouring classes are far apart
_COVER = 0.45  # of a mask


@dataclass(frozen=True)
class DrawnObject:
    """An object and what is said of it.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the image.
        words: that stand at its upper left corner.
        label: objects of one label have one colour.
        mask: bool [H, W], of the whole image; None: the box alone is drawn.
    """

    box: tuple[float, float, float, float]
    words: str
    label: int
    mask: np.ndarray | None = None


def colour_of(label: int) -> tuple[int, int, int]:
    """A bright colour, that black words can be read on."""
    red, green, blue = colorsys.hls_to_rgb(label * _GOLDEN % 1, 0.65, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_objects(image: Image.Image, objects: Sequence[DrawnObject]) -> Image.Image:
    """A copy of an RGB image with objects on it, the first ones on top."""
    pixels = np.array(image)
    for one in reversed(objects):
        if one.mask is not None:
            covered = pixels[one.mask]
            pixels[one.mask] = np.round(covered + (np.array(colour_of(one.label)) - covered) * _COVER)
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    size = max(11, round(min(image.size) / 40))
    font, thick = ImageFont.load_default(size), max(1, size // 7)
    for one in reversed(objects):
        colour = colour_of(one.label)
        x1, y1, x2, y2 = (round(edge) for edge in one.box)
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=thick)
        left, top, right, bottom = draw.textbbox((0, 0), one.words, font)
        width, height = math.ceil(right - left) + 4, math.ceil(bottom - top) + 4
        x = max(0, min(x1, image.width - width))
        y = y1 - height if y1 >= height else y1  # above the box, or in it where there is no room
        draw.rectangle((x, y, x + width, y + height), fill=colour)
        draw.text((x + 2 - left, y + 2 - top), one.words, (0, 0, 0), font)
    return picture
