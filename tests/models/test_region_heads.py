"""Which boxes the heads are trained on, and one box head after the other."""

import pytest
import torch
from torch.nn import functional as F

from slowfast_mvit.models import cascade as module
from slowfast_mvit.models.cascade import CascadeHeads
from slowfast_mvit.models.pooler import pool_regions
from slowfast_mvit.models.rcnn_options import RcnnOptions
from slowfast_mvit.models.region_heads import HeadSizes, RegionHeads, label_regions, sample_regions
from slowfast_mvit.models.region_targets import decode
from tests.models.small_detector import objects_of

SIZES = HeadSizes(4, 3, conv_dim=8, fc_dim=16)
OBJECTS = objects_of([[0, 0, 10, 10], [40, 40, 60, 60]], [2, 3], 80, 90)


def test_labels():
    """IoU 0.6 with the first object: its label where 0.5 is asked for, none where 0.7 is."""
    boxes = torch.tensor([[0.0, 0, 6, 10], [40, 40, 60, 60], [70, 70, 80, 80]])
    found = label_regions(boxes, OBJECTS, 0.5)
    assert found.labels.tolist() == [2, 3, 0] and found.rows[:2].tolist() == [0, 1]
    assert torch.equal(found.objects[:2], OBJECTS.boxes)
    assert label_regions(boxes, OBJECTS, 0.7).labels.tolist() == [0, 3, 0]
    assert label_regions(boxes, objects_of([], [], 80, 90), 0.5).labels.tolist() == [0, 0, 0]


def test_the_objects_own_boxes_are_proposals():
    found = sample_regions(torch.tensor([[70.0, 70, 80, 80]]), OBJECTS, 512)
    assert sorted(found.labels.tolist()) == [0, 2, 3]
    assert torch.equal(found.boxes[found.labels == 3], OBJECTS.boxes[1:])


def test_half_an_overlap_is_asked_for_at_first():
    """IoU 0.55 and 0.45 with the object, whose own box comes too; matched ones are first."""
    proposals = torch.tensor([[0.0, 0, 10, 4.5], [0, 0, 10, 5.5]])
    found = sample_regions(proposals, objects_of([[0, 0, 10, 10]], [2], 80, 90), 512)
    assert found.boxes.tolist() == [[0, 0, 10, 5.5], [0, 0, 10, 10], [0, 0, 10, 4.5]]
    assert found.labels.tolist() == [2, 2, 0]


def test_shifts_have_detectron2_s_weights():
    options = RcnnOptions()
    assert RegionHeads((4,), SIZES, options).box_predictor.weights == (10, 10, 5, 5)
    stages = [predictor.weights for predictor in CascadeHeads((4,), SIZES, options).box_predictor]
    assert stages == [(10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15)]


def test_a_quarter_is_matched():
    proposals = torch.cat((OBJECTS.boxes[:1].repeat(100, 1), torch.tensor([[70.0, 70, 80, 80]]).repeat(100, 1)))
    found = sample_regions(proposals, OBJECTS, 64)
    assert len(found.boxes) == 64 and (found.labels > 0).sum() == 16


