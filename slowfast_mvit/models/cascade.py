"""Cascade Mask R-CNN: three box heads, each on the boxes of the one before (arXiv 1712.00726, as detectron2 has it)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mvit.models.box_head import BoxHead, BoxPredictor, split_by_image
from slowfast_mvit.models.region_heads import (
    BOX_SIDE,
    Found,
    HeadSizes,
    RegionHeads,
    Regions,
    Sizes,
    joined,
    label_regions,
)
from slowfast_mvit.models.region_targets import Weights, clip, has_area
from slowfast_mvit.pictures import Objects

# IoU from which on a box is an object's, and the weights of its shifts, stage by stage.
_STAGES: tuple[tuple[float, Weights], ...] = (
    (0.5, (10.0, 10.0, 5.0, 5.0)),
    (0.6, (20.0, 20.0, 10.0, 10.0)),
    (0.7, (30.0, 30.0, 15.0, 15.0)),
)


class _ScaledGradient(torch.autograd.Function):
    """The input as it is; its gradient is multiplied."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.scale, None


class CascadeHeads(RegionHeads):
    """Three box heads with one box for all classes, and a mask head, all with norms.

    The gradients that reach the maps are those of the three stages' mean, while each stage learns at its full rate.
    """

    has_norm = True

    def _add_box_heads(self, sizes: HeadSizes) -> None:
        self.box_head = nn.ModuleList(
            BoxHead(sizes.channels, BOX_SIDE, 4, 1, sizes.conv_dim, sizes.fc_dim) for _ in _STAGES
        )
        self.box_predictor = nn.ModuleList(
            BoxPredictor(sizes.fc_dim, sizes.num_classes, weights, class_agnostic=True) for _, weights in _STAGES
        )

    def box_losses(
        self, maps: Sequence[Tensor], sizes: Sizes, regions: Sequence[Regions], objects: Sequence[Objects]
    ) -> dict[str, Tensor]:
        """The losses of each stage; from the second on, boxes are those of the stage before, matched anew but not sampled."""
        losses: dict[str, Tensor] = {}
        for stage in range(len(_STAGES)):
            boxes = [of_image.boxes for of_image in regions]
            logits, deltas = self._predict(stage, maps, boxes)
            class_loss, box_loss = self._predictor(stage).losses(logits, deltas, *joined(regions))
            losses |= {f"loss_cls_stage{stage}": class_loss, f"loss_box_reg_stage{stage}": box_loss}
            if stage + 1 < len(_STAGES):
                refined = [of_image[has_area(of_image)] for of_image in self._refined(stage, deltas, boxes, sizes)]
                iou, _ = _STAGES[stage + 1]
                regions = [label_regions(one, there, iou) for one, there in zip(refined, objects, strict=True)]
        return losses

    def find(self, maps: Sequence[Tensor], sizes: Sizes, proposals: Sequence[Tensor]) -> list[Found]:
        """Boxes [n, 4] of the last stage, scores [n] as the mean over the stages, and labels [n], of each image, best first."""
        boxes, scores = list(proposals), []
        for stage in range(len(_STAGES)):
            logits, deltas = self._predict(stage, maps, boxes)
            scores.append(logits.softmax(1))
            moved = self._predictor(stage).boxes(deltas, torch.cat(boxes))
            boxes = _cut(moved[:, 0], boxes, sizes)  # those without area stay, since their scores are added up
        return self._chosen(moved, torch.stack(scores).mean(0), proposals, sizes)

    def _predict(self, stage: int, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits and shifts of one stage."""
        pooled = _ScaledGradient.apply(self._pool(maps, boxes, BOX_SIDE), 1 / len(_STAGES))
        assert isinstance(self.box_head, nn.ModuleList)
        return self._predictor(stage)(self.box_head[stage](pooled))

    @torch.no_grad()
    def _refined(self, stage: int, deltas: Tensor, boxes: Sequence[Tensor], sizes: Sizes) -> list[Tensor]:
        """The boxes [n, 4] of each image that a stage makes of its own, cut at the image's edges."""
        return _cut(self._predictor(stage).boxes(deltas, torch.cat(list(boxes)))[:, 0], boxes, sizes)

    def _predictor(self, stage: int) -> BoxPredictor:
        assert isinstance(self.box_predictor, nn.ModuleList)
        predictor = self.box_predictor[stage]
        assert isinstance(predictor, BoxPredictor)
        return predictor


def _cut(moved: Tensor, boxes: Sequence[Tensor], sizes: Sizes) -> list[Tensor]:
    """Boxes [R, 4] image by image, as many as ``boxes`` has, each cut at the edges of its image."""
    return [clip(of_image, size) for of_image, size in zip(split_by_image(moved, boxes), sizes, strict=True)]
