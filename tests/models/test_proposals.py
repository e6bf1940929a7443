"""Proposals and their losses, against straight formulas."""

import pytest
import torch
from torch.nn import functional as F

from slowfast_mvit.models.proposals import ProposalHead, ProposalNetwork, choose_proposals, proposal_losses
from slowfast_mvit.models.rcnn_options import RcnnOptions


def logit(p):
    return torch.logit(torch.tensor(p))


@pytest.mark.parametrize("num_convs", (1, 2))
def test_predictions_stand_in_the_anchors_order(num_convs):
    """By row, by column, by anchor; of the four numbers of an anchor in turn."""
    head = ProposalHead(4, 3, num_convs)
    names = {name for name, _ in head.named_parameters() if name.startswith("conv") and name.endswith("weight")}
    assert names == ({"conv.weight"} if num_convs == 1 else {"conv.conv0.weight", "conv.conv1.weight"})
    x = torch.randn(2, 4, 5, 6)
    hidden = x
    for conv in [head.conv] if num_convs == 1 else head.conv:
        hidden = F.relu(F.conv2d(hidden, conv.weight, conv.bias, padding=1))
    scores, shifts = head.objectness_logits(hidden), head.anchor_deltas(hidden)
    logits, deltas = (parts[0] for parts in head([x]))
    assert logits.shape == (2, 90) and deltas.shape == (2, 90, 4)
    for row, column, anchor in ((0, 0, 0), (2, 3, 1), (4, 5, 2)):
        at = (row * 6 + column) * 3 + anchor
        torch.testing.assert_close(logits[1, at], scores[1, anchor, row, column])
        torch.testing.assert_close(deltas[1, at], shifts[1, 4 * anchor : 4 * anchor + 4, row, column])


def test_losses_worked_by_hand():
    """Four anchors, fewer than are sampled, so that all count: one is the object's by IoU 0.8, one is between, two are
    background. The sums are divided by 256 an image."""
    anchors = torch.tensor([[0.0, 0, 8, 10], [0, 0, 5, 10], [50, 50, 60, 60], [90, 90, 100, 100]])
    objects = [torch.tensor([[0.0, 0, 10, 10]]), torch.zeros(0, 4)]
    logits = torch.tensor([[1.0, 5.0, -1.0, 2.0], [0.5, -0.5, 0.0, 3.0]])
    deltas = torch.zeros(2, 4, 4)
    deltas[0, 0] = torch.tensor([0.5, 0.25, 0.0, 0.0])
    losses = proposal_losses(logits, deltas, anchors, objects)
    softplus = F.softplus
    first = softplus(torch.tensor(-1.0)) + softplus(torch.tensor(-1.0)) + softplus(torch.tensor(2.0))
    second = sum(softplus(value) for value in logits[1])
    torch.testing.assert_close(losses["loss_rpn_cls"], (first + second) / 512)
    wanted = torch.tensor([(5 - 4) / 8, 0, 0.22314355, 0])  # log(10 / 8)
    torch.testing.assert_close(losses["loss_rpn_loc"], (deltas[0, 0] - wanted).abs().sum() / 512)


def test_which_anchors_are_an_object_s():
    """From IoU 0.7 on, background below 0.3, and left aside between; the best of an object, here by 0.2, is its own."""
    widths = torch.tensor([71.0, 69, 31, 29])
    anchors = torch.stack((torch.zeros(4), torch.zeros(4), widths, torch.full((4,), 100.0)), 1)
    anchors = torch.cat((anchors, torch.tensor([[500.0, 0, 520, 100]])))
    objects = [torch.tensor([[0.0, 0, 100, 100], [500, 0, 600, 100]])]
    logits = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0]])
    cost = proposal_losses(logits, torch.zeros(1, 5, 4), anchors, objects)["loss_rpn_cls"] * 256
    expected = F.softplus(torch.tensor([-1.0, 8.0, -16.0])).sum()
    torch.testing.assert_close(cost, expected)


def test_an_image_samples_256_of_which_half_are_positive():
    """With all logits at 0 each sampled anchor costs log 2; with all at 20, each positive next to nothing."""
    anchors = torch.tensor([[0.0, 0, 10, 10]]).repeat(300, 1)
    anchors = torch.cat((anchors, torch.tensor([[50.0, 50, 60, 60]]).repeat(300, 1)))
    objects = [torch.tensor([[0.0, 0, 10, 10]])]
    losses = proposal_losses(torch.zeros(1, 600), torch.zeros(1, 600, 4), anchors, objects)
    assert losses["loss_rpn_cls"].item() == pytest.approx(0.693147, rel=1e-4)
    losses = proposal_losses(torch.full((1, 600), 20.0), torch.ones(1, 600, 4), anchors, objects)
    assert losses["loss_rpn_cls"].item() == pytest.approx(20 * 128 / 256, rel=1e-4)
    assert losses["loss_rpn_loc"].item() == pytest.approx(4 * 128 / 256)


def chosen(boxes, scores, before_nms=1000, size=(100, 100), **options):
    """Proposals of one image from boxes (of one list per map) as they are: no shifts."""
    anchors = [torch.tensor(of_map, dtype=torch.float32) for of_map in boxes]
    logits = [torch.tensor([of_map], dtype=torch.float32) for of_map in scores]
    deltas = [torch.zeros(1, len(of_map), 4) for of_map in anchors]
    (found,) = choose_proposals(logits, deltas, anchors, [size], before_nms, RcnnOptions(**options))
    return found.tolist()


A, B, C = [0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]


def test_nms_is_map_by_map():
    """B overlaps A with IoU 0.8, above 0.7: it goes where both are of one map."""
    assert chosen([[A, B, C]], [[2.0, 3, 1]]) == [B, C]
    assert chosen([[A, C], [B]], [[2.0, 1], [3]]) == [B, A, C]


def test_the_best_of_each_map_and_then_of_all():
    assert chosen([[A, C], [B]], [[2.0, 1], [3]], before_nms=1) == [B, A]
    assert chosen([[A, C], [B]], [[2.0, 1], [3]], proposals=2) == [B, A]


def test_cut_at_the_image_and_freed_of_what_is_outside():
    boxes = [[-5, -5, 10, 10], [90, 40, 140, 60], [100, 0, 140, 40], [5, 5, 5, 9]]
    assert chosen([boxes], [[4.0, 3, 2, 1]], size=(50, 100)) == [[0, 0, 10, 10], [90, 40, 100, 50]]


def test_what_is_not_finite_is_left_out():
    assert chosen([[A, C]], [[float("nan"), 1.0]]) == [C]


def test_proposals_have_no_gradients_and_depend_on_the_mode():
    torch.manual_seed(0)
    options = RcnnOptions(proposals_before_nms_train=7, proposals_before_nms_test=3, proposal_nms_thresh=1.0)
    network = ProposalNetwork(4, (4, 8, 16, 32, 64), 1, options)
    maps = [torch.randn(1, 4, 64 // s, 64 // s, requires_grad=True) for s in (4, 8, 16, 32, 64)]
    (found,), losses = network(maps, [(64, 64)])
    assert len(found) == 7 * 4 + 3 and not found.requires_grad and losses == {}
    (found,), _ = network.eval()(maps, [(64, 64)])
    assert len(found) == 3 * 5
