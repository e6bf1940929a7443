# ruff: noqa: SIM300 - the keys of the config are upper case, and no constants
"""Every file in configs/: it loads, its model is the paper's, and its header says the truth."""

import re
import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from fvcore.nn import FlopCountAnalysis

from slowfast_mvit.build.model import architecture, build_model, create_model
from slowfast_mvit.build.readiness import refuse_unbuilt
from slowfast_mvit.config.load import load_config
from slowfast_mvit.config.recipes import read_recipe
from slowfast_mvit.config.schema import Config
from slowfast_mvit.models.action import ActionMViT
from slowfast_mvit.models.baselines import BoxNetwork
from slowfast_mvit.models.flops import count_flops
from slowfast_mvit.models.flops_rcnn import detector_flops
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.paper import PAPER_ROWS
from slowfast_mvit.models.rcnn import Detector

ROOT = Path(__file__).parents[2]
ALL = {
    path.relative_to(ROOT / "configs").with_suffix("").as_posix(): path for path in (ROOT / "configs").rglob("*.yaml")
}
RECIPES = sorted(name for name in ALL if not name.startswith("Toy/"))


@cache
def config_of(name: str) -> Config:
    return load_config(ALL[name])


@cache
def model_of(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        model = build_model(config_of(name))
    finds = name.startswith("COCO/") or "_COCO" in name
    assert isinstance(model, Detector if finds else MViT) or name == "AVA/SLOWFAST_32x2_R50"
    assert isinstance(model, ActionMViT | BoxNetwork) == (name.startswith("AVA/") or name.endswith("_AVA"))
    return model


def flops_of(name: str) -> float:
    """In G, for one view; of a detector, for an image of the size that the paper's Table 5 fits."""
    config = config_of(name)
    if isinstance(model := model_of(name), Detector):
        return detector_flops(model).total / 1e9
    if config.MODEL.ARCH == "mvit":
        return count_flops(architecture(config), config.MODEL.NUM_CLASSES).total / 1e9
    frames, side = config.DATA.NUM_FRAMES, config.DATA.TRAIN_CROP_SIZE
    given = (torch.zeros(1, 3, frames, side, side), torch.tensor([[0, 0.0, 0, side, side]]))
    counted = FlopCountAnalysis(build_model(config).eval(), given)
    return counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total() / 1e9


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", sorted(ALL))
def test_it_loads_and_builds(name: str) -> None:
    assert parameters(model_of(name)) > 0


@pytest.mark.parametrize("name", sorted(ALL))
def test_this_version_does_all_that_it_asks_for(name: str) -> None:
    """Train and test; but for several GPUs, which only the presets ask for."""
    config = config_of(name)
    if config.NUM_GPUS > 1:
        assert name.endswith("gpu")
    refuse_unbuilt(replace(config, NUM_GPUS=1, TRAIN=replace(config.TRAIN, ENABLE=True)))


@pytest.mark.parametrize("name", RECIPES)
def test_the_command_is_its_own_and_loads(name: str) -> None:
    command = shlex.split(read_recipe(ALL[name]).fields["Command"].replace(" \\ ", " "))
    assert command[:4] == ["python", "tools/run_net.py", "--cfg", f"configs/{name}.yaml"]
    config = load_config(ROOT / command[3], command[4:])
    folders = (
        (config.AVA.FRAME_DIR, config.AVA.FRAME_LIST_DIR, config.AVA.ANNOTATION_DIR)
        if name.startswith("AVA/")
        else (config.DATA.PATH_TO_DATA_DIR,)
    )
    assert all(folder.startswith("/path/to/") for folder in folders)
    assert config.OUTPUT_DIR in (".", f"runs/{name}")


@pytest.mark.parametrize("name", RECIPES)
def test_the_size_is_that_of_the_model(name: str) -> None:
    said = re.match(
        r"([\d.]+) M parameters, ([\d.]+) G FLOPs per (view|image)$", read_recipe(ALL[name]).fields["Model"]
    )
    assert said, "Model: ... M parameters, ... G FLOPs per view"
    config = config_of(name)
    flops = flops_of(name)
    assert said[1] == f"{parameters(model_of(name)) / 1e6:.1f}"
    assert float(said[2]) == round(flops, len(said[2].partition(".")[2]))
    assert said[3] == ("image" if config.MVIT.PATCH_2D else "view")


@pytest.mark.parametrize("name", RECIPES)
def test_the_test_s_views_are_those_of_the_expected_number(name: str) -> None:
    test, expected = config_of(name).TEST, read_recipe(ALL[name]).fields["Expected"]
    views = re.search(r"\((\d+) views? x (\d) crops?[;)]", expected)
    if config_of(name).TEST.DATASET != "imagenet" and "top-1" in expected:
        assert views and [int(number) for number in views.groups()] == [test.NUM_ENSEMBLE_VIEWS, test.NUM_SPATIAL_CROPS]


# Recipe -> row of models/paper.py, whose figures tests/models/test_flops.py holds to the paper's and to independent ones.
# A star: the recipe is the other form of L (MVIT.DIM_MUL_IN_ATT), as the weights that it starts from, and its header says so.
PAPER = {
    "ImageNet/MVITV2_T": "T at 224, Table 2",
    "ImageNet/MVITV2_S": "S at 224, Table 2",
    "ImageNet/MVITV2_B": "B at 224, Table 2",
    "ImageNet/MVITV2_L": "L at 224, Table 2; the released file",
    "ImageNet/MVITV2_B_384": "B at 384, Table 2",
    "ImageNet/MVITV2_L_384": "*L at 384, Table 2",
    "ImageNet/MVITV2_L_in21k": "L at 224, the same with a class token, Table 3",
    "ImageNet/MVITV2_H_in21k": "H at 224, Table 3",
    "ImageNet/MVITV2_L_384_in21k": "L at 384 from IN-21K, Table 3",
    "ImageNet/MVITV2_H_384_in21k": "H at 384, Table 3",
    "ImageNet/MVITV2_H_512_in21k": "H at 512, Table 3",
    "ImageNet/MVITV2_B_in21k_pretrain": "B of IN-21K",
    "ImageNet/MVITV2_L_in21k_pretrain": "L of IN-21K",
    "ImageNet/MVITV2_H_in21k_pretrain": "H of IN-21K",
    "ImageNet/ablations/VIT_B": "ViT-B, full attention, Table 4",
    "ImageNet/ablations/VIT_B_window": "ViT-B, windows of 7",
    "ImageNet/ablations/VIT_B_shifted_window": "ViT-B, shifted windows",
    "ImageNet/ablations/VIT_B_hybrid_window": "ViT-B, hybrid windows",
    "ImageNet/ablations/VIT_B_pooling": "ViT-B, pooling, stride 2",
    "ImageNet/ablations/MVITV2_S_kv_stride_8": "S, pooling, stride 8, Table 4",
    "ImageNet/ablations/MVITV2_S_shifted_window": "S, pooling and shifted windows",
    "ImageNet/ablations/MVITV2_S_hybrid_window": "S, pooling and hybrid windows",
    "Kinetics/MVITV2_S_16x4": "S 16x4 K400, Table 10",
    "Kinetics/MVITV2_B_32x3": "B 32x3 K400, Table 10",
    "Kinetics/MVITV2_L_40x3": "L 40x3 at 312 K400, Table 10",
    "Kinetics/MVITV2_B_32x3_k600": "B 32x3 K600, Table 11",
    "Kinetics/MVITV2_L_32x3_312_k600_in21k": "L 32x3 at 312 K600, Table 11",
    "Kinetics/MVITV2_L_40x3_352_k600_in21k": "L 40x3 at 352 K600, Table 11",
    "Kinetics/MVITV2_B_32x3_k700": "B 32x3 K700, Table 12",
    "Kinetics/MVITV2_S_16x4_scratch": "S 16x4 K400, Table 10",
    "Kinetics/MVITV2_S_16x4_in1k": "S 16x4 K400, Table 10",
    "Kinetics/MVITV2_S_16x4_in21k": "S 16x4 K400, Table 10",
    "Kinetics/MVITV2_B_32x3_scratch": "B 32x3 K400, Table 10",
    "Kinetics/MVITV2_B_32x3_in1k": "B 32x3 K400, Table 10",
    "Kinetics/MVITV2_B_32x3_in21k": "B 32x3 K400, Table 10",
    "Kinetics/MVITV2_L_40x3_224_scratch": "*L 40x3 at 224 K400, Table 14",
    "Kinetics/MVITV2_L_40x3_224_in1k": "L 40x3 at 224 K400, Table 14",
    "Kinetics/MVITV2_L_40x3_224_in21k": "*L 40x3 at 224 K400, Table 14",
    "Kinetics/MVITV2_L_40x3_312_scratch": "L 40x3 at 312 K400, Table 10",
    "Kinetics/MVITV2_L_40x3_312_in1k": "*L 40x3 at 312 K400, Table 10",
    "Kinetics/MVITV2_L_40x3_312_in21k": "L 40x3 at 312 K400, Table 10",
    "Kinetics/ablations/MVITV2_S_16x4_no_positions": "S 16x4, no positions, Table A.6",
    "Kinetics/ablations/MVITV2_S_16x4_absolute": "S 16x4, absolute",
    "Kinetics/ablations/MVITV2_S_16x4_relative_time": "S 16x4, relative in time",
    "Kinetics/ablations/MVITV2_S_16x4_relative_space": "S 16x4, relative in space",
    "Kinetics/ablations/MVITV2_S_16x4_joint_space_plus_time": "S 16x4, joint in space, plus time",
    "Kinetics/ablations/MVITV2_S_16x4_joint_spacetime": "S 16x4, joint in space and time",
    "Kinetics/ablations/MVITV2_S_16x4_no_residual": "S 16x4, no residual pooling, Table A.7",
    "Kinetics/ablations/MVITV2_S_16x4_full_q_only": "S 16x4, full Q pooling alone",
    "Kinetics/ablations/MVITV2_S_16x4_residual_only": "S 16x4, residual pooling alone",
    "SSv2/MVITV2_S_16x4": "S 16x4 SSv2, Table 13",
    "SSv2/MVITV2_B_32x3": "B 32x3 SSv2, Table 13",
    "SSv2/MVITV2_B_32x3_in21k": "B 32x3 SSv2, Table 13",
    "SSv2/MVITV2_L_40x3": "L 40x3 at 312 SSv2, Table 13",
    "AVA/MVITV2_S_16x4": "S 16x4 AVA, Table A.2",
    "AVA/MVITV2_B_32x3": "B 32x3 AVA, Table A.2",
    "AVA/MVITV2_B_32x3_k600": "B 32x3 AVA, Table A.2",
    "AVA/MVITV2_B_32x3_k700": "B 32x3 AVA, Table A.2",
    "AVA/MVITV2_L_40x3": "L 40x3 at 312 AVA, Table A.2",
}
ROWS = {row.title: row for row in PAPER_ROWS}


@pytest.mark.parametrize("name", PAPER)
def test_the_model_is_the_paper_s(name: str) -> None:
    row, other_form = ROWS[PAPER[name].lstrip("*")], PAPER[name].startswith("*")
    config = config_of(name)
    with torch.device("meta"):
        expected = create_model(row.name, **row.options)
    if other_form:
        widens = str(not config.MVIT.DIM_MUL_IN_ATT)
        config = load_config(ALL[name], ["MVIT.DIM_MUL_IN_ATT", widens])
    assert architecture(config) == expected.arch
    assert config.MODEL.NUM_CLASSES == expected.num_classes
    # Where the recipe's own size is not the paper's (half a percent, or half of its last digit), the header gives the paper's.
    flops = count_flops(architecture(config_of(name)), expected.num_classes).total / 1e9
    notes = (
        ALL[name].read_text(encoding="utf-8").split("# Measured here:")[1].split("\n_BASE_:")[0].split("\nTRAIN:")[0]
    )
    for printed, found, unit in (
        (row.paper_params, parameters(model_of(name)) / 1e6, "M"),
        (row.paper_flops, flops, "G"),
    ):
        decimals = len(f"{printed:g}".partition(".")[2]) if printed else 0
        if printed and abs(found - printed) > max(0.005 * printed, 0.5 * 10.0**-decimals):
            assert f"{printed:g} {unit}" in notes, f"{found:.2f} {unit} here"


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("no_positions", {"positions": "none"}),
        ("absolute", {"positions": "absolute"}),
        ("joint", {"positions": "joint_space_plus_time"}),
        ("absolute_and_decomposed", {"positions": "absolute_and_decomposed"}),
        ("no_residual", {"residual_pooling": False, "full_q_pooling": False}),
        ("residual_only", {"full_q_pooling": False}),
        ("full_q_only", {"residual_pooling": False}),
        *((f"rel_{terms}", {"rel_pos_terms": terms}) for terms in ("k", "qk", "v", "qv", "qkv")),
    ],
)
def test_ablations_of_images(name: str, switches: dict[str, object]) -> None:
    with torch.device("meta"):
        expected = create_model("mvitv2_s", **switches)
    assert architecture(config_of(f"ImageNet/ablations/MVITV2_S_{name}")) == expected.arch


