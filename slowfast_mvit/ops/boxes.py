"""Boxes of people: float [N, 4] of x1, y1, x2, y2, in pixels or in parts of the frame's width and height, as pure functions.

A box reaches from its left and top edge to its right and bottom edge; a whole frame of W x H pixels is (0, 0, W, H).
"""

import numpy as np

from slowfast_mvit.ops.spatial import CropBox


def boxes_in_crop(boxes: np.ndarray, height: int, width: int, crop: CropBox, size: int) -> np.ndarray:
    """Boxes in parts of a frame of ``height`` x ``width`` -> pixels of a crop that is resized to ``size``, clipped to it."""
    pixels = boxes * np.array([width, height, width, height])
    moved = pixels - np.array([crop.left, crop.top, crop.left, crop.top])
    scale = np.array([size / crop.width, size / crop.height] * 2)
    return (moved * scale).clip(0, size)


def mirrored(boxes: np.ndarray, width: float) -> np.ndarray:
    """Boxes of a frame of ``width`` that is flipped left to right."""
    return np.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), axis=1)


def at_least(boxes: np.ndarray, side: float) -> np.ndarray:
    """Which boxes are at least ``side`` wide and high, bool [N]."""
    return ((boxes[:, 2:] - boxes[:, :2]) >= side).all(axis=1)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair, float64 [N, M]; 0 where boxes do not meet."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    meet = (high - low).clip(0).prod(axis=2)
    union = _areas(boxes)[:, None] + _areas(others)[None] - meet
    return np.divide(meet, union, out=np.zeros(meet.shape), where=meet > 0)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
