"""Disks that are full or return other bytes than they were given: nothing that was written before is lost."""

import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from slowfast_mvit.engine.checkpoint import list_checkpoints
from tests.commands import run_here, small_config

NUM_EPOCHS = 4  # of 3 steps


def train(config: Path, run: Path, capfd: pytest.CaptureFixture[str] | None = None) -> tuple[int, str]:
    """Train in a folder; gives the exit status and what was said."""
    keep_all = ("TRAIN.KEEP_CHECKPOINTS", "0", "TRAIN.CHECKPOINT_PERIOD", "1", "TEST.ENABLE", "False")
    status = run_here(config, *keep_all, "OUTPUT_DIR", str(run), "SOLVER.MAX_EPOCH", str(NUM_EPOCHS))
    return status, capfd.readouterr().err if capfd else ""


def same_weights(first: Path, second: Path) -> bool:
    states = [
        torch.load(list_checkpoints(run / "checkpoints")[-1], weights_only=True)["model_state"]
        for run in (first, second)
    ]
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, toy_data: Path) -> Path:
    """A training that nothing has befallen."""
    folder = tmp_path_factory.mktemp("whole")
    assert train(small_config(folder, toy_data), folder / "run") == (0, "")
    return folder / "run"


def test_damaged_newest_checkpoints(
    config_file: Path, tmp_path: Path, whole: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(0)
    for name, damage in (
        ("short", lambda data: data[: chance.randrange(1, len(data))]),
        ("flipped", lambda data: flipped(data, len(data) // 2)),
        ("empty", lambda data: b""),
    ):
        run = tmp_path / name
        shutil.copytree(whole, run)
        before, newest = list_checkpoints(run / "checkpoints")[-2:]
        newest.write_bytes(damage(newest.read_bytes()))
        status, said = train(config_file, run, capfd)
        assert status == 0, said
        assert str(newest) in said and "trying the checkpoint before it" in said
        assert f"going on after epoch 3 from {before}" in said
        assert same_weights(run, whole)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]


def assert_stopped_with_all_intact(run: Path, reason: str, status: int, said: str) -> None:
    """The training has stopped for want of room."""
    assert status == 2, said
    (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
    newest = list_checkpoints(run / "checkpoints")[-1]
    assert f"cannot be written: {reason}; the newest checkpoint is {newest.name}, which is intact" in error
    assert "Traceback" not in said and not list((run / "checkpoints").glob(".*"))


def assert_goes_on(config: Path, run: Path, whole: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With room it goes on from what it has, and ends as if nothing had been."""
    left = list_checkpoints(run / "checkpoints")
    status, said = train(config, run, capfd)
    assert status == 0, said
    assert f"going on after epoch {len(left)} from {left[-1]}" in said
    assert same_weights(run, whole)


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file of this process grows beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_may_not_grow(
    config_file: Path, tmp_path: Path, whole: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    first, second, *others = list_checkpoints(run / "checkpoints")
    for path in others:
        path.unlink()
    with file_limit(first.stat().st_size * 2 // 3):
        status, said = train(config_file, run, capfd)
    assert list_checkpoints(run / "checkpoints") == [first, second]
    assert_stopped_with_all_intact(run, "File too large", status, said)
    assert_goes_on(config_file, run, whole, capfd)


def test_a_full_disk(config_file: Path, tmp_path: Path, whole: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "disk"
    run.mkdir()
    room = list_checkpoints(whole / "checkpoints")[0].stat().st_size * 5 // 2 + 65536  # for two, and half of the third
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(run)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        status, said = train(config_file, run, capfd)
        assert len(list_checkpoints(run / "checkpoints")) == 2
        assert_stopped_with_all_intact(run, "No space left on device", status, said)
        subprocess.run(["mount", "-o", f"remount,size={room * 10}", str(run)], check=True)
        assert_goes_on(config_file, run, whole, capfd)
    finally:
        subprocess.run(["umount", str(run)], check=True)
