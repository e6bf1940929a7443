"""The average of the weights, by hand and against a loop of its own."""

import pytest
import torch
from torch import nn

from slowfast_mvit.engine.ema import WeightAverage


def line(value):
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(value), layer.bias.fill_(-value)
    return layer


def test_two_steps_by_hand():
    model = line(1.0)
    average = WeightAverage(model, 0.75)
    for value in (5.0, 2.0):
        with torch.no_grad():
            model.weight.fill_(value), model.bias.fill_(-value)
        average.update(model)
    # 0.75 * 1 + 0.25 * 5 = 2, then 0.75 * 2 + 0.25 * 2 = 2.
    assert (average.model.weight.item(), average.model.bias.item()) == (2.0, -2.0)
    assert (model.weight.item(), model.weight.requires_grad) == (2.0, True)


def test_it_equals_the_formula_in_float64():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    expected = {name: tensor.double().clone() for name, tensor in model.state_dict().items()}
    average = WeightAverage(model, 0.9)
    for _ in range(20):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(model)
        for name, tensor in model.state_dict().items():
            expected[name] = 0.9 * expected[name] + 0.1 * tensor.double()
    for name, tensor in average.model.state_dict().items():
        torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-6)


def test_buffers_are_copied_and_the_average_is_in_eval_mode():
    model = nn.BatchNorm1d(2).train()
    average = WeightAverage(model, 0.999)
    model(torch.tensor([[1.0, 2.0], [3.0, 8.0]]))
    average.update(model)
    assert torch.equal(average.model.running_mean, model.running_mean) and int(average.model.num_batches_tracked) == 1
    assert not average.model.training and model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    average.model.running_mean.add_(1)
    assert not torch.equal(average.model.running_mean, model.running_mean)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_average_of_half_precision_is_float32(dtype):
    model = line(1.0).to(dtype)
    average = WeightAverage(model, 0.999)
    with torch.no_grad():
        model.weight.fill_(2.0)
    average.update(model)
    assert average.model.weight.dtype == torch.float32
    assert average.model.weight.item() == pytest.approx(1.001, abs=1e-6)  # bfloat16 would stay at 1
