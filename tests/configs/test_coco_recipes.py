# ruff: noqa: SIM300 - the keys of the config are upper case, and no constants
"""configs/COCO beside the paper's tables and detectron2's files, whose numbers are transcribed here once more.

What holds for all recipes, such as that they build and that their sizes are told rightly, is in test_recipes.py.
"""

import re

import pytest
import torch

from slowfast_mvit import create_model, list_weights
from slowfast_mvit.config.recipes import read_recipe
from slowfast_mvit.models.rcnn import Detector
from tests.configs.test_recipes import ALL, config_of, flops_of, model_of, parameters

RECIPES = sorted(name for name in ALL if name.startswith("COCO/"))

# Box and mask AP: Table 5, or detectron2's README where the header says so; A.1; A.5; 4b; 6; 7; A.4; 9.
PRECISIONS = {
    "MASK_RCNN_MVITV2_T": (48.3, 43.8), "MASK_RCNN_MVITV2_S": (49.9, 45.1), "MASK_RCNN_MVITV2_B": (51.0, 45.7),
    "MASK_RCNN_MVITV2_L": (51.8, 46.2), "MASK_RCNN_MVITV2_L_in21k": (52.7, 46.8),
    "CASCADE_MASK_RCNN_MVITV2_T": (52.2, 45.0), "CASCADE_MASK_RCNN_MVITV2_S": (53.2, 46.0),
    "CASCADE_MASK_RCNN_MVITV2_B": (54.1, 46.7), "CASCADE_MASK_RCNN_MVITV2_B_in21k": (54.9, 47.4),
    "CASCADE_MASK_RCNN_MVITV2_L": (54.3, 47.1), "CASCADE_MASK_RCNN_MVITV2_L_in21k_lsj": (55.8, 48.3),
    "CASCADE_MASK_RCNN_MVITV2_H_in21k_lsj": (56.1, 48.5),
    "CASCADE_MASK_RCNN_MVITV2_L_in21k_lsj_soft_nms": (56.9, 48.6),
    "CASCADE_MASK_RCNN_MVITV2_L_in21k_lsj_multi_scale": (58.7, 50.5),
    "MASK_RCNN_MVITV2_S_in21k": (50.2, 45.1), "MASK_RCNN_MVITV2_B_in21k": (51.5, 46.4),
    "ablations/MASK_RCNN_VIT_B": (46.6, 42.3), "ablations/MASK_RCNN_VIT_B_window": (43.4,),
    "ablations/MASK_RCNN_VIT_B_shifted_window": (45.1,), "ablations/MASK_RCNN_VIT_B_hybrid_window": (46.1,),
    "ablations/MASK_RCNN_VIT_B_pooling": (47.2,), "ablations/MASK_RCNN_VIT_B_pooling_hybrid_window": (46.9,),
    "ablations/MASK_RCNN_MVITV2_S_pooling": (50.8,), "ablations/MASK_RCNN_MVITV2_S_kv_stride_8": (50.0,),
    "ablations/MASK_RCNN_MVITV2_S_shifted_window": (48.9,),
    "ablations/MASK_RCNN_MVITV2_S_no_positions": (49.2,), "ablations/MASK_RCNN_MVITV2_S_absolute": (49.3,),
    "ablations/MASK_RCNN_MVITV2_S_joint": (49.9,), "ablations/MASK_RCNN_MVITV2_S_absolute_and_decomposed": (49.8,),
    "ablations/MASK_RCNN_MVITV2_S_no_residual": (48.5,), "ablations/MASK_RCNN_MVITV2_S_residual_only": (49.3,),
    "ablations/MASK_RCNN_MVITV2_S_full_q_only": (48.5,),
    "ablations/MASK_RCNN_MVITV2_S_rel_k": (49.7, 44.8), "ablations/MASK_RCNN_MVITV2_S_rel_qk": (50.0, 45.0),
    "ablations/MASK_RCNN_MVITV2_S_rel_v": (), "ablations/MASK_RCNN_MVITV2_S_rel_qv": (),
    "ablations/MASK_RCNN_MVITV2_S_rel_qkv": (),
    "ablations/MASK_RCNN_MVITV2_S_single_scale": (47.0, 41.4), "ablations/MASK_RCNN_VIT_B_single_scale": (45.1, 40.6),
}  # fmt: skip


