"""Images with objects in them, as they travel between data, detectors and evaluation: named, shape-checked at construction.

Letters: B images in a batch, n objects in an image, H and W the extents of a batch, h and w those of an image in it.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

STRIDE = 32  # of the coarsest map of a backbone: batches are padded to its multiples


@dataclass(frozen=True)
class Objects:
    """What is annotated in one image.

    Attributes:
        boxes: float32 [n, 4]; x1, y1, x2, y2 in pixels of the image.
        labels: int64 [n] in 1..classes; 0 is the background.
        masks: uint8 [n, h, w] of 0 and 1, in pixels of the image.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor

    def __post_init__(self) -> None:
        n = len(self.labels)
        assert self.boxes.shape == (n, 4), f"boxes must be [{n}, 4], got {tuple(self.boxes.shape)}"
        assert self.labels.dim() == 1 and self.masks.dim() == 3 and len(self.masks) == n

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Self:
        """The objects with all tensors on ``device``."""
        boxes, labels, masks = (part.to(device, non_blocking=True) for part in (self.boxes, self.labels, self.masks))
        return replace(self, boxes=boxes, labels=labels, masks=masks)

    def pin_memory(self) -> Self:
        """The objects in pinned memory, for the data loader."""
        return replace(
            self, boxes=self.boxes.pin_memory(), labels=self.labels.pin_memory(), masks=self.masks.pin_memory()
        )


@dataclass(frozen=True)
class DetectionItem:
    """One augmented training image.

    Attributes:
        image: uint8 RGB [3, h, w].
        objects: in it.
        video_index: which image of the list.
    """

    image: Tensor
    objects: Objects
    video_index: int

    def __post_init__(self) -> None:
        assert self.image.dim() == 3, f"image must be [3, h, w], got {tuple(self.image.shape)}"
        assert self.objects.masks.shape[1:] == self.image.shape[1:]


@dataclass(frozen=True)
class DetectionViews:
    """One test image, resized once per view.

    Attributes:
        video_index: which image of the list.
        images: uint8 RGB [3, h, w], one per short side of the test.
        height, width: of the image file, to which boxes and masks are given back.
    """

    video_index: int
    images: tuple[Tensor, ...]
    height: int
    width: int
    num_missing: int = 0  # an image lacks no frames


@dataclass(frozen=True)
class DetectionBatch:
    """Images of several sizes in one tensor.

    Attributes:
        images: uint8 RGB [B, 3, H, W]; H and W are multiples of :data:`STRIDE`, each image lies at the top left.
        sizes: int64 [B, 2]; height and width of each image in it. What lies outside is no part of the image.
        objects: of each image; empty in tests.
        video_index: int64 [B]; which image of the list.
    """

    images: Tensor
    sizes: Tensor
    objects: tuple[Objects, ...]
    video_index: Tensor

    def __post_init__(self) -> None:
        B = len(self.images)
        assert self.images.dim() == 4, f"images must be [B, 3, H, W], got {tuple(self.images.shape)}"
        assert self.sizes.shape == (B, 2) and self.video_index.shape == (B,)
        assert len(self.objects) in (0, B), f"objects of {len(self.objects)} images for {B}"

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_scored(self) -> int:
        """How many things the mean of a loss is over: images."""
        return len(self)

    def to(self, device: torch.device) -> Self:
        """The batch with all tensors on ``device``."""
        images, sizes, index = (
            part.to(device, non_blocking=True) for part in (self.images, self.sizes, self.video_index)
        )
        objects = tuple(one.to(device) for one in self.objects)
        return replace(self, images=images, sizes=sizes, objects=objects, video_index=index)

    def pin_memory(self) -> Self:
        """The batch in pinned memory, for the data loader."""
        return replace(
            self,
            images=self.images.pin_memory(),
            sizes=self.sizes.pin_memory(),
            objects=tuple(one.pin_memory() for one in self.objects),
            video_index=self.video_index.pin_memory(),
        )


@dataclass(frozen=True)
class Detections:
    """What a detector finds in one image, best first.

    Attributes:
        boxes: float32 [n, 4]; x1, y1, x2, y2 in pixels of the image that the detector was given.
        scores: float32 [n] in 0..1.
        labels: int64 [n] in 1..classes.
        masks: float32 [n, M, M]; probability that a cell of the box belongs to the object.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor

    def __post_init__(self) -> None:
        n = len(self.scores)
        assert self.boxes.shape == (n, 4) and self.scores.shape == self.labels.shape == (n,)
        assert self.masks.dim() == 3 and len(self.masks) == n

    def __len__(self) -> int:
        return len(self.scores)


def padded(height: int, width: int) -> tuple[int, int]:
    """The extents of a batch that holds an image of this size: the next multiples of :data:`STRIDE`."""
    return -(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE
