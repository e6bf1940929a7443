"""Tests with several numbers of clips, PySlowFast's results file and its task names, end to end."""

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import run_net
import torch

TOP = {"top1_acc", "top5_acc", "num_videos", "num_views", "num_unreadable", "protocol", "precision"}


def run(config: Path, *overrides: str) -> int:
    return run_net.main(["--cfg", str(config), *overrides])


def test_each_number_of_clips_has_its_results(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one_epoch = ["SOLVER.MAX_EPOCH", "1", "TEST.SAVE_PROBABILITIES", "True", "TEST.SAVE_RESULTS_PATH", "scores/all.pkl"]
    assert run(config_file, *one_epoch, "TEST.NUM_TEMPORAL_CLIPS", "[1, 3]", "TASK", "ssl_eval") == 0
    out = tmp_path / "run"
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("top-1")]
    tests = json.loads((out / "metrics.json").read_text())["tests"]
    assert [test["protocol"].split(" x ")[0] for test in tests] == ["1 clip", "3 clips"]
    assert [f"{test['top1_acc']:.2f}" for test in tests] == [line.split()[1] for line in said]
    assert all(set(test) >= TOP for test in tests)
    assert not (out / "predictions" / "videos.csv").exists()
    for folder, views, test in (("1_clip", 1, tests[0]), ("3_clips", 3, tests[1])):
        predictions = out / "predictions" / folder
        videos = pd.read_csv(predictions / "videos.csv")
        assert set(videos["num_views"]) == {views}
        assert (videos["top1"] == videos["label"]).mean() * 100 == pytest.approx(test["top1_acc"])
        assert len(pd.read_csv(predictions / "clips.csv")) == 10 * views
        with (out / "scores" / f"all_{folder}.pkl").open("rb") as file:
            scores, labels = pickle.load(file)
        assert (scores.dtype, scores.shape) == (torch.float32, (10, 8))
        assert labels.tolist() == videos["label"].tolist() and labels.dtype == torch.int64
        views_of = np.load(predictions / "probabilities.npz")["views"]
        assert scores.numpy() == pytest.approx(views_of.sum(axis=1), abs=1e-6)  # a sum, as PySlowFast's

    # The checkpoint carries the task's name; the same task finds it again, another does not.
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["ssl_eval_checkpoint_epoch_00001.pyth"]
    test_only = ["TRAIN.ENABLE", "False", "TEST.SAVE_RESULTS_PATH", "all.pkl", "DATA.ENSEMBLE_METHOD", "max"]
    assert run(config_file, *test_only, "TASK", "ssl_eval") == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["top1_acc"] is not None and metrics["num_views"] == 3
    with (out / "all.pkl").open("rb") as file:
        scores, _ = pickle.load(file)
    assert scores.numpy() == pytest.approx(views_of.max(axis=1), abs=1e-6)
    assert run(config_file, *test_only) == 2
    assert "there are no weights to test" in capsys.readouterr().err


def test_a_folder_is_no_results_file(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run" / "scores").mkdir(parents=True)
    assert run(config_file, "SOLVER.MAX_EPOCH", "1", "TEST.SAVE_RESULTS_PATH", "scores") == 2
    assert "scores is a folder: name a file, such as results.pkl" in capsys.readouterr().err
    assert not (tmp_path / "run" / "metrics.json").exists()
