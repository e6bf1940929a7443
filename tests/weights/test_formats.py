"""Names of every publisher, told apart and translated both ways without touching a value."""

import pytest
import torch

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.formats import (
    FORMATS,
    detect_format,
    find_format,
    from_official,
    to_official,
    without_wrapper,
)
from tests.weights.models import copied, small

# Every kind of tensor under each publisher's name, for block 0 but where timm's numbers are at stake.
NAMES = {
    "torchvision": {
        "patch_embed.proj.weight": "conv_proj.weight",
        "patch_embed.proj.bias": "conv_proj.bias",
        "cls_token": "pos_encoding.class_token",
        "pos_embed_spatial": "pos_encoding.spatial_pos",
        "pos_embed_temporal": "pos_encoding.temporal_pos",
        "pos_embed_class": "pos_encoding.class_pos",
        "blocks.0.norm1.weight": "blocks.0.norm1.weight",
        "blocks.0.attn.qkv.bias": "blocks.0.attn.qkv.bias",
        "blocks.0.attn.proj.weight": "blocks.0.attn.project.0.weight",
        "blocks.0.attn.pool_q.weight": "blocks.0.attn.pool_q.pool.weight",
        "blocks.12.attn.norm_v.bias": "blocks.12.attn.pool_v.norm_act.0.bias",
        "blocks.0.attn.rel_pos_t": "blocks.0.attn.rel_pos_t",
        "blocks.0.mlp.fc1.weight": "blocks.0.mlp.0.weight",
        "blocks.0.mlp.fc2.bias": "blocks.0.mlp.3.bias",
        "blocks.0.proj.weight": "blocks.0.project.weight",
        "norm.weight": "norm.weight",
        "head.projection.weight": "head.1.weight",
    },
    "timm": {
        "patch_embed.proj.weight": "patch_embed.proj.weight",
        "cls_token": "cls_token",
        "pos_embed": "pos_embed",
        "norm.bias": "norm.bias",
        "head.projection.bias": "head.fc.bias",
    },
    "detectron2": {
        "patch_embed.proj.weight": "backbone.bottom_up.patch_embed.proj.weight",
        "pos_embed": "backbone.bottom_up.pos_embed",
        "blocks.7.attn.rel_pos_h": "backbone.bottom_up.blocks.7.attn.rel_pos_h",
        "blocks.0.proj.weight": "backbone.bottom_up.blocks.0.proj.weight",
        "scale2_norm.weight": "backbone.bottom_up.scale2_norm.weight",
        "backbone.fpn.inner_blocks.0.0.weight": "backbone.fpn_lateral2.weight",
        "backbone.fpn.layer_blocks.3.0.bias": "backbone.fpn_output5.bias",
        "proposal_generator.rpn_head.conv.weight": "proposal_generator.rpn_head.conv.weight",
        "roi_heads.box_head.0.fc1.weight": "roi_heads.box_head.0.fc1.weight",
    },
    "mmaction2": {
        "patch_embed.proj.bias": "backbone.patch_embed.projection.bias",
        "cls_token": "backbone.cls_token",
        "pos_embed": "backbone.pos_embed",
        "blocks.3.attn.pool_k.weight": "backbone.blocks.3.attn.pool_k.weight",
        "blocks.3.proj.bias": "backbone.blocks.3.proj.bias",
        "norm.weight": "backbone.norm3.weight",
        "head.projection.weight": "cls_head.fc_cls.weight",
    },
    "pytorchvideo": {
        "patch_embed.proj.weight": "patch_embed.patch_model.weight",
        "cls_token": "cls_positional_encoding.cls_token",
        "pos_embed": "cls_positional_encoding.pos_embed",
        "pos_embed_spatial": "cls_positional_encoding.pos_embed_spatial",
        "pos_embed_temporal": "cls_positional_encoding.pos_embed_temporal",
        "pos_embed_class": "cls_positional_encoding.pos_embed_class",
        "blocks.0.attn.pool_k.weight": "blocks.0.attn.pool_k.weight",
        "blocks.0.mlp.fc1.bias": "blocks.0.mlp.fc1.bias",
        "norm.weight": "norm_embed.weight",
        "head.projection.weight": "head.proj.weight",
    },
    "official": {
        "blocks.0.attn.qkv.weight": "blocks.0.attn.qkv.weight",
        "head.projection.bias": "head.projection.bias",
    },
}


@pytest.mark.parametrize(
    ("form", "ours", "theirs"), [(f, *pair) for f, names in NAMES.items() for pair in names.items()]
)
def test_names(form, ours, theirs):
    tensor = torch.randn(1, 1, 4) if ours == "cls_token" or ours.startswith("pos_embed") else torch.randn(3, 4)
    (name, found), *rest = from_official({ours: tensor}, form).items()
    assert name == theirs and not rest and torch.equal(found.flatten(), tensor.flatten())
    (name, back), *rest = to_official({theirs: found}, form).items()
    assert name == ours and not rest and torch.equal(back, tensor)


