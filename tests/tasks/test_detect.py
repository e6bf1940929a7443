"""The task of detection: what its model is given, and what its losses are."""

import numpy as np
import torch
from torch import nn

from slowfast_mvit.pictures import DetectionBatch, Detections, Objects
from slowfast_mvit.tasks.detect import ObjectDetection

MEAN, STD = (0.5, 0.25, 0.75), (0.5, 0.25, 0.25)


class Noted(nn.Module):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images, sizes, objects=None):
        self.given = (images, sizes, objects)
        self.dtype = (images.to(torch.float32).reshape(1, -1) @ images.to(torch.float32).reshape(-1, 1)).dtype
        if objects is None:
            return [
                Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2, 2))
            ]
        return {"loss_a": self.weight * 2, "loss_b": self.weight.bfloat16() * 3}


def batch():
    images = torch.full((2, 3, 32, 64), 255, dtype=torch.uint8)
    objects = Objects(torch.zeros(1, 4), torch.ones(1, dtype=torch.int64), torch.zeros(1, 20, 64, dtype=torch.uint8))
    none = Objects(torch.zeros(0, 4), torch.ones(0, dtype=torch.int64), torch.zeros(0, 32, 40, dtype=torch.uint8))
    return DetectionBatch(images, torch.tensor([[20, 64], [32, 40]]), (objects, none), torch.arange(2))


def test_pixels_are_normalised_and_padding_is_zero_after_it():
    pixels = ObjectDetection(MEAN, STD).pixels(batch())
    white = torch.tensor([1.0, 3.0, 1.0])[:, None, None]
    assert torch.allclose(pixels[0, :, :20], white.expand(3, 20, 64))
    assert torch.allclose(pixels[1, :, :, :40], white.expand(3, 32, 40))
    assert not pixels[0, :, 20:].any() and not pixels[1, :, :, 40:].any()


def test_losses_are_summed():
    model = Noted()
    losses = ObjectDetection(MEAN, STD).losses(model, batch(), np.random.default_rng(0))
    assert list(losses) == ["loss", "loss_a", "loss_b"]
    assert [float(loss) for loss in losses.values()] == [5.0, 2.0, 3.0]
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    losses["loss"].backward()
    assert model.weight.grad == 5.0
    assert not losses["loss_a"].requires_grad
    images, sizes, objects = model.given
    assert images.shape == (2, 3, 32, 64) and sizes.tolist() == [[20, 64], [32, 40]] and len(objects) == 2


def test_arithmetic_is_the_models():
    model = Noted()
    ObjectDetection(MEAN, STD).losses(model, batch(), np.random.default_rng(0))
    assert model.dtype == torch.float32
    ObjectDetection(MEAN, STD, torch.bfloat16).losses(model, batch(), np.random.default_rng(0))
    assert model.dtype == torch.bfloat16


def test_detections():
    model = Noted().eval()
    (found,) = ObjectDetection(MEAN, STD).detections(model, batch())
    assert len(found) == 0 and model.given[2] is None
