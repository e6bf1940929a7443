"""Masks of boxes: layers, targets and loss, worked by hand."""

import pytest
import torch
from torch.nn import functional as F

from slowfast_mvit.models.mask_head import MaskHead, mask_loss, mask_probabilities, mask_targets


@pytest.mark.parametrize("norm", (False, True))
def test_layers(norm):
    head = MaskHead(4, 3, 8, norm=norm).eval()
    x = torch.randn(2, 4, 14, 14)
    hidden = x
    for i in range(1, 5):
        conv = getattr(head, f"mask_fcn{i}")
        assert (conv.bias is None) == norm
        hidden = F.conv2d(hidden, conv.weight, conv.bias, padding=1)
        hidden = F.relu(hidden / (1 + 1e-5) ** 0.5 if norm else hidden)
    up = F.relu(F.conv_transpose2d(hidden, head.deconv.weight, head.deconv.bias, stride=2))
    torch.testing.assert_close(head(x), F.conv2d(up, head.predictor.weight, head.predictor.bias))
    assert head(x).shape == (2, 3, 28, 28)


def test_targets():
    """A box 56 x 28 at (4, 2) on a mask of the columns 18 to 40: cells of two columns, so the cells from 7 on to 17."""
    masks = torch.zeros(3, 40, 80, dtype=torch.uint8)
    masks[2, :, 18:40] = 1
    box = torch.tensor([[4.0, 2, 60, 30]])
    (target,) = mask_targets(masks, torch.tensor([2]), box, 28)
    assert target.unique().tolist() == [0, 1]
    assert (target == target[0]).all() and target[0].nonzero()[:, 0].tolist() == list(range(7, 18))
    assert not mask_targets(masks, torch.tensor([0]), box, 28).any()


def test_half_a_cell_belongs():
    """Cells of two columns of which one is in the mask have 0.5."""
    masks = torch.zeros(1, 40, 80, dtype=torch.uint8)
    masks[0, :, 19:40] = 1
    (target,) = mask_targets(masks, torch.tensor([0]), torch.tensor([[4.0, 2, 60, 30]]), 28)
    assert target[0].nonzero()[:, 0].tolist() == list(range(7, 18))


def test_objects_are_told_apart():
    masks = torch.zeros(4, 30, 30, dtype=torch.uint8)
    masks[1, :15], masks[3, 15:] = 1, 1
    boxes = torch.tensor([[0.0, 0, 28, 14], [0, 0, 28, 14], [0, 16, 28, 30]])
    targets = mask_targets(masks, torch.tensor([3, 1, 3]), boxes, 28)
    assert targets.mean((1, 2)).tolist() == [0, 1, 1]


def test_the_loss_is_of_the_own_class():
    logits = torch.randn(2, 3, 4, 4)
    targets = torch.randint(2, (2, 4, 4)).float()
    p = torch.stack((logits[0, 2], logits[1, 0])).sigmoid()
    expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()
    torch.testing.assert_close(mask_loss(logits, torch.tensor([3, 1]), targets), expected)


def test_probabilities_image_by_image():
    logits = torch.randn(3, 2, 4, 4)
    none, two, one = mask_probabilities(
        logits, [torch.zeros(0, dtype=torch.int64), torch.tensor([2, 1]), torch.tensor([2])]
    )
    assert none.shape == (0, 4, 4)
    torch.testing.assert_close(two, torch.stack((logits[0, 1], logits[1, 0])).sigmoid())
    torch.testing.assert_close(one, logits[2:, 1].sigmoid())


def test_without_boxes():
    head = MaskHead(4, 3, 8, norm=True)
    loss = mask_loss(head(torch.zeros(0, 4, 14, 14)), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 28, 28))
    loss.backward()
    assert loss == 0 and all(p.grad is not None and not p.grad.any() for p in head.parameters())
