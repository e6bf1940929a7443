"""A detector of a few thousand parameters, on a backbone of one convolution, for tests."""

import torch
from torch import nn

from slowfast_mvit.models.rcnn import Detector
from slowfast_mvit.models.region_heads import HeadSizes
from slowfast_mvit.pictures import Objects

STRIDES = (4, 8, 16, 32, 64)
CHANNELS, CLASSES = 8, 5


class OneConvolution(nn.Module):
    """Maps p2 .. p6: every second cell of the one before."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 4, stride=4)

    def forward(self, images):
        x, maps = self.stem(images), {}
        for level in range(2, 7):
            maps[f"p{level}"] = x
            x = nn.functional.max_pool2d(x, 1, 2)
        return maps


def small_detector(*, cascade=False, options=None, seed=0):
    torch.manual_seed(seed)
    sizes = HeadSizes(CHANNELS, CLASSES, conv_dim=8, fc_dim=16)
    return Detector(OneConvolution(), STRIDES, sizes, cascade=cascade, options=options)


def objects_of(boxes, labels, height, width):
    """Objects that fill their boxes (whole pixels)."""
    masks = torch.zeros(len(boxes), height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[int(y1) : int(y2), int(x1) : int(x2)] = 1
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Objects(corners, torch.tensor(labels, dtype=torch.int64), masks)
