"""Trainings that are killed at any moment end as if nothing had happened: real processes, SIGKILL, bitwise equal weights."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from slowfast_mvit.engine.checkpoint import list_checkpoints

ROOT = Path(__file__).parents[2]
NUM_EPOCHS = 16  # of 6 steps


def start(config: Path, *overrides: str) -> subprocess.Popen[str]:
    """A training with all that has a state: momentum, an average, dropout, drop path; a checkpoint after every step."""
    command = [
        sys.executable, str(ROOT / "tools" / "run_net.py"), "--cfg", str(config), "TEST.ENABLE", "False", "LOG_PERIOD", "1",
        "TRAIN.BATCH_SIZE", "4", "TRAIN.CHECKPOINT_SECONDS", "1e-6", "TRAIN.EVAL_PERIOD", "5", "SOLVER.EMA_DECAY", "0.9",
        "MODEL.DROPOUT_RATE", "0.5", "SOLVER.MAX_EPOCH", str(NUM_EPOCHS), "AUG.NUM_SAMPLE", "2", *overrides,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen[str], timeout: float = 300) -> str:
    _, said = process.communicate(timeout=timeout)
    assert process.returncode == 0, said
    return said


def steps_logged(run: Path) -> int:
    log = run / "log.jsonl"
    return log.read_text().count('"kind": "train"') if log.exists() else 0


def last_state(run: Path) -> dict[str, Any]:
    (last,) = [path for path in list_checkpoints(run / "checkpoints") if f"epoch_{NUM_EPOCHS:05d}" in path.name]
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


@pytest.mark.parametrize("num_kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_trainings_end_as_if_nothing_had_happened(config_file: Path, tmp_path: Path, num_kills: int) -> None:
    run, chance = tmp_path / "run", random.Random(num_kills)
    kills = halves = 0
    for number in range(num_kills):
        process = start(config_file)
        halves += kill(process, run, chance, while_writing=number % 2 == 1)
        kills += process.returncode == -signal.SIGKILL
    finish(start(config_file))
    assert not list((run / "checkpoints").glob(".*.tmp"))
    finish(start(config_file, "OUTPUT_DIR", str(tmp_path / "whole")))
    assert_same(last_state(run), last_state(tmp_path / "whole"))
    assert kills == num_kills
    print(f"{kills} kills, {halves} of them with half a checkpoint on the disk")
