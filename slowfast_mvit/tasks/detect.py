"""Detection of objects in images: what the losses of a batch are, and what is found in it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from slowfast_mvit.ops.spatial import normalize
from slowfast_mvit.pictures import DetectionBatch, Detections


@dataclass(frozen=True)
class ObjectDetection:
    """The task of finding objects, each with box, class and mask.

    A model takes images float32 [B, 3, H, W], their sizes and, in training, their objects.

    Attributes:
        mean, std: of the pixels, per channel, in 0..1.
        autocast_dtype: compute type of the model's forward pass, or None for float32.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    autocast_dtype: torch.dtype | None = None

    def losses(self, model: nn.Module, batch: DetectionBatch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Means over the images of a training batch: ``loss``, the sum of the model's losses, and each of them.

        ``rng`` is not used: what proposals are drawn by, torch's own generator, is seeded for every pass.
        """
        with self.autocast(batch.images.device):
            parts = model(self.pixels(batch), batch.sizes, batch.objects)
        losses = {name: part.float() for name, part in parts.items()}
        return {
            "loss": torch.stack([*losses.values()]).sum(),
            **{name: part.detach() for name, part in losses.items()},
        }

    def detections(self, model: nn.Module, batch: DetectionBatch) -> list[Detections]:
        """What a model in eval mode finds in each image, in pixels of the batch's images."""
        with self.autocast(batch.images.device):
            found: list[Detections] = model(self.pixels(batch), batch.sizes)
        return found

    def pixels(self, batch: DetectionBatch) -> Tensor:
        """The normalised images float32 [B, 3, H, W], with 0 beside them, as detectron2 pads."""
        pixels = normalize(batch.images, self.mean, self.std)
        height, width = pixels.shape[-2:]
        rows = torch.arange(height, device=pixels.device)[None, :, None] < batch.sizes[:, 0, None, None]
        columns = torch.arange(width, device=pixels.device)[None, None, :] < batch.sizes[:, 1, None, None]
        return pixels.masked_fill_(~(rows & columns)[:, None], 0.0)

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The model's arithmetic."""
        return torch.autocast(device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None)
