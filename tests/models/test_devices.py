"""What GPUs ask for, tried without one: on fake tensors of the device cuda, and on the meta device."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses import FakeTensorMode

from slowfast_mvit.build.model import create_model, list_models
from slowfast_mvit.models import attention, kernels
from slowfast_mvit.models.attention import _normalised
from slowfast_mvit.models.layout import plan_blocks
from slowfast_mvit.models.mlp import _Mlp, mlp
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.projection import Linear, _Project, project
from slowfast_mvit.models.relpos import key_codes, relative_index
from slowfast_mvit.models.variants import VARIANTS
from tests.models.small import VIDEO


class _Node:
    """Stands for autograd's node, so that a backward pass can be called by hand."""

    def save_for_backward(self, *tensors):
        self.saved_tensors = tensors


@pytest.mark.parametrize("name", ["mlp", "project"])
def test_half_precision_tokens_and_float32_weights_on_a_gpu(monkeypatch, name):
    """A GPU's layer norm takes no bfloat16 tokens with float32 weights; autocast sees to that forward, nobody backward."""
    calls = []

    def apply(cls, *inputs):
        node = _Node()
        node.needs_input_grad = [isinstance(x, torch.Tensor) for x in inputs]
        outs = cls.forward(node, *inputs)
        calls.append(lambda: (inputs, cls.backward(node, *(torch.empty_like(out) for out in outs))))
        return outs

    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(2, 5, 8, device="cuda", dtype=torch.bfloat16)
        norm, fc1 = nn.LayerNorm(8, device="cuda"), nn.Linear(8, 32, device="cuda")
        fc2 = nn.Linear(32, 8, device="cuda")
        # Autocast itself does nothing where there is no GPU: the tokens are what it would have left.
        cls = {"mlp": _Mlp, "project": _Project}[name]
        monkeypatch.setattr(cls, "apply", classmethod(apply).__get__(None, cls))
        if name == "mlp":
            mlp(x, norm, fc1, fc2)
        else:
            project(x, norm, [Linear(fc1.weight, fc1.bias)])
        inputs, grads = calls[0]()
        for tensor, grad in zip(inputs, grads, strict=True):
            if isinstance(tensor, torch.Tensor):
                assert grad is not None and grad.shape == tensor.shape


def test_half_precision_heads_meet_their_norm_on_a_gpu():
    with FakeTensorMode(allow_non_fake_inputs=True):
        heads = torch.empty(2, 5, 3, 8, device="cuda", dtype=torch.bfloat16)
        assert _normalised(heads, nn.LayerNorm(8, device="cuda")).dtype == torch.bfloat16


@pytest.mark.parametrize("name", [name for name in list_models("mvit*") if name in VARIANTS])
def test_queries_are_as_wide_as_the_memory_efficient_kernels_want(monkeypatch, name):
    """The smallest widths that they take are multiples of 8; with others, torch makes a tensor of queries x keys."""
    widths = []

    def spy(q, k, v, **options):
        widths.append((q.shape[-1], k.shape[-1], v.shape[-1]))
        return q.new_empty(*q.shape[:-1], v.shape[-1])

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    monkeypatch.setattr(attention, "value_width", lambda _, *how: kernels.value_width("cuda", *how))
    with torch.device("meta"), torch.no_grad():
        model = create_model(name).eval()
        model(torch.empty(1, 3, *VARIANTS[name].input_size))
    assert len(widths) == len(plan_blocks(VARIANTS[name]))
    assert all(q == k and q % 8 == v % 8 == 0 for q, k, v in widths)
    assert {v for _, _, v in widths} == {-(-spec.head_dim // 8) * 8 for spec in plan_blocks(VARIANTS[name])}


def test_export_for_any_batch():
    model = MViT(VIDEO, 5).eval()
    x = torch.randn(2, 3, 4, 36, 28)
    exported = torch.export.export(
        model, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},)
    ).module()
    with torch.no_grad():
        for batch in (1, 3):
            x = torch.randn(batch, 3, 4, 36, 28)
            torch.testing.assert_close(exported(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_tables_do_not_depend_on_the_default_precision(dtype):
    relative_index.cache_clear()
    key_codes.cache_clear()
    expected = [relative_index(39, 10), relative_index(78, 10), relative_index(224, 28), key_codes((2, 3), (0, 1))]
    relative_index.cache_clear()
    key_codes.cache_clear()
    torch.set_default_dtype(dtype)
    try:
        actual = [relative_index(39, 10), relative_index(78, 10), relative_index(224, 28), key_codes((2, 3), (0, 1))]
    finally:
        torch.set_default_dtype(torch.float32)
    for got, want in zip(actual, expected, strict=True):
        assert got.dtype == want.dtype and torch.equal(got, want)


def test_fake_tensors_do_not_stay_in_the_caches():
    relative_index.cache_clear()
    with FakeTensorMode():
        relative_index(11, 7)
    assert type(relative_index(11, 7)) is torch.Tensor


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_models_of_another_precision(dtype, training):
    model, x = MViT(VIDEO, 5).train(training), torch.randn(1, 3, 4, 36, 28)
    expected = model(x)
    cast = model.to(dtype)(x.to(dtype))
    assert cast.dtype == dtype
    torch.testing.assert_close(cast.float(), expected, rtol=0.05, atol=1e-5 if dtype == torch.float64 else 0.02)
    cast.sum().backward()
