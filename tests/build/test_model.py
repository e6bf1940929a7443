"""Models by name and by config, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast_mvit.build.model import architecture, build_model, create_model, list_models
from slowfast_mvit.config.load import load_config
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.baselines import BASELINES, LEAST_SIDE
from slowfast_mvit.models.detectors import DETECTORS
from slowfast_mvit.models.layout import plan_blocks
from slowfast_mvit.models.variants import VARIANTS

FOLDER = Path(__file__).parents[2] / "configs" / "Kinetics"
KINETICS = [FOLDER / f"{name}.yaml" for name in ("MVITV2_B_32x3", "MVITV2_L_40x3", "MVITV2_S_16x4")]
S = next(path for path in KINETICS if path.stem == "MVITV2_S_16x4")


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def on_meta(make, *args, **options):
    with torch.device("meta"):
        return make(*args, **options)


# By name.


def test_names():
    video = ["mvitv2_b_32x3", "mvitv2_l_40x3", "mvitv2_s_16x4"]
    images = [f"mvitv2_{size}" for size in "tsblh"] + [f"mvitv2_{size}_in21k" for size in "blh"]
    first = ["mvitv1_b_16x4", "mvitv1_b_32x3", "mvitv1_b_24_32x3", "mvitv1_b_16", "mvitv1_b_24", "vit_b_16"]
    detectors = [f"mask_rcnn_mvitv2_{size}" for size in "tsbl"] + [
        f"cascade_mask_rcnn_mvitv2_{size}" for size in "tsblh"
    ]
    assert list_models() == sorted([*video, *images, *first, *BASELINES, *detectors])
    assert list_models("mvitv2*_?0x3") == ["mvitv2_l_40x3"] and list_models("x3d") == []


def test_image_models() -> None:
    model = create_model("mvitv2_t", num_classes=7, crop_size=(64, 96))
    assert model(torch.zeros(2, 3, 64, 96)).shape == (2, 7)
    with torch.device("meta"):
        classes = {name: create_model(name).num_classes for name in ("mvitv2_t", "mvitv2_b_in21k", "mvitv2_s_16x4")}
    assert classes == {"mvitv2_t": 1000, "mvitv2_b_in21k": 19168, "mvitv2_s_16x4": 400}
    with pytest.raises(UserError, match="mvitv2_t is a model for images; it takes no num_frames"):
        create_model("mvitv2_t", num_frames=16)


@pytest.mark.parametrize(
    ("name", "count"),
    [("mvitv2_s_16x4", 34_537_744), ("mvitv2_b_32x3", 51_230_128), ("mvitv2_l_40x3", 213_390_112)],
)
def test_every_name_builds(name, count):
    model = on_meta(create_model, name)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert all(getattr(block.drop_path, "drop_prob", 0.0) == 0 for block in model.blocks)
    assert model.head.dropout.p == 0


def test_numbers_reach_the_model():
    model = on_meta(
        create_model,
        "mvitv2_s_16x4",
        num_classes=5,
        num_frames=8,
        crop_size=(96, 160),
        in_channels=1,
        drop_path_rate=0.3,
        dropout_rate=0.5,
    )
    assert model.arch == replace(VARIANTS["mvitv2_s_16x4"], input_size=(8, 96, 160))
    found = shapes(model)
    assert found["head.projection.weight"] == (5, 768)
    assert found["patch_embed.proj.weight"] == (96, 1, 3, 7, 7)
    assert [found[f"blocks.0.attn.rel_pos_{axis}"] for axis in "thw"] == [(7, 96), (47, 96), (79, 96)]
    assert model.blocks[-1].drop_path.drop_prob == pytest.approx(0.3)
    assert model.head.dropout.p == 0.5


def test_one_number_is_a_square():
    assert on_meta(create_model, "mvitv2_l_40x3", crop_size=224).arch.input_size == (40, 224, 224)


def test_a_model_by_name_runs():
    model = create_model("mvitv2_s_16x4", num_classes=3, num_frames=2, crop_size=32).eval()
    with torch.no_grad():
        logits = model(torch.zeros(2, 3, 2, 32, 32))
    assert logits.shape == (2, 3) and logits.isfinite().all()


def test_a_name_that_is_nearly_right():
    with pytest.raises(UserError, match=r"there is no model 'mvit_v2_s_16x4'; did you mean mvitv2_s_16x4\?"):
        create_model("mvit_v2_s_16x4")


@pytest.mark.parametrize(
    ("name", "meant"), [("MVITV2_S_16X4", "mvitv2_s_16x4"), ("MViTv2-S", "mvitv2_s"), ("SlowFast-R50", "slowfast_r50")]
)
def test_names_in_other_spellings(name, meant):
    with pytest.raises(UserError, match=rf"there is no model '{name}'; did you mean {meant}\?"):
        create_model(name)


def test_a_name_that_is_not_near():
    with pytest.raises(UserError, match="there is no model 'x'; known are c2d_r50, cascade_mask_rcnn_mvitv2_b, "):
        create_model("x")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"num_frames": 15}, "num_frames is 15; it must be a positive multiple of the stem's stride 2"),
        ({"num_frames": -2}, "num_frames is -2; it must be a positive multiple"),
        ({"crop_size": 225}, "height is 225; it must be a positive multiple of the stem's stride 4"),
        ({"crop_size": (224, 30)}, "width is 30; it must be a positive multiple of the stem's stride 4"),
        ({"crop_size": 0}, "height is 0; it must be a positive multiple"),
    ],
)
def test_numbers_that_the_model_cannot_take(numbers, message):
    with pytest.raises(UserError, match=message):
        create_model("mvitv2_s_16x4", **numbers)


# By config.


@pytest.mark.parametrize("path", KINETICS, ids=lambda path: path.stem)
def test_recipes_build_the_models_of_their_names(path):
    config = load_config(path)
    name = path.stem.lower()
    assert architecture(config) == VARIANTS[name]
    model = on_meta(build_model, config)
    assert shapes(model) == shapes(on_meta(create_model, name))
    assert model.blocks[-1].drop_path.drop_prob == pytest.approx(config.MVIT.DROPPATH_RATE)
    assert model.head.dropout.p == config.MODEL.DROPOUT_RATE == 0.5
    assert model.checkpoint_activations == config.MODEL.ACT_CHECKPOINT


def test_there_is_a_recipe_for_every_video_model():
    assert sorted(path.stem.lower() for path in KINETICS) == [
        name for name in list_models() if name.startswith("mvitv2") and "x" in name
    ]


@pytest.mark.parametrize(("name", "rate"), [("S", 0.2), ("B", 0.3), ("L", 0.75)])
def test_drop_path_of_the_recipes(name, rate):
    path = next(path for path in KINETICS if path.stem.startswith(f"MVITV2_{name}_"))
    found = load_config(path).MVIT.DROPPATH_RATE
    assert found == rate


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("DATA.NUM_FRAMES", "8", "input_size", (8, 224, 224)),
        ("MVIT.PATCH_KERNEL", "[3, 8, 8]", "patch_kernel", (3, 8, 8)),
        ("MVIT.PATCH_PADDING", "[1, 2, 2]", "patch_padding", (1, 2, 2)),
        ("MVIT.EMBED_DIM", "48", "embed_dim", 48),
        ("MVIT.NUM_HEADS", "2", "num_heads", 2),
        ("MVIT.DEPTH", "17", "depth", 17),
        ("MVIT.DIM_MUL", "[[2, 3.0]]", "dim_mul", ((2, 3.0),)),
        ("MVIT.HEAD_MUL", "[[2, 3.0]]", "head_mul", ((2, 3.0),)),
        ("MVIT.POOL_Q_STRIDE", "[[1, 1, 2, 2]]", "pool_q_stride", ((1, (1, 2, 2)),)),
        ("MVIT.POOL_KV_STRIDE_ADAPTIVE", "[1, 4, 4]", "pool_kv_stride", (1, 4, 4)),
        ("MVIT.POOL_KV_STRIDE_ADAPTIVE", "None", "pool_kv_stride", None),
        ("MVIT.POOL_KVQ_KERNEL", "None", "pool_kernel", None),
        ("MVIT.POOL_NORM_EPS", "1e-5", "pool_norm_eps", 1e-5),
        ("MVIT.MLP_RATIO", "3", "mlp_ratio", 3.0),
        ("MVIT.DIM_MUL_IN_ATT", "False", "expand_in_attention", False),
        ("MVIT.REL_POS_SPATIAL", "False", "rel_pos_space", False),
        ("MVIT.REL_POS_TEMPORAL", "False", "rel_pos_time", False),
        ("MVIT.REL_POS_ZERO_INIT", "True", "rel_pos_zero_init", True),
        ("MVIT.RESIDUAL_POOLING", "False", "residual_pooling", False),
        ("MVIT.CLS_EMBED_ON", "False", "cls_token", False),
        ("MVIT.USE_MEAN_POOLING", "True", "mean_pooling", True),
        ("MVIT.QKV_BIAS", "False", "qkv_bias", False),
    ],
)
def test_every_key_reaches_the_architecture(key, value, field, expected):
    config = load_config(S, [key, value])
    assert architecture(config) == replace(VARIANTS["mvitv2_s_16x4"], **{field: expected})


def test_keys_that_reach_the_model_itself():
    changes = ["MODEL.NUM_CLASSES", "7", "MODEL.ACT_CHECKPOINT", "True", "MVIT.HEAD_INIT_SCALE", "0"]
    model = build_model(small_config(*changes))
    assert model.checkpoint_activations
    assert tuple(model.head.projection.weight.shape) == (7, 8)
    assert not model.head.projection.weight.any() and not model.head.projection.bias.any()
    assert model.blocks[0].attn.proj.weight.any()


def small_config(*changes):
    lists = ["MVIT.DIM_MUL", "[]", "MVIT.HEAD_MUL", "[]", "MVIT.POOL_Q_STRIDE", "[[0, 1, 1, 1]]"]
    return load_config(S, ["MVIT.EMBED_DIM", "8", "MVIT.DEPTH", "1", *lists, *changes])


def test_initial_weights_of_the_config():
    official, xavier = build_model(small_config()), build_model(small_config("MVIT.INIT", "xavier"))
    assert official.blocks[0].mlp.fc1.weight.std() < 0.03 < 0.1 < xavier.blocks[0].mlp.fc1.weight.std()


def test_dropout_inside_blocks_is_refused():
    with pytest.raises(UserError, match=r"MVIT.DROPOUT_RATE is 0.1, but blocks have no dropout here.*set it to 0"):
        build_model(load_config(S, ["MVIT.DROPOUT_RATE", "0.1"]))


MVIT_V1 = [
    "MVIT.USE_ABS_POS", "True", "MVIT.SEP_POS_EMBED", "True", "MVIT.REL_POS_SPATIAL", "False",
    "MVIT.REL_POS_TEMPORAL", "False", "MVIT.RESIDUAL_POOLING", "False", "MVIT.DIM_MUL_IN_ATT", "False",
    "MVIT.POOL_Q_STRIDE", "[[1, 1, 2, 2], [3, 1, 2, 2], [14, 1, 2, 2]]",
]  # fmt: skip
IMAGE = [
    "MVIT.PATCH_2D", "True", "MVIT.PATCH_KERNEL", "[7, 7]", "MVIT.PATCH_STRIDE", "[4, 4]", "MVIT.PATCH_PADDING", "[3, 3]",
    "MVIT.POOL_KV_STRIDE_ADAPTIVE", "[1, 4, 4]", "MVIT.POOL_KVQ_KERNEL", "[1, 3, 3]", "MVIT.REL_POS_TEMPORAL", "False",
    "MVIT.CLS_EMBED_ON", "False",
]  # fmt: skip


@pytest.mark.parametrize(("changes", "name"), [(MVIT_V1, "mvitv1_b_16x4"), (IMAGE, "mvitv2_s")])
def test_other_models_by_their_keys(changes, name):
    """PySlowFast writes images with a time axis of 1."""
    assert architecture(load_config(S, changes)) == VARIANTS[name]


def test_key_strides_spelt_out():
    """SlowFast's image files list what the adaptive rule gives."""
    listed = [[i, 1, s, s] for i, s in enumerate([4, 2, 2, *[1] * 13])]
    spelt = ["MVIT.POOL_KV_STRIDE_ADAPTIVE", "None", "MVIT.POOL_KV_STRIDE", str(listed)]
    arch = architecture(load_config(S, [*IMAGE, *spelt]))
    assert plan_blocks(arch) == plan_blocks(VARIANTS["mvitv2_s"])
    few = architecture(load_config(S, [*IMAGE, *spelt[:3], "[[3, 1, 2, 2]]"]))
    assert [spec.pool_kv is not None for spec in plan_blocks(few)] == [i == 3 for i in range(16)]


