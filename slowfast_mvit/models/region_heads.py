"""The heads of a detector on its proposals: boxes and masks (Mask R-CNN, arXiv 1703.06870, as detectron2 has it)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slowfast_mvit.models.box_head import BoxHead, BoxPredictor, choose_detections, split_by_image
from slowfast_mvit.models.mask_head import MaskHead, mask_loss, mask_probabilities, mask_targets
from slowfast_mvit.models.pooler import pool_regions
from slowfast_mvit.models.rcnn_options import RcnnOptions
from slowfast_mvit.models.region_targets import match, sample
from slowfast_mvit.pictures import Objects

BOX_SIDE, MASK_SIDE = 7, 14  # cells of a pooled box
_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
_IOU, _POSITIVE = 0.5, 0.25

Sizes = Sequence[tuple[int, int]]
Found = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class HeadSizes:
    """Sizes of the heads' layers.

    Attributes:
        channels: of the maps.
        num_classes: without the background.
        conv_dim: of convolutions.
        fc_dim: of linear layers.
    """

    channels: int
    num_classes: int
    conv_dim: int = 256
    fc_dim: int = 1024


@dataclass(frozen=True)
class Regions:
    """Boxes of one image and what they are held against.

    Attributes:
        boxes: [n, 4].
        labels: int64 [n]; 0 for the background.
        rows: int64 [n], of the objects; meaningless for the background.
        objects: [n, 4], boxes of the objects; meaningless for the background.
    """

    boxes: Tensor
    labels: Tensor
    rows: Tensor
    objects: Tensor


def label_regions(boxes: Tensor, objects: Objects, iou: float) -> Regions:
    """Boxes [n, 4] held against the objects that they overlap with IoU ``iou`` or more."""
    rows = match(boxes, objects.boxes, iou, iou)
    if not len(objects):
        return Regions(boxes, torch.zeros_like(rows), rows, torch.zeros_like(boxes))
    labels = torch.where(rows >= 0, objects.labels[rows.clamp(min=0)], 0)
    return Regions(boxes, labels, rows, objects.boxes[rows.clamp(min=0)].to(boxes.dtype))


def sample_regions(proposals: Tensor, objects: Objects, number: int) -> Regions:
    """The boxes that heads are trained on: of the proposals [n, 4] and the objects' own boxes, matched ones first."""
    every = label_regions(torch.cat((proposals, objects.boxes.to(proposals.dtype))), objects, _IOU)
    chosen = torch.cat(sample(torch.where(every.labels > 0, every.rows, -1), number, _POSITIVE))
    return Regions(every.boxes[chosen], every.labels[chosen], every.rows[chosen], every.objects[chosen])


class RegionHeads(nn.Module):
    """One box head and one mask head.

    Args:
        strides: of the maps, in pixels.
        sizes: of the layers.
        options: of the detector.
    """

    def __init__(self, strides: Sequence[int], sizes: HeadSizes, options: RcnnOptions) -> None:
        super().__init__()
        self.strides, self.options = tuple(strides), options
        self._add_box_heads(sizes)
        self.mask_head = MaskHead(sizes.channels, sizes.num_classes, sizes.conv_dim, norm=self.has_norm)

    has_norm = False

    def _add_box_heads(self, sizes: HeadSizes) -> None:
        self.box_head: BoxHead | nn.ModuleList = BoxHead(sizes.channels, BOX_SIDE, 0, 2, sizes.conv_dim, sizes.fc_dim)
        predictor = BoxPredictor(sizes.fc_dim, sizes.num_classes, _WEIGHTS, class_agnostic=False)
        self.box_predictor: BoxPredictor | nn.ModuleList = predictor

    def losses(
        self, maps: Sequence[Tensor], sizes: Sizes, proposals: Sequence[Tensor], objects: Sequence[Objects]
    ) -> dict[str, Tensor]:
        """The losses of boxes and masks.

        Args:
            maps: [B, C, h, w], finest first.
            sizes: height and width of each image.
            proposals: [n, 4] of each image.
            objects: of each image, each of some area.
        """
        with torch.no_grad():
            regions = [
                sample_regions(boxes, of_image, self.options.boxes_per_image)
                for boxes, of_image in zip(proposals, objects, strict=True)
            ]
        return self.box_losses(maps, sizes, regions, objects) | {"loss_mask": self._mask_loss(maps, regions, objects)}

    def box_losses(
        self, maps: Sequence[Tensor], sizes: Sizes, regions: Sequence[Regions], objects: Sequence[Objects]
    ) -> dict[str, Tensor]:
        """The losses of the box head on sampled regions."""
        boxes = [of_image.boxes for of_image in regions]
        assert isinstance(self.box_predictor, BoxPredictor)
        logits, deltas = self.box_predictor(self.box_head(self._pool(maps, boxes, BOX_SIDE)))
        class_loss, box_loss = self.box_predictor.losses(logits, deltas, *joined(regions))
        return {"loss_cls": class_loss, "loss_box_reg": box_loss}

    def find(self, maps: Sequence[Tensor], sizes: Sizes, proposals: Sequence[Tensor]) -> list[Found]:
        """Boxes [n, 4], scores [n] and labels [n] of each image, best first."""
        assert isinstance(self.box_predictor, BoxPredictor)
        logits, deltas = self.box_predictor(self.box_head(self._pool(maps, proposals, BOX_SIDE)))
        boxes = self.box_predictor.boxes(deltas, torch.cat(list(proposals)))
        return self._chosen(boxes, logits.softmax(1), proposals, sizes)

    def segment(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> list[Tensor]:
        """Mask probabilities [n, 28, 28] of boxes [n, 4] with labels [n] of each image."""
        return mask_probabilities(self.mask_head(self._pool(maps, boxes, MASK_SIDE)), labels)

    def _chosen(self, boxes: Tensor, probabilities: Tensor, proposals: Sequence[Tensor], sizes: Sizes) -> list[Found]:
        """The detections of each image of predictions of all."""
        parts = zip(split_by_image(boxes, proposals), split_by_image(probabilities, proposals), sizes, strict=True)
        return [choose_detections(*part, self.options) for part in parts]

    def _pool(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], side: int) -> Tensor:
        return pool_regions(maps[: len(self.strides)], self.strides, boxes, side)

    def _mask_loss(self, maps: Sequence[Tensor], regions: Sequence[Regions], objects: Sequence[Objects]) -> Tensor:
        matched = [of_image.labels > 0 for of_image in regions]
        boxes = [of_image.boxes[chosen] for of_image, chosen in zip(regions, matched, strict=True)]
        logits = self.mask_head(self._pool(maps, boxes, MASK_SIDE))
        targets = [
            mask_targets(there.masks, of_image.rows[chosen], of_image.boxes[chosen], logits.shape[-1])
            for there, of_image, chosen in zip(objects, regions, matched, strict=True)
        ]
        labels = [of_image.labels[chosen] for of_image, chosen in zip(regions, matched, strict=True)]
        return mask_loss(logits, torch.cat(labels), torch.cat(targets))


def joined(regions: Sequence[Regions]) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, labels and boxes of the objects of all images together."""
    return (
        torch.cat([of_image.boxes for of_image in regions]),
        torch.cat([of_image.labels for of_image in regions]),
        torch.cat([of_image.objects for of_image in regions]),
    )
