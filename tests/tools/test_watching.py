"""What a training leaves to be looked at: epochs.csv, best.json, JSON lines, TensorBoard's curves."""

import json
from pathlib import Path

import pandas as pd
import pytest
import run_net
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def run(config: Path, *overrides: str) -> int:
    return run_net.main(["--cfg", str(config), "TEST.ENABLE", "False", *overrides])


def test_a_training_can_be_watched(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    every = ("TRAIN.EVAL_PERIOD", "1", "LOG_PERIOD", "1", "TENSORBOARD.ENABLE", "True", "TRAIN.KEEP_CHECKPOINTS", "1")
    assert run(config_file, *every, "SOLVER.MAX_EPOCH", "3") == 0
    (line,) = [text for text in capsys.readouterr().err.splitlines() if "training mvit" in text]
    for part in ("M parameters", "on cpu in float32", "24 videos from ", "global batch 8 clips", "scaled LR 0.001"):
        assert part in line

    epochs = pd.read_csv(out / "epochs.csv")
    assert list(epochs["epoch"]) == [1, 2, 3]
    entries = [json.loads(text) for text in (out / "log.jsonl").read_text().splitlines()]
    train = pd.DataFrame([entry for entry in entries if entry["kind"] == "train"])
    assert list(train["step"]) == list(range(1, 10))
    # An epoch's loss is the mean of its steps, which are of 8 clips each.
    assert epochs["loss"].to_numpy() == pytest.approx(train.groupby("epoch")["loss"].mean().to_numpy(), rel=1e-6)
    assert (train["clips_per_second"] > 0).all() and train["eta_seconds"].iloc[-1] == 0
    assert train["data_wait_share"].between(0, 1).all() and (train["grad_norm"] > 0).all()
    validations = [entry for entry in entries if entry["kind"] == "val"]
    assert list(epochs["val_top1_acc"]) == pytest.approx([entry["top1_acc"] for entry in validations])

    best = json.loads((out / "best.json").read_text())
    row = epochs.loc[epochs["val_top1_acc"].idxmax()]  # the first of equals
    assert best["epoch"] == row["epoch"] and best["top1_acc"] == pytest.approx(row["val_top1_acc"])
    kept = {path.name for path in (out / "checkpoints").iterdir()}
    assert kept == {"checkpoint_epoch_00003.pyth", best["checkpoint"]}
    assert torch.load(out / "checkpoints" / best["checkpoint"], weights_only=True)["epoch"] == best["epoch"] - 1

    events = EventAccumulator(str(out / "runs-kinetics"))
    events.Reload()
    assert [point.step for point in events.Scalars("train/loss")] == list(range(1, 10))
    assert [point.value for point in events.Scalars("val/top1_acc")] == pytest.approx(list(epochs["val_top1_acc"]))


def test_a_finished_training_is_not_validated_again(config_file: Path, tmp_path: Path) -> None:
    assert run(config_file) == 0
    files = [tmp_path / "run" / name for name in ("epochs.csv", "log.jsonl", "best.json")]
    before = [file.read_text() for file in files]
    assert run(config_file) == 0
    assert [file.read_text() for file in files] == before


def test_a_validation_that_was_cut_off_is_made_up_for(config_file: Path, tmp_path: Path) -> None:
    """Its checkpoint is there, and what it would have said is not."""
    assert run(config_file) == 0
    epochs, best = tmp_path / "run" / "epochs.csv", tmp_path / "run" / "best.json"
    said = epochs.read_text(), best.read_text()
    epochs.unlink(), best.unlink()
    assert run(config_file) == 0
    assert (epochs.read_text(), best.read_text()) == said