@pytest.mark.parametrize(
    ("key", "value", "switch"),
    [
        ("POSITIONS", "joint_space_plus_time", {"positions": "joint_space_plus_time"}),
        ("POSITIONS", "absolute", {"positions": "absolute"}),
        ("REL_POS_TERMS", "qkv", {"rel_pos_terms": "qkv"}),
        ("ATTENTION", "full", {"attention": "full"}),
        ("MODE", "avg", {"pool_mode": "avg"}),
        ("RESIDUAL_POOLING", "False", {"residual_pooling": False}),
        ("DIM_MUL_IN_ATT", "False", {"expand_in_attention": False}),
        ("CLS_EMBED_ON", "False", {"cls_token": False}),
        ("USE_MEAN_POOLING", "True", {"mean_pooling": True}),
        ("POOL_KV_STRIDE_ADAPTIVE", "[1, 4, 4]", {"kv_stride": 4}),
        ("POOL_Q_STRIDE", "[[1, 1, 2, 2], [3, 1, 2, 2], [14, 1, 2, 2]]", {"full_q_pooling": False}),
    ],
)
def test_an_ablation_is_the_same_by_config_and_by_keyword(key, value, switch):
    model = on_meta(create_model, "mvitv2_s_16x4", **switch)
    assert model.arch == architecture(load_config(S, [f"MVIT.{key}", value])) != VARIANTS["mvitv2_s_16x4"]


