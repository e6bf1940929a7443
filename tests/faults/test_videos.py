"""Videos that are cut or hang their decoder, from end to end: training goes on without them, a test says it and stops."""

import os
import re
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch

from slowfast_mvit.data.toy import ToySet, make_toy_set
from tests.commands import finish, run_here, start_net, wait_for_step

WORKERS = ("DATA_LOADER.NUM_WORKERS", "2")


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


@pytest.fixture
def said(config: Path, capfd: pytest.CaptureFixture[str]):
    """What the command says with overrides, on two loader workers, when it ends with a status."""

    def run(*overrides: str, status: int = 0) -> str:
        capfd.readouterr()
        ended, said = run_here(config, *WORKERS, *overrides), capfd.readouterr().err
        assert ended == status and "Traceback" not in said, said
        return said

    return run


def hang(video: Path) -> None:
    """Its decoder waits for the other end of a pipe."""
    os.mkfifo(video.with_suffix(".ts"))
    video.write_text(f"ffconcat version 1.0\nfile {video.stem}.ts\n")


def cut(video: Path) -> None:
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 4])


def test_training_goes_on_without_a_cut_and_a_hanging_video(said, data: Path, tmp_path: Path) -> None:
    videos = data / "videos" / "train"
    cut(videos / "00003.mp4")
    hang(videos / "00005.mp4")
    settings = ("SOLVER.MAX_EPOCH", "3", "DATA_LOADER.TIMEOUT", "1.5", "TEST.ENABLE", "False")
    told = said(*settings)
    assert len(re.findall("cannot read .*00003.mp4 with pyav", told)) == 1
    assert (
        len(re.findall(r"loader worker [01] \(pid \d+\) has been at .*00005.mp4 for \d s: .* started anew", told)) == 1
    )
    table = pd.read_csv(tmp_path / "run" / "unreadable_train.csv")
    assert list(table["video"]) == ["videos/train/00003.mp4", "videos/train/00005.mp4"]
    assert table["cause"][1].startswith("decoding hangs: no clip after ")
    assert (tmp_path / "run" / "checkpoints" / "checkpoint_epoch_00003.pyth").exists()
    # The same without a worker that hangs: the video is cut instead. Nothing else may differ.
    (videos / "00005.mp4").write_bytes((videos / "00003.mp4").read_bytes())
    said(*settings, "OUTPUT_DIR", str(tmp_path / "calm"))
    states = [
        torch.load(tmp_path / run / "checkpoints" / "checkpoint_epoch_00003.pyth", weights_only=True)["model_state"]
        for run in ("run", "calm")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def test_too_many(said, data: Path) -> None:
    hang(data / "videos" / "train" / "00005.mp4")
    told = said("DATA_LOADER.TIMEOUT", "1", "DATA.MAX_BAD_VIDEOS", "0", status=2)
    (error,) = re.findall("^error: .*", told, re.MULTILINE)
    assert error.startswith("error: 1 training videos could not be read, and DATA.MAX_BAD_VIDEOS is 0: ")
    assert "00005.mp4" in error and "decoding hangs" in error


def test_a_test_stops_where_a_video_hangs(said, data: Path) -> None:
    hang(data / "videos" / "test" / "00002.mp4")
    assert re.search(
        r"^error: loader worker [01] \(pid \d+\) has been at .*test/00002.mp4 for \d s: take the file off the list, or raise",
        said("SOLVER.MAX_EPOCH", "1", "DATA_LOADER.TIMEOUT", "1", status=2),
        re.MULTILINE,
    )


def test_a_killed_worker_of_a_training(config: Path, tmp_path: Path) -> None:
    long = ("SOLVER.MAX_EPOCH", "500", "TRAIN.EVAL_PERIOD", "500", "TRAIN.CHECKPOINT_PERIOD", "500")
    process = start_net(config, *WORKERS, *long)
    wait_for_step(process, tmp_path / "run", 5)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(pid) for pid in children if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    status, said = finish(process)
    assert status == 2 and "Traceback" not in said, said
    assert re.search(
        rf"^error: loader worker [01] \(pid {workers[0]}\).* was killed by SIGKILL, mostly the kernel's answer to a lack of "
        r"memory \(.*this process holds .*\): lower DATA_LOADER.NUM_WORKERS",
        said,
        re.MULTILINE,
    )
