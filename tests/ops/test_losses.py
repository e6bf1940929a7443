"""Soft-target cross entropy, worked by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from slowfast_mvit.ops.losses import soft_cross_entropy

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