@pytest.mark.parametrize(
    "frames_and_side", [("Kinetics/MVITV2_L_16x4_in21k", 16), ("Kinetics/MVITV2_L_16x4_scratch", 16)]
)
def test_the_start_of_the_large_model(frames_and_side: tuple[str, int]) -> None:
    name, frames = frames_and_side
    with torch.device("meta"):
        expected = create_model("mvitv2_l_40x3", num_frames=frames, crop_size=224)
    assert architecture(config_of(name)) == expected.arch


@pytest.mark.parametrize(("name", "row"), [("S", "MaskFeat S 16x4"), ("L", "MaskFeat L 16x4")])
def test_maskfeat(name: str, row: str) -> None:
    paper = ROWS[f"{row} (arXiv 2112.09133)"]
    with torch.device("meta"):
        expected = create_model(paper.name, **paper.options, mean_pooling=True)
    assert architecture(config_of(f"Kinetics/MVITV2_{name}_16x4_maskfeat")) == expected.arch


# Top-1 and top-5 of the paper's tables, transcribed once more.
ACCURACIES = {
    # Table 10
    "Kinetics/MVITV2_S_16x4": (81.0, 94.6), "Kinetics/MVITV2_B_32x3": (82.9, 95.7), "Kinetics/MVITV2_L_40x3": (86.1, 97.0),
    # Table 11
    "Kinetics/MVITV2_B_32x3_k600": (85.5, 97.2), "Kinetics/MVITV2_L_32x3_312_k600_in21k": (87.2, 97.6),
    "Kinetics/MVITV2_L_40x3_312_k600_in21k": (87.5, 97.8), "Kinetics/MVITV2_L_40x3_352_k600_in21k": (87.9, 97.9),
    # Table 12
    "Kinetics/MVITV2_B_32x3_k700": (76.6, 93.2), "Kinetics/MVITV2_L_40x3_312_k700_in21k": (79.4, 94.9),
    # Table 13
    "SSv2/MVITV2_S_16x4": (68.2, 91.4), "SSv2/MVITV2_B_32x3": (70.5, 92.7), "SSv2/MVITV2_B_32x3_in21k": (72.1, 93.4),
    "SSv2/MVITV2_L_40x3": (73.3, 94.1),
    # Table 14
    "Kinetics/MVITV2_S_16x4_scratch": (81.2,), "Kinetics/MVITV2_S_16x4_in1k": (82.2,), "Kinetics/MVITV2_S_16x4_in21k": (82.6,),
    "Kinetics/MVITV2_B_32x3_scratch": (82.9,), "Kinetics/MVITV2_B_32x3_in1k": (83.3,), "Kinetics/MVITV2_B_32x3_in21k": (84.3,),
    "Kinetics/MVITV2_L_40x3_224_scratch": (81.4,), "Kinetics/MVITV2_L_40x3_224_in1k": (83.4,),
    "Kinetics/MVITV2_L_40x3_224_in21k": (84.5,), "Kinetics/MVITV2_L_40x3_312_scratch": (81.8,),
    "Kinetics/MVITV2_L_40x3_312_in1k": (84.4,), "Kinetics/MVITV2_L_40x3_312_in21k": (85.7,),
    # Tables 2 and 3
    "ImageNet/MVITV2_T": (82.3,), "ImageNet/MVITV2_S": (83.6,), "ImageNet/MVITV2_B": (84.4,), "ImageNet/MVITV2_L": (85.3,),
    "ImageNet/MVITV2_B_384": (85.2,), "ImageNet/MVITV2_L_384": (86.0,), "ImageNet/MVITV2_L_in21k": (87.5,),
    "ImageNet/MVITV2_H_in21k": (88.0,), "ImageNet/MVITV2_L_384_in21k": (88.2,), "ImageNet/MVITV2_H_384_in21k": (88.3,),
    "ImageNet/MVITV2_H_512_in21k": (88.3,),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCURACIES)
