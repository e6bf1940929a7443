"""Weights of classifiers and detectors in a backbone of detectors, alone and inside of a detector."""

import pytest
import torch
from torch import nn

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.fpn import FeaturePyramid, SingleScale
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.levels import detection_architecture
from slowfast_mvit.models.pyramid import PyramidBackbone
from slowfast_mvit.weights.formats import from_official
from slowfast_mvit.weights.load import load_weights
from slowfast_mvit.weights.places import Place, is_of_classifiers, place_of
from tests.weights.models import copied, randomised, small, small_architecture


class Detector(nn.Module):
    """The least that has a detector's names."""

    def __init__(self, arch: Architecture, num_classes: int = 3) -> None:
        super().__init__()
        self.backbone = FeaturePyramid(arch)
        self.predictor = nn.Linear(256, num_classes)
        self.head_names = ("predictor.weight", "predictor.bias")


def detection(**changes: object) -> Architecture:
    return detection_architecture(small_architecture(2, **changes))


def of_trunk(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if name.startswith(("patch_embed.", "blocks."))}


def assert_loaded(backbone: nn.Module, state: dict[str, torch.Tensor]) -> None:
    mine = backbone.state_dict()
    for name, tensor in of_trunk(state).items():
        assert torch.equal(mine[name], tensor), name


@pytest.mark.parametrize("cls_token", [False, True])
@pytest.mark.parametrize("form", ["official", "timm", "mmaction2", "detectron2"])
def test_a_classifier_into_a_backbone(form, cls_token):
    source, backbone = small(2, cls_token=cls_token), randomised(PyramidBackbone(detection()), seed=1)
    before = copied(backbone)
    state = source.state_dict() if form == "official" else from_official(copied(source), form)
    report = load_weights(backbone, state)
    assert_loaded(backbone, source.state_dict())
    norms = tuple(name for name in before if name.startswith("scale"))
    assert len(norms) == 8 and report.begun_anew == norms and report.format == form
    assert all(torch.equal(backbone.state_dict()[name], before[name]) for name in norms)
    last = ("norm.weight", "norm.bias", "head.projection.weight", "head.projection.bias")
    assert set(report.dropped) == {*last, *(("cls_token",) if cls_token else ())}
    assert set(report.loaded) == set(of_trunk(before)) and report.share == 1
    assert report.is_complete and not report.needs_a_look
    assert (report.missing, report.unexpected, report.other_shape, report.kept_head) == ((), (), (), ())


def test_maps_are_those_of_the_classifier_s_blocks():
    source = small(2)
    backbone = PyramidBackbone(detection()).eval()
    load_weights(backbone, source.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        tokens, grid = source.forward_tokens(x)
        last = backbone.scale5_norm(tokens).transpose(1, 2).unflatten(2, grid)
        torch.testing.assert_close(backbone(x)["scale5"], last)


@pytest.mark.parametrize("form", [FeaturePyramid, SingleScale])
def test_a_classifier_into_what_heads_look_at(form):
    source, model = small(2), form(detection())
    before = copied(model)
    report = load_weights(model, source.state_dict())
    assert_loaded(model.bottom_up, source.state_dict())
    trunk = {f"bottom_up.{name}" for name in of_trunk(source.state_dict())}
    assert set(report.loaded) == trunk and set(report.begun_anew) == set(before) - trunk
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in report.begun_anew)


def test_a_classifier_into_a_detector():
    source, detector = small(2), Detector(detection())
    before = copied(detector)
    report = load_weights(detector, source.state_dict())
    assert_loaded(detector.backbone.bottom_up, source.state_dict())
    assert report.loaded[0] == "backbone.bottom_up.patch_embed.proj.weight" and report.share == 1
    assert {"predictor.weight", "backbone.fpn.inner_blocks.0.0.weight"} <= set(report.begun_anew)
    assert "backbone.bottom_up.scale2_norm.bias" in report.begun_anew and report.is_complete
    assert all(torch.equal(detector.state_dict()[name], before[name]) for name in report.begun_anew)
    lines = str(report).splitlines()
    assert any(line.split()[:2] == ["begun", "anew"] for line in lines)
    assert any("norm.weight, norm.bias, head.projection.weight, ..." in line for line in lines if "dropped" in line)
    assert "begun anew" not in str(load_weights(small(2), source.state_dict()))


