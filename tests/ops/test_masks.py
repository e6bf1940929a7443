"""Pasting masks, by pixels worked by hand and by a straight formula."""

import pytest
import torch

from slowfast_mvit.ops import masks as module
from slowfast_mvit.ops.masks import paste_masks


def straight(mask, box, height, width):
    """The probability at each pixel's centre, as the plain sum over all cells of the two overlaps of unit tents."""
    M = len(mask)
    x1, y1, x2, y2 = box
    u = (torch.arange(width) + 0.5 - x1) / (x2 - x1) * M - 0.5
    v = (torch.arange(height) + 0.5 - y1) / (y2 - y1) * M - 0.5
    cells = torch.arange(M)
    along_x = (1 - (u[:, None] - cells).abs()).clamp(min=0)
    along_y = (1 - (v[:, None] - cells).abs()).clamp(min=0)
    return along_y @ mask @ along_x.T


def test_a_full_mask_fills_its_box_up_to_half_a_cell():
    """Two cells over four pixels: pixel centres lie at -0.25, 0.25, 0.75, 1.25 of the cells' centres, so that the outer pixels
    have 0.75 in each axis and the corners 0.5625."""
    pasted = paste_masks(torch.ones(1, 2, 2), torch.tensor([[1.0, 1, 5, 5]]), 6, 7)
    expected = torch.zeros(1, 6, 7, dtype=torch.bool)
    expected[0, 1:5, 1:5] = True
    assert torch.equal(pasted, expected)
    corners_off = paste_masks(torch.ones(1, 2, 2), torch.tensor([[1.0, 1, 5, 5]]), 6, 7, threshold=0.6)
    expected[0, [1, 1, 4, 4], [1, 4, 1, 4]] = False
    assert torch.equal(corners_off, expected)


def test_a_column_of_cells():
    """The left cell alone: pixels have 0.75, 0.75, 0.25 and 0 of it; a pixel beside the box 0.25."""
    mask = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    box = torch.tensor([[1.0, 0, 5, 4]])
    pasted = paste_masks(mask, box, 4, 6, threshold=0.2)
    assert pasted[0, 1].tolist() == [True, True, True, True, False, False]
    assert paste_masks(mask, box, 4, 6, threshold=0.5)[0, 1].tolist() == [False, True, True, False, False, False]


def test_exactly_the_threshold_belongs():
    pasted = paste_masks(torch.full((1, 2, 2), 0.5), torch.tensor([[0.0, 0, 2, 2]]), 2, 2)
    assert pasted.all()


def some_masks():
    torch.manual_seed(0)
    corner = torch.rand(7, 2) * 60 - 20
    return torch.rand(7, 28, 28), torch.cat((corner, corner + 0.5 + torch.rand(7, 2) * 70), 1)


def test_as_the_straight_formula():
    masks, boxes = some_masks()
    expected = torch.stack([straight(mask, box, 50, 40) for mask, box in zip(masks, boxes, strict=True)])
    clear = (expected - 0.5).abs() > 1e-4
    assert clear.float().mean() > 0.99 and (expected >= 0.5).any()
    assert torch.equal(paste_masks(masks, boxes, 50, 40)[clear], (expected >= 0.5)[clear])


def test_the_whole_image_in_chunks_gives_the_same(monkeypatch):
    """What is done away from the CPU, on the CPU."""
    masks, boxes = some_masks()
    by_box = paste_masks(masks, boxes, 50, 40)
    monkeypatch.setattr(module, "_CHUNK", 3 * 50 * 40)
    monkeypatch.setattr(module, "_by_box", module._by_chunk)
    assert torch.equal(paste_masks(masks, boxes, 50, 40), by_box)


@pytest.mark.parametrize("box", ([-50.0, -50, -10, -10], [100.0, 100, 120, 120], [5.0, 5, 5, 9], [5.0, 5, 5, 5]))
def test_boxes_outside_or_without_area_give_nothing(box):
    assert not paste_masks(torch.ones(1, 28, 28), torch.tensor([box]), 20, 30).any()


def test_a_box_beyond_the_image_is_cut():
    pasted = paste_masks(torch.ones(1, 28, 28), torch.tensor([[-10.0, -10, 100, 100]]), 20, 30)
    assert pasted.all()


def test_no_masks():
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), 5, 6).shape == (0, 5, 6)
