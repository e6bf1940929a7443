"""Loading: by name and shape, all or nothing, and the report says what came of it."""

import hashlib
import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_mvit.build.model import create_model
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.baselines import create_baseline
from slowfast_mvit.weights import load
from slowfast_mvit.weights.files import write_safetensors
from slowfast_mvit.weights.formats import FORMATS, from_official
from slowfast_mvit.weights.inflate import RULES
from slowfast_mvit.weights.load import load_weights, publisher, read_source
from slowfast_mvit.weights.report import LoadReport
from tests.weights.models import copied, small
from tests.weights.server import file_server

HEAD = ("head.projection.weight", "head.projection.bias")


class Model(nn.Module):
    def __init__(self, width=3, classes=4):
        super().__init__()
        self.body = nn.Linear(2, width)
        self.head = nn.Module()
        self.head.projection = nn.Linear(width, classes)


def assert_equal(model, state):
    found = model.state_dict()
    assert set(found) == set(state)
    for name, tensor in found.items():
        assert torch.equal(tensor, state[name]), name


def refusal(model, source, **options):
    """The sentence, after making sure that the model was left as it was."""
    before = copied(model)
    with pytest.raises(UserError) as caught:
        load_weights(model, source, **options)
    assert_equal(model, before)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Sources


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_loaded_bitwise(form):
    source = small(2 if form == "timm" else 3, abs_pos="separable")
    model = small(2 if form == "timm" else 3, seed=1, abs_pos="separable")
    report = load_weights(model, from_official(copied(source), form), strict=True)
    assert_equal(model, source.state_dict())
    assert report == LoadReport("the state dict", form, loaded=tuple(model.state_dict()), share=1.0)


@pytest.mark.parametrize("kind", ["pyth", "pth", "pkl", "safetensors"])
def test_every_container_as_a_file(tmp_path, kind):
    source, model, path = small(), small(seed=1), tmp_path / f"weights.{kind}"
    state = copied(source)
    if kind == "pyth":
        torch.save({"epoch": 1, "model_state": state, "optimizer_state": {}, "cfg": "A: 1\n"}, path)
    elif kind == "pth":
        theirs = {"state_dict": from_official(state, "mmaction2"), "meta": {"mmengine_version": "0.9"}}
        torch.save(theirs, path)
    elif kind == "pkl":
        theirs = {name: tensor.numpy() for name, tensor in from_official(state, "detectron2").items()}
        path.write_bytes(pickle.dumps({"model": theirs, "__author__": "someone"}))
    else:
        write_safetensors(path, {f"module.{name}": tensor for name, tensor in state.items()}, {})
    report = load_weights(model, path if kind != "pth" else str(path))
    assert_equal(model, state)
    assert report.source == str(path) and report.share == 1 and report.is_complete


def test_a_url(tmp_path, monkeypatch):
    path, asked = tmp_path / "x.pth", []
    torch.save(copied(small()), path)

    def fetch(url):
        asked.append(url)
        return path

    monkeypatch.setattr(load, "fetch", fetch)
    model, url = small(seed=1), "https://example.org/weights/x.pth"
    assert load_weights(model, url).source == url and asked == [url]
    assert_equal(model, small().state_dict())
    assert set(read_source(url)) == set(model.state_dict())


