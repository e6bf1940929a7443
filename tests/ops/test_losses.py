"""Cross entropy of soft targets and of classes on their own, worked by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from slowfast_mvit.config.schema import all_keys
from slowfast_mvit.ops.losses import LOSSES, binary_cross_entropy, soft_cross_entropy

LOGITS = torch.tensor([[0.0, math.log(3.0)], [math.log(4.0), 0.0]])  # probabilities 1/4, 3/4 and 4/5, 1/5
TARGETS = torch.tensor([[0.1, 0.9], [0.5, 0.5]])
FIRST = -(0.1 * math.log(0.25) + 0.9 * math.log(0.75))
SECOND = -(0.5 * math.log(0.8) + 0.5 * math.log(0.2))


def test_mean_over_the_batch():
    assert soft_cross_entropy(LOGITS, TARGETS).item() == pytest.approx((FIRST + SECOND) / 2, rel=1e-6)
    assert soft_cross_entropy(LOGITS[:1], TARGETS[:1]).item() == pytest.approx(FIRST, rel=1e-6)


def test_targets_are_not_normalised():
    assert soft_cross_entropy(LOGITS, TARGETS * 2).item() == pytest.approx(FIRST + SECOND, rel=1e-6)


def test_one_hot_targets_give_the_plain_loss():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 5, generator=generator)
    labels = torch.randint(5, (8,), generator=generator)
    expected = F.cross_entropy(logits, labels)
    torch.testing.assert_close(soft_cross_entropy(logits, F.one_hot(labels, 5).float()), expected)


def test_half_precision_logits_are_summed_in_float32():
    loss = soft_cross_entropy(LOGITS.bfloat16(), TARGETS)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, soft_cross_entropy(LOGITS.bfloat16().float(), TARGETS))


def test_gradient_is_probability_minus_target():
    logits = LOGITS.clone().requires_grad_()
    soft_cross_entropy(logits, TARGETS).backward()
    expected = (torch.tensor([[0.25, 0.75], [0.8, 0.2]]) - TARGETS) / 2
    torch.testing.assert_close(logits.grad, expected)


def test_binary_cross_entropy_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)]])  # 1/2, 3/4
    loss = binary_cross_entropy(logits, torch.tensor([[1.0, 0.2]]))
    expected = (-math.log(0.5) - 0.2 * math.log(0.75) - 0.8 * math.log(0.25)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(loss, F.binary_cross_entropy(torch.sigmoid(logits), torch.tensor([[1.0, 0.2]])))
    assert binary_cross_entropy(logits.bfloat16(), torch.ones(1, 2)).dtype == torch.float32


def test_every_loss_of_the_config_is_there():
    assert set(LOSSES) == set(all_keys()["MODEL.LOSS_FUNC"].choices)
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(4, 5, generator=generator), torch.tensor([0, 4, 2, 2])
    one_hot = F.one_hot(labels, 5).float()
    torch.testing.assert_close(LOSSES["cross_entropy"](logits, one_hot), F.cross_entropy(logits, labels))
    assert LOSSES["bce"](logits, one_hot) == LOSSES["bce_logit"](logits, one_hot)
