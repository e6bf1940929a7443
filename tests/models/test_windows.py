"""Windows: what stands where, there and back, and which tokens a shift keeps apart."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.models.windows import from_windows, join_rows, shift_mask, split_rows, to_windows, window_counts

extent = st.integers(1, 9)


def numbered(grid):
    """Token i holds the number i + 1, so that 0 is padding."""
    count = torch.Size(grid).numel()
    return torch.arange(1.0, count + 1).reshape(1, count, 1, 1)


def test_four_windows_by_hand():
    windows = to_windows(numbered((4, 4)), (4, 4), 2)[:, :, 0, 0]
    assert windows.tolist() == [[1, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]


def test_padding_stands_at_the_bottom_and_at_the_right():
    windows = to_windows(numbered((3, 3)), (3, 3), 2)[:, :, 0, 0]
    assert windows.tolist() == [[1, 2, 4, 5], [3, 0, 6, 0], [7, 8, 0, 0], [9, 0, 0, 0]]


def test_a_window_spans_all_frames():
    windows = to_windows(numbered((2, 2, 4)), (2, 2, 4), 2)[:, :, 0, 0]
    assert windows.tolist() == [[1, 2, 5, 6, 9, 10, 13, 14], [3, 4, 7, 8, 11, 12, 15, 16]]


def test_a_shift_rolls_up_and_left():
    windows = to_windows(numbered((4, 4)), (4, 4), 2, shift=1)[:, :, 0, 0]
    assert windows[0].tolist() == [6, 7, 10, 11] and windows[3].tolist() == [16, 13, 4, 1]


@given(extent, extent, extent, st.integers(1, 5), st.integers(0, 4), st.integers(1, 2))
def test_there_and_back(frames, height, width, side, shift, heads):
    grid = (frames, height, width)
    tokens = torch.randn(2, frames * height * width, heads, 3)
    windows = to_windows(tokens, grid, side, shift % side)
    assert windows.shape[0] == 2 * window_counts(grid, side)[0] * window_counts(grid, side)[1]
    assert torch.equal(from_windows(windows, grid, side, shift % side), tokens)


@given(extent, extent, extent, st.integers(1, 5), st.integers(1, 2))
def test_rows_of_windows_there_and_back(frames, height, width, side, heads):
    grid = (frames, height, width)
    tokens = torch.randn(2, frames * height * width, heads, 3)
    rows = split_rows(tokens, grid, side)
    assert len(rows) == window_counts(grid, side)[0]
    assert torch.equal(join_rows([row.tokens for row in rows], grid, side), tokens)
    apart = torch.cat([to_windows(row.tokens[:1], row.grid, side) for row in rows])
    assert torch.equal(apart, to_windows(tokens[:1], grid, side))


def test_the_shift_mask_by_hand():
    # 2 x 2 windows of 2 x 2, shifted by 1: the last row and column of the rolled grid came over the edge.
    mask = shift_mask((2, 2), (2, 2), (1, 1), (1, 1))
    assert mask.shape == (4, 4, 4) and mask[0].all()
    assert mask[1].tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    assert mask[2].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert torch.equal(mask[3], torch.eye(4, dtype=torch.bool))


def test_queries_and_keys_of_different_sides_share_the_shift():
    # Two frames; windows of 4 x 4 queries and of 2 x 2 keys, shifted by half: the upper left quarter of the last window
    # belongs together.
    mask = shift_mask((1, 2), (4, 2), (2, 1), (2, 2))
    assert mask.shape == (2, 32, 8)
    last = mask[1].reshape(2, 4, 4, 2, 2, 2)
    assert last[0, 0, 0].tolist() == [[[1, 0], [0, 0]]] * 2
    assert last[1, 3, 2].tolist() == [[[0, 0], [0, 1]]] * 2
