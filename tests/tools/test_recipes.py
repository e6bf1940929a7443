"""The published recipes' real models, on generated videos. Minutes each, so marked slow."""

import json
from pathlib import Path

import pandas as pd
import pytest
import run_net

ROOT = Path(__file__).parents[2]
ONE_VIEW = ["TEST.NUM_ENSEMBLE_VIEWS", "1", "TEST.NUM_SPATIAL_CROPS", "1"]


def run_toy(recipe: str, output: Path, *overrides: str) -> Path:
    """Run a recipe on generated videos; returns the folder that it wrote."""
    argv = ["--cfg", str(ROOT / "configs" / "Kinetics" / recipe), "--toy", "NUM_GPUS", "0", "OUTPUT_DIR", str(output)]
    assert run_net.main([*argv, *ONE_VIEW, *overrides]) == 0
    return output / f"toy-{Path(recipe).stem}"


@pytest.mark.slow
def test_large_model_at_312_pixels_tests_on_a_cpu(tmp_path: Path) -> None:
    out = run_toy("MVITV2_L_40x3.yaml", tmp_path, "TRAIN.ENABLE", "False")
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["num_videos"] == 4
    assert metrics["protocol"] == "1 clip x 1 crop, short side 356, crop 312, sum"
    for name in ("clips", "videos"):
        table = pd.read_csv(out / "predictions" / f"{name}.csv")
        assert len(table) == 4
        assert table["top1"].between(0, 399).all() and table["top1_score"].between(0, 1).all()


@pytest.mark.slow
def test_boxes_are_trained_and_tested(tmp_path: Path) -> None:
    recipe = ROOT / "configs" / "AVA" / "MVITV2_S_16x4.yaml"
    fresh = ["NUM_GPUS", "0", "TRAIN.CHECKPOINT_FILE_PATH", ""]
    assert run_net.main(["--cfg", str(recipe), "--toy", "OUTPUT_DIR", str(tmp_path), *fresh]) == 0
    metrics = json.loads((tmp_path / "toy-MVITV2_S_16x4" / "metrics.json").read_text())
    assert metrics["num_key_frames"] == 8 and metrics["protocol"] == "whole frames, short side 224"
    lines = [json.loads(line) for line in (tmp_path / "toy-MVITV2_S_16x4" / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert losses[0] == pytest.approx(0.693, abs=0.15)  # fresh weights know nothing of 80 questions: ln 2


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["CASCADE_MASK_RCNN_MVITV2_T", "ablations/MASK_RCNN_VIT_B_single_scale"])
def test_detectors_are_trained_and_tested(recipe: str, tmp_path: Path) -> None:
    """With the switches of the system-level recipes, whose models are too large for a test."""
    switches = ["RCNN.SOFT_NMS", "linear", "RCNN.SCORE_THRESH", "0.001", "COCO.TEST_FLIP", "True"]
    fresh = ["NUM_GPUS", "0", "TRAIN.CHECKPOINT_FILE_PATH", "", "OUTPUT_DIR", str(tmp_path)]
    assert run_net.main(["--cfg", str(ROOT / "configs" / "COCO" / f"{recipe}.yaml"), "--toy", *fresh, *switches]) == 0
    (out,) = tmp_path.glob("toy-*")
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["num_images"] == 4 and metrics["num_objects"] > 0
    assert metrics["protocol"] == "short side 128, at most 160, and mirrored, SoftNMS linear"
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    losses = [line["loss_mask"] for line in lines if line["kind"] == "train"]
    assert losses[0] == pytest.approx(0.693, abs=0.1)  # fresh weights know of no pixel whether it is the object's: ln 2


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["MVITV2_S_16x4.yaml", "MVITV2_B_32x3.yaml"])
def test_recipe_trains_with_all_of_its_augmentation(recipe: str, tmp_path: Path) -> None:
    out = run_toy(recipe, tmp_path)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    # Fresh weights know nothing of 400 classes: ln 400 = 5.99.
    assert len(losses) == 2 and all(5.0 < loss < 7.5 for loss in losses)
