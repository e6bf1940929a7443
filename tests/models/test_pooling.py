"""Pools over token grids: by hand, against a plain convolution, and over the tokens that a wide stride looks at."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.models.layout import PoolSpec, pooled_grid
from slowfast_mvit.models.pooling import conv_pool, fixed_pool, needed_tokens

extents = st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20))


def plain_conv(tokens, grid, kernel, pool):
    """One head at a time, as a volume."""
    heads = tokens.shape[-1] // len(kernel)
    padding = [k // 2 for k in pool.kernel]
    parts = [
        F.conv3d(
            part.transpose(1, 2).unflatten(2, grid), kernel, stride=pool.stride, padding=padding, groups=len(kernel)
        )
        for part in tokens.chunk(heads, dim=-1)
    ]
    return torch.cat(parts, dim=1).flatten(2).transpose(1, 2), tuple(parts[0].shape[2:])


def test_heads_share_a_kernel_and_shares_have_their_own():
    pool, grid = PoolSpec((3, 3, 3), (1, 2, 2)), (2, 5, 4)
    tokens, kernels = torch.randn(2, 40, 12), [torch.randn(3, 1, 3, 3, 3) for _ in range(2)]
    actual, actual_grid = conv_pool(tokens, grid, kernels, pool), pooled_grid(grid, pool)
    first, expected_grid = plain_conv(tokens[..., :6], grid, kernels[0], pool)
    second, _ = plain_conv(tokens[..., 6:], grid, kernels[1], pool)
    assert actual_grid == expected_grid == (2, 3, 2)
    torch.testing.assert_close(actual, torch.cat((first, second), dim=-1))


def test_average_and_maximum_by_hand():
    tokens = torch.arange(1.0, 5).view(1, 4, 1)
    pool = PoolSpec((1, 3), (1, 2))
    assert fixed_pool(tokens, (1, 4), pool, "max").flatten().tolist() == [2, 4]
    average = fixed_pool(tokens, (1, 4), pool, "avg").flatten()
    torch.testing.assert_close(average, torch.tensor([1.0, 3.0]))  # (0 + 1 + 2) / 3 and (2 + 3 + 4) / 3


def test_needed_tokens_by_hand():
    # A row of ten, every fifth place with one neighbour to each side: 0 1, 4 5 6; a class token before them.
    rows, grid, pool = needed_tokens((1, 10), PoolSpec((1, 3), (1, 5)), 1)
    assert rows.tolist() == [0, 1, 2, 5, 6, 7] and grid == (1, 5)
    assert pool == PoolSpec((1, 3), (1, 3))
    assert needed_tokens((1, 10), PoolSpec((1, 3), (1, 3)), 1) is None


@pytest.mark.parametrize("mode", ["conv", "avg", "max"])
@given(extents, st.sampled_from([(1, 4, 4), (1, 8, 8), (2, 8, 5), (4, 1, 4)]))
def test_the_pool_over_the_needed_tokens_is_the_pool(mode, grid, stride):
    pool = PoolSpec((3, 3, 3), stride)
    tokens = torch.randn(2, torch.Size(grid).numel(), 4)
    rows, packed_grid, packed_pool = needed_tokens(grid, pool, 0)
    packed = tokens.index_select(1, rows)
    if mode == "conv":
        kernel = [torch.randn(2, 1, 3, 3, 3)]
        expected, actual = conv_pool(tokens, grid, kernel, pool), conv_pool(packed, packed_grid, kernel, packed_pool)
    else:
        expected, actual = fixed_pool(tokens, grid, pool, mode), fixed_pool(packed, packed_grid, packed_pool, mode)
    assert pooled_grid(packed_grid, packed_pool) == pooled_grid(grid, pool)
    torch.testing.assert_close(actual, expected)
