"""The choice of kernels, as a table; and that they compute the same."""

import pytest
import torch
import torch.nn.functional as F

from slowfast_mvit.models import kernels
from slowfast_mvit.models.kernels import (
    aligned_width,
    attention_kernel,
    channels_first,
    conv_dtype,
    input_gradient,
    kv_together,
    linear,
    linear_kernel,
    mlp_plan,
    samples_at_a_time,
    value_width,
)

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


@pytest.mark.parametrize(
    ("device", "dtype", "needs_grad", "attention", "product", "pool"),
    [
        ("cpu", F32, False, "chunked", "convolution", F32),
        ("cpu", F32, True, "fused", "convolution", F32),
        ("cpu", BF16, False, "chunked", "convolution", BF16),
        ("cpu", BF16, True, "chunked", "convolution", F32),
        ("cpu", F16, False, "fused", "matmul", F16),
        ("cpu", F16, True, "fused", "matmul", F32),
        ("cpu", torch.float64, True, "fused", "convolution", torch.float64),
        ("cuda", F32, False, "fused", "matmul", F32),
        ("cuda", F32, True, "fused", "matmul", F32),
        ("cuda", BF16, False, "fused", "matmul", BF16),
        ("cuda", BF16, True, "fused", "matmul", BF16),
        ("cuda", F16, False, "fused", "matmul", F16),
        ("cuda", F16, True, "fused", "matmul", F16),
    ],
)
def test_choice(device, dtype, needs_grad, attention, product, pool):
    assert attention_kernel(device, dtype, needs_grad=needs_grad) == attention
    assert linear_kernel(device, dtype) == product
    assert conv_dtype(device, dtype, needs_grad=needs_grad) == pool


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 12), (2, 7, 12), (3, 5, 1, 12)])
def test_a_linear_layer_is_the_same_by_either_kernel(shape, bias):
    x, weight = torch.randn(shape), torch.randn(9, 12, requires_grad=True)
    shift = torch.randn(9) if bias else None
    expected = F.linear(x, weight, shift)
    assert linear(x, weight, shift).requires_grad
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, shift), expected)
        with torch.autocast("cpu", torch.bfloat16):
            rough = linear(x.bfloat16(), weight, shift)
    assert rough.dtype == BF16
    torch.testing.assert_close(rough.float(), expected, rtol=0.02, atol=0.1)


@pytest.mark.parametrize(
    ("device", "tokens", "weight", "needs_grad", "plan"),
    [
        ("cpu", 25089, (384, 96), False, (5461, False)),
        ("cpu", 25089, (384, 96), True, (5461, False)),  # narrow: computed again
        ("cpu", 12546, (768, 192), True, (2730, False)),
        ("cpu", 1569, (1536, 384), True, (1569, True)),
        ("cpu", 3138, (1536, 384), True, (3138, True)),  # wide: kept, and so computed at once
        ("cpu", 3138, (1536, 384), False, (1365, False)),
        ("cpu", 0, (8, 2), True, (1, True)),
        ("cuda", 25089, (384, 96), True, (25089, True)),
        ("cuda", 25089, (384, 96), False, (25089, False)),
    ],
)
def test_plan_of_the_mlp(device, tokens, weight, needs_grad, plan):
    assert mlp_plan(device, tokens, weight, needs_grad=needs_grad) == plan


@pytest.mark.parametrize(
    ("device", "numbers", "together"),
    [("cpu", 25088 * 9 // 16 * 192, True), ("cpu", 60800 * 2 * 192, False), ("cuda", 60800 * 2 * 192, True)],
)
def test_keys_and_values_are_made_together_or_apart(device, numbers, together):
    assert kv_together(device, numbers) == together


@pytest.mark.parametrize("many", [1, 10**6])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_a_linear_layer(monkeypatch, many, bias):
    monkeypatch.setattr(kernels, "MANY_TOKENS", many)
    x, weight = torch.randn(3, 7, 12, requires_grad=True), torch.randn(9, 12, requires_grad=True)
    inputs = [x, weight, *([torch.randn(9, requires_grad=True)] if bias else [])]
    grad = torch.randn(3, 7, 9)
    shift = inputs[2] if bias else None
    ours, theirs = (torch.autograd.grad(f(x, weight, shift), inputs, grad) for f in (linear, F.linear))
    for got, want in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(input_gradient(grad, weight.detach()), grad @ weight.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("device", "width", "filled"), [("cpu", 118, 118), ("cuda", 118, 120), ("cuda", 120, 120)])
def test_width_of_queries(device, width, filled):
    assert aligned_width(device, width) == filled


@pytest.mark.parametrize(
    ("device", "dtype", "width", "filled"),
    [
        ("cpu", F32, 96, 120),
        ("cpu", F16, 96, 120),
        ("cuda", F32, 96, 96),
        ("cuda", F32, 20, 24),
        ("cuda", BF16, 96, 120),
        ("mps", F32, 96, 120),
    ],
)
def test_width_of_values_beside_queries_of_120(device, dtype, width, filled):
    assert value_width(device, dtype, width, 120) == filled


@pytest.mark.parametrize(
    ("device", "axes", "first"),
    [("cpu", 2, False), ("cpu", 3, False), ("cuda", 2, False), ("cuda", 3, True), ("mps", 3, False)],
)
def test_layout_of_depthwise_convolutions(device, axes, first):
    assert channels_first(device, axes) == first


@pytest.mark.parametrize(
    ("device", "tokens", "projected", "samples"),
    [
        ("cpu", 3136, 768, 2),
        ("cpu", 784, 1536, 4),
        ("cpu", 25089, 288, 1),
        ("cpu", 0, 9, 5242880),
        ("cuda", 3136, 768, 2**31),
    ],
)
def test_samples_at_a_time(device, tokens, projected, samples):
    assert samples_at_a_time(device, tokens, projected) == samples


def test_no_tokens_give_no_results():
    assert linear(torch.randn(0, 5, 12), torch.randn(9, 12), torch.randn(9)).shape == (0, 5, 9)
