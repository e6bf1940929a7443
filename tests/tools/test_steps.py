"""A training measured in optimizer steps from end to end: its last epoch is cut short, and gone on with bitwise."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import run_net
import torch

STEADY = [  # 24 training videos, so 6 steps an epoch; the third epoch has 3 of them
    *("SOLVER.LR_POLICY", "steps_with_relative_lrs", "SOLVER.STEPS", "(0, 14)", "SOLVER.LRS", "(1.0, 0.1)"),
    *("SOLVER.WARMUP_EPOCHS", "0", "SOLVER.WARMUP_STEPS", "3", "MODEL.DROPOUT_RATE", "0.5", "TRAIN.BATCH_SIZE", "4"),
    *("LOG_PERIOD", "1", "TEST.ENABLE", "False", "TRAIN.KEEP_CHECKPOINTS", "0", "TRAIN.CHECKPOINT_SECONDS", "1e-9"),
]


def run(config: Path, out: Path, steps: int) -> int:
    return run_net.main(["--cfg", str(config), "OUTPUT_DIR", str(out), *STEADY, "SOLVER.MAX_STEPS", str(steps)])


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "checkpoint_epoch_00003.pyth", weights_only=True)


def lines(folder: Path, kind: str = "train") -> list[dict[str, Any]]:
    return [
        line for text in (folder / "log.jsonl").read_text().splitlines() if (line := json.loads(text))["kind"] == kind
    ]


def same(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def test_a_training_of_so_many_steps(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts, longer = (tmp_path / name for name in ("whole", "parts", "longer"))
    assert run(config_file, whole, 15) == 0
    assert "epochs 1 to 3 of 6 steps, up to step 15" in capsys.readouterr().err
    assert [(line["epoch"], line["step"], line["steps"]) for line in lines(whole)] == [
        (1 + step // 6, step + 1, 15) for step in range(15)
    ]
    top = lines(whole)[3]["lr"]
    assert [line["lr"] / top for line in lines(whole)[3:]] == pytest.approx([1.0] * 11 + [0.1])
    assert pd.read_csv(whole / "epochs.csv")["epoch"].tolist() == [1, 2, 3]
    assert last(whole)["epoch"] == 2 and last(whole)["position"]["step"] == 3

    # Going on from inside the shortened epoch.
    (parts / "checkpoints").mkdir(parents=True)
    shutil.copy(whole / "checkpoints" / "checkpoint_epoch_00002_step_00000001.pyth", parts / "checkpoints")
    assert run(config_file, parts, 15) == 0
    assert "going on after step 1 of epoch 3" in capsys.readouterr().err
    assert same(last(parts)["model_state"], last(whole)["model_state"])
    moments, others = (last(folder)["optimizer_state"]["state"] for folder in (parts, whole))
    assert all(torch.equal(moments[place]["exp_avg"], others[place]["exp_avg"]) for place in others)
    assert [line["loss"] for line in lines(parts)] == [line["loss"] for line in lines(whole)[13:]]
    rows, expected = (pd.read_csv(folder / "epochs.csv").iloc[-1] for folder in (parts, whole))
    assert (rows["loss"], rows["val_top1_acc"]) == (expected["loss"], expected["val_top1_acc"])

    # Again: nothing is left to do.
    assert run(config_file, whole, 15) == 0
    assert "all 3 epochs are trained already: nothing to do" in capsys.readouterr().err

    # A training that was to be longer all along gives the same as one that was made longer.
    assert run(config_file, longer, 17) == 0
    assert run(config_file, whole, 17) == 0
    assert same(last(longer)["model_state"], last(whole)["model_state"])
    rows, expected = (pd.read_csv(folder / "epochs.csv").iloc[-1] for folder in (whole, longer))
    assert (rows["loss"], rows["val_top1_acc"]) == (expected["loss"], expected["val_top1_acc"])
