"""Models by name and by config, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast_mvit.build.model import architecture, build_model, create_model, list_models
from slowfast_mvit.config.load import load_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.variants import VARIANTS

KINETICS = sorted((Path(__file__).parents[2] / "configs" / "Kinetics").glob("*.yaml"))
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
    assert list_models() == sorted(video + images)


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


def test_a_name_that_is_not_near():
    with pytest.raises(UserError, match="there is no model 'x'; known are mvitv2_b, mvitv2_b_32x3, "):
        create_model("x")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"num_frames": 15}, "num_frames is 15; it must be a positive multiple of the stem's stride 2"),
        ({"num_frames": -2}, "num_frames is -2; it must be a positive multiple"),
        ({"crop_size": 225}, "height is 225; it must be a positive multiple of the stem's stride 4"),
        ({"crop_size": (224, 30)}, "width is 30; it must be a positive multiple of the stem's stride 4"),
        ({"crop_size": 0}, "height is 0; it must be a positive multiple"),
        ({"num_classes": 0}, "num_classes is 0; it must be at least 1"),
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
    assert sorted(path.stem.lower() for path in KINETICS) == [name for name in list_models() if "x" in name]


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


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (["MVIT.USE_ABS_POS", "True"], "MVIT.USE_ABS_POS"),
        (["MVIT.MODE", "max"], "MVIT.MODE"),
        (["MVIT.MODE", "avg"], "MVIT.MODE"),
        (["MVIT.DROPOUT_RATE", "0.1"], "MVIT.DROPOUT_RATE"),
        (["MVIT.POOL_KV_STRIDE_ADAPTIVE", "None", "MVIT.POOL_KV_STRIDE", "[[0, 1, 8, 8]]"], "MVIT.POOL_KV_STRIDE"),
    ],
)
def test_what_is_not_built_is_refused(changes, name):
    with pytest.raises(UserError, match=rf"it has no {name} as set \(an MViTv2 recipe has USE_ABS_POS False"):
        build_model(load_config(S, changes))


def test_all_that_is_not_built_is_named_at_once():
    config = load_config(S, ["MVIT.USE_ABS_POS", "True", "MVIT.MODE", "avg"])
    with pytest.raises(UserError, match=r"it has no MVIT.USE_ABS_POS, MVIT.MODE as set"):
        build_model(config)


def test_images_are_refused():
    config = load_config(S)
    config = replace(config, MVIT=replace(config.MVIT, PATCH_2D=True))
    with pytest.raises(UserError, match=r"builds MViTv2 for video only; it has no MVIT.PATCH_2D as set"):
        build_model(config)


def test_the_official_defaults_alone_are_refused():
    config = Config()
    config = replace(config, MODEL=replace(config.MODEL, ARCH="mvit"))
    with pytest.raises(UserError, match=r"it has no MVIT.USE_ABS_POS"):
        build_model(config)


def test_an_adaptive_stride_replaces_the_explicit_one():
    config = load_config(S, ["MVIT.POOL_KV_STRIDE", "[[0, 1, 2, 2]]"])
    assert architecture(config) == VARIANTS["mvitv2_s_16x4"]


def test_other_networks_are_refused():
    with pytest.raises(UserError, match=r"MODEL.ARCH is 'x3d_s'; this version builds mvit only"):
        build_model(load_config(S, ["MODEL.ARCH", "x3d_s"]))


def test_a_config_is_left_as_it_was():
    config = load_config(S)
    on_meta(build_model, config)
    assert config == load_config(S)
    assert isinstance(on_meta(build_model, config), nn.Module)
