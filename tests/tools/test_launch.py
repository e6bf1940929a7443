"""The main command on several processes, by itself and under torchrun."""

import signal
import socket
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import run_net

from slowfast_mvit.build import command
from slowfast_mvit.config.load import load_config_text
from slowfast_mvit.engine.checkpoint import list_checkpoints
from tests.commands import RUN_NET, finish, ranks_of, signalled, start, start_net, wait_for_step

TRAINS = ("TEST.ENABLE", "False", "LOG_PERIOD", "1")
TWO = ("NUM_PROCESSES", "2")
LONG = (*TRAINS, *TWO, "SOLVER.MAX_EPOCH", "500")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """The command in this process, which starts the others; gives its status and what all said."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        capfd.readouterr()
        status, said = run_net.main(arguments), capfd.readouterr()
        return status, said.out + said.err

    return run


@pytest.fixture
def nowhere(config_file: Path, tmp_path: Path) -> Path:
    """The config with a mistake that each rank finds."""
    path = tmp_path / "nowhere.yaml"
    path.write_text(f"_BASE_: {config_file}\nDATA:\n  PATH_TO_DATA_DIR: /nowhere\n")
    return path


def lives(pid: int) -> bool:
    """Whether it runs; one that has ended and nobody has asked for is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_two_processes_train_and_test(config_file: Path, tmp_path: Path, launched) -> None:
    status, said = launched("--cfg", str(config_file), *TWO, "SOLVER.MAX_EPOCH", "1")
    assert status == 0, said
    assert said.count("training mvit") == 1 and "on 2 x cpu" in said
    assert said.count("top-1") == 3 and "rank 1" not in said
    videos = pd.read_csv(tmp_path / "run" / "predictions" / "videos.csv")
    assert len(videos) == 10 and set(videos["num_views"]) == {3}
    stored = load_config_text((tmp_path / "run" / "config.yaml").read_text(), "config.yaml")
    assert (stored.NUM_PROCESSES, stored.NUM_SHARDS, stored.SHARD_ID) == (2, 1, 0)


def test_under_torchrun_uneven_batches_finish_and_a_mistake_is_said_once(config_file: Path, nowhere: Path) -> None:
    """Two configs in turn: torchrun's number of processes counts, not that of the first; the second has a mistake."""
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", RUN_NET)
    settings = (*TRAINS, "NUM_PROCESSES", "3", "TRAIN.BATCH_SIZE", "5", "SOLVER.MAX_EPOCH", "1")
    status, said = finish(start(*torchrun, "--cfg", str(config_file), str(nowhere), *settings))
    once_a_config = said.count("the launcher's numbers count: NUM_PROCESSES 3 is 2 here")
    assert once_a_config == 2 and "of 4 steps" in said, said
    assert "epoch 1/1 4/4" in said, said
    ours = [line for line in said.splitlines() if "/nowhere" in line]
    assert status != 0 and len(ours) == 1 and ours[0].startswith("error: "), said


@pytest.mark.slow
def test_two_machines_meet_at_an_address(config_file: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    together = (*TRAINS, "SOLVER.MAX_EPOCH", "1", "--init_method", address, "--num_shards", "2", "--shard_id")
    machines = [start_net(config_file, *together, number) for number in "10"]
    (second, said_second), (first, said_first) = (finish(machine) for machine in machines)
    assert (first, second) == (0, 0), said_first + said_second
    # The batch is per machine: 24 videos make 2 steps of 2 x 8, of which one is whole.
    assert "global batch 16 clips" in said_first and "training mvit" not in said_second
    stored = load_config_text((tmp_path / "run" / "config.yaml").read_text(), "config.yaml")
    assert (stored.NUM_SHARDS, stored.SHARD_ID) == (2, 0)


def test_several_machines_without_an_address(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_net.main(["--cfg", str(config_file), "--num_shards", "2", "--shard_id", "1"]) == 2
    assert "--init_method tcp://HOST:PORT" in capsys.readouterr().err


def test_a_machine_0_that_is_not_there(config_file: Path, launched) -> None:
    machine = ("--num_shards", "2", "--shard_id", "1", "--init_method", "tcp://127.0.0.1:1")
    status, said = launched("--cfg", str(config_file), *machine, "DISTRIBUTED.TIMEOUT", "2")
    assert status == 2 and said.count("rank 1 waited 2 s for 127.0.0.1:1") == 1 and "Traceback" not in said, said


def test_a_mistake_is_said_once(nowhere: Path, launched) -> None:
    status, said = launched("--cfg", str(nowhere), *TWO)
    (line,) = said.splitlines()
    assert status == 2 and line.startswith("error: ") and "/nowhere" in line


def test_a_killed_process_ends_all_with_one_sentence(config_file: Path, tmp_path: Path, launched) -> None:
    began = time.monotonic()
    with signalled(tmp_path / "run", 2, 1, signal.SIGKILL):
        status, said = launched("--cfg", str(config_file), *LONG)
    assert status == 137 and said.count("error: ") == 1 and "error: rank 1: ended by SIGKILL" in said, said
    assert "Traceback" not in said and "leaked" not in said
    assert time.monotonic() - began < 120


def test_processes_end_with_the_command(config_file: Path, tmp_path: Path) -> None:
    process = start_net(config_file, *LONG)
    wait_for_step(process, tmp_path / "run", 2)
    ranks = ranks_of(process.pid)
    process.kill()
    finish(process)  # its pipes are open as long as a rank lives
    deadline = time.monotonic() + 10
    while any(map(lives, ranks)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list_checkpoints(tmp_path / "run" / "checkpoints")


def test_toy_data_is_made_by_the_command_alone(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it starts its ranks, which are given the config as it is."""
    calls = []

    def launch(work, arguments, num_processes, machine, timeout) -> int:
        calls.append((work, num_processes, arguments[1].OUTPUT_DIR))
        assert (root / "data" / "train.csv").exists()
        return 0

    root = tmp_path / "toy" / "toy-small"
    monkeypatch.setattr(command, "launch", launch)
    toy = ("--toy", *TWO, "OUTPUT_DIR", str(tmp_path / "toy"))
    assert run_net.main(["--cfg", str(config_file), *toy]) == 0
    assert calls == [(command.run_rank, 2, str(root))]
    (root / "mine.txt").touch()
    given = command.Command(str(config_file), toy[1:], toy=True).config(make=False)  # what a rank under torchrun does
    assert str(root) == given.OUTPUT_DIR
    assert (root / "mine.txt").exists()  # nothing is emptied


@pytest.mark.slow
def test_toy_data_is_made_once(config_file: Path, tmp_path: Path, launched) -> None:
    status, said = launched("--cfg", str(config_file), "--toy", *TWO, "OUTPUT_DIR", str(tmp_path / "toy"))
    assert status == 0, said
    assert said.count("which is emptied first") == 1 and said.count("This ran on generated videos") == 1, said
