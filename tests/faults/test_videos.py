"""Videos that are cut or hang their decoder, from end to end: training goes on without them, a test says it and stops."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from slowfast_mvit.data.toy import ToySet, make_toy_set

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """12 training, 4 validation and 6 test videos that a test may spoil."""
    return make_toy_set(tmp_path / "data", ToySet(12, 4, 6), processes=1)


@pytest.fixture
def config(tmp_path: Path, config_file: Path, data: Path) -> Path:
    path = tmp_path / "spoiled.yaml"
    path.write_text(
        f"_BASE_: {config_file}\nDATA:\n  PATH_TO_DATA_DIR: {data}\nTRAIN:\n  BATCH_SIZE: 4\nLOG_PERIOD: 1\n"
    )
    return path


def start(config: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, str(ROOT / "tools" / "run_net.py"), "--cfg", str(config), "DATA_LOADER.NUM_WORKERS", "2", *overrides
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    _, said = process.communicate(timeout=120)
    assert process.returncode == status and "Traceback" not in said, said
    return said


def hang(video: Path) -> None:
    """Its decoder waits for the other end of a pipe."""
    os.mkfifo(video.with_suffix(".ts"))
    video.write_text(f"ffconcat version 1.0\nfile {video.stem}.ts\n")


def cut(video: Path) -> None:
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 4])


def test_training_goes_on_without_a_cut_and_a_hanging_video(config: Path, data: Path, tmp_path: Path) -> None:
    videos = data / "videos" / "train"
    cut(videos / "00003.mp4")
    hang(videos / "00005.mp4")
    settings = ("SOLVER.MAX_EPOCH", "3", "DATA_LOADER.TIMEOUT", "1.5", "TEST.ENABLE", "False")
    said = finish(start(config, *settings))
    assert len(re.findall("cannot read .*00003.mp4 with pyav", said)) == 1
    assert (
        len(re.findall(r"loader worker [01] \(pid \d+\) has been at .*00005.mp4 for \d s: .* started anew", said)) == 1
    )
    table = pd.read_csv(tmp_path / "run" / "unreadable_train.csv")
    assert list(table["video"]) == ["videos/train/00003.mp4", "videos/train/00005.mp4"]
    assert table["cause"][1].startswith("decoding hangs: no clip after ")
    assert (tmp_path / "run" / "checkpoints" / "checkpoint_epoch_00003.pyth").exists()
    # The same without a worker that hangs: the video is cut instead. Nothing else may differ.
    (videos / "00005.mp4").write_bytes((videos / "00003.mp4").read_bytes())
    finish(start(config, *settings, "OUTPUT_DIR", str(tmp_path / "calm")))
    states = [
        torch.load(tmp_path / run / "checkpoints" / "checkpoint_epoch_00003.pyth", weights_only=True)["model_state"]
        for run in ("run", "calm")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def test_too_many(config: Path, data: Path) -> None:
    hang(data / "videos" / "train" / "00005.mp4")
    said = finish(start(config, "DATA_LOADER.TIMEOUT", "1", "DATA.MAX_BAD_VIDEOS", "0"), status=2)
    (error,) = re.findall("^error: .*", said, re.MULTILINE)
    assert error.startswith("error: 1 training videos could not be read, and DATA.MAX_BAD_VIDEOS is 0: ")
    assert "00005.mp4" in error and "decoding hangs" in error


def test_a_test_stops_where_a_video_hangs(config: Path, data: Path) -> None:
    hang(data / "videos" / "test" / "00002.mp4")
    said = finish(start(config, "SOLVER.MAX_EPOCH", "1", "DATA_LOADER.TIMEOUT", "1"), status=2)
    assert re.search(
        r"^error: loader worker [01] \(pid \d+\) has been at .*test/00002.mp4 for \d s: take the file off the list, or raise",
        said,
        re.MULTILINE,
    )


def test_a_killed_worker_of_a_training(config: Path, tmp_path: Path) -> None:
    process = start(config, "SOLVER.MAX_EPOCH", "500", "TRAIN.EVAL_PERIOD", "500", "TRAIN.CHECKPOINT_PERIOD", "500")
    log, deadline = tmp_path / "run" / "log.jsonl", time.monotonic() + 60
    while not (log.exists() and '"step": 5,' in log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(pid) for pid in children if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    said = finish(process, status=2)
    assert re.search(
        rf"^error: loader worker [01] \(pid {workers[0]}\).* was killed by SIGKILL, mostly the kernel's answer to a lack of "
        r"memory \(.*this process holds .*\): lower DATA_LOADER.NUM_WORKERS",
        said,
        re.MULTILINE,
    )
