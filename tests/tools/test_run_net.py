"""The main command from end to end, in this process and in real ones."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import run_net
import torch

from slowfast_mvit.build import train
from slowfast_mvit.data.toy import CLASSES
from slowfast_mvit.engine.step import FitPlan
from tests.commands import run_here, start_net, wait_for_step

ROOT = Path(__file__).parents[2]
TOP = [f"top{rank}{part}" for rank in range(1, 6) for part in ("", "_name", "_score")]


def run(config: Path, *overrides: str) -> int:
    return run_net.main(["--cfg", str(config), *overrides])


def test_training_and_test_leave_complete_files(config_file: Path, tmp_path: Path, toy_data: Path) -> None:
    assert run(config_file, "TEST.SAVE_PROBABILITIES", "True", "TEST.NUM_SPATIAL_CROPS", "3") == 0
    out = tmp_path / "run"
    names = [line.rsplit(" ", 1)[0] for line in (toy_data / "test.csv").read_text().splitlines()]

    clips = pd.read_csv(out / "predictions" / "clips.csv")
    head = ["video", "label", "label_name", "clip_index", "crop_index", "start_sec", "end_sec"]
    assert list(clips.columns) == head + TOP
    views = {(name, clip, crop) for name in names for clip in range(3) for crop in range(3)}
    assert set(zip(clips["video"], clips["clip_index"], clips["crop_index"], strict=True)) == views
    assert len(clips) == len(views)
    # 48 frames at 30 fps, clips of 32: starts 0, 8, 16, and the last of 8 indices is 31 frames on.
    assert sorted(set(clips["start_sec"])) == pytest.approx([0, 8 / 30, 16 / 30], abs=1e-3)
    assert sorted(set(clips["end_sec"])) == pytest.approx([31 / 30, 39 / 30, 47 / 30], abs=1e-3)

    videos = pd.read_csv(out / "predictions" / "videos.csv")
    assert list(videos.columns) == ["video", "label", "label_name", "num_views", *TOP]
    assert list(videos["video"]) == names
    assert set(videos["num_views"]) == {9}
    label_names = json.loads((out / "labels.json").read_text())
    assert label_names == {name: number for number, name in enumerate(sorted(CLASSES))}
    assert all(label_names[name] == label for name, label in zip(videos["label_name"], videos["label"], strict=True))

    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["top1_acc"] == pytest.approx((videos["label"] == videos["top1"]).mean() * 100)
    assert (metrics["num_videos"], metrics["num_views"], metrics["precision"]) == (10, 9, "float32")
    assert metrics["protocol"] == "3 clips x 3 crops, short side 64, crop 64, sum"

    stored = np.load(out / "predictions" / "probabilities.npz")
    assert stored["views"].shape == (10, 9, 8)
    assert stored["views"].mean(axis=1) == pytest.approx(stored["video_scores"], abs=1e-6)
    assert list(stored["video_scores"].argmax(axis=1)) == list(videos["top1"])

    kinds = [json.loads(line)["kind"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert kinds.count("train") == 2 and kinds.count("val") == 1
    checkpoint = torch.load(out / "checkpoints" / "checkpoint_epoch_00002.pyth", weights_only=True)
    assert checkpoint["epoch"] == 1 and checkpoint["label_names"] == sorted(CLASSES)
    assert "MVIT:" in checkpoint["cfg"]


def test_killed_training_goes_on_as_if_nothing_had_happened(
    config_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    overrides = ["SOLVER.MAX_EPOCH", "4", "TRAIN.BATCH_SIZE", "4", "LOG_PERIOD", "1", "MODEL.DROPOUT_RATE", "0.5"]
    process = start_net(config_file, *overrides)
    wait_for_step(process, tmp_path / "run", 14)  # the third epoch is under way: its second step of six is logged
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "run" / "metrics.json").exists()

    capfd.readouterr()
    assert run_here(config_file, *overrides) == 0
    assert "going on after epoch 2 from " in capfd.readouterr().err
    assert run_here(config_file, *overrides, "OUTPUT_DIR", str(tmp_path / "whole")) == 0

    resumed, uninterrupted = (
        torch.load(folder / "checkpoints" / "checkpoint_epoch_00004.pyth", weights_only=True)["model_state"]
        for folder in (tmp_path / "run", tmp_path / "whole")
    )
    assert all(torch.equal(resumed[name], uninterrupted[name]) for name in uninterrupted)
    assert (tmp_path / "run" / "metrics.json").read_text() == (tmp_path / "whole" / "metrics.json").read_text()


def test_overrides_may_stand_bare_or_after_opts(config_file: Path, tmp_path: Path) -> None:
    base = ["--cfg", str(config_file)]
    parser = run_net._parser()
    for argv in (
        [*base, "SOLVER.MAX_EPOCH", "1", "TEST.NUM_ENSEMBLE_VIEWS", "-1"],
        [*base, "--opts", "SOLVER.MAX_EPOCH", "1", "TEST.NUM_ENSEMBLE_VIEWS", "-1"],
        ["SOLVER.MAX_EPOCH", "1", "TEST.NUM_ENSEMBLE_VIEWS", "-1", *base],
        [*base, "--toy", "SOLVER.MAX_EPOCH", "1", "TEST.NUM_ENSEMBLE_VIEWS", "-1"],
    ):
        files, overrides = run_net._split(parser.parse_intermixed_args(argv))
        assert files == [str(config_file)]
        assert overrides == ["SOLVER.MAX_EPOCH", "1", "TEST.NUM_ENSEMBLE_VIEWS", "-1"]


def test_bfloat16_is_used_and_said(config_file: Path, tmp_path: Path) -> None:
    assert run(config_file, "SOLVER.MAX_EPOCH", "1", "MODEL.PRECISION", "bfloat16") == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["precision"] == "bfloat16"


def test_weights_serve_other_clip_lengths_and_sizes(config_file: Path, tmp_path: Path) -> None:
    assert run(config_file, "SOLVER.MAX_EPOCH", "1", "TEST.ENABLE", "False") == 0
    weights = str(tmp_path / "run" / "checkpoints" / "checkpoint_epoch_00001.pyth")
    longer = ["DATA.NUM_FRAMES", "12", "DATA.SAMPLING_RATE", "3", "OUTPUT_DIR", str(tmp_path / "longer")]
    larger = ["DATA.TRAIN_CROP_SIZE", "96", "DATA.TEST_CROP_SIZE", "96", "DATA.TRAIN_JITTER_SCALES", "[96, 96]"]
    test_only = ["TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", weights]
    assert run(config_file, *test_only, *longer, *larger) == 0
    assert "crop 96" in json.loads((tmp_path / "longer" / "metrics.json").read_text())["protocol"]


def test_configs_run_in_turn_although_one_fails(config_file: Path, tmp_path: Path) -> None:
    argv = ["--cfg", str(tmp_path / "nowhere.yaml"), str(config_file), "SOLVER.MAX_EPOCH", "1"]
    assert run_net.main(argv) == 2
    assert (tmp_path / "run" / "metrics.json").exists()


def test_resuming_takes_the_optimizer_settings_of_the_config(config_file: Path, tmp_path: Path) -> None:
    assert run(config_file, "TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1") == 0
    assert run(config_file, "TEST.ENABLE", "False", "SOLVER.WEIGHT_DECAY", "0.5") == 0
    state = torch.load(tmp_path / "run" / "checkpoints" / "checkpoint_epoch_00002.pyth", weights_only=True)
    assert [group["weight_decay"] for group in state["optimizer_state"]["param_groups"]] == [0.5, 0.0]
    assert int(state["optimizer_state"]["state"][0]["step"]) == 6


def test_a_loss_that_explodes_stops_the_training(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Any loss is over a hundredth of those before it: the seventh step of the epoch, the first that is looked at, ends it."""
    overrides = ["TRAIN.BATCH_SIZE", "1", "TRAIN.KILL_LOSS_EXPLOSION_FACTOR", "0.01", "TEST.ENABLE", "False"]
    assert run_net.main(["--cfg", str(config_file), *overrides]) == 2
    assert "the loss explodes at step 7: " in capsys.readouterr().err


