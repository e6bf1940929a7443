"""Actions of people: an MViT that scores boxes of a clip instead of the whole clip (AVA; paper, A.2 and B.6).

Letters: B clips, R boxes of all clips together, C channels, T, h, w the grid of the last block.
"""

from math import prod
from typing import Any

import torch
from torch import Tensor

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.layout import Architecture, plan_blocks
from slowfast_mvit.models.mvit import MViT


def pool_boxes(maps: Tensor, boxes: Tensor, pixels_per_cell: int, resolution: int = 7, aligned: bool = True) -> Tensor:
    """Features [R, C] of boxes [R, 5] on maps [B, C, h, w]: RoIAlign to ``resolution`` cells a side, then their maximum.

    RoIAlign computes in float32, and the features are of the type of the maps.

    A row of ``boxes`` is the clip in the batch, then x1, y1, x2, y2 in pixels of the input. RoIAlign takes as many samples in
    a cell as the map has cells there (``sampling_ratio`` 0), and with ``aligned`` the half-pixel correction.
    """
    from torchvision.ops import roi_align  # takes a second to import

    scale = 1 / pixels_per_cell
    cells = roi_align(maps.float(), boxes.float(), resolution, spatial_scale=scale, sampling_ratio=0, aligned=aligned)
    return cells.amax(dim=(2, 3)).to(maps.dtype)


def pixels_per_cell(arch: Architecture) -> int:
    """Side in pixels of a cell of the last feature map: the product of all strides, 32 for every MViTv2.

    Raises:
        UserError: it is not a video model, or cells are not square.
    """
    if len(arch.input_size) != 3:
        raise UserError("boxes are scored in clips: take a model for video, as mvitv2_s_16x4")
    strides = [arch.patch_stride, *(spec.pool_q.stride for spec in plan_blocks(arch) if spec.pool_q is not None)]
    height, width = (prod(stride[axis] for stride in strides) for axis in (-2, -1))
    if height != width:
        raise UserError(
            f"a cell of the last feature map is {height} x {width} pixels, and boxes need square ones: set the strides of "
            "height and width alike"
        )
    return height


class ActionMViT(MViT):
    """Maps video [B, C, T, H, W] (float, normalised) and boxes [R, 5] to logits [R, num_classes].

    The last norm is over all tokens; the class token is left aside, the others are averaged over time, a box takes the maximum
    over its cells (:func:`pool_boxes`), and the classifier follows. Parameters have the names and shapes of the
    classifier :class:`MViT`, so that its weights load, the head aside where the classes are others.

    Args:
        arch, num_classes, **options: see :class:`MViT`.
        resolution: cells a side that a box is resampled to.
        aligned: RoIAlign with the half-pixel correction.
    """

    def __init__(
        self, arch: Architecture, num_classes: int, *, resolution: int = 7, aligned: bool = True, **options: Any
    ) -> None:
        super().__init__(arch, num_classes, **options)
        self.pixels_per_cell = pixels_per_cell(arch)
        self.resolution = resolution
        self.aligned = aligned

    def forward(self, x: Tensor, boxes: Tensor) -> Tensor:  # type: ignore[override]
        """Logits [R, num_classes] of boxes [R, 5]: the clip's row in the batch, then x1, y1, x2, y2 in pixels of ``x``."""
        return self.head(pool_boxes(self.maps(x), boxes, self.pixels_per_cell, self.resolution, self.aligned))

    def maps(self, x: Tensor) -> Tensor:
        """Features [B, dim, h, w] of clips, averaged over time."""
        tokens, (T, h, w) = self.forward_tokens(x)
        volume = self.norm(tokens)[:, int(self.arch.cls_token) :].unflatten(1, (T, h, w))
        return torch.mean(volume, dim=1).movedim(-1, 1)
