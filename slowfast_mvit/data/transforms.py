"""From decoded frames to what the model is fed in training: augment, crop, resize, flip, all on uint8."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_mvit.batches import Erasure
from slowfast_mvit.data.augment import Augmentation
from slowfast_mvit.data.erasing import RandomErasing
from slowfast_mvit.ops.spatial import CropBox, area_aspect_crop, jitter_crop


class CropRule(Protocol):
    """Draws the training crop of a clip."""

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> CropBox:
        """The crop, in pixels of a frame of ``height`` x ``width``."""


@dataclass(frozen=True)
class AreaAspectCrop:
    """Inception crop by relative area and aspect (all Kinetics recipes)."""

    scale: tuple[float, float]
    aspect: tuple[float, float]

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> CropBox:
        """Draw a crop."""
        return area_aspect_crop(height, width, self.scale, self.aspect, rng)


@dataclass(frozen=True)
class JitterCrop:
    """Short-side jitter, then a random square crop (SSv2 and AVA recipes)."""

    short_sides: tuple[int, int]
    size: int
    inverse: bool

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> CropBox:
        """Draw a crop."""
        return jitter_crop(height, width, self.short_sides, self.size, self.inverse, rng)


@dataclass(frozen=True)
class TrainTransform:
    """One augmented clip of a recipe; the same draw for all frames.

    Attributes:
        size: side of the clip that the model is fed.
        crop: rule of the crop.
        flip: mirror every second clip.
        augment: RandAugment or colour jitter on the whole frames, before the crop, or None.
        erasing: random erasing; drawn here, filled after normalisation on the device; or None.
    """

    size: int
    crop: CropRule
    flip: bool
    augment: Augmentation | None = None
    erasing: RandomErasing | None = None

    def __call__(self, frames: Tensor, rng: np.random.Generator) -> tuple[Tensor, Erasure]:
        """Frames uint8 [T, 3, H, W] -> clip uint8 [3, T, size, size] and what is to be erased of it."""
        if self.augment is not None:
            frames = self.augment.apply(frames, self.augment.draw(rng))
        box = self.crop(frames.shape[2], frames.shape[3], rng)
        clip = crop_and_resize(frames, box, self.size)
        if self.flip and rng.random() < 0.5:
            clip = clip.flip(-1)
        erasure = Erasure()
        if self.erasing is not None:
            boxes = self.erasing.draw_boxes(rng, self.size, self.size)
            erasure = Erasure(boxes, seed=int(rng.integers(2**62)))
        return clip.movedim(0, 1).contiguous(), erasure


def crop_and_resize(frames: Tensor, box: CropBox, size: int) -> Tensor:
    """The crop of uint8 frames [T, 3, H, W], bilinear at ``size`` pixels: uint8 [T, 3, size, size]."""
    crop = frames[..., box.top : box.top + box.height, box.left : box.left + box.width]
    if (box.height, box.width) == (size, size):
        return crop
    return F.interpolate(crop, size=(size, size), mode="bilinear", align_corners=False)


def frames_to_tensor(frames: np.ndarray) -> Tensor:
    """uint8 [T, H, W, 3] -> tensor [T, 3, H, W] on the same memory (channels last, which the resize is fastest on)."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2)