def test_a_damaged_download_is_fetched_again(tmp_path, monkeypatch):
    """The server gives half of a file, which no hash betrays, and the whole of it when asked again."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("SLOWFAST_MVIT_CACHE", str(tmp_path))
    buffer = io.BytesIO()
    torch.save(copied(small()), buffer)
    whole = buffer.getvalue()
    with file_server() as server:
        url = f"{server.url}/x.pth"
        server.files["/x.pth"] = whole[: len(whole) // 2]
        said = refusal(small(seed=1), url)
        assert "is cut short" in said and said.endswith(
            f"(what came from {url}; it is deleted, and fetched again at the next use)"
        )
        assert not [path for path in tmp_path.rglob("x.pth*") if path.suffix != ".lock"]
        server.files["/x.pth"] = whole
        model = small(seed=1)
        load_weights(model, url)
        assert_equal(model, small().state_dict())
        load_weights(model, url)
        assert server.asked == ["/x.pth"] * 2


def test_a_damaged_file_of_the_users_own_is_kept(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"PK\x03\x04")
    assert "is cut short" in refusal(small(), path) and path.exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("k400", "there is no file k400: as the tag of published weights, create_model(pretrained=...) takes it"),
        (
            "s3://bucket/b.pth",
            "s3://bucket/b.pth cannot be fetched, only http and https URLs can: download the file and give its path",
        ),
        ("k40", "the checkpoint k40 does not exist"),
        ("file:///a/b.pth", "file:///a/b.pth is a file's address: give its plain path, without file://"),
    ],
)
def test_what_is_no_file(source, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(small(), source) == said


def test_a_file_may_have_the_name_of_a_tag(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(copied(small()), "k400")
    assert load_weights(small(seed=1), "k400").share == 1


def test_what_the_caller_calls_it():
    assert load_weights(small(seed=1), copied(small()), name="K400").source == "K400"
    assert refusal(small(), {"epoch": 1}, name="K400") == "K400 holds no model_state; its keys are epoch"
    assert refusal(small(), {"a": torch.ones(1)}, name="K400").startswith(
        "K400: the names of the tensors are those of no known"
    )


def test_a_network_inside_another_one():
    source, model = small(), small(seed=1)
    state = {f"backbone.{name}": tensor for name, tensor in copied(source).items()} | {
        "predictor.0.weight": torch.ones(2)
    }
    report = load_weights(model, state)
    assert_equal(model, source.state_dict())
    assert report.unexpected == ("predictor.0.weight",)


def test_a_baseline_loads_by_its_own_names():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        source, model = create_baseline("x3d_xs", num_classes=4), create_baseline("x3d_xs", num_classes=4)
    state = {name: tensor for name, tensor in copied(source).items() if not name.endswith("num_batches_tracked")}
    report = load_weights(model, {"model_state": state}, strict=True)  # old files have no counters
    assert report.format == "the model's own" and report.share == 1
    for name, tensor in state.items():
        assert torch.equal(model.state_dict()[name], tensor), name
    other = create_baseline("x3d_xs", num_classes=7)
    fresh = copied(other)
    report = load_weights(other, {"model_state": state})
    assert report.kept_head == ("blocks.5.proj.weight", "blocks.5.proj.bias") and not report.missing
    assert all(torch.equal(other.state_dict()[name], fresh[name]) for name in report.kept_head)
    assert "has a head of 4 classes, and the model one of 7" in refusal(other, {"model_state": state}, strict=True)
    said = refusal(small(), state)
    assert "the names of the tensors are those of no known publisher" in said
    assert said.endswith(
        "; if they are those of a PyTorchVideo network, name that as the model (--model x3d_m, MODEL.ARCH x3d_m)"
    )


# Adaptation


def test_another_clip_length_and_crop_size():
    source, model = small(), small(seed=1, input_size=(12, 96, 96))
    report = load_weights(model, copied(source), strict=True)
    tables = tuple(name for name in model.state_dict() if "rel_pos" in name)
    assert len(tables) == 12 and report.resized == tables and report.share == 1
    for name, tensor in source.state_dict().items():
        if name not in tables:
            assert torch.equal(model.state_dict()[name], tensor), name
        else:
            assert model.state_dict()[name].shape != tensor.shape


def test_kernels_of_images_in_both_forms():
    source, model = small(2), small(2, seed=1)
    state = {name: t[:, :, None] if ".pool_" in name else t for name, t in copied(source).items()}
    report = load_weights(model, state, strict=True)
    assert_equal(model, source.state_dict())
    assert report.squeezed == tuple(name for name in model.state_dict() if ".pool_" in name) and report.resized == ()


@pytest.mark.parametrize("rule", RULES)
def test_images_in_a_video_model(rule):
    source, model = small(2), small(seed=1, cls_token=False)
    before = copied(model)
    report = load_weights(model, copied(source), inflation=rule)
    kernels = [name for name in before if ".pool_" in name or name == "patch_embed.proj.weight"]
    times = [name for name in before if name.endswith("rel_pos_t")]
    found = model.state_dict()
    if rule == "repeat":
        assert set(report.inflated) == set(kernels) and report.missing == tuple(times) and report.share < 1
        assert all(torch.equal(found[name], before[name]) for name in times) and not report.is_complete
    else:
        assert set(report.inflated) == {*kernels, *times} and report.missing == () and report.share == 1
        assert not any(found[name].any() for name in times)
    centre = source.state_dict()["blocks.1.attn.pool_q.weight"] / (3 if rule == "mean" else 1)
    assert torch.equal(found["blocks.1.attn.pool_q.weight"][:, :, 1], centre)
    assert torch.equal(found["blocks.1.attn.qkv.weight"], source.state_dict()["blocks.1.attn.qkv.weight"])


def test_nothing_is_inflated_for_a_test():
    assert refusal(small(cls_token=False), copied(small(2)), strict=True) == (
        "the state dict holds image weights: a test, or a run that goes on, needs this model's own"
    )


def test_a_rule_that_does_not_exist():
    for source in (small(2), small()):
        assert refusal(small(), copied(source), inflation="i3d") == (
            "the inflation rule is 'i3d'; it must be one of centre, repeat, mean"
        )


# Grids that the number of rows does not tell


def positions(kind, size, seed=0, **changes):
    """A small model of an input size; joint tables over the axes named."""
    return small(len(size), seed=seed, input_size=size, **kind, **changes)


SEPARABLE = {"abs_pos": "separable", "rel_pos_space": False, "rel_pos_time": False}
JOINT_IN_SPACE, JOINT = {"rel_pos_joint": "space"}, {"rel_pos_joint": "spacetime"}


def over_space(table, old, new, mode):
    """[old rows, C] on a grid -> [new rows, C], by torch alone."""
    volume = table.t().reshape(1, -1, *old)
    return F.interpolate(volume, size=new, mode=mode, align_corners=False).flatten(2)[0].t()


def test_a_joint_table_with_as_many_rows_as_a_square_and_one():
    """ViT at 224 x 256 and patches of 16: 1 + 14 * 16 = 15 * 15."""
    kind = {"abs_pos": "joint", "rel_pos_space": False, "cls_token": True}
    source = positions(kind, (64, 64), patch_stride=(4, 4))
    model = positions(kind, (56, 64), seed=1, patch_stride=(4, 4))
    assert model.pos_embed.shape[1] == 1 + 14 * 16 == 15 * 15
    report = load_weights(model, copied(source))
    assert report.resized == ("pos_embed",) and report.is_complete
    table = source.state_dict()["pos_embed"][0]
    assert torch.equal(model.pos_embed[0, :1], table[:1])
    torch.testing.assert_close(model.pos_embed[0, 1:], over_space(table[1:], (16, 16), (14, 16), "bicubic"))


def test_a_separable_table_of_an_oblong_crop():
    source, model = positions(SEPARABLE, (8, 64, 64)), positions(SEPARABLE, (8, 64, 96), seed=1)
    report = load_weights(model, copied(source))
    assert report.resized == ("pos_embed_spatial",) and report.is_complete
    expected = over_space(source.state_dict()["pos_embed_spatial"][0], (16, 16), (16, 24), "bicubic")
    torch.testing.assert_close(model.pos_embed_spatial[0], expected)


def test_a_joint_relative_table_of_an_oblong_crop():
    source, model = positions(JOINT_IN_SPACE, (8, 64, 64)), positions(JOINT_IN_SPACE, (8, 64, 96), seed=1)
    report = load_weights(model, copied(source))
    assert "blocks.0.attn.rel_pos_hw" in report.resized and report.is_complete
    expected = over_space(source.state_dict()["blocks.0.attn.rel_pos_hw"], (31, 31), (31, 47), "bilinear")
    torch.testing.assert_close(model.blocks[0].attn.rel_pos_hw, expected)


@pytest.mark.parametrize(("size", "extents"), [((16, 64, 64), (15, 31, 31)), ((8, 96, 96), (7, 47, 47))])
def test_a_joint_table_of_other_time_or_space(size, extents):
    source, model = positions(JOINT, (8, 64, 64)), positions(JOINT, size, seed=1)
    report = load_weights(model, copied(source))
    assert "blocks.0.attn.rel_pos_thw" in report.resized and report.is_complete
    expected = over_space(source.state_dict()["blocks.0.attn.rel_pos_thw"], (7, 31, 31), extents, "trilinear")
    torch.testing.assert_close(model.blocks[0].attn.rel_pos_thw, expected)


def test_a_table_that_does_not_tell_its_grid_is_refused():
    source, model = positions(JOINT, (8, 64, 64)), positions(JOINT, (16, 96, 96), seed=1)
    rows = f"({7 * 31**2}, 8), the model as ({15 * 47**2}, 8)"
    assert refusal(model, copied(source)) == (
        f"the state dict holds the position table blocks.0.attn.rel_pos_thw as {rows}, and its rows do not tell the grid they "
        "are for: make the model with the clip and crop of these weights, or let the table keep its values with "
        "load_weights(..., min_share=0)"
    )
    report = load_weights(model, copied(source), min_share=0)
    assert "blocks.0.attn.rel_pos_thw" in report.other_shape
    oblong = copied(positions(SEPARABLE, (8, 64, 96)))
    assert "holds the position table pos_embed_spatial as (1, 384, 8)" in refusal(
        positions(SEPARABLE, (8, 64, 64)), oblong
    )


def test_tables_of_another_width_are_another_models():
    state = copied(small()) | {"blocks.0.attn.rel_pos_h": torch.ones(31, 9)}
    assert "1 of another shape (blocks.0.attn.rel_pos_h is (31, 9)" in refusal(small(), state)


def test_images_have_no_table_over_time_and_space():
    source = positions(JOINT_IN_SPACE, (64, 64))
    assert refusal(positions(JOINT, (8, 64, 64)), copied(source)) == (
        "image weights have no table over time and space for blocks.0.attn.rel_pos_thw: make the video model with "
        "positions='decomposed' or 'joint_space_plus_time' (MVIT.POSITIONS)"
    )


# The stem and the pools


def test_images_cannot_take_the_weights_of_video():
    """Although 99 % of the numbers would fit, if nobody looked at the stem and the pools."""
    state, model = copied(small(cls_token=False)), small(2)
    assert refusal(model, state, name="x.pth") == (
        "x.pth holds a video model's weights, which an image model cannot take (patch_embed.proj.weight is (8, 3, 3, 7, 7))"
    )
    assert "a video model's weights" in refusal(model, state, min_share=0.01)
    report = load_weights(model, state, min_share=0)
    assert report.share > 0.8 and report.other_shape == tuple(
        name for name in model.state_dict() if ".pool_" in name or name == "patch_embed.proj.weight"
    )


def test_other_input_channels():
    state = copied(small())
    state["patch_embed.proj.weight"] = torch.ones(8, 1, 3, 7, 7)
    assert refusal(small(), state) == (
        "the state dict is for 1 input channels, and the model for 3: make it with in_channels=1, or let its stem start fresh "
        "with load_weights(..., min_share=0)"
    )
    assert load_weights(small(), state, min_share=0).other_shape == ("patch_embed.proj.weight",)
    said = refusal(create_baseline("x3d_xs", in_channels=1), copied(create_baseline("x3d_xs")))
    assert "is for 3 input channels, and the model for 1: make it with in_channels=3" in said


@pytest.mark.parametrize("name", ["patch_embed.proj.weight", "blocks.2.attn.pool_k.weight"])
def test_other_kernels(name):
    state = copied(small())
    state[name] = torch.ones(*state[name].shape[:2], 1, 5, 5)
    said = refusal(small(), state)
    assert f"0 tensors missing, 0 unexpected, 1 of another shape ({name} is" in said


@pytest.mark.parametrize("shape", [(), (8,), (8, 3), (2, 8, 3, 3, 7, 7)])
def test_a_stem_that_is_none(shape):
    assert "1 of another shape (patch_embed.proj.weight is" in refusal(
        small(), copied(small()) | {"patch_embed.proj.weight": torch.ones(shape)}
    )


def test_absolute_positions_that_a_file_lacks():
    model = small(seed=1, abs_pos="separable")
    before = copied(model)
    report = load_weights(model, copied(small()))
    assert report.missing == ("pos_embed_spatial", "pos_embed_temporal", "pos_embed_class") and report.needs_a_look
    assert (
        "  missing                3  pos_embed_spatial, pos_embed_temporal, pos_embed_class" in str(report).splitlines()
    )
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in report.missing)


# What no file says


def version_1(**changes):
    return small(
        seed=1, abs_pos="separable", rel_pos_space=False, rel_pos_time=False, residual_pooling=False, **changes
    )


def test_the_norms_of_pytorchvideo():
    state = from_official(copied(version_1()), "pytorchvideo")
    report = load_weights(version_1(), state, strict=True)
    assert report.is_complete and report.needs_a_look
    assert str(report).splitlines()[-1] == (
        "  note: the norms after pools have the publisher's epsilon now, 1e-05: a model for checkpoints that come of "
        "this one is made with pool_norm_eps=1e-05 (MVIT.POOL_NORM_EPS)"
    )
    quiet = load_weights(version_1(pool_norm_eps=1e-5), state)
    assert quiet.note == "" and not quiet.needs_a_look and "note" not in str(quiet)


def test_only_the_norms_after_pools_get_another_epsilon():
    model, before = version_1(), version_1()
    load_weights(model, from_official(copied(version_1()), "pytorchvideo"))
    eps = {name: norm.eps for name, norm in model.named_modules() if isinstance(norm, nn.LayerNorm)}
    after_pools = {name for name in eps if ".attn.norm_" in name}
    assert len(after_pools) == 4 * 3
    assert eps == {name: 1e-5 if name in after_pools else 1e-6 for name in eps}
    assert model.arch == replace(before.arch, pool_norm_eps=1e-5)
    refused = version_1()
    assert "not finite" in refusal(
        refused, from_official(copied(version_1()) | {"norm.bias": torch.full((64,), torch.nan)}, "pytorchvideo")
    )
    assert refused.blocks[1].attn.norm_q.eps == 1e-6


def test_the_norms_of_all_others():
    for form in FORMATS:
        if form not in ("pytorchvideo", "timm"):
            assert load_weights(version_1(), from_official(copied(version_1()), form)).note == ""
    # Relative positions are not PyTorchVideo's: these weights are ours under its names.
    assert load_weights(small(), from_official(copied(small()), "pytorchvideo")).note == ""


def test_a_converted_file_keeps_its_publisher():
    content = {"model_state": copied(version_1()), "metadata": {"converted_from": "pytorchvideo"}}
    assert load_weights(version_1(), content).note.startswith("the norms after pools")
    assert publisher(content, "official") == "pytorchvideo"
    assert publisher({"metadata": None}, "official") == publisher({}, "official") == "official"


# The head


def test_other_classes_keep_the_heads_values():
    source, model = small(num_classes=9), small(num_classes=5, seed=1)
    fresh = copied(model)
    report = load_weights(model, copied(source))
    assert report.kept_head == HEAD and report.share == 1 and report.is_complete
    assert not set(HEAD) & {*report.loaded, *report.missing, *report.other_shape}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, fresh[name] if name in HEAD else source.state_dict()[name]), name


def test_the_same_classes_keep_the_head():
    source, model = small(), small(seed=1)
    assert load_weights(model, copied(source)).kept_head == ()
    assert_equal(model, source.state_dict())


@pytest.mark.parametrize("options", [{"strict": True}, {"new_head": False}, {"new_head": False, "min_share": 0}])
def test_a_new_head_can_be_forbidden(options):
    assert refusal(small(num_classes=5), copied(small(num_classes=9)), **options) == (
        "the state dict has a head of 9 classes, and the model one of 5: set num_classes (MODEL.NUM_CLASSES) to 9"
    )
    assert load_weights(small(num_classes=9), copied(small(num_classes=9)), **options).kept_head == ()


def test_a_head_of_other_classes_among_other_faults():
    state = {name: tensor for name, tensor in copied(small(num_classes=9)).items() if "norm" not in name}
    assert "weights of another model" in refusal(small(), state, strict=True)
    assert "has a head of 9 classes" in refusal(small(), state, new_head=False)


def test_a_head_of_other_features_is_no_new_head():
    state = Model(width=5, classes=9).state_dict()
    assert "4 of another shape (body.weight is (5, 2), the model's (3, 2)" in refusal(Model(), state)


def test_a_source_without_a_head():
    source = {name: tensor for name, tensor in copied(small()).items() if name not in HEAD}
    model = small(seed=1)
    report = load_weights(model, source)
    assert report.missing == HEAD and report.share == 1 and not report.is_complete
    assert "2 tensors missing, 0 unexpected, 0 of another shape (head.projection.weight is missing" in refusal(
        small(), source, strict=True
    )


# What does not belong together


def test_weights_of_another_model():
    state = Model(width=5).state_dict()
    state["extra.weight"] = state.pop("head.projection.bias")
    assert refusal(Model(), state, name="x.pyth") == (
        "x.pyth holds the weights of another model: 1 tensors missing, 1 unexpected, 3 of another shape "
        "(body.weight is (5, 2), the model's (3, 2); body.bias is (5,), the model's (3,); "
        "head.projection.weight is (4, 5), the model's (4, 3)), 0% of the backbone's parameters found. "
        "Use the model or config it was trained with"
    )


@pytest.mark.parametrize("kept", [0.85, 0.95])
def test_the_share_that_must_arrive(kept):
    model, state = small(), copied(small(seed=1))
    sizes = {name: tensor.numel() for name, tensor in state.items() if name not in HEAD}
    total, taken = sum(sizes.values()), 0
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if taken + size <= (1 - kept) * total:
            taken += size
            del state[name]
    assert kept <= 1 - taken / total < kept + 0.01
    if kept < 0.9:
        assert "85% of the backbone's parameters found" in refusal(model, state)
    report = load_weights(model, state, min_share=0.8)
    assert report.share == pytest.approx(1 - taken / total) and report.missing
    assert load_weights(small(), {"blocks.0.attn.qkv.weight": torch.zeros(24, 8)}, min_share=0).loaded == (
        "blocks.0.attn.qkv.weight",
    )


def test_one_tensor_of_another_shape_is_another_model():
    """However few its numbers are: 99 % of the others fit."""
    state = copied(small()) | {"blocks.0.mlp.fc1.bias": torch.ones(33)}
    said = refusal(small(), state)
    assert "0 unexpected, 1 of another shape (blocks.0.mlp.fc1.bias is (33,), the model's (32,))" in said
    assert load_weights(small(), state, min_share=0).other_shape == ("blocks.0.mlp.fc1.bias",)


def test_version_1_is_not_version_2():
    state = copied(create_model("mvitv1_b_16x4"))
    with pytest.raises(
        UserError, match="holds the weights of another model: 93 tensors missing, 9 unexpected, 15 of anot"
    ):
        load_weights(create_model("mvitv2_s_16x4"), state)


def test_exactly_the_share_that_must_arrive():
    state = Model(width=3).state_dict()
    del state["body.bias"]  # 3 of 9 numbers
    assert load_weights(Model(), state, min_share=6 / 9).share == 6 / 9
    assert "67% of the backbone's parameters found" in refusal(Model(), state, min_share=0.6667)


def test_a_model_without_numbers():
    with torch.device("meta"):
        model = Model()
    with pytest.raises(
        UserError, match="the model is on the meta device, which holds no numbers: make it on another one"
    ):
        load_weights(model, Model().state_dict())


def test_strictness_knows_every_name():
    state = copied(small()) | {"mask_token": torch.ones(1)}
    assert "0 tensors missing, 1 unexpected, 0 of another shape (mask_token is not in the model)" in refusal(
        small(), state, strict=True
    )
    assert load_weights(small(), state).unexpected == ("mask_token",)


def test_other_kinds_of_numbers():
    state = copied(small())
    state["norm.weight"] = state["norm.weight"].long()
    assert "holds norm.weight as torch.int64, the model as torch.float32" in refusal(small(), state)
    state["norm.weight"] = torch.ones_like(small().norm.weight, dtype=torch.complex64)
    assert "holds norm.weight as torch.complex64" in refusal(small(), state)
    half = {name: tensor.half() for name, tensor in copied(small()).items()}
    model = small(seed=1)
    load_weights(model, half)
    assert_equal(model, {name: tensor.float() for name, tensor in half.items()})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e300])
def test_numbers_that_are_not_finite(number):
    state = copied(small())
    for name in ("norm.weight", "blocks.1.mlp.fc1.bias"):
        state[name] = state[name].double()
        state[name][3] = number  # the last one is finite, but not as the model has it
    said = "x.pth holds numbers in blocks.1.mlp.fc1.bias that are not finite: it is damaged, or its training diverged"
    assert refusal(small(), state, name="x.pth") == said


def test_arguments_of_other_kinds():
    assert refusal(small(), {}) == "the state dict is empty: there are no weights in it"
    assert refusal(small(), True) == "the weights are a bool; they must be a file, a URL or a state dict"
    for share in (90, -0.1, "0.9"):
        assert refusal(small(), copied(small()), min_share=share) == f"min_share is {share!r}; it must be 0 to 1"
    with pytest.raises(UserError, match="takes a model first and its weights second, and not a str"):
        load_weights("mvitv2_s_16x4", copied(small()))


def test_the_model_shares_no_memory_with_the_source():
    source, model = copied(small()), small(seed=1)
    load_weights(model, source)
    source["norm.weight"].zero_()
    assert model.norm.weight.any()


# The report


def test_the_report_is_a_short_table():
    report = LoadReport(
        source="x.pyth",
        format="timm",
        loaded=("a", "b"),
        missing=("c",),
        unexpected=("d", "e", "f", "g"),
        resized=("a",),
        kept_head=HEAD,
        share=0.9876,
    )
    assert str(report).splitlines() == [
        "weights of x.pyth (timm names), 98.8% of the backbone's parameters",
        "  loaded                 2",
        "  resized                1  a",
        "  inflated               0",
        "  kept: other classes    2  head.projection.weight, head.projection.bias",
        "  missing                1  c",
        "  other shape            0",
        "  unexpected             4  d, e, f, ...",
    ]


# Two hundred damaged files: a sentence each, or what was in them


def damaged_files():
    """Names and contents: cut, flipped, with wrong names, with code; the latter two in every container."""
    rng = np.random.default_rng(0)
    state = copied(small(embed_dim=4))
    files = {}
    for new_format in (True, False):
        buffer = io.BytesIO()
        torch.save({"model_state": state}, buffer, _use_new_zipfile_serialization=new_format)
        files[f"torch {new_format}"] = buffer.getvalue()
    arrays = {name: tensor.numpy() for name, tensor in from_official(state, "detectron2").items()}
    files["pickle"] = pickle.dumps({"model": arrays}, protocol=4)
    for kind, whole in files.items():
        for share in np.linspace(0, 0.999, 20):
            yield f"{kind} cut at {share:.2f}", whole[: int(share * len(whole))]
        for number in range(30):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), 8):
                data[place] = rng.integers(256)
            yield f"{kind} flipped {number}", bytes(data)
    names = list(state)
    for number in range(40):
        wrong = dict(state)
        for place in rng.integers(0, len(names), 90):
            wrong[f"other.{place}"] = wrong.pop(names[place], torch.ones(1))
        buffer = io.BytesIO()
        torch.save(wrong, buffer)
        yield f"wrong names {number}", buffer.getvalue()


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def traps(mark):
    for place in ("model_state", "state_dict", "model", "blobs", "cfg"):
        for protocol in (2, 4):
            yield f"trap in {place}, {protocol}", pickle.dumps({place: Trap(mark), "x": 1}, protocol=protocol)
        for new_format in (True, False):
            buffer = io.BytesIO()
            torch.save({place: {"a": Trap(mark)}, "model": {}}, buffer, _use_new_zipfile_serialization=new_format)
            yield f"trap in {place}, {new_format}", buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning", "ignore:invalid escape:DeprecationWarning")
def test_damaged_files_end_in_a_sentence_and_run_nothing(tmp_path):
    mark, path, model = tmp_path / "it ran", tmp_path / "weights", small(embed_dim=4)
    before, loaded, refused = copied(model), [], []
    for title, data in [*damaged_files(), *traps(mark)]:
        path.write_bytes(data)
        try:
            load_weights(model, path)
        except UserError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error), title
            assert_equal(model, before)
            refused.append(title)
        else:
            model.load_state_dict(before)
            loaded.append(title)
    assert len(loaded) + len(refused) == 210 and not mark.exists()
    # Only torch's zip files carry checksums: in the others a changed weight is not seen without a hash.
    assert all(title.startswith(("torch False flipped", "pickle flipped")) for title in loaded), loaded
    assert len(refused) > 150


def test_a_hash_sees_what_nothing_else_does(tmp_path):
    buffer = io.BytesIO()
    torch.save(copied(small()), buffer)
    data = bytearray(buffer.getvalue())
    path = tmp_path / f"mvit-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    path.write_bytes(data)
    load_weights(small(), path)
    data[data.index(small().norm.weight.detach().numpy().tobytes())] ^= 1
    path.write_bytes(data)
    assert "is not the file that its name says" in refusal(small(), path)
    plain = tmp_path / "mvit.pth"
    plain.write_bytes(data)
    assert "is not what its checksum says" in refusal(small(), plain)
