"""Disks that are full or return other bytes than they were given: nothing that was written before is lost."""

import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from slowfast_mvit.engine.checkpoint import list_checkpoints

ROOT = Path(__file__).parents[2]
KEEP_ALL = ("TRAIN.KEEP_CHECKPOINTS", "0", "TRAIN.CHECKPOINT_PERIOD", "1", "TEST.ENABLE", "False")


def train(
    config: Path, folder: Path, num_epochs: int, *overrides: str, limit: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, str(ROOT / "tools" / "run_net.py"), "--cfg", str(config), *KEEP_ALL, "OUTPUT_DIR", str(folder),
        "SOLVER.MAX_EPOCH", str(num_epochs), *overrides,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, preexec_fn=limit, timeout=300)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(list_checkpoints(folder / "checkpoints")[-1], weights_only=True)["model_state"]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_damaged_newest_checkpoints(config_file: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    assert train(config_file, whole, 3).returncode == 0
    chance = random.Random(0)
    for name, damage in (
        ("short", lambda data: data[: chance.randrange(1, len(data))]),
        ("flipped", lambda data: flipped(data, len(data) // 2)),
        ("empty", lambda data: b""),
    ):
        run = tmp_path / name
        shutil.copytree(whole, run)
        third, newest = (run / "checkpoints" / f"checkpoint_epoch_0000{epoch}.pyth" for epoch in (3, 2))
        third.unlink()
        newest.write_bytes(damage(newest.read_bytes()))
        done = train(config_file, run, 3)
        assert done.returncode == 0, done.stderr
        assert str(newest) in done.stderr and "trying the checkpoint before it" in done.stderr
        assert f"going on after epoch 1 from {run / 'checkpoints' / 'checkpoint_epoch_00001.pyth'}" in done.stderr
        assert same(weights(run), weights(whole))


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]


def fail_and_go_on(
    config: Path, tmp_path: Path, run: Path, reason: str, done: subprocess.CompletedProcess[str]
) -> None:
    """The training has stopped for want of room; with room it goes on from what it has, and ends as if nothing had been."""
    left = list_checkpoints(run / "checkpoints")
    assert done.returncode == 2, done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f"cannot be written: {reason}; the newest checkpoint is {left[-1].name}, which is intact" in error
    assert "Traceback" not in done.stderr and not list((run / "checkpoints").glob(".*"))
    again = train(config, run, 4)
    assert again.returncode == 0, again.stderr
    assert f"going on after epoch {len(left)} from {left[-1]}" in again.stderr
    if not (tmp_path / "whole").exists():
        assert train(config, tmp_path / "whole", 4).returncode == 0
    assert same(weights(run), weights(tmp_path / "whole"))


def test_a_file_that_may_not_grow(config_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(config_file, tmp_path / "whole", 4).returncode == 0
    shutil.copytree(tmp_path / "whole", run)
    first, *others = list_checkpoints(run / "checkpoints")
    for path in others:
        path.unlink()
    size = first.stat().st_size * 2 // 3
    done = train(config_file, run, 4, limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    fail_and_go_on(config_file, tmp_path, run, "File too large", done)


def test_a_full_disk(config_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "disk"
    run.mkdir()
    assert train(config_file, tmp_path / "size", 1).returncode == 0
    (first,) = list_checkpoints(tmp_path / "size" / "checkpoints")
    room = first.stat().st_size * 5 // 2 + 65536  # for two checkpoints, and half of the third
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(run)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        done = train(config_file, run, 4)
        assert len(list_checkpoints(run / "checkpoints")) == 2
        subprocess.run(["mount", "-o", f"remount,size={room * 10}", str(run)], check=True)
        fail_and_go_on(config_file, tmp_path, run, "No space left on device", done)
    finally:
        subprocess.run(["umount", str(run)], check=True)
