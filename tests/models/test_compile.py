"""torch.compile and torch.export take the whole model, and leave nothing behind that is not real."""

import pytest
import torch
from torch._subclasses import FakeTensorMode

from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.ops.caching import cached_table
from tests.models.small import CASES, IMAGE, VIDEO, randomize

SHAPES = {2: (2, 3, 36, 28), 3: (2, 3, 4, 36, 28)}


def model_and_input(arch):
    model = MViT(arch, 5)
    randomize(model)
    return model, torch.randn(SHAPES[len(arch.input_size)])


# The compiler takes half a minute for each.
@pytest.mark.parametrize(
    "name",
    [
        "video",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("image", "video, expansion in the MLP", "video, no class token")
        ),
    ],
)
def test_compile_without_graph_breaks(name):
    model, x = model_and_input(CASES[name])
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model.eval()(x), rtol=1e-5, atol=1e-5)
    model.train()
    expected = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    found = torch.autograd.grad(compiled(x).square().sum(), list(model.parameters()))
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3 * float(want.abs().max() + 1e-3))


@pytest.mark.parametrize("arch", [VIDEO, IMAGE], ids=["video", "image"])
def test_export_and_the_model_afterwards(arch):
    model, x = model_and_input(arch)
    model.eval()
    exported = torch.export.export(model, (x,))  # first of all calls: nothing is in any cache yet
    with torch.no_grad():
        after = model(x)
        assert type(after) is torch.Tensor
        torch.testing.assert_close(exported.module()(x), after, rtol=1e-5, atol=1e-5)
    model.train()(x).sum().backward()


def test_shapes_without_numbers():
    with torch.device("meta"):
        model = MViT(VIDEO, 5)
        assert model(torch.empty(2, 3, 4, 36, 28)).shape == (2, 5)
    model, x = model_and_input(VIDEO)
    assert model(x).isfinite().all()  # no table of the meta device was kept


def test_a_table_is_made_once_and_is_an_ordinary_tensor():
    calls = []

    @cached_table(2)
    def table(size):
        calls.append(size)
        return torch.arange(size)

    with torch.inference_mode(), torch.device("meta"):
        first = table(3)
    assert table(3) is first and calls == [3]
    assert first.device.type == "cpu" and not first.is_inference()
    table(4), table(5), table(3)
    assert calls == [3, 4, 5, 3]


def test_a_table_is_kept_for_each_device():
    calls = []

    @cached_table(3)
    def table(size):
        calls.append(size)
        return torch.arange(size), size

    there = torch.device("meta")
    (on_cpu, _), (moved, size) = table(3), table(3, device=there)
    assert on_cpu.device.type == "cpu" and moved.device == there and size == 3
    assert table(3, device=there)[0] is moved and table(3)[0] is on_cpu and calls == [3, 3]
    with FakeTensorMode():
        assert table(3, device=there)[0].device == there and calls == [3, 3, 3]