def test_the_plan_of_the_training_follows_the_config(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[FitPlan] = []

    def note(*arguments: Any, **_: Any) -> None:
        plans.append(arguments[5])
        raise OSError("seen")

    monkeypatch.setattr(train, "fit", note)
    clips = ["TRAIN.BATCH_SIZE", "4", "TRAIN.ACCUMULATE_STEPS", "3", "AUG.NUM_SAMPLE", "2"]  # of 24 videos
    others = ["SOLVER.CLIP_GRAD_VAL", "0.5", "SOLVER.CLIP_GRAD_L2NORM", "2.0", "LOG_PERIOD", "7", "RNG_SEED", "5"]
    explosion = ["TRAIN.KILL_LOSS_EXPLOSION_FACTOR", "3.0", "SOLVER.MAX_EPOCH", "9", "TRAIN.MAX_SKIPPED_STEPS", "5"]
    assert run_net.main(["--cfg", str(config_file), *clips, *others, *explosion]) == 2
    assert plans == [
        FitPlan(
            num_epochs=9,
            steps_per_epoch=2,
            passes_per_step=3,
            clips_per_step=24,
            seed=5,
            clip_grad_value=0.5,
            clip_grad_norm=2.0,
            log_period=7,
            explosion_factor=3.0,
            max_skipped=5,
        )
    ]


def test_a_config_is_checked_and_nothing_is_run(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_net.main(["--check", "--cfg", str(config_file)]) == 0
    assert capsys.readouterr().out == f"{config_file}: nothing is wrong with the config\n"
    assert run_net.main(["--check", "--cfg", str(config_file), "TRAIN.BACH_SIZE", "3"]) == 2
    assert "TRAIN.BATCH_SIZE" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_an_output_folder_that_is_a_file(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert run_net.main(["--cfg", str(config_file), "OUTPUT_DIR", str(place)]) == 2
        assert f"OUTPUT_DIR {place} is a file, or lies under one: give a folder" in capsys.readouterr().err
