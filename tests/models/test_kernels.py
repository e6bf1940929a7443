"""The choice of kernels, as a table; and that they compute the same."""

import pytest
import torch
import torch.nn.functional as F

from slowfast_mvit.models.kernels import attention_kernel, conv_dtype, linear, linear_kernel

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


@pytest.mark.parametrize(
    ("device", "dtype", "needs_grad", "attention", "product", "pool"),
    [
        ("cpu", F32, False, "fused", "convolution", F32),
        ("cpu", F32, True, "fused", "matmul", F32),
        ("cpu", BF16, False, "chunked", "convolution", BF16),
        ("cpu", BF16, True, "chunked", "matmul", F32),
        ("cpu", F16, False, "fused", "matmul", F16),
        ("cpu", F16, True, "fused", "matmul", F32),
        ("cuda", F32, False, "fused", "matmul", F32),
        ("cuda", F32, True, "fused", "matmul", F32),
        ("cuda", BF16, False, "fused", "matmul", BF16),
        ("cuda", BF16, True, "fused", "matmul", BF16),
        ("cuda", F16, False, "fused", "matmul", F16),
        ("cuda", F16, True, "fused", "matmul", F16),
    ],
)
def test_choice(device, dtype, needs_grad, attention, product, pool):
    assert attention_kernel(device, dtype) == attention
    assert linear_kernel(device, dtype, needs_grad=needs_grad) == product
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
