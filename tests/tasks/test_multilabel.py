"""Losses of several labels per clip, by hand, and mixed."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from slowfast_mvit.batches import ClipBatch
from slowfast_mvit.ops.mixing import draw_mix
from slowfast_mvit.tasks.classify import Classification, MixSettings
from slowfast_mvit.tasks.multilabel import MultiLabel

MEAN, STD = (0.45, 0.4, 0.5), (0.225, 0.2, 0.25)
LOGITS = (0.0, math.log(3.0), -math.log(4.0))  # sigmoids 1/2, 3/4, 1/5


class Constant(nn.Module):
    def __init__(self, *logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, video):
        self.fed = video.detach().clone()
        return self.logits.expand(len(video), -1)


def clips(labels):
    count = len(labels)
    return ClipBatch(
        video=torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, 2, 8, 10), np.uint8)),
        labels=torch.tensor(labels),
        video_index=torch.arange(count),
        clip_index=torch.zeros(count).long(),
        crop_index=torch.zeros(count).long(),
        start_sec=torch.zeros(count).double(),
        end_sec=torch.ones(count).double(),
    )


def rng(seed=0):
    return np.random.default_rng(seed)


def cross(target, probability):
    return -(target * math.log(probability) + (1 - target) * math.log(1 - probability))


@pytest.mark.parametrize("loss", ["bce", "bce_logit"])
def test_the_loss_by_hand(loss):
    task = MultiLabel(3, MEAN, STD, loss=loss)
    losses = task.losses(Constant(*LOGITS), clips([[True, True, False], [False, False, False]]), rng())
    first = cross(1, 1 / 2) + cross(1, 3 / 4) + cross(0, 1 / 5)
    second = cross(0, 1 / 2) + cross(0, 3 / 4) + cross(0, 1 / 5)
    assert list(losses) == ["loss"]
    assert losses["loss"].item() == pytest.approx((first + second) / 6, rel=1e-6)


def test_the_gradient_is_probability_minus_target():
    model = Constant(*LOGITS)
    MultiLabel(3, MEAN, STD).losses(model, clips([[True, False, True]]), rng())["loss"].backward()
    torch.testing.assert_close(model.logits.grad, torch.tensor([1 / 2 - 1, 3 / 4, 1 / 5 - 1]) / 3)


def test_great_logits_stay_finite():
    """Where PySlowFast's bce takes the logarithm of a rounded 0."""
    losses = MultiLabel(2, MEAN, STD, loss="bce").losses(Constant(200.0, -200.0), clips([[False, True]]), rng())
    assert losses["loss"].item() == 200.0


def test_smoothing():
    task = MultiLabel(3, MEAN, STD, MixSettings(prob=0.0, label_smoothing=0.3))
    losses = task.losses(Constant(*LOGITS), clips([[True, True, False]]), rng())
    expected = (cross(0.8, 1 / 2) + cross(0.8, 3 / 4) + cross(0.1, 1 / 5)) / 3  # 1 - 0.3 + 0.3 / 3, and 0.3 / 3
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_a_mixed_clip_has_the_labels_of_both():
    seed = next(
        s for s in range(100) if draw_mix(rng(s), 8, 10).box is None and 0.2 < draw_mix(rng(s), 8, 10).lam < 0.8
    )
    lam = draw_mix(rng(seed), 8, 10).lam
    task = MultiLabel(3, MEAN, STD, MixSettings(label_smoothing=0.0))
    losses = task.losses(Constant(*LOGITS), clips([[True, True, False], [False, True, False]]), rng(seed))
    first = cross(lam, 1 / 2) + cross(1, 3 / 4) + cross(0, 1 / 5)
    second = cross(1 - lam, 1 / 2) + cross(1, 3 / 4) + cross(0, 1 / 5)
    assert losses["loss"].item() == pytest.approx((first + second) / 6, rel=1e-5)


def test_probabilities_are_of_each_class_on_its_own():
    batch = clips([[True, False, False]])
    found = MultiLabel(3, MEAN, STD).probabilities(Constant(*LOGITS), batch)
    torch.testing.assert_close(found, torch.tensor([[1 / 2, 3 / 4, 1 / 5]]))
    found = MultiLabel(3, MEAN, STD, activation="softmax").probabilities(Constant(*LOGITS), batch)
    torch.testing.assert_close(found, torch.tensor([[1 / 4.25, 3 / 4.25, 0.25 / 4.25]]))


def test_half_precision_ends_with_the_model():
    task = MultiLabel(3, MEAN, STD, autocast_dtype=torch.bfloat16)
    batch = clips([[True, False, False]])
    losses = task.losses(Constant(*LOGITS), batch, rng())
    assert losses["loss"].dtype == torch.float32
    assert task.probabilities(Constant(*LOGITS), batch).dtype == torch.float32


def test_one_label_by_binary_cross_entropy():
    """Classes of one label each may be trained so too; the label is a one-hot target then."""
    task = Classification(3, MEAN, STD, loss="bce_logit", activation="sigmoid")
    losses = task.losses(Constant(*LOGITS), clips([1]), rng())
    assert losses["loss"].item() == pytest.approx((cross(0, 1 / 2) + cross(1, 3 / 4) + cross(0, 1 / 5)) / 3, rel=1e-6)
    assert losses["top1_acc"].item() == 100
    torch.testing.assert_close(task.probabilities(Constant(*LOGITS), clips([1])), torch.tensor([[1 / 2, 3 / 4, 1 / 5]]))
