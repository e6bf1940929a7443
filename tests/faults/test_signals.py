"""A scheduler that wants its machine back: SIGTERM and SIGUSR1 end a training with a checkpoint, and no error."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from slowfast_mvit.engine.checkpoint import list_checkpoints

ROOT = Path(__file__).parents[2]


def start(config: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, str(ROOT / "tools" / "run_net.py"), "--cfg", str(config), "TEST.ENABLE", "False", "LOG_PERIOD", "1",
        "TRAIN.BATCH_SIZE", "4", "SOLVER.MAX_EPOCH", "4", *overrides,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for_step(process: subprocess.Popen[str], run: Path, step: int) -> None:
    log, deadline = run / "log.jsonl", time.monotonic() + 120
    while not (log.exists() and f'"step": {step},' in log.read_text()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_training_with_a_checkpoint(config_file: Path, tmp_path: Path, number: signal.Signals) -> None:
    run = tmp_path / "run"
    process = start(config_file)
    wait_for_step(process, run, 8)  # of 6 in an epoch
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    checkpoint = list_checkpoints(run / "checkpoints")[-1]
    assert checkpoint.name.startswith("checkpoint_epoch_00001_step_") and "Traceback" not in said
    assert said.splitlines()[-1] == (
        f"stopped by {number.name}: {checkpoint} is written; start the same command again to go on from there"
    )
    again = start(config_file)
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0 and f"of epoch 2 from {checkpoint}" in said, said
    whole = start(config_file, "OUTPUT_DIR", str(tmp_path / "whole"))
    assert whole.wait(timeout=120) == 0
    states = [
        torch.load(folder / "checkpoints" / "checkpoint_epoch_00004.pyth", weights_only=True)["model_state"]
        for folder in (run, tmp_path / "whole")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def ranks_of(process: subprocess.Popen[str]) -> list[int]:
    """Process ids of a run's ranks in their order, which is that in which they were started."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1] if folder.name.isdigit() else ""
            if parent == str(process.pid) and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended meanwhile
            continue
    return sorted(found)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_any_rank_ends_all_with_a_checkpoint(config_file: Path, tmp_path: Path, rank: int) -> None:
    run, two = tmp_path / "run", ("NUM_PROCESSES", "2")
    process = start(config_file, *two)
    wait_for_step(process, run, 8)
    ranks = ranks_of(process)
    assert len(ranks) == 2
    os.kill(ranks[rank], signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, said
    checkpoint = list_checkpoints(run / "checkpoints")[-1]
    assert said.count(f"stopped by SIGTERM: {checkpoint} is written") == 1 and "Traceback" not in said
    again = start(config_file, *two)
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0 and f"of epoch 2 from {checkpoint}" in said, said