def test_tables_are_resized_to_those_of_the_backbone():
    source, detector = small(2), Detector(detection(input_size=(128, 128)))
    report = load_weights(detector, source.state_dict())
    name = "backbone.bottom_up.blocks.0.attn.rel_pos_h"
    assert name in report.resized and detector.state_dict()[name].shape[0] == 63
    table = source.state_dict()["blocks.0.attn.rel_pos_h"].t()[None]
    resized = nn.functional.interpolate(table, size=63, mode="linear")[0].t()
    torch.testing.assert_close(detector.state_dict()[name], resized)


def test_joint_positions_of_vit_lose_the_class_token_s_row():
    changes = {"abs_pos": "joint", "rel_pos_space": False, "pool_q_stride": (), "pool_kv_stride": None, "dim_mul": ()}
    source = small(2, cls_token=True, head_mul=(), patch_stride=(16, 16), patch_kernel=(16, 16), **changes)
    backbone = PyramidBackbone(detection(head_mul=(), patch_stride=(16, 16), patch_kernel=(16, 16), **changes))
    report = load_weights(backbone, source.state_dict())
    assert report.resized == ("pos_embed",) and set(report.dropped) >= {"cls_token"} and report.is_complete
    assert torch.equal(backbone.pos_embed, source.pos_embed[:, 1:])


def test_a_detector_s_own_weights_load_strictly():
    source, detector = randomised(Detector(detection())), Detector(detection())
    report = load_weights(detector, copied(source), strict=True)
    for name, tensor in source.state_dict().items():
        assert torch.equal(detector.state_dict()[name], tensor), name
    assert report.loaded == tuple(detector.state_dict()) and not report.begun_anew and not report.dropped
    for form in (FeaturePyramid, PyramidBackbone):
        inner, copy = randomised(form(detection())), form(detection())
        assert load_weights(copy, copied(inner), strict=True).is_complete
        assert all(torch.equal(copy.state_dict()[name], tensor) for name, tensor in inner.state_dict().items())


def test_a_detector_for_other_classes_keeps_its_head():
    source, detector = randomised(Detector(detection())), Detector(detection(), num_classes=7)
    before = copied(detector)
    report = load_weights(detector, copied(source))
    assert report.kept_head == detector.head_names and report.is_complete
    assert torch.equal(detector.predictor.weight, before["predictor.weight"])
    with pytest.raises(UserError, match="has a head of 3 classes, and the model one of 7"):
        load_weights(detector, copied(source), strict=True)


def test_what_is_refused():
    detector = Detector(detection())
    before = copied(detector)
    with pytest.raises(
        UserError, match="holds a classifier's weights: a test, or a run that goes on, needs this detector"
    ):
        load_weights(detector, small(2).state_dict(), strict=True)
    state = copied(small(2))
    for name in [name for name in state if name.startswith("blocks.3.")]:
        del state[name]
    with pytest.raises(UserError, match="holds the weights of another model"):
        load_weights(detector, state)
    with pytest.raises(UserError, match="holds a video model's weights, which an image model cannot take"):
        load_weights(detector, small(3).state_dict())
    torn = {name: t for name, t in randomised(Detector(detection())).state_dict().items() if "layer_blocks" not in name}
    with pytest.raises(UserError, match="8 tensors missing"):
        load_weights(detector, torn)
    assert all(torch.equal(detector.state_dict()[name], tensor) for name, tensor in before.items())


def test_places_by_hand():
    assert place_of(["blocks.0.norm1.weight", "norm.weight"]) == Place()
    assert place_of(["a.b.patch_embed.proj.weight", "a.b.scale5_norm.weight", "c"]) == Place("a.b.", gives_maps=True)
    assert place_of(["scale2_norm.bias"]) == Place("", gives_maps=True)
    assert [is_of_classifiers(n) for n in ("norm.bias", "cls_token", "head.fc.weight", "pos_embed", "blocks.0.norm1.bias")] == [
        True, True, True, False, False,
    ]  # fmt: skip