def test_every_row_has_its_file() -> None:
    assert sorted(f"COCO/{name}" for name in PRECISIONS) == RECIPES


@pytest.mark.parametrize("name", PRECISIONS)
def test_expected_numbers(name: str) -> None:
    expected = read_recipe(ALL[f"COCO/{name}"]).fields["Expected"]
    found = re.match(r"box AP ([\d.]+)(?:, mask AP ([\d.]+))? \(val2017; ", expected)
    numbers = tuple(float(number) for number in found.groups() if number) if found else ()
    assert numbers == PRECISIONS[name]
    assert found or "out of memory in the paper" in expected


# Parameters in M and FLOPs in G of Table 5 and, for the last two, Table 9. L of the tables widens in the MLP.
@pytest.mark.parametrize(
    ("name", "params", "flops"),
    [
        ("MASK_RCNN_MVITV2_T", 44, 279),
        ("MASK_RCNN_MVITV2_S", 54, 326),
        ("MASK_RCNN_MVITV2_B", 71, 392),
        ("MASK_RCNN_MVITV2_L", 238, 1097),
        ("CASCADE_MASK_RCNN_MVITV2_T", 76, 701),
        ("CASCADE_MASK_RCNN_MVITV2_S", 87, 748),
        ("CASCADE_MASK_RCNN_MVITV2_B", 103, 814),
        ("CASCADE_MASK_RCNN_MVITV2_L", 270, 1519),
        ("CASCADE_MASK_RCNN_MVITV2_H_in21k_lsj", 718, 3084),
        ("ablations/MASK_RCNN_MVITV2_S_single_scale", None, 276),
        ("ablations/MASK_RCNN_VIT_B", None, 879),
    ],
)
def test_sizes_of_the_paper(name: str, params: int | None, flops: int) -> None:
    assert params is None or round(parameters(model_of(f"COCO/{name}")) / 1e6) == params
    assert flops_of(f"COCO/{name}") == pytest.approx(flops, rel=0.003)


@pytest.mark.parametrize("name", RECIPES)
def test_the_model_is_that_of_its_name(name: str) -> None:
    """The backbone is that of create_model, which is held to released weights and independent code; no file says it twice."""
    found = re.match(r"COCO/(ablations/)?((?:CASCADE_)?MASK_RCNN_MVITV2_[TSBLH])(.*)", name)
    if not found:
        assert name.startswith("COCO/ablations/MASK_RCNN_VIT_B")
        return
    _, model_name, rest = found.groups()
    with torch.device("meta"):
        of_mlp = model_name.endswith("_L") and not rest  # the released weights of ImageNet-1K
        switches = {"expand_in_attention": False} if of_mlp else SWITCHES.get(rest, {})
        expected = create_model(model_name.lower(), **switches)
    model = model_of(name)
    assert isinstance(model, Detector) and isinstance(expected, Detector)
    assert model.backbone.bottom_up.arch == expected.backbone.bottom_up.arch
    if rest != "_single_scale":
        shapes = [{key: tensor.shape for key, tensor in each.state_dict().items()} for each in (model, expected)]
        assert shapes[0] == shapes[1]


