"""A small model to load, and what a load must leave behind."""

import pytest
import torch
from torch import nn

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.load import load_weights
from tests.weights.models import copied

HEAD = ("head.projection.weight", "head.projection.bias")


class Model(nn.Module):
    def __init__(self, width=3, classes=4):
        super().__init__()
        self.body = nn.Linear(2, width)
        self.head = nn.Module()
        self.head.projection = nn.Linear(width, classes)


def assert_equal(model, state):
    found = model.state_dict()
    assert set(found) == set(state)
    for name, tensor in found.items():
        assert torch.equal(tensor, state[name]), name


def refusal(model, source, **options):
    """The sentence, after making sure that the model was left as it was."""
    before = copied(model)
    with pytest.raises(UserError) as caught:
        load_weights(model, source, **options)
    assert_equal(model, before)
    assert "\n" not in str(caught.value)
    return str(caught.value)
