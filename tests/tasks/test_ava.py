"""Losses and probabilities of boxes, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from slowfast_mvit.batches import AvaBatch
from slowfast_mvit.models.action import ActionMViT
from slowfast_mvit.tasks.ava import ActionDetection
from tests.models.small import VIDEO

TASK = ActionDetection(3, (0.5,) * 3, (0.25,) * 3)
RNG = np.random.default_rng(0)


class Given(nn.Module):
    """Gives the same logits for anything, and keeps what it was given."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, video, boxes):
        self.video, self.boxes = video, boxes
        return self.logits


def batch_of(labels, pixels=255):
    labels = torch.tensor(labels, dtype=torch.bool).reshape(len(labels), 3)
    boxes = torch.zeros(len(labels), 5)
    boxes[:, 3:] = 8.0
    video = torch.full((2, 3, 2, 8, 8), pixels, dtype=torch.uint8)
    return AvaBatch(video, boxes, labels, torch.tensor([4, 7]), torch.arange(len(labels)))


LOGITS = [[2.0, -1.0, 0.0], [0.5, 3.0, 0.0]]


def test_binary_cross_entropy_by_hand():
    model, batch = Given(LOGITS), batch_of([[1, 0, 1], [0, 0, 1]])
    losses = TASK.losses(model, batch, RNG)

    def term(logit, label):
        p = 1 / (1 + math.exp(-logit))
        return -math.log(p if label else 1 - p)

    terms = [term(2, 1), term(-1, 0), term(0, 1), term(0.5, 0), term(3, 0), term(0, 1)]
    assert losses["loss"].item() == pytest.approx(sum(terms) / 6, rel=1e-6)
    assert losses["top1_acc"].item() == 50  # the first box's best action is one of its two; the second's is not
    assert model.video.unique().tolist() == [2.0]  # (1 - 0.5) / 0.25
    assert torch.equal(model.boxes, batch.boxes)


def test_a_box_without_labels_is_of_none_of_the_actions():
    losses = TASK.losses(Given(LOGITS), batch_of([[1, 0, 1], [0, 0, 0]]), RNG)
    both = TASK.losses(Given(LOGITS[:1]), batch_of([[1, 0, 1]]), RNG)["loss"]
    none = sum(math.log(1 + math.exp(logit)) for logit in LOGITS[1]) / 3
    assert losses["loss"].item() == pytest.approx((both.item() + none) / 2, rel=1e-6)
    assert losses["top1_acc"].item() == 50


def test_exclusive_labels():
    task = replace(TASK, loss="cross_entropy", activation="softmax")
    losses = task.losses(Given(LOGITS), batch_of([[0, 1, 0], [0, 0, 0]]), RNG)
    log_p = -1 - math.log(math.exp(2) + math.exp(-1) + 1)
    assert losses["loss"].item() == pytest.approx(-log_p / 2, rel=1e-6)
    probabilities = task.probabilities(Given(LOGITS), batch_of([[0, 1, 0], [0, 0, 0]]))
    assert probabilities.sum(dim=1).tolist() == pytest.approx([1, 1])


def test_probabilities_are_sigmoids_in_float32():
    model = Given(LOGITS).bfloat16()
    probabilities = TASK.probabilities(model, batch_of([[1, 0, 0], [0, 0, 0]]))
    assert probabilities.dtype == torch.float32
    assert probabilities[0].tolist() == pytest.approx([1 / (1 + math.exp(-logit)) for logit in LOGITS[0]], abs=1e-6)


def test_a_pass_without_boxes_has_a_gradient_of_zeros():
    model = ActionMViT(VIDEO, 3)
    losses = TASK.losses(model, batch_of([]), RNG)
    losses["loss"].backward()
    assert {name: value.item() for name, value in losses.items()} == {"loss": 0, "top1_acc": 0}
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())


def test_bfloat16_computes_nearly_the_same():
    torch.manual_seed(0)
    model, batch = ActionMViT(VIDEO, 3), batch_of([[1, 0, 0], [0, 1, 1]], pixels=90)
    exact = TASK.losses(model, batch, RNG)["loss"]
    rounded = replace(TASK, autocast_dtype=torch.bfloat16).losses(model, batch, RNG)["loss"]
    assert rounded.dtype == torch.float32 and rounded.item() == pytest.approx(exact.item(), rel=0.02)
    rounded.backward()
