"""create_model(pretrained=...): real files of publishers' kinds, served by a real server, loaded for real."""

import hashlib
import io
import logging
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from slowfast_mvit import create_model, list_weights
from slowfast_mvit.build.pretrained import count_classes
from slowfast_mvit.errors import UserError
from slowfast_mvit.weights import zoo
from slowfast_mvit.weights.formats import FORMATS, from_official
from tests.weights.server import FileServer, file_server

HEAD = ("head.projection.weight", "head.projection.bias")


@pytest.fixture(scope="module")
def image_state() -> dict[str, Tensor]:
    """Weights of an MViTv2-T of 1000 classes; not for writing."""
    torch.manual_seed(1)
    return create_model("mvitv2_t").state_dict()


@pytest.fixture(scope="module")
def image_file(image_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as mvit writes it."""
    path = tmp_path_factory.mktemp("image") / "MViTv2_T_in1k.pyth"
    torch.save({"epoch": 299, "model_state": image_state, "cfg": "MODEL: {}"}, path)
    return path


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("SLOWFAST_MVIT_CACHE", str(tmp_path / "cache"))
    with file_server() as running:
        yield running


def publish(
    monkeypatch: pytest.MonkeyPatch, server: FileServer, model: str, tag: str, name: str, body: bytes, **changes: object
) -> None:
    """Let the table's row of a tag point at the server, which has the file; the row else is as it stands."""
    server.files[f"/zoo/{name}"] = body
    rows = [
        replace(row, url=f"{server.url}/zoo/{name}", **changes) if (row.model, row.tag) == (model, tag) else row
        for row in zoo.PUBLISHED
    ]
    assert rows != list(zoo.PUBLISHED)
    monkeypatch.setattr(zoo, "PUBLISHED", tuple(rows))


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def differing(model: torch.nn.Module, state: dict[str, Tensor]) -> list[str]:
    own = model.state_dict()
    assert own.keys() == state.keys()
    return [key for key in own if not torch.equal(own[key], state[key])]


def test_true_takes_the_models_own_weights_and_keeps_them(image_state, image_file, server, monkeypatch) -> None:
    publish(monkeypatch, server, "mvitv2_t", "in1k", image_file.name, image_file.read_bytes())
    assert differing(create_model("mvitv2_t", pretrained=True), image_state) == []
    assert differing(create_model("mvitv2_t", pretrained="in1k", drop_path_rate=0.1), image_state) == []
    assert server.asked == ["/zoo/MViTv2_T_in1k.pyth"]
    server.files.clear()
    assert differing(create_model("mvitv2_t", pretrained=list_weights("mvitv2_t")[0].url), image_state) == []


def test_a_file_of_pytorchvideo_gets_its_norms(tmp_path, caplog) -> None:
    """Of a path as of a tag, whatever the caller makes the model with."""
    state, path = create_model("mvitv1_b_16", num_classes=6).state_dict(), tmp_path / "x.pth"
    theirs = from_official(state, "pytorchvideo")
    for content, eps in (
        (theirs, 1e-5),
        ({"state_dict": {f"model.{key}": tensor for key, tensor in theirs.items()}}, 1e-5),
        ({"model_state": state, "metadata": {"converted_from": "pytorchvideo"}}, 1e-5),
        (state, 1e-6),
        (from_official(state, "torchvision"), 1e-6),
    ):
        torch.save(content, path)
        model = create_model("mvitv1_b_16", pretrained=path)
        assert model.arch.pool_norm_eps == model.blocks[1].attn.norm_q.eps == eps
        assert differing(model, state) == []
    torch.save(theirs, path)
    for asked, notes in ((1e-6, 1), (1e-5, 0)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            model = create_model("mvitv1_b_16", pretrained=path, pool_norm_eps=asked)
        assert model.arch.pool_norm_eps == model.blocks[1].attn.norm_q.eps == 1e-5
        assert ["pool_norm_eps=1e-05" in record.message for record in caplog.records] == [True] * notes


def test_other_classes_get_a_fresh_head(image_state, image_file) -> None:
    model = create_model("mvitv2_t", pretrained=image_file, num_classes=5)
    assert model.state_dict()["head.projection.weight"].shape == (5, 768)
    same = {key: image_state[key] for key in image_state if key not in HEAD}
    rest = {key: tensor for key, tensor in model.state_dict().items() if key not in HEAD}
    assert rest.keys() == same.keys() and all(torch.equal(rest[key], same[key]) for key in rest)


@pytest.mark.parametrize("form", [str, Path, lambda path: f"~/{path.name}"], ids=["text", "path", "home"])
def test_a_file_tells_how_many_classes_it_has(form, image_state, tmp_path, monkeypatch) -> None:
    state = image_state | {key: image_state[key][:7].clone() for key in HEAD}
    path = tmp_path / "mine.pyth"
    torch.save({"model_state": state}, path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert differing(create_model("mvitv2_t", pretrained=form(path)), state) == []


def test_none_and_false_are_fresh(image_state) -> None:
    for nothing in (None, False):
        torch.manual_seed(1)
        assert differing(create_model("mvitv2_t", pretrained=nothing), image_state) == []


def test_a_baseline(server, monkeypatch) -> None:
    state = create_model("x3d_xs", num_classes=9).state_dict()
    publish(monkeypatch, server, "x3d_xs", "k400", "X3D_XS.pyth", saved({"model_state": state}))
    assert differing(create_model("x3d_xs", pretrained=True), state) == []
    other = create_model("x3d_xs", pretrained=True, num_classes=4)
    assert differing(other, other.state_dict() | {k: v for k, v in state.items() if ".proj." not in k}) == []


def test_a_models_size_is_that_of_its_weights(server, monkeypatch) -> None:
    """And what the caller says goes before it."""
    state = create_model("mvitv2_s_16x4", num_classes=174, num_frames=8, crop_size=112).state_dict()
    publish(
        monkeypatch,
        server,
        "mvitv2_s_16x4",
        "ssv2",
        "S.pyth",
        saved({"model_state": state}),
        num_frames=8,
        crop_size=112,
    )
    model = create_model("mvitv2_s_16x4", pretrained="ssv2")
    assert model.arch.input_size == (8, 112, 112) and model.num_classes == 174
    assert differing(model, state) == []
    larger = create_model("mvitv2_s_16x4", pretrained="ssv2", crop_size=160)
    assert larger.arch.input_size == (8, 160, 160)
    assert differing(larger, larger.state_dict() | {k: v for k, v in state.items() if "rel_pos_" not in k}) == []


def test_pre_training_without_a_head(server, monkeypatch, caplog) -> None:
    """As MaskFeat leaves it: no head, no last norm, a mask token, a head of features, 14 x 14 tokens in the last stage."""
    state = create_model("mvitv2_s_16x4", expand_in_attention=False).state_dict()
    body = {key: tensor for key, tensor in state.items() if not key.startswith(("head.", "norm."))}
    for block in (14, 15):
        for axis in "hw":
            body[f"blocks.{block}.attn.rel_pos_{axis}"] = torch.randn(27, 96)
    extra = {"mask_token": torch.zeros(1, 1, 96), "pred_head.transforms.0.4.weight": torch.zeros(108, 768)}
    publish(monkeypatch, server, "mvitv2_s_16x4", "maskfeat", "S.pyth", saved({"model_state": {**body, **extra}}))
    with caplog.at_level(logging.INFO):
        model = create_model("mvitv2_s_16x4", pretrained="maskfeat")
    assert model.arch.mean_pooling and not model.arch.expand_in_attention and model.num_classes == 400
    own = model.state_dict()
    differ = {key for key in body if not torch.equal(own[key], body[key])}
    # Block 14 had queries of 14 against keys of 7, and has 7 against 14: the same distances. Block 15 has 7 against 7.
    assert differ == {"blocks.15.attn.rel_pos_h", "blocks.15.attn.rel_pos_w"}
    (record,) = [record for record in caplog.records if "of the backbone's parameters" in record.message]
    assert record.levelno == logging.WARNING  # the last norm starts fresh, which nobody asked for
    assert not create_model("mvitv2_s_16x4", pretrained="maskfeat", mean_pooling=False).arch.mean_pooling


def test_the_backbone_of_a_detector(image_state, server, monkeypatch) -> None:
    """A pickle of arrays with the whole detector, whose name carries its MD5."""
    body = {key: tensor for key, tensor in image_state.items() if not key.startswith(("head.", "norm."))}
    arrays = {key: tensor.numpy() for key, tensor in from_official(body, "detectron2").items()}
    arrays |= {"backbone.fpn_lateral2.weight": torch.zeros(256, 96, 1, 1).numpy()}
    arrays |= {"backbone.bottom_up.scale2_norm.weight": torch.zeros(96).numpy()}
    pickled = pickle.dumps({"model": arrays, "__author__": "somebody"}, protocol=2)
    name = f"model_final_{hashlib.md5(pickled).hexdigest()[:6]}.pkl"
    publish(monkeypatch, server, "mvitv2_t", "coco_cascade", name, pickled)
    own = create_model("mvitv2_t", pretrained="coco_cascade").state_dict()
    assert len(body) == 23 * 10 + 8 and all(torch.equal(own[key], body[key]) for key in body)
    wrong = "model_final_ffffff.pkl"
    publish(monkeypatch, server, "mvitv2_t", "coco_mask_rcnn", wrong, pickled)
    with pytest.raises(UserError, match=r"the file has md5 \w{6}, not ffffff as its name says; try again, or download"):
        create_model("mvitv2_t", pretrained="coco_mask_rcnn")


def test_the_report_is_logged(image_file, caplog) -> None:
    with caplog.at_level(logging.INFO):
        create_model("mvitv2_t", pretrained=image_file, num_classes=5)
    (record,) = [record for record in caplog.records if "of the backbone's parameters" in record.message]
    assert record.levelno == logging.INFO
    assert record.message.startswith(f"weights of {image_file} (official names), 100.0% of the backbone's parameters")


def test_what_cannot_be_loaded(image_file, tmp_path) -> None:
    (tmp_path / "cut.pyth").write_bytes(image_file.read_bytes()[:5000])
    for name, pretrained, said in (
        ("mvitv2_x", True, "there is no model 'mvitv2_x'; did you mean mvitv2_"),
        ("mvitv2_h", True, "ImageNet-1K weights of MViTv2-H were never released"),
        ("mvitv2_t", "in2k", "mvitv2_t has no published weights 'in2k', perhaps 'in1k' is meant; it has in1k"),
        ("mvitv2_t", "", "mvitv2_t has no published weights ''"),
        ("mvitv2_t", {}, "pretrained is a dict; it must be True, a tag, a path or a URL (for a state dict there is"),
        ("mvitv2_t", 1, "pretrained is a int; it must be True, a tag, a path or a URL"),
        ("mvitv2_t", tmp_path / "in1k", "in1k does not exist"),
        ("mvitv2_t", "./in1k", "in1k does not exist"),
        ("mvitv2_t", "none.pyth", "none.pyth does not exist"),
        ("mvitv2_t", tmp_path / "cut.pyth", "is cut short"),
        ("mvitv2_s", image_file, "holds the weights of another model"),
        ("x3d_xs", image_file, f"{image_file}"),
    ):
        with pytest.raises(UserError) as error:
            create_model(name, pretrained=pretrained)
        assert said in str(error.value)


@pytest.mark.parametrize("form", FORMATS)
def test_the_classes_of_every_publishers_head(form: str, image_state) -> None:
    head = {key: image_state[key][:6] for key in HEAD}
    assert count_classes(from_official(image_state | head, form)) == 6
    headless = {key: tensor for key, tensor in image_state.items() if key not in HEAD}
    assert count_classes(from_official(headless, form)) is None


@pytest.mark.parametrize("name", ["x3d_xs", "slow_r50", "r2plus1d_r50", "csn_r101", "slowfast_r50"])
def test_the_classes_of_a_baseline(name: str) -> None:
    with torch.device("meta"):
        state = create_model(name, num_classes=6).state_dict()
    assert count_classes(state) == 6