def maps_of(seed=0):
    torch.manual_seed(seed)
    return [torch.randn(1, 4, 96 // s, 96 // s, requires_grad=True) for s in (4, 8, 16, 32)]


def heads(kind, **options):
    torch.manual_seed(0)
    made = kind((4, 8, 16, 32), SIZES, RcnnOptions(score_thresh=0.0, **options))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


PROPOSALS = torch.tensor([[5.0, 5, 30, 40], [20, 30, 70, 80], [0, 0, 90, 80], [40, 50, 41, 52]])


def test_scores_are_the_mean_and_boxes_the_last(monkeypatch):
    """The three stages written out; each pools the boxes of the one before, cut at the image's edges."""
    made = heads(CascadeHeads).eval()
    maps = [m.detach() for m in maps_of()]
    seen = {}
    monkeypatch.setattr(
        CascadeHeads, "_chosen", lambda self, boxes, scores, *_: seen.update(boxes=boxes, scores=scores)
    )
    made.find(maps, [(80, 90)], [PROPOSALS])
    boxes, scores = PROPOSALS, []
    for stage, weights in enumerate(((10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15))):
        features = made.box_head[stage](pool_regions(maps, (4, 8, 16, 32), [boxes], 7))
        predictor = made.box_predictor[stage]
        scores.append(F.softmax(predictor.cls_score(features), 1))
        moved = decode(predictor.bbox_pred(features), boxes, weights)[:, 0]
        boxes = torch.minimum(moved.clamp(min=0), torch.tensor([90.0, 80, 90, 80]))
    torch.testing.assert_close(seen["boxes"][:, 0], moved)
    torch.testing.assert_close(seen["scores"], sum(scores) / 3)


def test_stages_ask_for_more_and_more(monkeypatch):
    """IoU 0.5, 0.6 and 0.7: of boxes with 0.55 and 0.65, held where they are, fewer are matched from stage to stage."""
    asked = []
    label = module.label_regions
    monkeypatch.setattr(
        module, "label_regions", lambda boxes, objects, iou: asked.append(iou) or label(boxes, objects, iou)
    )
    made = heads(CascadeHeads)
    for predictor in made.box_predictor:
        torch.nn.init.zeros_(predictor.bbox_pred.weight)
        torch.nn.init.zeros_(predictor.bbox_pred.bias)
    counts = []
    for stage, predictor in enumerate(made.box_predictor):
        losses = predictor.losses
        monkeypatch.setattr(
            predictor,
            "losses",
            lambda logits, deltas, boxes, labels, objects, losses=losses: (
                counts.append((labels > 0).sum().item()) or losses(logits, deltas, boxes, labels, objects)
            ),
        )
        assert predictor.weights == ((10,) * 2 + (5,) * 2, (20,) * 2 + (10,) * 2, (30,) * 2 + (15,) * 2)[stage]
    boxes = torch.tensor([[0.0, 0, 5.5, 10], [0, 0, 6.5, 10], [0, 0, 7.5, 10], [70, 70, 80, 75]])
    losses = made.losses(maps_of(), [(80, 90)], [boxes], [OBJECTS])
    assert asked == [0.6, 0.7] and counts == [5, 4, 3]  # with the two objects' own boxes
    assert set(losses) == {f"loss_{k}_stage{i}" for k in ("cls", "box_reg") for i in range(3)} | {"loss_mask"}


def test_boxes_that_lose_their_area_have_no_later_stage():
    """The first stage moves all of them out of the image."""
    torch.manual_seed(0)
    heads = CascadeHeads((4,), SIZES, RcnnOptions())
    with torch.no_grad():
        heads.box_predictor[0].bbox_pred.bias[0] = -1000.0
    maps, proposals = [torch.randn(1, 4, 20, 23)], [torch.tensor([[1.0, 2, 11, 9], [40, 40, 60, 60]])]
    losses = heads.losses(maps, [(80, 90)], proposals, [OBJECTS])
    assert losses["loss_cls_stage0"] > 0
    assert [losses[f"loss_cls_stage{stage}"].item() for stage in (1, 2)] == [0.0, 0.0]


def test_the_maps_gradients_are_a_third():
    """The gradient of a stage's loss by its own parameters is whole, that by the maps a third."""
    made = heads(CascadeHeads).eval()
    regions = [sample_regions(PROPOSALS, OBJECTS, 512)]
    maps = maps_of()
    losses = made.box_losses(maps, [(80, 90)], regions, [OBJECTS])
    losses["loss_cls_stage0"].backward()
    plain = maps_of()
    pooled = pool_regions(plain, (4, 8, 16, 32), [regions[0].boxes], 7)
    logits, _ = made.box_predictor[0](made.box_head[0](pooled))
    whole = made.box_head[0].fc1.weight.grad.clone()
    made.zero_grad()
    rows = torch.where(regions[0].labels == 0, 3, regions[0].labels - 1)
    F.cross_entropy(logits, rows).backward()
    torch.testing.assert_close(made.box_head[0].fc1.weight.grad, whole)
    for ours, theirs in zip(maps, plain, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad / 3)


@pytest.mark.parametrize("kind", (RegionHeads, CascadeHeads))
def test_masks_are_of_the_boxes_given(kind):
    made = heads(kind).eval()
    maps = [m.detach() for m in maps_of()]
    (masks,) = made.segment(maps, [PROPOSALS], [torch.tensor([1, 2, 3, 1])])
    logits = made.mask_head(pool_regions(maps, (4, 8, 16, 32), [PROPOSALS], 14))
    torch.testing.assert_close(masks, logits[torch.arange(4), torch.tensor([0, 1, 2, 0])].sigmoid())


@pytest.mark.parametrize("kind", (RegionHeads, CascadeHeads))
def test_the_mask_loss_is_over_matched_boxes_alone(kind):
    made = heads(kind).eval()
    maps = maps_of()
    regions = [sample_regions(PROPOSALS[:1], OBJECTS, 512)]
    loss = made._mask_loss(maps, regions, [OBJECTS])
    there = regions[0].labels > 0
    boxes, labels = regions[0].boxes[there], regions[0].labels[there]
    logits = made.mask_head(pool_regions(maps, (4, 8, 16, 32), [boxes], 14))[torch.arange(2), labels - 1]
    targets = torch.ones(2, 28, 28)
    # The first object is 10 pixels wide: the last cell's centre, at 9.82, has 0.68 of its last pixel, and the corner 0.46.
    targets[labels == 2, 27, 27] = 0
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits, targets))
