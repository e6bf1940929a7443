"""Sizes, crops and resizing of frames: where views are cut, and how training crops are drawn.

Letters: T frames, H, W extents in pixels. Boxes of crops are (top, left, height, width) in pixels.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class CropBox:
    """A rectangle of a frame in pixels."""

    top: int
    left: int
    height: int
    width: int


def short_side_size(height: int, width: int, size: int) -> tuple[int, int]:
    """(height, width) after bringing the short side to ``size``; the long side is floor(long / short * size)."""
    if height <= width:
        return size, math.floor(width / height * size)
    return math.floor(height / width * size), size


def view_crop(height: int, width: int, size: int, crop_index: int, num_crops: int) -> CropBox:
    """Square test crop: the centre for one crop; left, centre, right (top, centre, bottom of a portrait) for three.

    Centre offsets round up (PySlowFast).
    """
    if size > min(height, width):
        raise ValueError(f"a crop of {size} pixels does not fit into a frame of {height}x{width}")
    top, left = math.ceil((height - size) / 2), math.ceil((width - size) / 2)
    position = 1 if num_crops == 1 else crop_index
    if position != 1:
        if height > width:
            top = 0 if position == 0 else height - size
        else:
            left = 0 if position == 0 else width - size
    return CropBox(top, left, size, size)


def area_aspect_crop(
    height: int,
    width: int,
    scale: tuple[float, float],
    aspect: tuple[float, float],
    rng: np.random.Generator,
    attempts: int = 10,
) -> CropBox:
    """Inception crop: area uniform in ``scale`` of the frame, aspect (width / height) log-uniform in ``aspect``.

    After ten misses the largest central crop whose aspect lies within ``aspect`` is taken.
    """
    area = height * width
    for _ in range(attempts):
        target = area * rng.uniform(*scale)
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
            return CropBox(top, left, h, w)
    h, w = height, width
    if width / height < aspect[0]:
        h = round(width / aspect[0])
    elif width / height > aspect[1]:
        w = round(height * aspect[1])
    return CropBox((height - h) // 2, (width - w) // 2, h, w)


def jitter_crop(
    height: int, width: int, scales: tuple[int, int], size: int, inverse: bool, rng: np.random.Generator
) -> CropBox:
    """Short-side jitter and random square crop, as one crop of the source frame.

    The short side is drawn from ``scales`` (uniform, or uniform in its inverse) and a crop of ``size`` pixels is taken at
    random from the frame of that size; the box returned is that crop in the pixels of the source.
    """
    drawn = 1.0 / rng.uniform(1.0 / scales[1], 1.0 / scales[0]) if inverse else rng.uniform(*scales)
    short = round(drawn)
    new_height, new_width = short_side_size(height, width, short)
    if size > min(new_height, new_width):
        raise ValueError(f"a crop of {size} pixels does not fit into a short side of {short}")
    top, left = int(rng.integers(0, new_height - size + 1)), int(rng.integers(0, new_width - size + 1))
    scale_y, scale_x = height / new_height, width / new_width
    h, w = min(height, round(size * scale_y)), min(width, round(size * scale_x))
    return CropBox(min(round(top * scale_y), height - h), min(round(left * scale_x), width - w), h, w)


def normalize(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 or 0..255 pixels [B, 3, ...] -> float32 (pixels / 255 - mean) / std per channel."""
    shape = (1, -1) + (1,) * (pixels.dim() - 2)
    mean_t = torch.tensor(mean, device=pixels.device).reshape(shape)
    std_t = torch.tensor(std, device=pixels.device).reshape(shape)
    return (pixels.float() - mean_t * 255) / (std_t * 255)


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Bilinear resize of float frames [U, 3, H, W] without antialiasing (the official test); unchanged if it fits."""
    if frames.shape[-2:] == (height, width):
        return frames
    return F.interpolate(frames, size=(height, width), mode="bilinear", align_corners=False)
