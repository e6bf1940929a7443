"""The choice of kernels, as a table."""

import pytest
import torch

from slowfast_mvit.models.kernels import attention_kernel, pool_dtype

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


@pytest.mark.parametrize(
    ("device", "dtype", "needs_grad", "attention", "pool"),
    [
        ("cpu", F32, False, "fused", F32),
        ("cpu", F32, True, "fused", F32),
        ("cpu", BF16, False, "plain", BF16),
        ("cpu", BF16, True, "fused", F32),
        ("cuda", F32, False, "fused", F32),
        ("cuda", F32, True, "fused", F32),
        ("cuda", BF16, False, "fused", BF16),
        ("cuda", BF16, True, "fused", BF16),
        ("cuda", F16, False, "fused", F16),
        ("cuda", F16, True, "fused", F16),
    ],
)
def test_choice(device, dtype, needs_grad, attention, pool):
    assert attention_kernel(device, dtype, needs_grad=needs_grad) == attention
    assert pool_dtype(device, dtype, needs_grad=needs_grad) == pool