def test_torchvision_has_no_batch_axis():
    state = {
        "cls_token": torch.randn(1, 1, 4),
        "pos_embed_spatial": torch.randn(1, 9, 4),
        "pos_embed_class": torch.randn(1, 1, 4),
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in from_official(state, "torchvision").items()}
    assert shapes == {
        "pos_encoding.class_token": (4,),
        "pos_encoding.spatial_pos": (9, 4),
        "pos_encoding.class_pos": (4,),
    }


MODELS = {
    "video": {},
    "video without a class token": {"cls_token": False},
    "image": {"num_axes": 2},
    "widening in the MLP": {"expand_in_attention": False},
    "separable positions": {"abs_pos": "separable", "rel_pos_space": False, "rel_pos_time": False},
    "joint positions": {"num_axes": 2, "abs_pos": "joint"},
    "no bias of queries": {"qkv_bias": False},
    "one stage": {"dim_mul": (), "head_mul": (), "pool_q_stride": (), "pool_kv_stride": None},
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", MODELS)
def test_round_trips_are_bitwise(form, kind):
    state = copied(small(**MODELS[kind]))
    theirs = from_official(state, form)
    back = to_official(theirs, form)
    assert set(back) == set(state) and len(theirs) >= len(state)
    for name, tensor in back.items():
        assert tensor.shape == state[name].shape and torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("kind", ["video", "image"])
@pytest.mark.parametrize("form", FORMATS)
def test_formats_are_told_apart(form, kind):
    theirs = from_official(small(**MODELS[kind]).state_dict(), form)
    assert detect_format(theirs) == form == find_format(theirs)


def test_a_bare_backbone_of_detectron2():
    state = {name: t for name, t in small(num_axes=2).state_dict().items() if not name.startswith(("norm", "head"))}
    scales = {f"scale{i}_norm.weight": torch.ones(2) for i in range(2, 6)}
    assert detect_format(state | scales) == "detectron2" and detect_format(state) == "official"
    assert set(to_official(state | scales, "detectron2")) == set(state) | set(scales)


def test_a_whole_detector_goes_there_and_back():
    state = from_official(small(num_axes=2, cls_token=False).state_dict(), "detectron2")
    others = (
        "backbone.fpn_output5.bias",
        "roi_heads.mask_head.deconv.weight",
        "proposal_generator.rpn_head.conv.bias",
        "pixel_mean",
    )
    state |= {name: torch.randn(3) for name in others}
    again = from_official(to_official(state, "detectron2"), "detectron2")
    assert set(again) == set(state) and all(torch.equal(again[name], state[name]) for name in state)


@pytest.mark.parametrize(("in_attention", "number", "name"), [(True, (2, 3, 6), "attn"), (False, (1, 2, 5), "mlp")])
def test_timm_counts_within_stages(in_attention, number, name):
    state = {}
    stage_of = [0, 0, 1, 2, 2, 2, 3]  # stages of 2, 1, 3 and 1 blocks
    for block, stage in enumerate(stage_of):
        width, wider = 8 * 2**stage, block in number
        state[f"blocks.{block}.attn.proj.weight"] = torch.randn(width, width)
        if wider:
            out = width if in_attention else 2 * width
            state[f"blocks.{block}.proj.weight"] = torch.randn(out, width // (2 if in_attention else 1))
    theirs = from_official(state, "timm")
    inside = [f"stages.{s}.blocks.{j}" for s, j in ((0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2), (3, 0))]
    expected = {f"{place}.attn.proj.weight" for place in inside}
    expected |= {f"{inside[block]}.shortcut_proj_{name}.weight" for block in number}
    assert set(theirs) == expected
    back = to_official(theirs, "timm")
    assert set(back) == set(state) and all(torch.equal(back[key], state[key]) for key in state)


def test_timm_with_more_than_ten_blocks_in_a_stage():
    theirs = {
        f"stages.{s}.blocks.{j}.norm1.weight": torch.tensor(100.0 * s + j) for s in (1, 0) for j in range(11, -1, -1)
    }
    found = to_official(theirs, "timm")
    order = [100 * s + j for s in (0, 1) for j in range(12)]
    assert [found[f"blocks.{i}.norm1.weight"].item() for i in range(24)] == order


def head_names(state):
    """PyTorchVideo's names after 0.1.5: one projection for queries, keys and values; pools and their norms twice."""
    theirs = from_official(state, "pytorchvideo")
    for name in [name for name in theirs if ".attn.k." in name]:
        parts = [theirs.pop(name.replace(".k.", f".{x}.")) for x in "qkv"]
        theirs[name.replace(".k.", ".qkv.")] = torch.cat(parts)
    for name in list(theirs):
        for x in "qkv":
            if f".pool_{x}." in name:
                theirs[name.replace(f".pool_{x}.", f"._attention_pool_{x}.pool.")] = theirs[name].clone()
            if f".norm_{x}." in name:
                theirs[name.replace(f".norm_{x}.", f"._attention_pool_{x}.norm.")] = theirs[name].clone()
    return theirs


def test_pytorchvideo_after_its_release():
    state = copied(small(abs_pos="separable", rel_pos_space=False, rel_pos_time=False))
    theirs = head_names(state)
    assert "blocks.0.attn._attention_pool_q.norm.bias" in theirs and detect_format(theirs) == "pytorchvideo"
    found = to_official(theirs, "pytorchvideo")
    assert set(found) == set(state) and all(torch.equal(found[name], state[name]) for name in state)
    only_second = {name: t for name, t in theirs.items() if ".attn.pool_" not in name and ".attn.norm_" not in name}
    found = to_official(only_second, "pytorchvideo")
    assert set(found) == set(state) and all(torch.equal(found[name], state[name]) for name in state)
    theirs["blocks.1.attn._attention_pool_k.pool.weight"] += 1  # no twin any more: it is not dropped in silence
    assert "blocks.1.attn._attention_pool_k.pool.weight" in to_official(theirs, "pytorchvideo")


def test_separate_projections_of_pyslowfast():
    state = copied(small())
    theirs = {name: tensor for name, tensor in state.items() if ".qkv." not in name}
    for name, tensor in state.items():
        if ".qkv." in name:
            theirs |= {name.replace("qkv", x): part for x, part in zip("qkv", tensor.chunk(3), strict=True)}
    assert detect_format(theirs) == "official"
    found = to_official(theirs, "official")
    assert set(found) == set(state) and all(torch.equal(found[name], state[name]) for name in state)


def test_projections_that_do_not_belong_together_stay_apart():
    parts = {"blocks.0.attn.q.weight": torch.ones(2, 3), "blocks.0.attn.k.weight": torch.ones(2, 4)}
    assert set(to_official(parts, "official")) == set(parts)
    parts["blocks.0.attn.v.weight"] = torch.ones(2, 3)
    assert set(to_official(parts, "official")) == set(parts)


@pytest.mark.parametrize("wrapper", ["backbone.", "encoder.", "model."])
def test_wrappers(wrapper):
    state = small().state_dict()
    wrapped = {wrapper + name: tensor for name, tensor in state.items()} | {"projector.weight": torch.ones(2)}
    assert find_format(wrapped) is None
    found = without_wrapper(wrapped)
    assert set(found) == {*state, "projector.weight"}
    assert without_wrapper({"net." + name: tensor for name, tensor in state.items()}) is None


def test_other_names():
    with pytest.raises(
        UserError, match=r"those of no known publisher, for example fc\.weight; known are torchvision, timm"
    ):
        detect_format({"fc.weight"})
    with pytest.raises(UserError, match="reversible MViT, which this package does not build"):
        detect_format(
            {"patch_embed.proj.weight", "rev_backbone.layers.0.F.attn.qkv.weight", "blocks.0.attn.qkv.weight"}
        )


def test_state_dicts_that_lack_what_a_name_needs():
    state = {"blocks.1.proj.weight": torch.ones(4, 2), "blocks.1.attn.qkv.weight": torch.ones(6, 2)}
    with pytest.raises(
        UserError, match=r"there is no blocks\.1\.attn\.proj\.weight, without which blocks\.1\.proj\.weight"
    ):
        from_official(state, "timm")


@pytest.mark.parametrize("shape", [(), (1,), (1, 3), (7, 2)])
def test_projections_that_are_no_three(shape):
    with pytest.raises(
        UserError, match=r"blocks\.0\.attn\.qkv\.weight is \(.*: its rows are no queries, keys and values"
    ):
        from_official({"blocks.0.attn.qkv.weight": torch.ones(shape)}, "pytorchvideo")


def test_projections_that_are_single_numbers():
    state = {f"blocks.0.attn.{x}.weight": torch.tensor(1.0) for x in "qkv"} | {
        "patch_embed.patch_model.weight": torch.ones(1)
    }
    with pytest.raises(
        UserError, match=r"blocks\.0\.attn\.q\.weight is a single number, where the rows of a projection"
    ):
        to_official(state, "pytorchvideo")


def test_odd_shapes_of_other_tensors():
    """They go through the names, and are refused by their shapes."""
    state = {
        "cls_token": torch.tensor(1.0),
        "blocks.1.attn.proj.weight": torch.tensor(1.0),
        "blocks.1.proj.weight": torch.tensor(2.0),
    }
    assert set(from_official(state, "timm")) == {
        "cls_token",
        "stages.1.blocks.0.attn.proj.weight",
        "stages.1.blocks.0.shortcut_proj_attn.weight",
    }
    assert set(from_official(state, "torchvision")) == {
        "pos_encoding.class_token",
        "blocks.1.attn.project.0.weight",
        "blocks.1.project.weight",
    }
