"""Averaged weights from end to end: what is tested, and that a resumed run equals an uninterrupted one bitwise."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import run_net
import torch

from slowfast_mvit.build import train
from slowfast_mvit.build.model import build_model
from slowfast_mvit.config.load import load_config

STEADY = [  # rates that do not depend on MAX_EPOCH, so that a short run is the beginning of a longer one
    *("SOLVER.LR_POLICY", "steps_with_relative_lrs", "SOLVER.STEPS", "(0, 3)", "SOLVER.LRS", "(1.0, 0.1)"),
    *("SOLVER.WARMUP_EPOCHS", "1", "MODEL.DROPOUT_RATE", "0.5", "TRAIN.BATCH_SIZE", "4", "SOLVER.LAYER_DECAY", "0.8"),
    *("TRAIN.KILL_LOSS_EXPLOSION_FACTOR", "5"),
]


def run(config: Path, out: Path, *overrides: str) -> int:
    return run_net.main(["--cfg", str(config), "OUTPUT_DIR", str(out), *STEADY, *overrides])


def checkpoint(folder: Path, epoch: int) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / f"checkpoint_epoch_{epoch:05d}.pyth", weights_only=True)


def equal(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def test_resumed_equals_uninterrupted_bitwise(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    average = ("SOLVER.EMA_DECAY", "0.9", "TEST.SAVE_PROBABILITIES", "True")
    assert run(config_file, tmp_path / "whole", *average, "SOLVER.MAX_EPOCH", "4") == 0
    assert run(config_file, tmp_path / "parts", *average, "SOLVER.MAX_EPOCH", "2", "TEST.ENABLE", "False") == 0
    capsys.readouterr()
    assert run(config_file, tmp_path / "parts", *average, "SOLVER.MAX_EPOCH", "4") == 0
    path = tmp_path / "parts" / "checkpoints" / "checkpoint_epoch_00004.pyth"
    assert f"taking the averaged weights of {path}" in capsys.readouterr().err
    whole, parts = checkpoint(tmp_path / "whole", 4), checkpoint(tmp_path / "parts", 4)
    assert equal(whole["ema_state"], parts["ema_state"]) and equal(whole["model_state"], parts["model_state"])
    assert not equal(whole["ema_state"], whole["model_state"])
    files = [(tmp_path / name / "predictions" / "videos.csv").read_bytes() for name in ("whole", "parts")]
    assert files[0] == files[1]

    # The average never touches the training itself, and without it nothing of it is written.
    assert run(config_file, tmp_path / "plain", "SOLVER.MAX_EPOCH", "4", "TEST.ENABLE", "False") == 0
    plain = checkpoint(tmp_path / "plain", 4)
    assert "ema_state" not in plain and equal(plain["model_state"], whole["model_state"])

    # The last weights give other scores; validations are of the average.
    last = ("TRAIN.ENABLE", "False", "TEST.USE_EMA", "False", "TEST.SAVE_PROBABILITIES", "True")
    assert run(config_file, tmp_path / "last", *last, "TEST.CHECKPOINT_FILE_PATH", str(path)) == 0
    averaged, latest = (
        np.load(tmp_path / name / "predictions" / "probabilities.npz")["views"] for name in ("parts", "last")
    )
    assert not np.array_equal(averaged, latest)
    losses = [
        [
            json.loads(line)["loss"]
            for line in (tmp_path / name / "log.jsonl").read_text().splitlines()
            if "loss" in line
        ]
        for name in ("whole", "parts", "plain")
    ]
    assert losses[0] == losses[1] == losses[2]


def test_validations_are_of_the_average(config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def note(model: torch.nn.Module) -> dict[str, float]:
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"top1_acc": 0.0}

    monkeypatch.setattr(train, "_validation", lambda *_: note)
    average = ("SOLVER.EMA_DECAY", "0.9", "TRAIN.EVAL_PERIOD", "1", "SOLVER.MAX_EPOCH", "2", "TEST.ENABLE", "False")
    assert run(config_file, tmp_path, *average) == 0
    assert len(seen) == 2
    for epoch, state in enumerate(seen, 1):
        assert equal(state, checkpoint(tmp_path, epoch)["ema_state"])


def test_the_average_follows_every_step(config_file: Path, tmp_path: Path) -> None:
    """Two epochs of one step each, from the weights that the seed gives."""
    overrides = (
        "SOLVER.EMA_DECAY",
        "0.75",
        "TRAIN.BATCH_SIZE",
        "1000",
        "SOLVER.MAX_EPOCH",
        "2",
        "TEST.ENABLE",
        "False",
    )
    assert run(config_file, tmp_path, *overrides) == 0
    config = load_config(config_file)
    torch.manual_seed(config.RNG_SEED)
    average = build_model(config).state_dict()
    for epoch in (1, 2):
        found = checkpoint(tmp_path, epoch)
        average = {name: 0.75 * old + 0.25 * found["model_state"][name] for name, old in average.items()}
        for name, tensor in found["ema_state"].items():
            torch.testing.assert_close(tensor, average[name], rtol=1e-5, atol=1e-7)