def test_expected_numbers(name: str) -> None:
    found = re.findall(r"top-\d ([\d.]+)", read_recipe(ALL[name]).fields["Expected"])
    assert tuple(map(float, found)) == ACCURACIES[name]


# Values that the official files state, and the paper's where there is none: (epochs, rate, reference batch, weight decay, drop
# path, mixup).
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ImageNet/MVITV2_T", (300, 2.5e-4, 0, 0.05, 0.1, 1.0)),
        ("ImageNet/MVITV2_B", (300, 2.5e-4, 0, 0.05, 0.3, 1.0)),
        ("ImageNet/MVITV2_L", (300, 2.5e-4, 0, 0.1, 0.5, 1.0)),
        ("ImageNet/MVITV2_B_384", (30, 4e-5, 256, 0.05, 0.3, 1.0)),
        ("ImageNet/MVITV2_L_384", (30, 5e-4, 64, 0.1, 0.5, 0.0)),
        ("ImageNet/MVITV2_S_in21k_pretrain", (90, 6.75e-5, 256, 0.01, 0.1, 1.0)),
        ("ImageNet/MVITV2_L_in21k_pretrain", (90, 1e-4, 256, 0.1, 0.5, 1.0)),
        ("ImageNet/MVITV2_H_in21k_pretrain", (60, 1e-4, 256, 0.1, 0.8, 1.0)),
        ("ImageNet/MVITV2_H_in21k", (30, 7e-5, 64, 0.05, 0.8, 0.0)),
        ("ImageNet/MVITV2_H_384_in21k", (30, 5e-4, 64, 0.05, 0.8, 0.0)),
        ("ImageNet/MVITV2_H_512_in21k", (3, 5e-4, 64, 1e-8, 0.8, 1.0)),
        ("Kinetics/MVITV2_S_16x4", (200, 1e-4, 0, 0.05, 0.2, 1.0)),
        ("Kinetics/MVITV2_B_32x3_k700", (200, 1e-4, 0, 0.05, 0.3, 1.0)),
        ("Kinetics/MVITV2_S_16x4_in1k", (100, 4.8e-4, 512, 0.05, 0.2, 1.0)),
        ("Kinetics/MVITV2_B_32x3_in21k", (75, 1.6e-4, 512, 0.05, 0.3, 1.0)),
        ("Kinetics/MVITV2_L_16x4_in21k", (75, 1.6e-4, 512, 0.05, 0.75, 1.0)),
        ("Kinetics/MVITV2_L_40x3_352_k600_in21k", (30, 1.6e-5, 128, 1e-8, 0.75, 0.0)),
        ("Kinetics/MVITV2_S_16x4_maskfeat", (100, 6e-4, 0, 0.05, 0.1, 1.0)),
        ("Kinetics/MVITV2_L_16x4_maskfeat", (75, 6e-4, 0, 0.05, 0.2, 1.0)),
        ("SSv2/MVITV2_S_16x4", (100, 2.5e-3, 0, 1e-4, 0.4, 1.0)),
        ("SSv2/MVITV2_B_32x3", (100, 1.5e-3, 0, 1e-4, 0.4, 1.0)),
        ("SSv2/MVITV2_L_40x3", (40, 1.25e-3, 0, 1e-4, 0.75, 0.0)),
    ],
)
def test_values_of_the_solver(name: str, values: tuple[float, ...]) -> None:
    config = config_of(name)
    solver = config.SOLVER
    assert (
        solver.MAX_EPOCH,
        solver.BASE_LR,
        solver.REFERENCE_BATCH,
        solver.WEIGHT_DECAY,
        config.MVIT.DROPPATH_RATE,
        config.MIXUP.PROB,
    ) == values
    assert solver.WARMUP_EPOCHS < solver.MAX_EPOCH and solver.LR_POLICY == "cosine"