SWITCHES: dict[str, dict[str, object]] = {
    "_pooling": {"attention": "pooling"},
    "_kv_stride_8": {"attention": "pooling", "kv_stride": 8},
    "_shifted_window": {"attention": "shifted_window"},
    "_no_positions": {"positions": "none"},
    "_absolute": {"positions": "absolute"},
    "_joint": {"positions": "joint_space_plus_time"},
    "_absolute_and_decomposed": {"positions": "absolute_and_decomposed"},
    "_no_residual": {"residual_pooling": False, "full_q_pooling": False},
    "_residual_only": {"full_q_pooling": False},
    "_full_q_only": {"residual_pooling": False},
    **{f"_rel_{terms}": {"rel_pos_terms": terms} for terms in ("k", "qk", "v", "qv", "qkv")},
}


@pytest.mark.parametrize(
    ("rest", "windows", "kv_stride"),
    [
        ("", "none", None),
        ("_window", "fixed", None),
        ("_shifted_window", "shifted", None),
        ("_hybrid_window", "hybrid", None),
        ("_pooling", "none", (2, 2)),
        ("_pooling_hybrid_window", "hybrid", (2, 2)),
        ("_single_scale", "none", None),
    ],
)
def test_vit(rest: str, windows: str, kv_stride: tuple[int, int] | None) -> None:
    """ViT-B/16; windows have 14 tokens a side, the whole grid at 224 pixels."""
    model = model_of(f"COCO/ablations/MASK_RCNN_VIT_B{rest}")
    assert isinstance(model, Detector)
    arch = model.backbone.bottom_up.arch
    assert (arch.patch_stride, arch.embed_dim, arch.num_heads, arch.depth) == ((16, 16), 768, 12, 12)
    assert (arch.abs_pos, arch.rel_pos_space, arch.residual_pooling, arch.pool_q_stride) == ("joint", False, False, ())
    assert (arch.windows, arch.pool_kv_stride) == (windows, kv_stride)
    assert arch.window_sides == (() if windows == "none" else (14,))


def test_single_scale_has_one_map_with_all_anchors() -> None:
    for name in ("MVITV2_S", "VIT_B"):
        model = model_of(f"COCO/ablations/MASK_RCNN_{name}_single_scale")
        assert isinstance(model, Detector)
        assert model.options.sizes_of_maps(1) == ((32, 64, 128, 256, 512),)
        assert sum(key.startswith("backbone.fpn") for key in model.state_dict()) == 0


# detectron2's files, and the paper's B.3 where there is none: (drop path, steps, rate, large-scale jitter).
STANDARD, JITTER_50 = ((0, 52500, 62500), 67500, 1.6e-4), ((0, 81944, 88773), 92187, 1e-4)


