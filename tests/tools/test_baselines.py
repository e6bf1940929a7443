"""Baselines through the whole chain, by MODEL.ARCH on the command line of an MViTv2 recipe."""

import json
from pathlib import Path

import pandas as pd
import pytest
import run_net
import torch

from slowfast_mvit.data.toy import CLASSES, ToySet, make_toy_set
from tests.commands import finish_well, run_here, start_net

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "configs" / "Kinetics" / "MVITV2_S_16x4.yaml"
SMALL = [
    "NUM_GPUS", "0", "MODEL.NUM_CLASSES", str(len(CLASSES)), "DATA_LOADER.NUM_WORKERS", "0",
    "DATA.NUM_FRAMES", "5", "DATA.TRAIN_CROP_SIZE", "48", "DATA.TEST_CROP_SIZE", "64", "DATA.TRAIN_JITTER_SCALES", "[64, 64]",
    "TRAIN.BATCH_SIZE", "4", "TEST.BATCH_SIZE", "10", "TEST.NUM_ENSEMBLE_VIEWS", "2", "TEST.NUM_SPATIAL_CROPS", "3",
    "SOLVER.MAX_EPOCH", "2", "SOLVER.WARMUP_EPOCHS", "0", "TRAIN.CHECKPOINT_PERIOD", "1", "TRAIN.EVAL_PERIOD", "1",
]  # fmt: skip


def weights(folder: Path, epoch: int) -> dict[str, torch.Tensor]:
    path = folder / "checkpoints" / f"checkpoint_epoch_{epoch:05d}.pyth"
    return torch.load(path, weights_only=True)["model_state"]


def test_a_baseline_trains_resumes_and_tests(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = make_toy_set(tmp_path / "data", ToySet(8, 2, 4), processes=1)
    overrides = [*SMALL, "MODEL.ARCH", "x3d_xs", "DATA.PATH_TO_DATA_DIR", str(data)]
    whole, half = tmp_path / "whole", tmp_path / "half"
    said = finish_well(start_net(RECIPE, *overrides, "OUTPUT_DIR", str(whole)))
    # 3,794,274 with 400 classes, and 392 of 2048 weights and a bias less.
    assert "3.0 M parameters, on cpu in float32" in said
    assert "torch.jit" not in said

    metrics = json.loads((whole / "metrics.json").read_text())
    assert metrics["protocol"] == "2 clips x 3 crops, short side 64, crop 64, sum"
    clips = pd.read_csv(whole / "predictions" / "clips.csv")
    assert len(clips) == 4 * 2 * 3 and clips["top1"].between(0, 7).all()
    lines = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["train", "epoch", "val"] * 2

    # A run that stopped after its first epoch: batch norms carry on from their statistics, to the last bit.
    first = "checkpoint_epoch_00001.pyth"
    (half / "checkpoints").mkdir(parents=True)
    (half / "checkpoints" / first).write_bytes((whole / "checkpoints" / first).read_bytes())
    assert run_here(RECIPE, *overrides, "OUTPUT_DIR", str(half)) == 0
    assert "going on after epoch 1" in capfd.readouterr().err
    once, resumed = weights(whole, 2), weights(half, 2)
    assert all(torch.equal(once[name], resumed[name]) for name in once)
    assert once["blocks.0.norm.num_batches_tracked"] == 2 * 8 // 4
    assert not torch.equal(once["blocks.0.norm.running_var"], weights(whole, 1)["blocks.0.norm.running_var"])
    assert (half / "metrics.json").read_text() == (whole / "metrics.json").read_text()


def test_slowfast_tests_in_bfloat16(tmp_path: Path) -> None:
    argv = ["--cfg", str(RECIPE), "--toy", *SMALL, "MODEL.ARCH", "slowfast_r50", "TRAIN.ENABLE", "False"]
    assert run_net.main([*argv, "MODEL.PRECISION", "bfloat16", "OUTPUT_DIR", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "toy-MVITV2_S_16x4-slowfast_r50" / "metrics.json").read_text())
    assert (metrics["precision"], metrics["num_videos"]) == ("bfloat16", 4)


def test_mistakes_are_told_before_anything_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["MODEL.ARCH", "c2d_r50", "MODEL.ACT_CHECKPOINT", "True", "DATA.NUM_FRAMES", "1"]
    assert run_net.main(["--cfg", str(RECIPE), *wrong, "OUTPUT_DIR", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "command line: DATA.NUM_FRAMES: 1 is too short for c2d_r50" in said
    assert "command line: MODEL.ACT_CHECKPOINT: c2d_r50 is PyTorchVideo's network" in said
    assert run_net.main(["--cfg", str(RECIPE), "MODEL.ARCH", "slow_r5", "OUTPUT_DIR", str(tmp_path / "out")]) == 2
    assert "did you mean 'slow_r50'?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bfloat16_that_would_be_wrong_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        "--cfg",
        str(RECIPE),
        "--toy",
        *SMALL,
        "MODEL.ARCH",
        "x3d_xs",
        "DATA.NUM_FRAMES",
        "4",
        "OUTPUT_DIR",
        str(tmp_path),
    ]
    assert run_net.main([*argv, "MODEL.PRECISION", "bfloat16"]) == 2
    assert "MODEL.PRECISION bfloat16 can give wrong gradients for x3d_xs on a CPU" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.pyth"))


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["slow_r50", "slowfast_r50"])
def test_the_recipe_itself_trains_a_baseline(arch: str, tmp_path: Path) -> None:
    argv = ["--cfg", str(RECIPE), "--toy", "NUM_GPUS", "0", "MODEL.ARCH", arch, "OUTPUT_DIR", str(tmp_path)]
    assert run_net.main([*argv, "TEST.NUM_ENSEMBLE_VIEWS", "1", "DATA.TEST_CROP_SIZE", "256"]) == 0
    folder = tmp_path / f"toy-MVITV2_S_16x4-{arch}"
    assert "crop 256" in json.loads((folder / "metrics.json").read_text())["protocol"]
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert len(losses) == 2 and all(5.0 < loss < 7.5 for loss in losses)  # ln 400 = 5.99
