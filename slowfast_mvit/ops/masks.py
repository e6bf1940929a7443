"""Masks of objects: from the cells of a box to the pixels of an image."""

import torch
from torch import Tensor
from torch.nn import functional as F

_CHUNK = (
    1 << 26
)  # pixels of all masks that are sampled at once away from the CPU: 256 MB as float32, and their places twice that


def paste_masks(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float = 0.5) -> Tensor:
    """Masks of a whole image, bool [n, height, width], of masks of boxes.

    The probability at the centre of a pixel is interpolated between the centres of the cells around it; outside of the box
    there are cells of 0. That is detectron2's rule.

    Args:
        masks: float [n, M, M], probabilities of the cells of a box.
        boxes: float [n, 4]; x1, y1, x2, y2 in pixels, which may reach beyond the image.
        height, width: of the image.
        threshold: pixels with this probability or more belong to the object.
    """
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool, device=masks.device)
    fill = _by_box if masks.device.type == "cpu" else _by_chunk
    fill(pasted, masks.float()[:, None], boxes.float(), threshold)
    return pasted


def _by_box(pasted: Tensor, masks: Tensor, boxes: Tensor, threshold: float) -> None:
    """Sample each mask around its box alone: the least work."""
    height, width = pasted.shape[1:]
    for of_image, mask, box in zip(pasted, masks, boxes, strict=True):
        x1, y1, x2, y2 = _around(box, height, width)
        if x1 < x2 and y1 < y2:
            of_image[y1:y2, x1:x2] = _sampled(mask[None], box[None], (x1, y1, x2, y2))[0] >= threshold


def _by_chunk(pasted: Tensor, masks: Tensor, boxes: Tensor, threshold: float) -> None:
    """Sample many masks at once over the whole image: the fewest calls, and no waiting for where the boxes are."""
    height, width = pasted.shape[1:]
    at_once = max(1, _CHUNK // max(1, height * width))
    for start in range(0, len(masks), at_once):
        rows = slice(start, start + at_once)
        pasted[rows] = _sampled(masks[rows], boxes[rows], (0, 0, width, height)) >= threshold


def _around(box: Tensor, height: int, width: int) -> tuple[int, int, int, int]:
    """Columns and rows of an image that a box can reach, with the pixel around it in which cells fade out."""
    x1, y1, x2, y2 = box.tolist()
    reach = torch.tensor([x1 - 1, y1 - 1, x2 + 1, y2 + 1]).nan_to_num(0.0)
    low, high = reach[:2].floor().clamp(min=0), reach[2:].ceil()
    return int(low[0]), int(low[1]), int(high[0].clamp(max=width)), int(high[1].clamp(max=height))


def _sampled(masks: Tensor, boxes: Tensor, window: tuple[int, int, int, int]) -> Tensor:
    """Probabilities [n, rows, columns] of masks [n, 1, M, M] at the pixels of a window x1, y1, x2, y2."""
    x1, y1, x2, y2 = window
    columns = torch.arange(x1, x2, device=masks.device, dtype=torch.float32) + 0.5
    rows = torch.arange(y1, y2, device=masks.device, dtype=torch.float32) + 0.5
    left, top, right, bottom = boxes[..., None].unbind(1)
    xs = (columns - left) / (right - left) * 2 - 1
    ys = (rows - top) / (bottom - top) * 2 - 1
    shape = (len(masks), len(rows), len(columns))
    places = torch.stack((xs[:, None].expand(shape), ys[:, :, None].expand(shape)), dim=-1)
    return F.grid_sample(masks, places, align_corners=False)[:, 0]