def test_something_something_has_the_official_augmentation() -> None:
    for name in ("S_16x4", "B_32x3", "L_40x3"):
        config = config_of(f"SSv2/MVITV2_{name}")
        data, solver = config.DATA, config.SOLVER
        assert data.TRAIN_JITTER_SCALES == ((356, 446) if name == "L_40x3" else (256, 320))
        assert data.TRAIN_JITTER_SCALES_RELATIVE == data.TRAIN_JITTER_ASPECT_RELATIVE == ()
        assert data.INV_UNIFORM_SAMPLE and not data.RANDOM_FLIP and config.AUG.NUM_SAMPLE == 1
        assert (solver.OPTIMIZING_METHOD, solver.MOMENTUM, solver.NESTEROV) == ("sgd", 0.9, True)
        assert solver.CLIP_GRAD_L2NORM == (2.0 if name == "L_40x3" else None)
        assert (config.TRAIN.DATASET, config.TEST.DATASET) == ("ssv2", "ssv2")


@pytest.mark.parametrize(
    ("folder", "repeats", "rate"), [("Kinetics", 2, 1.6e-3), ("SSv2", 1, 0.02)], ids=["Kinetics", "SSv2"]
)
@pytest.mark.parametrize("gpus", [1, 4, 8])
def test_presets_keep_the_paper_s_batch(folder: str, repeats: int, rate: float, gpus: int) -> None:
    preset, recipe = config_of(f"{folder}/presets/MVITV2_S_16x4_{gpus}gpu"), config_of(f"{folder}/MVITV2_S_16x4")
    train, solver = preset.TRAIN, preset.SOLVER
    clips = train.BATCH_SIZE * train.ACCUMULATE_STEPS * preset.AUG.NUM_SAMPLE
    assert preset.AUG.NUM_SAMPLE == repeats and preset.NUM_GPUS == gpus
    assert clips == solver.REFERENCE_BATCH == 512 and solver.BASE_LR == rate
    machines = 16 if folder == "Kinetics" else 8  # of the official files
    assert solver.COSINE_END_LR == pytest.approx(machines * recipe.SOLVER.COSINE_END_LR)
    assert solver.WARMUP_START_LR == pytest.approx(machines * recipe.SOLVER.WARMUP_START_LR)
    assert solver.BASE_LR == pytest.approx(machines * recipe.SOLVER.BASE_LR)


