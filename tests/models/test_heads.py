"""The classifier: one linear layer on features that training thins out."""

import pytest
import torch

from slowfast_mvit.models.heads import ClassifierHead


@pytest.fixture
def head():
    """Three classes of two features: the first, twice the second, and 3."""
    head = ClassifierHead(2, 3, dropout_rate=0.75)
    with torch.no_grad():
        head.projection.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
        head.projection.bias.copy_(torch.tensor([0.0, 0.0, 3.0]))
    return head


def test_logits_by_hand(head):
    logits = head.eval()(torch.tensor([[5.0, -7.0], [0.5, 0.25]]))
    assert logits.tolist() == [[5.0, -14.0, 3.0], [0.5, 0.5, 3.0]]  # logits, not probabilities


def test_training_drops_features_before_the_layer(head):
    torch.manual_seed(0)
    logits = head.train()(torch.ones(4000, 2))
    assert logits[:, 0].unique().tolist() == [0.0, 4.0]  # kept features are scaled by 1 / (1 - 0.75)
    assert (logits[:, 0] > 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (logits[:, 2] == 3).all()
