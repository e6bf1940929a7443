"""Multi-scale and mirrored testing of objects: what is found in all views of an image, joined (as detectron2 does it).

Boxes of all views are brought to the pixels of the image file, thinned by NMS or SoftNMS class by class, and the best are kept.
The mask of a kept box is the mean of its probabilities in all views.

Letters: B images in a batch, n objects of an image, M cells a side of a mask.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.soft_nms import soft_nms_by_class
from slowfast_mvit.pictures import DetectionBatch, Detections


@runtime_checkable
class Detects(Protocol):
    """The parts of a detector."""

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Maps of normalised images [B, 3, H, W]."""

    def detect(self, maps: Sequence[Tensor], sizes: Tensor) -> list[Detections]:
        """Objects without masks."""

    def segment(
        self, maps: Sequence[Tensor], sizes: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> list[Tensor]:
        """Mask probabilities [n, M, M] of given boxes."""


@dataclass(frozen=True)
class Thinning:
    """How boxes of all views become one set.

    Attributes:
        soft_nms: none, linear or gaussian.
        iou: from which on boxes of a class are the same (none) or lower each other's score (linear).
        sigma: of gaussian.
        min_score: below it boxes are dropped when SoftNMS has lowered their score.
        limit: how many boxes are kept.
    """

    soft_nms: str = "none"
    iou: float = 0.5
    sigma: float = 0.5
    min_score: float = 0.001
    limit: int = 100

    def __call__(self, found: Detections) -> Detections:
        """Those that are kept, best first."""
        from torchvision.ops import batched_nms  # takes a second to import

        boxes, scores, labels = found.boxes, found.scores, found.labels
        if self.soft_nms == "none":
            keep = batched_nms(boxes, scores, labels, self.iou)[: self.limit]
            scores = scores[keep]
        else:
            keep, scores = soft_nms_by_class(
                boxes, scores, labels, self.soft_nms, self.sigma, self.iou, self.min_score, self.limit
            )
        return Detections(boxes[keep], scores, labels[keep], found.masks[keep])


@dataclass(frozen=True)
class _Seen:
    """A view of all images of a batch, and its maps."""

    batch: DetectionBatch
    mirrored: bool
    maps: list[Tensor]


def detect_views(
    detector: Detects,
    views: Sequence[DetectionBatch],
    files: Tensor,
    prepare: Callable[[DetectionBatch], Tensor],
    *,
    flip: bool,
    thinning: Thinning,
) -> list[Detections]:
    """Objects of each image of a batch in pixels of its file, with mask probabilities.

    A single view is not thinned again. The maps of all views stay in memory until the masks are made.

    Args:
        detector: in eval mode.
        views: the same images at each short side.
        files: int64 [B, 2]; height and width of the image files.
        prepare: images of a batch, normalised.
        flip: look at each view mirrored, too.
        thinning: of the boxes of all views.

    Raises:
        UserError: the maps are not finite.
    """
    seen = [_look(detector, batch, mirrored, prepare) for batch, mirrored in _each(views, flip=flip)]
    found = [_in_files(detector.detect(view.maps, view.batch.sizes), view, files) for view in seen]
    merged = [_joined(of_image) for of_image in zip(*found, strict=True)]
    if len(seen) > 1:
        merged = [thinning(one) for one in merged]
    labels = [one.labels for one in merged]
    total = [torch.zeros((), device=files.device) for _ in merged]
    for view in seen:
        boxes = [_moved(one.boxes, view, files, row, back=True) for row, one in enumerate(merged)]
        masks = detector.segment(view.maps, view.batch.sizes, boxes, labels)
        total = [
            sum_ + (mask.float().flip(-1) if view.mirrored else mask.float())
            for sum_, mask in zip(total, masks, strict=True)
        ]
    return [replace(one, masks=sum_ / len(seen)) for one, sum_ in zip(merged, total, strict=True)]


def mirrored(batch: DetectionBatch) -> DetectionBatch:
    """Each image flipped left to right within its size, so that it still lies at the top left."""
    images = torch.zeros_like(batch.images)
    for image, flipped, (height, width) in zip(batch.images, images, batch.sizes.tolist(), strict=True):
        flipped[:, :height, :width] = image[:, :height, :width].flip(-1)
    return replace(batch, images=images)


def _each(views: Sequence[DetectionBatch], *, flip: bool) -> Iterator[tuple[DetectionBatch, bool]]:
    for batch in views:
        yield batch, False
        if flip:
            yield mirrored(batch), True


def _look(
    detector: Detects, batch: DetectionBatch, mirrored: bool, prepare: Callable[[DetectionBatch], Tensor]
) -> _Seen:
    maps = detector.pyramid(prepare(batch))
    if not all(bool(torch.isfinite(one).all()) for one in maps):
        raise UserError("the model's maps are not finite numbers: its weights are ruined, or the precision is too low")
    return _Seen(batch, mirrored, maps)


def _in_files(found: Sequence[Detections], view: _Seen, files: Tensor) -> list[Detections]:
    return [replace(one, boxes=_moved(one.boxes, view, files, row, back=False)) for row, one in enumerate(found)]


def _moved(boxes: Tensor, view: _Seen, files: Tensor, row: int, *, back: bool) -> Tensor:
    """Boxes of a view in pixels of the image's file; ``back`` the other way round."""
    scale = (files[row] / view.batch.sizes[row]).flip(0).repeat(2)  # of x1, y1, x2, y2
    width = view.batch.sizes[row, 1]
    if back:
        boxes = boxes / scale
    if view.mirrored:
        x1, y1, x2, y2 = boxes.unbind(1)
        boxes = torch.stack((width - x2, y1, width - x1, y2), dim=1)
    return boxes if back else boxes * scale


def _joined(parts: Sequence[Detections]) -> Detections:
    return Detections(
        *(torch.cat([getattr(part, name) for part in parts]) for name in ("boxes", "scores", "labels", "masks"))
    )
