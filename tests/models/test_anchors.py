"""Anchors, worked by hand."""

import torch

from slowfast_mvit.models.anchors import cell_anchors, grid_anchors


def test_of_a_cell():
    """Of size 32: 45.25 x 22.63 at height over width 0.5, 32 x 32, 22.63 x 45.25; not rounded."""
    a, b = 32 / 2**0.5 / 2, 32 * 2**0.5 / 2
    expected = torch.tensor([[-b, -a, b, a], [-16, -16, 16, 16], [-a, -b, a, b]])
    torch.testing.assert_close(cell_anchors((32,), (0.5, 1.0, 2.0)), expected)


def test_sizes_run_slower_than_ratios():
    widths = cell_anchors((8, 16), (1.0, 4.0))
    assert (widths[:, 2] * 2).tolist() == [8, 4, 16, 8] and (widths[:, 3] * 2).tolist() == [8, 16, 16, 32]


def test_of_a_grid():
    """Two rows and three columns at stride 4: around (0, 0), (4, 0), (8, 0), (0, 4) ..., the corners of cells."""
    anchors = grid_anchors(2, 3, 4, (2.0,), (1.0,))
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centres.tolist() == [[0, 0], [4, 0], [8, 0], [0, 4], [4, 4], [8, 4]]
    assert (anchors[:, 2:] - anchors[:, :2]).unique().tolist() == [2]


def test_anchors_of_a_cell_stand_together():
    anchors = grid_anchors(1, 2, 8, (4.0,), (1.0, 4.0))
    assert anchors.tolist() == [[-2, -2, 2, 2], [-1, -4, 1, 4], [6, -2, 10, 2], [7, -4, 9, 4]]