def test_windows_by_config_and_by_keyword():
    changes = ["MVIT.CLS_EMBED_ON", "False", "MVIT.ATTENTION", "hybrid_window", "MVIT.WINDOW_SIDES", "[56, 28, 14, 7]"]
    by_config = architecture(load_config(S, changes))
    by_name = on_meta(
        create_model, "mvitv2_s_16x4", attention="hybrid_window", window_sides=(56, 28, 14, 7), cls_token=False
    )
    assert by_config == by_name.arch


def test_something_else_than_a_config():
    with pytest.raises(UserError, match=r"build_model takes a config, as of load_config\(path\), and not a str"):
        build_model(str(S))


def test_an_unknown_switch():
    with pytest.raises(UserError, match="create_model takes no 'residual'; did you mean residual_pooling"):
        create_model("mvitv2_s", residual=False)


CLASSIFIERS = [name for name in list_models() if name not in DETECTORS]
SMALL = [name for name in CLASSIFIERS if sum(p.numel() for p in on_meta(create_model, name).parameters()) < 60e6]


@pytest.mark.parametrize("name", SMALL)
def test_every_small_model_runs_forward_and_backward(name):
    """At 8 frames and 112 pixels; baselines at the smallest size that they take."""
    sizes = smallest(name)
    model = create_model(name, num_classes=3, **sizes)
    frames = (sizes["num_frames"],) if "num_frames" in sizes else ()
    logits = model(torch.randn(2, 3, *frames, sizes["crop_size"], sizes["crop_size"]))
    assert logits.shape == (2, 3) and logits.isfinite().all()
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_which_models_are_small():
    assert set(CLASSIFIERS) - set(SMALL) == {
        "mvitv2_l", "mvitv2_h", "mvitv2_b_in21k", "mvitv2_l_in21k", "mvitv2_h_in21k", "mvitv2_l_40x3", "vit_b_16",
        "slowfast_r101",
    }  # fmt: skip


def smallest(name):
    if name in BASELINES:
        return {"num_frames": max(BASELINES[name].least_frames, 4), "crop_size": LEAST_SIDE}
    return {"crop_size": 112} | ({"num_frames": 8} if len(VARIANTS[name].input_size) == 3 else {})


def test_an_adaptive_stride_replaces_the_explicit_one():
    config = load_config(S, ["MVIT.POOL_KV_STRIDE", "[[0, 1, 2, 2]]"])
    assert architecture(config) == VARIANTS["mvitv2_s_16x4"]


def test_a_config_is_left_as_it_was():
    config = load_config(S)
    on_meta(build_model, config)
    assert config == load_config(S)
    assert isinstance(on_meta(build_model, config), nn.Module)
