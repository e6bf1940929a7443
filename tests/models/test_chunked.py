"""Attention over some queries at a time against torch's, forward and backward."""

import pytest
import torch
import torch.nn.functional as F

from slowfast_mvit.models import chunked
from slowfast_mvit.models.chunked import _parts, chunked_attention


def operands(dtype, num_queries=37):
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 3, num_queries, 10), (2, 3, 11, 10), (2, 3, 11, 8))
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def plain(q, k, v):
    return torch.softmax(q @ k.transpose(2, 3), dim=-1) @ v


@pytest.mark.parametrize("at_a_time", [1, 88, 407, 900, 2**20])
def test_equals_the_plain_formula(monkeypatch, at_a_time):
    monkeypatch.setattr(chunked, "WEIGHTS_AT_A_TIME", at_a_time)
    q, k, v = operands(torch.float32)
    expected, actual = plain(q, k, v), chunked_attention(q, k, v)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    grad = torch.randn(expected.shape)
    for got, want in zip(
        torch.autograd.grad(actual, (q, k, v), grad), torch.autograd.grad(expected, (q, k, v), grad), strict=True
    ):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(chunked_attention(q, k, v), expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_as_near_as_torch_s():
    q, k, v = operands(torch.bfloat16, num_queries=5000)
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    truth, grad = plain(*exact), torch.randn(2, 3, 5000, 8).bfloat16()
    true_grads = torch.autograd.grad(truth, exact, grad.double())

    def errors(out):
        grads = torch.autograd.grad(out, (q, k, v), grad)
        pairs = [(out, truth), *zip(grads, true_grads, strict=True)]
        return [((got.double() - want).norm() / want.norm()).item() for got, want in pairs]

    ours, theirs = errors(chunked_attention(q, k, v)), errors(plain(q, k, v))
    fused = errors(F.scaled_dot_product_attention(q, k, F.pad(v, (0, 2)), scale=1.0)[..., :8])
    assert all(our < 2 * max(their, other) for our, their, other in zip(ours, theirs, fused, strict=True))
    assert max(ours) < 0.02


def test_no_weights_are_kept():
    q, k, v = operands(torch.float32)
    shapes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: shapes.append(tuple(x.shape)) or x, lambda x: x):
        chunked_attention(q, k, v)
    assert shapes == [tuple(x.shape) for x in (q, k, v)]


@pytest.mark.parametrize(
    ("n", "N", "M", "heads", "rows"),
    [
        (4, 1569, 393, [(0, 4)], [(0, 1569)]),  # all heads of a sample
        (8, 393, 1569, [(0, 4), (4, 8)], [(0, 393)]),  # six would fit: two parts of one size
        (2, 6273, 1569, [0, 1], [(0, 2091), (2091, 4182), (4182, 6273)]),
        (1, 25089, 393, [0], [(0, 8363), (8363, 16726), (16726, 25089)]),
        (1, 3, 2, [0], [(0, 3)]),
        (2, 0, 5, [(0, 2)], [(0, 0)]),
        (2, 2, 2**23, [0, 1], [(0, 1), (1, 2)]),  # more keys than fit: a query at a time
    ],
)
def test_what_is_attended_at_a_time(n, N, M, heads, rows):
    def ends(part):
        return (part.start, part.stop) if isinstance(part, slice) else part

    parts = _parts(n, N, M)
    assert [ends(part.heads) for part in parts] == heads
    assert all([ends(some) for some in part.rows] == rows for part in parts)
    together = heads[0][1] - heads[0][0] if isinstance(heads[0], tuple) else None
    assert parts[0].shape == ((together,) if together else ()) + (rows[0][1] - rows[0][0], M)


@pytest.mark.parametrize(("num_queries", "num_keys"), [(0, 11), (37, 0), (0, 0)])
def test_nothing_to_attend(num_queries, num_keys):
    q, k, v = (torch.randn(2, 3, size, 8) for size in (num_queries, num_keys, num_keys))
    torch.testing.assert_close(chunked_attention(q, k, v), plain(q, k, v))
