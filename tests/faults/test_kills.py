"""Trainings that are killed at any moment end as if nothing had happened: real processes, SIGKILL, bitwise equal weights."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from slowfast_mvit.engine.checkpoint import list_checkpoints
from tests.commands import run_here, start_net

# A training with all that has a state: momentum, an average, dropout, drop path; 6 steps an epoch, a checkpoint after each.
TRAINING = (
    "TEST.ENABLE", "False", "LOG_PERIOD", "1", "TRAIN.BATCH_SIZE", "4", "TRAIN.CHECKPOINT_SECONDS", "1e-6",
    "TRAIN.EVAL_PERIOD", "5", "SOLVER.EMA_DECAY", "0.9", "MODEL.DROPOUT_RATE", "0.5", "AUG.NUM_SAMPLE", "2",
    "SOLVER.MAX_EPOCH",
)  # fmt: skip


def steps_logged(run: Path) -> int:
    log = run / "log.jsonl"
    return log.read_text().count('"kind": "train"') if log.exists() else 0


def last_state(run: Path, num_epochs: int) -> dict[str, Any]:
    (last,) = [path for path in list_checkpoints(run / "checkpoints") if f"epoch_{num_epochs:05d}" in path.name]
    return torch.load(last, weights_only=True)


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    """Bitwise, all that does not depend on the clock or the folder."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), where
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for name, value in expected.items():
            if name not in ("cfg", "seconds", "clips_per_second"):
                assert_same(found[name], value, f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for place, value in enumerate(expected):
            assert_same(found[place], value, f"{where}[{place}]")
    else:
        assert found == expected, where


def kill(process: subprocess.Popen[str], run: Path, chance: random.Random, *, while_writing: bool) -> bool:
    """SIGKILL once a step is done, at a random moment or while a checkpoint is written; gives whether half of one is left."""
    before, deadline = steps_logged(run), time.monotonic() + 120
    while steps_logged(run) == before:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    if while_writing:
        folder = run / "checkpoints"
        while process.poll() is None and not any(name.endswith(".tmp") for name in os.listdir(folder)):  # noqa: PTH208
            pass
    else:
        time.sleep(chance.uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return bool(list((run / "checkpoints").glob(".*.tmp")))


@pytest.mark.parametrize(("num_kills", "num_epochs"), [(3, 8), pytest.param(30, 16, marks=pytest.mark.slow)])
def test_killed_trainings_end_as_if_nothing_had_happened(
    config_file: Path, tmp_path: Path, num_kills: int, num_epochs: int
) -> None:
    run, chance = tmp_path / "run", random.Random(num_kills)
    training = (*TRAINING, str(num_epochs))
    kills = halves = 0
    for number in range(num_kills):
        process = start_net(config_file, *training)
        halves += kill(process, run, chance, while_writing=number % 2 == 1)
        kills += process.returncode == -signal.SIGKILL
    assert run_here(config_file, *training) == 0
    assert not list((run / "checkpoints").glob(".*.tmp"))
    assert run_here(config_file, *training, "OUTPUT_DIR", str(tmp_path / "whole")) == 0
    assert_same(last_state(run, num_epochs), last_state(tmp_path / "whole", num_epochs))
    assert kills == num_kills
    print(f"{kills} kills, {halves} of them with half a checkpoint on the disk")
