"""The whole detector: a backbone that makes maps, proposals on them, and heads (paper, 4.2 and 5.2)."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from slowfast_mvit.models.cascade import CascadeHeads
from slowfast_mvit.models.proposals import ProposalNetwork
from slowfast_mvit.models.rcnn_options import RcnnOptions
from slowfast_mvit.models.region_heads import HeadSizes, RegionHeads
from slowfast_mvit.models.region_targets import has_area
from slowfast_mvit.pictures import Detections, Objects


class Detector(nn.Module):
    """Finds objects in images: Mask R-CNN, or its cascade.

    Shapes and meaning of all parameters are detectron2's, and so are the names, those of the pyramid aside.

    Args:
        backbone: maps images [B, 3, H, W] to maps [B, channels, h, w] by name, finest first.
        strides: of those maps, in pixels; the coarsest of several serves proposals alone.
        sizes: of the heads' layers.
        cascade: three box heads instead of one.
        options: how it proposes, trains and chooses.
    """

    def __init__(
        self,
        backbone: nn.Module,
        strides: Sequence[int],
        sizes: HeadSizes,
        *,
        cascade: bool = False,
        options: RcnnOptions | None = None,
    ) -> None:
        super().__init__()
        self.options = options or RcnnOptions()
        self.sizes = sizes
        self.backbone = backbone
        self.proposal_generator = ProposalNetwork(sizes.channels, strides, 2 if cascade else 1, self.options)
        pooled = strides[:-1] if len(strides) > 1 else strides
        self.roi_heads = (CascadeHeads if cascade else RegionHeads)(pooled, sizes, self.options)

    @property
    def head_names(self) -> tuple[str, ...]:
        """The tensors that depend on the classes: a file for other classes leaves them as they are."""
        ends = (
            "cls_score",
            "mask_head.predictor",
            *(() if isinstance(self.roi_heads, CascadeHeads) else ("bbox_pred",)),
        )
        return tuple(name for name, _ in self.named_parameters() if name.rpartition(".")[0].endswith(ends))

    def forward(
        self, images: Tensor, sizes: Tensor, objects: Sequence[Objects] | None = None
    ) -> dict[str, Tensor] | list[Detections]:
        """Losses in training, detections in evaluation.

        Args:
            images: float [B, 3, H, W], normalised; each lies at the top left, and the rest is 0. H and W are multiples of 32.
            sizes: int64 [B, 2], height and width of each image in it.
            objects: of each image, for training. Those whose box has no area are left aside.

        Returns:
            In training, losses by name, whose sum is to be minimised: each is a mean over the images, or over their boxes. In
            evaluation, what is found in each image, with boxes inside it.
        """
        assert (objects is not None) == self.training, "objects are for training, and training is on objects"
        maps = self.pyramid(images)
        if objects is not None:
            return self._losses(maps, sizes, objects)
        found = self.detect(maps, sizes)
        masks = self.segment(maps, sizes, [one.boxes for one in found], [one.labels for one in found])
        return [replace(one, masks=own) for one, own in zip(found, masks, strict=True)]

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """The maps [B, channels, h, w] of images [B, 3, H, W], finest first."""
        return list(self.backbone(images).values())

    def detect(self, maps: Sequence[Tensor], sizes: Tensor) -> list[Detections]:
        """What is found in each image by its maps, without masks: they are [n, 0, 0]."""
        extents = _extents(sizes)
        proposals, _ = self.proposal_generator(maps, extents)
        found = self.roi_heads.find(maps, extents, proposals)
        return [Detections(*one, masks=one[0].new_zeros(len(one[0]), 0, 0)) for one in found]

    def segment(
        self, maps: Sequence[Tensor], sizes: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> list[Tensor]:
        """Mask probabilities [n, 28, 28] of given boxes [n, 4] with labels [n] of each image, by its maps."""
        assert len(sizes) == len(boxes) == len(labels)
        return self.roi_heads.segment(maps, boxes, labels)

    def _losses(self, maps: Sequence[Tensor], sizes: Tensor, objects: Sequence[Objects]) -> dict[str, Tensor]:
        extents = _extents(sizes)
        objects = [_with_area(of_image) for of_image in objects]
        proposals, losses = self.proposal_generator(maps, extents, [of_image.boxes for of_image in objects])
        return losses | self.roi_heads.losses(maps, extents, proposals, objects)


def _extents(sizes: Tensor) -> list[tuple[int, int]]:
    return [(int(height), int(width)) for height, width in sizes.tolist()]


def _with_area(objects: Objects) -> Objects:
    """The objects whose boxes have some area: no other can be matched, and what is encoded for them is not finite."""
    there = has_area(objects.boxes)
    if bool(there.all()):
        return objects
    kept = torch.nonzero(there)[:, 0]
    return Objects(objects.boxes[kept], objects.labels[kept], objects.masks[kept])
