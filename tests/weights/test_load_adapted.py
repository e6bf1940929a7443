"""Loading into a model of another size or kind: tables, stems and pools are adapted or refused; norms are the publisher's."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_mvit.models.baselines import create_baseline
from slowfast_mvit.weights.formats import FORMATS, from_official
from slowfast_mvit.weights.inflate import RULES
from slowfast_mvit.weights.load import load_weights, publisher
from tests.weights.loading import assert_equal, refusal
from tests.weights.models import copied, small


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
