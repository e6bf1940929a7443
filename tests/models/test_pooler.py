"""Features of boxes, by plain maps whose values are known."""

import pytest
import torch

from slowfast_mvit.models.pooler import levels_of, pool_regions


def box(width, height):
    return [10.0, 20.0, 10 + width, 20 + height]


@pytest.mark.parametrize(
    ("width", "height", "level"),
    (
        (224, 224, 4), (223, 224, 3), (448, 448, 5), (447, 447, 4), (112, 112, 3), (111, 112, 2), (112, 448, 4), (1, 1, 2),
        (3000, 3000, 5),
    ),
)  # fmt: skip
def test_levels(width, height, level):
    """Level 4 from a side of 224 on, and one more with each doubling, between 2 and 5."""
    assert levels_of(torch.tensor([box(width, height)]), 2, 5).tolist() == [level]


def test_a_box_without_area_has_the_finest_level():
    assert levels_of(torch.tensor([[5.0, 5, 5, 9], [9.0, 9, 5, 20]]), 2, 5).tolist() == [2, 2]


def ramps(strides, size=128, batch=2):
    """Maps whose channels are the x and y of the cell's centre in the image, the stride, and the number of the image."""
    maps = []
    for stride in strides:
        at = (torch.arange(size // stride) + 0.5) * stride
        x, y = at.expand(len(at), -1), at[:, None].expand(-1, len(at))
        one = torch.stack((x, y, torch.full_like(x, stride), torch.zeros_like(x)))
        maps.append(torch.stack([one + torch.tensor([0, 0, 0, i])[:, None, None] for i in range(batch)]))
    return maps


def test_cells_are_where_they_belong():
    """RoIAlign with the half-pixel correction is exact on a ramp: a cell has the place of its own centre."""
    strides = (4, 8, 16, 32)
    boxes = [torch.tensor([[20.0, 24, 48, 80]]), torch.tensor([[32.0, 40, 60, 68], [20.0, 20, 90, 100]])]
    pooled = pool_regions(ramps(strides), strides, boxes, 7)
    assert pooled.shape == (3, 4, 7, 7)
    for features, (x1, y1, x2, y2), image in zip(pooled, torch.cat(boxes).tolist(), (0, 1, 1), strict=True):
        xs = x1 + (torch.arange(7) + 0.5) * (x2 - x1) / 7
        ys = y1 + (torch.arange(7) + 0.5) * (y2 - y1) / 7
        torch.testing.assert_close(features[0], xs.expand(7, 7))
        torch.testing.assert_close(features[1], ys[:, None].expand(7, 7))
        assert (features[3] == image).all()


def test_a_box_is_pooled_from_its_level():
    strides = (4, 8, 16, 32)
    boxes = [torch.tensor([[0.0, 0, 100, 100], [0, 0, 250, 250], [0, 0, 500, 500], [0, 0, 120, 120]])]
    pooled = pool_regions(ramps(strides, size=512, batch=1), strides, boxes, 7)
    assert pooled[:, 2].mean((1, 2)).tolist() == [4, 16, 32, 8]


def test_a_lone_map():
    pooled = pool_regions(ramps((32,)), (32,), [torch.zeros(0, 4), torch.tensor([[32.0, 32, 96, 96]])], 2)
    assert pooled[0, 0].tolist() == [[48, 80], [48, 80]]


def test_a_cell_has_as_many_samples_as_the_map_has_cells_there():
    """Three by three, at their centres: their mean."""
    torch.manual_seed(0)
    x = torch.randn(1, 1, 8, 8)
    pooled = pool_regions([x], (1,), [torch.tensor([[0.0, 0, 6, 6]])], 2)
    torch.testing.assert_close(pooled, torch.nn.functional.avg_pool2d(x[:, :, :6, :6], 3))


def test_no_boxes():
    maps = [m.requires_grad_() for m in ramps((4, 8, 16, 32))]
    pooled = pool_regions(maps, (4, 8, 16, 32), [torch.zeros(0, 4)] * 2, 7)
    assert pooled.shape == (0, 4, 7, 7)
    pooled.sum().backward()
    assert all(m.grad is not None and not m.grad.any() for m in maps)
