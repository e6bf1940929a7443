"""detectron2's files of detectors: its names and shapes, written out here, and what comes of them in ours."""

import pickle

import numpy as np
import pytest
import torch

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.detectors import detector
from slowfast_mvit.models.levels import detection_architecture
from slowfast_mvit.models.rcnn_options import RcnnOptions
from slowfast_mvit.weights.formats import from_official
from slowfast_mvit.weights.load import load_weights
from tests.weights.models import small_architecture

OPTIONS = RcnnOptions(score_thresh=0.02, proposals=50, max_detections=20)
CLASSES = 3
BOTH = pytest.mark.parametrize("cascade", (False, True), ids=("mask_rcnn", "cascade"))
SIZES = torch.tensor([[60, 64]])


def small_detector(cascade, seed, num_classes=CLASSES):
    torch.manual_seed(seed)
    arch = detection_architecture(small_architecture(2))
    model = detector(arch, num_classes, cascade=cascade, options=OPTIONS, conv_dim=8, fc_dim=16)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                positive = name.endswith("running_var")
                tensor.copy_(0.5 + torch.rand_like(tensor) if positive else torch.randn_like(tensor) * 0.1)
    return model.eval()


def heads_of_detectron2(cascade, K=CLASSES):
    """Names and shapes above the backbone's blocks, of 256 channels in the pyramid, 8 in convolutions and 16 in layers."""
    shapes = {}

    def layer(name, *shape, bias=True):
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[:1]

    def normed(name, *shape):
        layer(name, *shape, bias=False)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.norm.{part}"] = shape[:1]

    rpn, roi = "proposal_generator.rpn_head.", "roi_heads."
    for conv in ("conv.conv0", "conv.conv1") if cascade else ("conv",):
        layer(rpn + conv, 256, 256, 3, 3)
    layer(rpn + "objectness_logits", 3, 256, 1, 1)
    layer(rpn + "anchor_deltas", 12, 256, 1, 1)
    for stage in (".0", ".1", ".2") if cascade else ("",):
        if cascade:
            for i in range(4):
                normed(f"{roi}box_head{stage}.conv{i + 1}", 8, 8 if i else 256, 3, 3)
            layer(f"{roi}box_head{stage}.fc1", 16, 8 * 49)
        else:
            layer(f"{roi}box_head.fc1", 16, 256 * 49)
            layer(f"{roi}box_head.fc2", 16, 16)
        layer(f"{roi}box_predictor{stage}.cls_score", K + 1, 16)
        layer(f"{roi}box_predictor{stage}.bbox_pred", 4 if cascade else 4 * K, 16)
    for i in range(4):
        (normed if cascade else layer)(f"{roi}mask_head.mask_fcn{i + 1}", 8, 8 if i else 256, 3, 3)
    layer(f"{roi}mask_head.deconv", 8, 8, 2, 2)
    layer(f"{roi}mask_head.predictor", K, 8, 1, 1)
    return shapes


def detectron2_file(model, path):
    """The model's tensors under detectron2's names as a pickle of arrays, without the counters that its files lack."""
    renamed = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        for level in range(4):
            name = name.replace(f"backbone.fpn.inner_blocks.{level}.0.", f"backbone.fpn_lateral{level + 2}.")
            name = name.replace(f"backbone.fpn.layer_blocks.{level}.0.", f"backbone.fpn_output{level + 2}.")
        renamed[name] = tensor.numpy()
    path.write_bytes(pickle.dumps({"model": renamed, "__author__": "detectron2"}, protocol=2))
    return renamed


@BOTH
def test_a_file_loads_and_means_the_same(cascade, tmp_path):
    source, model = small_detector(cascade, 1), small_detector(cascade, 2)
    written = detectron2_file(source, tmp_path / "model_final.pkl")
    above = {name: t.shape for name, t in written.items() if not name.startswith("backbone.")}
    assert above == heads_of_detectron2(cascade)
    fpn = {name: t.shape for name, t in written.items() if name.startswith("backbone.fpn_")}
    assert len(fpn) == 16 and fpn["backbone.fpn_output5.weight"] == (256, 256, 3, 3)
    report = load_weights(model, tmp_path / "model_final.pkl")
    assert report.format == "detectron2" and report.is_complete and report.share == 1
    assert (report.unexpected, report.missing, report.kept_head, report.begun_anew) == ((), (), (), ())
    assert len(report.loaded) == len(written)
    images = torch.randn(1, 3, 64, 64)
    ours, theirs = model(images, SIZES)[0], source(images, SIZES)[0]
    assert len(theirs) > 5
    for name in ("boxes", "scores", "labels", "masks"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name


@BOTH
def test_there_and_back(cascade, tmp_path):
    source = small_detector(cascade, 1)
    written = detectron2_file(source, tmp_path / "model_final.pkl")
    state = from_official(
        {n.removeprefix("backbone.bottom_up."): t for n, t in source.state_dict().items()}, "detectron2"
    )
    state = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert state.keys() == written.keys()
    assert all(np.array_equal(state[name].numpy(), written[name]) for name in written)


@BOTH
def test_the_background_is_the_last_row(cascade):
    model, images = small_detector(cascade, 1), torch.randn(1, 3, 64, 64)
    predictors = model.roi_heads.box_predictor if cascade else [model.roi_heads.box_predictor]
    for row, labels in ((0, {1}), (2, {3}), (3, set())):
        for predictor in predictors:
            torch.nn.init.zeros_(predictor.cls_score.bias)
            with torch.no_grad():
                predictor.cls_score.bias[row] = 50.0
        assert set(model(images, SIZES)[0].labels.tolist()) == labels


@BOTH
def test_other_classes_begin_anew(cascade, tmp_path):
    detectron2_file(small_detector(cascade, 1), tmp_path / "model_final.pkl")
    model = small_detector(cascade, 2, num_classes=7)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = load_weights(model, tmp_path / "model_final.pkl")
    stages = (".0", ".1", ".2") if cascade else ("",)
    layers = [f"box_predictor{stage}.cls_score" for stage in stages] + ["mask_head.predictor"]
    layers += [] if cascade else ["box_predictor.bbox_pred"]
    expected = {f"roi_heads.{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert set(report.kept_head) == expected == set(model.head_names)
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in expected)


def test_the_other_detector_s_file_is_refused(tmp_path):
    detectron2_file(small_detector(True, 1), tmp_path / "model_final.pkl")
    with pytest.raises(UserError, match=r"model_final\.pkl"):
        load_weights(small_detector(False, 2), tmp_path / "model_final.pkl")


@BOTH
def test_our_own_checkpoint_goes_on(cascade):
    source, model = small_detector(cascade, 1), small_detector(cascade, 2)
    report = load_weights(model, {"model_state": source.state_dict()}, strict=True)
    assert report.is_complete
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in source.state_dict().items())
