"""The MLP against its plain formula: forward and backward, at once and some tokens at a time, hidden layer kept or not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_mvit.models import mlp as module
from slowfast_mvit.models.kernels import MlpPlan
from slowfast_mvit.models.mlp import mlp

WIDTH, HIDDEN, OUT = 12, 40, 10


def layers(seed=0):
    torch.manual_seed(seed)
    norm = nn.LayerNorm(WIDTH, eps=1e-6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, OUT), nn.Linear(WIDTH, OUT)


def plain(x, norm, fc1, fc2, skip):
    normed = F.layer_norm(x, (WIDTH,), norm.weight, norm.bias, norm.eps)
    out = F.linear(F.gelu(F.linear(normed, fc1.weight, fc1.bias)), fc2.weight, fc2.bias)
    return (out,) if skip is None else (out, F.linear(normed, skip.weight, skip.bias))


@pytest.mark.parametrize(("step", "keep"), [(1, False), (7, False), (26, False), (26, True), (1000, True)])
@pytest.mark.parametrize("widens", [True, False])
def test_equals_the_plain_formula(monkeypatch, step, keep, widens):
    monkeypatch.setattr(module, "mlp_plan", lambda *_, needs_grad=False: MlpPlan(step, keep and needs_grad))
    norm, fc1, fc2, skip = layers()
    skip = skip if widens else None
    parameters = [p for layer in (norm, fc1, fc2, skip) if layer is not None for p in layer.parameters()]
    x = torch.randn(2, 13, WIDTH, requires_grad=True)
    expected, actual = plain(x, norm, fc1, fc2, skip), mlp(x, norm, fc1, fc2, skip)
    grads = [torch.randn(2, 13, OUT) for _ in expected]
    for got, want in zip(actual, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    for got, want in zip(
        torch.autograd.grad(actual, [x, *parameters], grads),
        torch.autograd.grad(expected, [x, *parameters], grads),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        for got, want in zip(mlp(x, norm, fc1, fc2, skip), expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("step", "keep"), [(7, False), (80, True)])
def test_gradients_under_autocast_are_in_the_weights_precision_and_near(monkeypatch, step, keep):
    monkeypatch.setattr(module, "mlp_plan", lambda *_, **__: MlpPlan(step, keep))
    norm, fc1, fc2, _ = layers()
    x = torch.randn(2, 40, WIDTH, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        (out,) = mlp(x, norm, fc1, fc2)
    assert out.dtype == torch.bfloat16
    wanted = [x, *norm.parameters(), *fc1.parameters(), *fc2.parameters()]
    rough = torch.autograd.grad(out, wanted, torch.ones_like(out))
    exact = torch.autograd.grad(plain(x, norm, fc1, fc2, None), wanted, [torch.ones(2, 40, OUT)])
    for got, want in zip(rough, exact, strict=True):
        assert got.dtype == torch.float32
        assert (got - want).norm() < 0.03 * want.norm() + 1e-6


@pytest.mark.parametrize(("step", "keep", "numbers"), [(26, True, 26 * HIDDEN), (5, False, 0)])
def test_what_the_backward_pass_keeps(monkeypatch, step, keep, numbers):
    """The tokens, and the hidden layer where the plan says so; never its activation or the normalised tokens."""
    monkeypatch.setattr(module, "mlp_plan", lambda *_, **__: MlpPlan(step, keep))
    norm, fc1, fc2, _ = layers()
    x = torch.randn(2, 13, WIDTH, requires_grad=True)
    mine = {p.data_ptr() for layer in (norm, fc1, fc2) for p in layer.parameters()}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(0 if t.data_ptr() in mine else t.numel()) or t, lambda t: t
    ):
        mlp(x, norm, fc1, fc2)
    assert sum(kept) == x.numel() + numbers


@pytest.mark.parametrize("trained", [{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7, 8}, {1, 6}, {0, 8}])
def test_frozen_weights_get_no_gradient_and_the_others_theirs(monkeypatch, trained):
    monkeypatch.setattr(module, "mlp_plan", lambda *_, **__: MlpPlan(7, keep=False))
    norm, fc1, fc2, skip = layers()
    inputs = [torch.randn(2, 13, WIDTH), *(p for layer in (norm, fc1, fc2, skip) for p in layer.parameters())]
    for place, tensor in enumerate(inputs):
        tensor.requires_grad_(place in trained)
    wanted = [inputs[place] for place in sorted(trained)]
    grads = []
    for function in (plain, mlp):
        outs = [out for out in function(inputs[0], norm, fc1, fc2, skip) if out.requires_grad]
        grads.append(torch.autograd.grad(outs, wanted, [torch.ones_like(out) for out in outs]))
    for want, got in zip(*grads, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_exact_gradients_in_double(monkeypatch):
    monkeypatch.setattr(module, "mlp_plan", lambda *_, **__: MlpPlan(4, keep=False))
    norm, fc1, fc2, skip = (layer.double() for layer in layers())
    x = torch.randn(1, 6, WIDTH, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mlp(x, norm, fc1, fc2, skip), (x,))


@pytest.mark.parametrize("change", ["hook", "adapter"])
def test_layers_that_must_be_called_are_called(change):
    norm, fc1, fc2, _ = layers()
    x = torch.randn(1, 6, WIDTH)
    expected = mlp(x, norm, fc1, fc2)[0]
    if change == "hook":
        fc2.register_forward_hook(lambda module, inputs, out: out + 1)
    else:
        fc2 = type("Adapted", (nn.Linear,), {"forward": lambda self, x: F.linear(x, self.weight, self.bias) + 1})(
            HIDDEN, OUT
        )
        fc2.load_state_dict(layers()[2].state_dict())
    torch.testing.assert_close(mlp(x, norm, fc1, fc2)[0], expected + 1, rtol=1e-5, atol=1e-5)
