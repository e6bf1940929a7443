"""Where an image with objects is put: which part of it, at which size, mirrored or not; one plan for pixels, boxes and masks.

All that is drawn for a training image is drawn first, and every pixel is then resized once, also where an image is cropped
between two resizes. Sizes and crops are detectron2's (ResizeShortestEdge, RandomCrop with absolute_range, ResizeScale,
FixedSizeCrop).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

GREY = 128  # fills up the square of large-scale jitter, as in detectron2


@dataclass(frozen=True)
class Placement:
    """A window of an image file, resized into the top left of a canvas.

    Attributes:
        left, top, right, bottom: the window in pixels of the file, with fractions.
        width, height: what the window is resized to.
        canvas_width, canvas_height: of the whole picture; at least as large.
        flip: the resized window is mirrored left to right.
    """

    left: float
    top: float
    right: float
    bottom: float
    width: int
    height: int
    canvas_width: int
    canvas_height: int
    flip: bool = False

    def of_image(self, image: Image.Image) -> np.ndarray:
        """RGB image -> uint8 [canvas_height, canvas_width, 3]; bilinear, with PIL's averaging, and grey beside it."""
        window = (self.left, self.top, self.right, self.bottom)
        pixels = np.array(image.resize((self.width, self.height), Image.Resampling.BILINEAR, box=window))
        # A copy: NumPy calls one column contiguous backwards too, and torch takes no such strides.
        pixels = pixels[:, ::-1].copy() if self.flip else pixels
        if (self.canvas_height, self.canvas_width) == pixels.shape[:2]:
            return pixels
        canvas = np.full((self.canvas_height, self.canvas_width, 3), GREY, dtype=np.uint8)
        canvas[: self.height, : self.width] = pixels
        return canvas

    def of_points(self, points: np.ndarray) -> np.ndarray:
        """float64 [n, 2], x and y in the file -> the same in the picture, which they may lie outside of."""
        x = (points[:, 0] - self.left) * (self.width / (self.right - self.left))
        y = (points[:, 1] - self.top) * (self.height / (self.bottom - self.top))
        return np.stack((self.width - x if self.flip else x, y), axis=1)

    def of_boxes(self, boxes: np.ndarray) -> np.ndarray:
        """float [n, 4], x1, y1, x2, y2 in the file -> float64 [n, 4] in the picture, cut at the edges of the window."""
        corners = np.sort(self.of_points(np.asarray(boxes, dtype=np.float64).reshape(-1, 2)).reshape(-1, 2, 2), axis=1)
        return corners.clip(0, (self.width, self.height)).reshape(-1, 4)

    def of_mask(self, mask: np.ndarray) -> np.ndarray:
        """uint8 [height, width] of the file -> uint8 [canvas_height, canvas_width]; the nearest pixel, and 0 beside it."""
        columns = _nearest(self.left, self.right, self.width, mask.shape[1])
        rows = _nearest(self.top, self.bottom, self.height, mask.shape[0])
        placed = np.zeros((self.canvas_height, self.canvas_width), dtype=np.uint8)
        placed[: self.height, : self.width] = mask[rows[:, None], columns[::-1] if self.flip else columns]
        return placed


def _nearest(start: float, end: float, size: int, limit: int) -> np.ndarray:
    """int64 [size]; the pixels of 0..limit-1 under the centres of ``size`` equal parts of start..end."""
    centres = start + (np.arange(size) + 0.5) * ((end - start) / size)
    return np.floor(centres).astype(np.int64).clip(0, limit - 1)


def resized(height: int, width: int, short_side: int, max_side: float = math.inf) -> tuple[int, int]:
    """Height and width of an image whose short side becomes ``short_side``, or less where the long one would pass ``max_side``.

    Rounded as detectron2 does, and at least 1: an image of 1 x 5000 has no short side of 800 otherwise.
    """
    scale = short_side / min(height, width)
    sides = [float(short_side), scale * width] if height < width else [scale * height, float(short_side)]
    shrink = min(1.0, max_side / max(sides))
    new_height, new_width = (max(1, int(side * shrink + 0.5)) for side in sides)
    return new_height, new_width


def whole(height: int, width: int, short_side: int, max_side: int) -> Placement:
    """All of an image, as tests see it."""
    new_height, new_width = resized(height, width, short_side, max_side)
    return Placement(0, 0, width, height, new_width, new_height, new_width, new_height)


@dataclass(frozen=True)
class ShortSides:
    """The standard recipe: some images are cropped, then a short side is drawn.

    Attributes:
        short_sides: each as often.
        max_side: greatest long side.
        crop_prob: share of the images that are cropped first.
        crop_short_sides: of the image that is cropped, each as often.
        crop_sides: least and greatest height and width of the crop, where the image has as much.
        flip: mirror every second image.
    """

    short_sides: tuple[int, ...]
    max_side: int
    crop_prob: float
    crop_short_sides: tuple[int, ...]
    crop_sides: tuple[int, int]
    flip: bool = True
    boxes_of_masks: ClassVar[bool] = False

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Placement:
        """The placement of one image of that size."""
        left = top = 0.0
        right, bottom = float(width), float(height)
        crop_height, crop_width = height, width
        if rng.random() < self.crop_prob:
            first_height, first_width = resized(height, width, _one_of(self.crop_short_sides, rng))
            low, high = self.crop_sides
            crop_height, crop_width = (
                int(rng.integers(min(side, low), min(side, high) + 1)) for side in (first_height, first_width)
            )
            x, y = int(rng.integers(first_width - crop_width + 1)), int(rng.integers(first_height - crop_height + 1))
            left, right = x * width / first_width, (x + crop_width) * width / first_width
            top, bottom = y * height / first_height, (y + crop_height) * height / first_height
        new_height, new_width = resized(crop_height, crop_width, _one_of(self.short_sides, rng), self.max_side)
        flips = self.flip and rng.random() < 0.5
        return Placement(left, top, right, bottom, new_width, new_height, new_width, new_height, flips)


@dataclass(frozen=True)
class LargeScaleJitter:
    """Large-scale jitter (arXiv:2012.07177): an image is fitted into a square times a drawn factor, then cut or filled up.

    Boxes are then those of the outlines, since what is cut off an object may change them: where something is cut off, they are
    of whole pixels.

    Attributes:
        scales: least and greatest factor.
        size: side of the square in pixels.
        flip: mirror every second image.
    """

    scales: tuple[float, float]
    size: int
    flip: bool = True
    boxes_of_masks: ClassVar[bool] = True

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Placement:
        """The placement of one image of that size."""
        flips = self.flip and rng.random() < 0.5
        scale = rng.uniform(*self.scales) * min(self.size / height, self.size / width)
        new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
        shown_height, shown_width = min(new_height, self.size), min(new_width, self.size)
        share = rng.uniform()  # one for both axes, as in detectron2
        x, y = round((new_width - shown_width) * share), round((new_height - shown_height) * share)
        if flips:  # the crop is of the mirrored image
            x = new_width - shown_width - x
        return Placement(
            x * width / new_width,
            y * height / new_height,
            (x + shown_width) * width / new_width,
            (y + shown_height) * height / new_height,
            shown_width,
            shown_height,
            self.size,
            self.size,
            flips,
        )


def _one_of(values: tuple[int, ...], rng: np.random.Generator) -> int:
    return values[int(rng.integers(len(values)))]
