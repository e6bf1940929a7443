"""What is in a box and where: losses and choices, worked by hand."""

import pytest
import torch
from torch.nn import functional as F

from slowfast_mvit.models.box_head import BoxHead, BoxPredictor, choose_detections
from slowfast_mvit.models.rcnn_options import RcnnOptions

TENS = (10.0, 10.0, 5.0, 5.0)


def test_layers():
    x = torch.randn(3, 4, 7, 7)
    plain = BoxHead(4, 7, 0, 2, 8, 16)
    expected = F.relu(plain.fc2(F.relu(plain.fc1(x.flatten(1)))))
    torch.testing.assert_close(plain(x), expected)
    deep = BoxHead(4, 7, 4, 1, 8, 16).eval()
    hidden = x
    for i in range(1, 5):
        conv = getattr(deep, f"conv{i}")
        assert conv.bias is None
        hidden = F.relu(F.conv2d(hidden, conv.weight, padding=1) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(deep(x), F.relu(deep.fc1(hidden.flatten(1))))


@pytest.mark.parametrize("agnostic", (False, True))
def test_losses_worked_by_hand(agnostic):
    """Three boxes: class 2, background, class 1; two classes. L1 of the class's own four numbers, over all three boxes."""
    predictor = BoxPredictor(8, 2, TENS, class_agnostic=agnostic)
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [0.5, 0.0, 0.0]])
    deltas = torch.arange(24.0).reshape(3, 8)[:, : 4 if agnostic else 8] / 10
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 5, 5], [20, 20, 40, 30]])
    objects = torch.tensor([[1.0, 2, 11, 12], [0, 0, 0, 0], [20, 20, 40, 30]])
    class_loss, box_loss = predictor.losses(logits, deltas, boxes, torch.tensor([2, 0, 1]), objects)
    log_p = logits.log_softmax(1)
    torch.testing.assert_close(class_loss, -(log_p[0, 1] + log_p[1, 2] + log_p[2, 0]) / 3)
    first = deltas[0, :4] if agnostic else deltas[0, 4:]
    expected = (first - torch.tensor([1.0, 2, 0, 0])).abs().sum() + deltas[2, :4].abs().sum()
    torch.testing.assert_close(box_loss, expected / 3)


def test_no_boxes_cost_nothing():
    predictor = BoxPredictor(8, 2, TENS, class_agnostic=False)
    logits, deltas = predictor(torch.zeros(0, 8))
    nothing = torch.zeros(0, 4)
    losses = predictor.losses(logits, deltas, nothing, torch.zeros(0, dtype=torch.int64), nothing)
    sum(losses).backward()
    assert [loss.item() for loss in losses] == [0, 0] and predictor.bbox_pred.weight.grad is not None


def choose(rows, size=(100, 100), **options):
    """Boxes with the scores of two classes each, as plain numbers: (box, label, score)."""
    boxes = torch.tensor([[row[0]] for row in rows], dtype=torch.float32)
    scores = torch.tensor([[row[1], row[2], 1 - row[1] - row[2]] for row in rows])
    found = choose_detections(boxes, scores, size, RcnnOptions(**options))
    return [(b, label, round(s, 4)) for b, s, label in zip(*(part.tolist() for part in found), strict=True)]


A, B, C = [0.0, 0, 10, 10], [0.0, 0, 10, 6], [50.0, 50, 60, 60]


def test_nms_is_class_by_class():
    """B overlaps A with IoU 0.6, above 0.5."""
    assert choose([(A, 0.6, 0.1), (B, 0.5, 0.3), (C, 0.2, 0.0)]) == [(A, 1, 0.6), (B, 2, 0.3), (C, 1, 0.2)]


def test_scores_must_be_above_the_threshold():
    assert choose([(A, 0.05, 0.0), (C, 0.0501, 0.0)]) == [(C, 1, 0.0501)]


def test_the_best_of_all_classes():
    assert choose([(A, 0.4, 0.3), (C, 0.2, 0.5)], max_detections=2) == [(C, 2, 0.5), (A, 1, 0.4)]


def test_each_class_has_its_own_box():
    boxes = torch.tensor([[A, C]])
    found = choose_detections(boxes, torch.tensor([[0.3, 0.6, 0.1]]), (100, 100), RcnnOptions())
    assert found[0].tolist() == [C, A] and found[2].tolist() == [2, 1]


def test_cut_at_the_image_and_freed_of_what_is_outside():
    assert choose([([-5.0, 20, 70, 80], 0.9, 0), ([60.0, 0, 90, 40], 0.8, 0)], size=(50, 60)) == [
        ([0, 20, 60, 50], 1, 0.9)
    ]


def test_soft_nms_lowers():
    """IoU 0.6: linear 0.5 x (1 - 0.6), gaussian 0.5 x exp(-0.36 / 0.5)."""
    assert choose([(A, 0.6, 0), (B, 0.5, 0)], soft_nms="linear") == [(A, 1, 0.6), (B, 1, 0.2)]
    assert choose([(A, 0.6, 0), (B, 0.5, 0)], soft_nms="gaussian") == [(A, 1, 0.6), (B, 1, 0.2434)]
    assert choose([(A, 0.6, 0), (B, 0.5, 0)], soft_nms="linear", soft_nms_min_score=0.21) == [(A, 1, 0.6)]


def test_what_is_not_finite_is_left_out():
    assert choose([(A, float("nan"), 0.5), (C, 0.3, 0.1)]) == [(C, 1, 0.3), (C, 2, 0.1)]