@pytest.mark.parametrize("name", RECIPES)
def test_a_start_that_another_recipe_leaves_is_there(name: str) -> None:
    """Its file is that recipe's last checkpoint, and its model is as wide."""
    start = config_of(name).TRAIN.CHECKPOINT_FILE_PATH
    if start and not start.startswith("https://"):
        before, epoch = re.fullmatch(r"runs/(.+)/checkpoints/checkpoint_epoch_(\d{5})\.pyth", start).groups()  # type: ignore[union-attr]
        assert int(epoch) == config_of(before).SOLVER.MAX_EPOCH
        ours, theirs = config_of(name).MVIT, config_of(before).MVIT
        assert (ours.EMBED_DIM, ours.DEPTH, ours.DIM_MUL_IN_ATT) == (
            theirs.EMBED_DIM,
            theirs.DEPTH,
            theirs.DIM_MUL_IN_ATT,
        )


# mAP on centre crops and on whole frames, Table A.2.
@pytest.mark.parametrize(
    ("name", "center", "full", "clip", "mean"),
    [
        ("MVITV2_S_16x4", 26.8, 27.6, (16, 4, 224), 0.45),
        ("MVITV2_B_32x3", 28.1, 29.0, (32, 3, 224), 0.45),
        ("MVITV2_B_32x3_k600", 29.9, 30.5, (32, 3, 224), 0.45),
        ("MVITV2_B_32x3_k700", 31.3, 32.3, (32, 3, 224), 0.45),
        ("MVITV2_L_40x3", 33.5, 34.4, (40, 3, 312), 0.485),
    ],
)
def test_ava_by_the_paper(name: str, center: float, full: float, clip: tuple[int, ...], mean: float) -> None:
    """Section B.6: 512 clips at a rate of 0.6, on 8 machines of 64 clips here."""
    expected = read_recipe(ALL[f"AVA/{name}"]).fields["Expected"]
    assert [float(number) for number in re.findall(r"\d+\.\d", expected)[:2]] == [full, center]
    config = config_of(f"AVA/{name}")
    solver, data = config.SOLVER, config.DATA
    assert config.TRAIN.BATCH_SIZE * 8 == 512 and solver.BASE_LR * 8 == pytest.approx(0.6)
    assert solver.BASE_LR_SCALE_NUM_SHARDS and not solver.REFERENCE_BATCH and config.TRAIN.ACCUMULATE_STEPS == 1
    assert (solver.OPTIMIZING_METHOD, solver.LR_POLICY, solver.MAX_EPOCH, solver.WARMUP_EPOCHS) == (
        "sgd",
        "cosine",
        30,
        5,
    )
    assert (solver.WEIGHT_DECAY, config.MVIT.DROPPATH_RATE, solver.CLIP_GRAD_L2NORM) == (1e-8, 0.4, None)
    assert (data.NUM_FRAMES, data.SAMPLING_RATE, data.TRAIN_CROP_SIZE) == clip and data.MEAN[0] == mean
    assert data.TRAIN_JITTER_SCALES[0] == round(256 * clip[2] / 224 / 2) * 2 and data.RANDOM_FLIP
    assert config.AVA.DETECTION_SCORE_THRESH == 0.8 and not config.AVA.TEST_CENTRE_CROP
    assert config.TRAIN.CHECKPOINT_FILE_PATH and config.TRAIN.ENABLE and config.TEST.ENABLE


def test_the_weights_that_ava_starts_from_are_those_that_recipes_leave() -> None:
    for name in ("B_32x3_k600", "B_32x3_k700", "L_40x3"):
        path = Path(config_of(f"AVA/MVITV2_{name}").TRAIN.CHECKPOINT_FILE_PATH)
        recipe = path.parts[path.parts.index("runs") + 1 : -2]
        epochs = config_of("/".join(recipe)).SOLVER.MAX_EPOCH
        assert path.name == f"checkpoint_epoch_{epochs:05d}.pyth"