@pytest.mark.parametrize("name", RECIPES)
def test_values_of_the_training(name: str) -> None:
    config = config_of(name)
    solver, coco, lasts = config.SOLVER, config.COCO, "_L_in21k_lsj" in name
    assert (solver.STEPS, solver.MAX_STEPS, solver.BASE_LR) == (JITTER_50 if lasts else STANDARD)
    assert solver.WARMUP_STEPS == 250 and solver.WARMUP_START_LR == pytest.approx(0.001 * solver.BASE_LR)
    assert (solver.LR_POLICY, solver.LRS, solver.WARMUP_EPOCHS) == ("steps_with_relative_lrs", (1, 0.1, 0.01), 0)
    assert (solver.OPTIMIZING_METHOD, solver.BETAS, solver.WEIGHT_DECAY) == ("adamw", (0.9, 0.999), 0.1)
    assert solver.CLIP_GRAD_L2NORM is None and solver.CLIP_GRAD_VAL is None and solver.LAYER_DECAY == 1
    # Of what does not decay, detectron2 names norms and position tables; biases decay.
    assert solver.ZERO_WD_NORM and config.MVIT.ZERO_DECAY_POS_CLS and not solver.ZERO_WD_1D_PARAM
    assert config.TRAIN.BATCH_SIZE * config.TRAIN.ACCUMULATE_STEPS == solver.REFERENCE_BATCH == 64
    assert coco.JITTER_SCALES == ((0.1, 2.0) if "lsj" in name else ()) and coco.JITTER_SIZE == 1024
    assert coco.TRAIN_SHORT_SIDES == tuple(range(480, 801, 32)) and coco.MAX_SIDE == 1333
    assert (coco.CROP_PROB, coco.CROP_SHORT_SIDES, coco.CROP_SIDES) == (0.5, (400, 500, 600), (384, 600))
    assert config.DATA.RANDOM_FLIP and config.MODEL.NUM_CLASSES == 80
    scaled = [255 * value for value in config.DATA.MEAN + config.DATA.STD]
    assert scaled == pytest.approx([123.675, 116.28, 103.53, 58.395, 57.12, 57.375])
    assert config.MODEL.ACT_CHECKPOINT == ("_H_" in name)


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("MASK_RCNN_MVITV2_T", 0.2),  # the file's; the paper's is 0.1
        ("MASK_RCNN_MVITV2_S", 0.3),
        ("MASK_RCNN_MVITV2_S_in21k", 0.3),
        ("MASK_RCNN_MVITV2_B", 0.4),
        ("MASK_RCNN_MVITV2_L", 0.5),
        ("MASK_RCNN_MVITV2_L_in21k", 0.5),
        ("CASCADE_MASK_RCNN_MVITV2_T", 0.2),
        ("CASCADE_MASK_RCNN_MVITV2_S", 0.2),  # the file's; the paper's is 0.3
        ("CASCADE_MASK_RCNN_MVITV2_B", 0.4),
        ("CASCADE_MASK_RCNN_MVITV2_B_in21k", 0.4),
        ("CASCADE_MASK_RCNN_MVITV2_L", 0.5),
        ("CASCADE_MASK_RCNN_MVITV2_L_in21k_lsj", 0.5),
        ("CASCADE_MASK_RCNN_MVITV2_H_in21k_lsj", 0.6),
    ],
)
def test_drop_path(name: str, rate: float) -> None:
    assert config_of(f"COCO/{name}").MVIT.DROPPATH_RATE == rate


@pytest.mark.parametrize("name", RECIPES)
def test_weights_that_are_published_are_in_the_table(name: str) -> None:
    config = config_of(name)
    published = list_weights()
    start, tested = config.TRAIN.CHECKPOINT_FILE_PATH, config.TEST.CHECKPOINT_FILE_PATH
    assert start
    size = re.search(r"MVITV2_([TSBLH])", name)
    if start.startswith("https://"):
        assert size
        kind = "in21k" if "in21k" in name else "in1k"
        models = {weights.model for weights in published if weights.url == start}
        assert models <= {f"mvitv2_{size[1].lower()}", f"mvitv2_{size[1].lower()}_{kind}"} and models
        assert start.endswith(f"{size[1]}_{kind}.pyth")
    assert bool(tested) == (not config.TRAIN.ENABLE)
    if tested:
        assert "cascade_mask_rcnn_mvitv2_l" in {weights.model for weights in published if weights.url == tested}


@pytest.mark.parametrize("name", RECIPES)
def test_the_test(name: str) -> None:
    coco, rcnn = config_of(name).COCO, config_of(name).RCNN
    scales = "multi_scale" in name
    # detectron2's defaults of test-time augmentation
    assert coco.TEST_SHORT_SIDES == (tuple(range(400, 1201, 100)) if scales else (800,))
    assert (coco.TEST_MAX_SIDE, coco.TEST_FLIP) == ((4000, True) if scales else (1333, False))
    soft = scales or "soft_nms" in name
    assert (rcnn.SOFT_NMS, rcnn.SCORE_THRESH) == (("linear", 0.001) if soft else ("none", 0.05))
    assert (rcnn.NMS_THRESH, rcnn.MAX_DETECTIONS, rcnn.PROPOSALS, rcnn.BOXES_PER_IMAGE) == (0.5, 100, 1000, 512)
