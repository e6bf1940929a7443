"""The depthwise convolution's own backward pass against torch's."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from slowfast_mvit.models.depthwise import depthwise_conv

extent = st.integers(1, 9)
step = st.integers(1, 4)
kernel = st.sampled_from([1, 3, 5])


def both(volume, weight, stride):
    """Output and gradients by ours and by torch."""
    results = []
    grad = None
    for function in (
        lambda v, w: depthwise_conv(v, w, stride),
        lambda v, w: (F.conv2d if len(stride) == 2 else F.conv3d)(
            v, w, stride=stride, padding=[k // 2 for k in w.shape[2:]], groups=len(w)
        ),
    ):
        v, w = volume.clone().requires_grad_(), weight.clone().requires_grad_()
        out = function(v, w)
        grad = torch.randn(out.shape) if grad is None else grad
        results.append((out, *torch.autograd.grad(out, (v, w), grad)))
    return results


def assert_same(ours, theirs):
    for got, want in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@settings(deadline=None)
@given(st.tuples(extent, extent, extent), st.tuples(step, step, step), st.tuples(kernel, kernel, kernel))
def test_volumes(size, stride, kernels):
    volume = torch.randn(2, *size, 4).movedim(-1, 1)
    assert_same(*both(volume, torch.randn(4, 1, *kernels), stride))


@settings(deadline=None)
@given(st.tuples(extent, extent), st.tuples(step, step), st.tuples(kernel, kernel))
def test_pictures(size, stride, kernels):
    assert_same(*both(torch.randn(2, *size, 4).movedim(-1, 1), torch.randn(4, 1, *kernels), stride))


def test_only_what_is_asked_for():
    volume, weight = torch.randn(1, 4, 5, 5), torch.randn(4, 1, 3, 3, requires_grad=True)
    out = depthwise_conv(volume, weight, (1, 1))
    out.sum().backward()
    assert volume.grad is None and weight.grad is not None


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (1, 1), (2, 2)])
@pytest.mark.parametrize("frames", [2, 8])
def test_bfloat16_sums_in_float32(frames, stride):
    """Fewer frames than the kernel has, too, where oneDNN's own backward pass in bfloat16 leaves numbers unset."""
    extent = (frames, 24, 24)[-len(stride) :]
    volume = torch.randn(2, *extent, 4).movedim(-1, 1).bfloat16().requires_grad_()
    weight = torch.randn(4, 1, *[3] * len(stride), requires_grad=True)
    out = depthwise_conv(volume, weight, stride)
    grad = torch.randn(out.shape).bfloat16()
    into_volume, into_weight = torch.autograd.grad(out, (volume, weight), grad)
    assert (out.dtype, into_volume.dtype, into_weight.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    exact = [x.detach().bfloat16().double().requires_grad_() for x in (volume, weight)]
    expected = (F.conv2d if len(stride) == 2 else F.conv3d)(*exact, stride=stride, padding=1, groups=4)
    of_volume, of_weight = torch.autograd.grad(expected, exact, grad.double())
    torch.testing.assert_close(out.double(), expected, rtol=2**-7, atol=2**-7)
    torch.testing.assert_close(into_volume.double(), of_volume, rtol=2**-7, atol=2**-7)
    torch.testing.assert_close(into_weight.double(), of_weight, rtol=1e-4, atol=1e-3)
