"""Which object a box is held against, which boxes are trained on, and how boxes are written as numbers to predict.

The rules are detectron2's, by torchvision's matcher, sampler and box coder, which follow them.
"""

from math import log

import torch
from torch import Tensor

Weights = tuple[float, float, float, float]

BACKGROUND, IGNORED = -1, -2  # in place of an object's row
_LARGEST = log(1000 / 16)  # change of a width or height, as a logarithm


def match(boxes: Tensor, objects: Tensor, low: float, high: float, *, keep_best: bool = False) -> Tensor:
    """The row of the object that each box covers best, int64 [n], or what it is instead.

    Args:
        boxes: float [n, 4]; there may be none, as where a stage of a cascade leaves none with an area.
        objects: boxes of annotated objects, float [m, 4], each of some area.
        low, high: a box is ``BACKGROUND`` where its best IoU is below ``low``, and ``IGNORED`` from there to below ``high``.
        keep_best: the boxes with the highest IoU of an object are held against an object, however low it is. That is the one
            that they cover best themselves, which may be another.
    """
    from torchvision.models.detection._utils import Matcher  # takes a second to import
    from torchvision.ops import box_iou

    if not len(objects) or not len(boxes):
        return torch.full((len(boxes),), BACKGROUND, dtype=torch.int64, device=boxes.device)
    return Matcher(high, low, allow_low_quality_matches=keep_best)(box_iou(objects, boxes))


def sample(matches: Tensor, number: int, positive_fraction: float) -> tuple[Tensor, Tensor]:
    """Rows of matched boxes and of background that are trained on, each int64 [n], drawn by torch's generator.

    At most ``positive_fraction`` of ``number`` are matched ones; background fills up to ``number``, as far as there is any.

    Args:
        matches: of :func:`match`, int64 [n].
    """
    from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

    kinds = torch.where(matches >= 0, 1, torch.where(matches == BACKGROUND, 0, -1))
    positive, negative = BalancedPositiveNegativeSampler(number, positive_fraction)([kinds])
    return positive[0].nonzero()[:, 0], negative[0].nonzero()[:, 0]


def encode(objects: Tensor, boxes: Tensor, weights: Weights) -> Tensor:
    """What to predict for boxes [n, 4] to become objects [n, 4]: shifts in parts of the box, and logarithms of sizes.

    Returns:
        float [n, 4]; x, y, width, height, each times its weight.
    """
    from torchvision.models.detection._utils import BoxCoder

    return BoxCoder(weights, _LARGEST).encode_single(objects, boxes)


def decode(deltas: Tensor, boxes: Tensor, weights: Weights) -> Tensor:
    """The reverse of :func:`encode`: boxes float32 [n, C, 4] by predictions [n, C x 4] for boxes [n, 4].

    A width or height grows 62.5 times at most.
    """
    from torchvision.models.detection._utils import BoxCoder

    decoded = BoxCoder(weights, _LARGEST).decode_single(deltas.float(), boxes.float())
    return decoded.reshape(len(boxes), deltas.shape[1] // 4, 4)  # there may be no boxes


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes [..., 4] cut at the edges of an image of (height, width)."""
    from torchvision.ops import clip_boxes_to_image

    return clip_boxes_to_image(boxes, size)


def has_area(boxes: Tensor) -> Tensor:
    """Which boxes [n, 4] are wider and higher than 0: bool [n]."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
