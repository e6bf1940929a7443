"""Masks as COCO's compressed run-length codes.

Letters: n masks of H x W pixels.
"""

import numpy as np
import torch
from pycocotools import mask as coco_masks
from torch import Tensor


def codes_of(masks: Tensor) -> list[bytes]:
    """The codes of bool [n, H, W], as ``pycocotools.mask.encode`` has them, which is the faster way on a CPU alone."""
    if masks.device.type != "cpu" or not len(masks):
        return codes_of_runs(masks)
    columns = masks.transpose(1, 2).contiguous().numpy().view(np.uint8)
    return [code["counts"] for code in coco_masks.encode(columns.transpose(2, 1, 0))]


def codes_of_runs(masks: Tensor) -> list[bytes]:
    """The same on any device: only the ends of runs leave it, and not the pixels."""
    n, H, W = masks.shape
    if not n:
        return []
    columns = masks.transpose(1, 2).reshape(n, W * H)
    ends = torch.ones(n, W * H + 1, dtype=torch.bool, device=masks.device)  # of a run, before each pixel and at the end
    ends[:, 0] = columns[:, 0]  # the first run is of zeros, if of none
    torch.ne(columns[:, 1:], columns[:, :-1], out=ends[:, 1:-1])
    rows, places = (part.cpu().numpy() for part in ends.nonzero(as_tuple=True))
    runs = np.diff(places, prepend=0)
    firsts = np.searchsorted(rows, np.arange(n))
    runs[firsts] = places[firsts]
    parts = np.split(runs.astype(np.uint32), firsts[1:])
    return [
        code["counts"] for code in coco_masks.frPyObjects([{"size": [H, W], "counts": part} for part in parts], H, W)
    ]


def mask_of(code: bytes, height: int, width: int) -> np.ndarray:
    """The mask bool [H, W] of a code."""
    return coco_masks.decode({"size": [height, width], "counts": code}).astype(bool)
