"""The whole detector: losses, gradients, detections inside their images."""

import pytest
import torch
from torch.nn import functional as F

from slowfast_mvit.models.rcnn_options import RcnnOptions
from tests.models.small_detector import CLASSES, objects_of, small_detector

BOTH = pytest.mark.parametrize("cascade", (False, True), ids=("mask_rcnn", "cascade"))
MASK_LOSSES = {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg", "loss_mask"}
CASCADE_LOSSES = {"loss_rpn_cls", "loss_rpn_loc", "loss_mask"} | {
    f"loss_{kind}_stage{stage}" for kind in ("cls", "box_reg") for stage in range(3)
}
SIZES = torch.tensor([[128, 150], [100, 160]])


def two_images():
    torch.manual_seed(1)
    images = torch.randn(2, 3, 128, 160)
    images[0, :, :, 150:] = 0
    images[1, :, 100:] = 0
    first = objects_of([[10, 10, 60, 60], [50, 50, 110, 90]], [1, CLASSES], 128, 150)
    return images, [first, objects_of([[100, 20, 160, 100]], [3], 100, 160)]


def sensitive(cascade, **options):
    """Scores from the start well above the threshold, so that there are detections."""
    return small_detector(cascade=cascade, options=RcnnOptions(score_thresh=0.01, **options)).eval()


@BOTH
def test_losses_have_gradients_for_every_parameter(cascade):
    detector = small_detector(cascade=cascade)
    images, objects = two_images()
    losses = detector(images, SIZES, objects)
    assert set(losses) == (CASCADE_LOSSES if cascade else MASK_LOSSES)
    sum(losses.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if not name.endswith(("bias", "anchor_deltas.weight")):
            assert parameter.grad.abs().max() > 0, name


@BOTH
def test_weights_begin_as_detectron2_s(cascade):
    """Deviations: fixed for predictions, by the outputs (and ReLU) for convolutions of heads, by the
    inputs for linear layers; no bias."""
    detector = small_detector(cascade=cascade)
    fixed = {
        "objectness_logits": 0.01,
        "anchor_deltas": 0.01,
        "cls_score": 0.01,
        "bbox_pred": 0.001,
        "predictor": 0.001,
    }
    checked = set()
    for name, module in detector.named_modules():
        last = name.rpartition(".")[2]
        if (
            name.startswith("backbone")
            or not isinstance(getattr(module, "weight", None), torch.Tensor)
            or last == "norm"
        ):
            continue
        assert module.bias is None or not module.bias.any(), name
        if isinstance(module, torch.nn.Linear) and last not in fixed:
            expected = module.in_features**-0.5
        elif "rpn_head" in name:
            expected = 0.01
        else:
            # The shape of a transposed convolution has the inputs first, which this rule takes for outputs.
            expected = fixed.get(last, (2 / (module.weight.shape[0] * module.weight[0, 0].numel())) ** 0.5)
        assert module.weight.std().item() == pytest.approx(expected, rel=0.3), name
        checked.add(last)
    assert checked >= {*fixed, "conv1" if cascade else "conv", "fc1", "mask_fcn1", "deconv"}


@BOTH
def test_images_without_objects(cascade):
    """Nothing is matched: what tells objects from background is trained, and every parameter has a gradient."""
    detector = small_detector(cascade=cascade)
    nothing = objects_of([], [], 128, 150)
    losses = detector(two_images()[0], SIZES, [nothing, nothing])
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())
    assert all(b.isfinite().all() for b in detector.buffers())
    for name, loss in losses.items():
        assert (loss > 0) == ("cls" in name), name


def test_objects_without_area_are_left_aside():
    images, objects = two_images()
    more = objects_of([[10, 10, 60, 60], [50, 50, 110, 90], [20, 20, 20, 90]], [1, CLASSES, 2], 128, 150)
    torch.manual_seed(0)
    expected = small_detector()(images, SIZES, objects)
    torch.manual_seed(0)
    given = small_detector()(images, SIZES, [more, objects[1]])
    assert {k: v.item() for k, v in expected.items()} == {k: v.item() for k, v in given.items()}


@BOTH
def test_the_sampling_follows_torch_s_seed(cascade):
    images, objects = two_images()
    detector = small_detector(cascade=cascade, options=RcnnOptions(boxes_per_image=16))
    losses = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        losses.append({name: loss.item() for name, loss in detector(images, SIZES, objects).items()})
    assert losses[0] == losses[1] != losses[2]


@BOTH
def test_detections_lie_inside_their_own_images(cascade):
    images, _ = two_images()
    images[0, :, :, 150:] = 50  # whatever lies in the padding
    found = sensitive(cascade)(images, SIZES)
    for one, (height, width) in zip(found, SIZES.tolist(), strict=True):
        assert len(one) == 100 and one.masks.shape == (100, 28, 28)
        assert (one.boxes >= 0).all() and (one.boxes[:, 2] <= width).all() and (one.boxes[:, 3] <= height).all()
        assert (one.boxes[:, 2:] > one.boxes[:, :2]).all()
        assert (one.scores[:-1] >= one.scores[1:]).all() and (one.scores > 0.01).all()
        assert one.labels.min() >= 1 and one.labels.max() <= CLASSES
        assert (one.masks >= 0).all() and (one.masks <= 1).all()


@BOTH
def test_an_image_is_the_same_alone_and_in_a_batch(cascade):
    detector, (images, _) = sensitive(cascade), two_images()
    together = detector(images, SIZES)[0]
    alone = detector(images[:1], SIZES[:1])[0]
    assert torch.equal(together.labels, alone.labels)
    torch.testing.assert_close(together.boxes, alone.boxes)
    torch.testing.assert_close(together.masks, alone.masks)


@BOTH
def test_in_parts_as_at_once(cascade):
    """Pyramid, detections and masks by themselves, as tests at several scales ask for them."""
    detector, (images, _) = sensitive(cascade), two_images()
    whole = detector(images, SIZES)
    maps = detector.pyramid(images)
    found = detector.detect(maps, SIZES)
    assert found[0].masks.shape == (len(found[0]), 0, 0)
    masks = detector.segment(maps, SIZES, [one.boxes for one in found], [one.labels for one in found])
    for one, part, own in zip(whole, found, masks, strict=True):
        assert torch.equal(one.boxes, part.boxes) and torch.equal(one.scores, part.scores)
        assert torch.equal(one.masks, own)


def test_soft_nms_keeps_what_hard_nms_drops():
    images, _ = two_images()
    every = {"max_detections": 10**6, "proposals": 100}
    hard = sensitive(False, **every)(images, SIZES)[0]
    soft = sensitive(False, **every, soft_nms="gaussian", soft_nms_min_score=1e-6)(images, SIZES)[0]
    assert len(soft) > len(hard)
    assert soft.scores[0] == hard.scores[0] and torch.equal(soft.boxes[0], hard.boxes[0])


@BOTH
def test_a_very_long_image(cascade):
    images = F.pad(torch.randn(1, 3, 32, 600), (0, 8))
    found = sensitive(cascade)(images, torch.tensor([[32, 600]]))
    assert found[0].boxes[:, 3].max() <= 32 and found[0].boxes[:, 2].max() <= 600


def test_without_detections_there_are_no_masks():
    detector = small_detector(options=RcnnOptions(score_thresh=0.999)).eval()
    found = detector(*two_images()[:1], SIZES)
    assert [len(one) for one in found] == [0, 0] and found[0].masks.shape == (0, 28, 28)


@BOTH
def test_without_proposals_nothing_is_found(cascade):
    """As an image of no size has none."""
    found = sensitive(cascade)(torch.zeros(1, 3, 64, 64), torch.zeros(1, 2, dtype=torch.int64))
    assert len(found[0]) == 0 and found[0].masks.shape == (0, 28, 28)


@BOTH
def test_the_losses_of_ruined_weights_are_not_finite(cascade):
    """That, and no failure on the way, is what a training can speak of: its boxes are none."""
    detector = small_detector(cascade=cascade)
    torch.nn.init.constant_(detector.backbone.stem.weight, torch.nan)
    images, objects = two_images()
    assert not torch.stack(list(detector(images, SIZES, objects).values())).sum().isfinite()


def test_objects_are_for_training():
    images, objects = two_images()
    with pytest.raises(AssertionError):
        small_detector().eval()(images, SIZES, objects)
    with pytest.raises(AssertionError):
        small_detector()(images, SIZES)


@BOTH
@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16))
def test_in_half_precision_losses_and_detections_are_float32(cascade, dtype):
    images, objects = two_images()
    few = RcnnOptions(score_thresh=0.01, proposals=20, boxes_per_image=16)  # float16 is slow on a CPU
    detector = small_detector(cascade=cascade, options=few)
    with torch.autocast("cpu", dtype=dtype):
        losses = detector(images, SIZES, objects)
        sum(losses.values()).backward()
        found = detector.eval()(images, SIZES)[0]
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())
    assert {found.boxes.dtype, found.scores.dtype, found.masks.dtype} == {torch.float32} and len(found) > 0
