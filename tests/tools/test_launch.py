"""The main command on several processes, by itself and under torchrun."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import run_net

from slowfast_mvit.config.load import load_config_text
from slowfast_mvit.engine.checkpoint import list_checkpoints

ROOT = Path(__file__).parents[2]
RUN_NET = str(ROOT / "tools" / "run_net.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
TRAINS = ("TEST.ENABLE", "False", "LOG_PERIOD", "1")


def start(*command: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def net(config: Path, *overrides: str, launcher: tuple[str, ...] = (sys.executable,)) -> subprocess.Popen[str]:
    return start(*launcher, RUN_NET, "--cfg", str(config), *overrides)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=150)
    return process.returncode, out + err


def trained(process: subprocess.Popen[str], run: Path) -> None:
    """Wait for the first step."""
    deadline = time.monotonic() + 120
    while not ((run / "log.jsonl").exists() and '"step": 2,' in (run / "log.jsonl").read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(process: subprocess.Popen[str]) -> list[int]:
    """Its ranks, in their order."""
    listed = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]


def lives(pid: int) -> bool:
    """Whether it runs; one that has ended and nobody has asked for is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_two_processes_train_and_test(config_file: Path, tmp_path: Path) -> None:
    status, said = finish(net(config_file, "NUM_PROCESSES", "2", "SOLVER.MAX_EPOCH", "1"))
    assert status == 0, said
    assert (
        said.count("training mvit") == 1 and "on 2 x cpu" in said and said.count("top-1") == 3 and "rank 1" not in said
    )
    videos = pd.read_csv(tmp_path / "run" / "predictions" / "videos.csv")
    assert len(videos) == 10 and set(videos["num_views"]) == {3}
    stored = load_config_text((tmp_path / "run" / "config.yaml").read_text(), "config.yaml")
    assert (stored.NUM_PROCESSES, stored.NUM_SHARDS, stored.SHARD_ID) == (2, 1, 0)


def test_torchrun_overrides_the_config_and_uneven_batches_finish(config_file: Path) -> None:
    launcher = tuple(TORCHRUN)
    status, said = finish(
        net(
            config_file,
            *TRAINS,
            "NUM_PROCESSES",
            "3",
            "TRAIN.BATCH_SIZE",
            "5",
            "SOLVER.MAX_EPOCH",
            "1",
            launcher=launcher,
        )
    )
    assert status == 0, said
    assert said.count("the launcher's numbers count: NUM_PROCESSES 3 is 2 here") == 1 and "of 4 steps" in said


def test_fewer_videos_than_processes(config_file: Path, toy_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "videos").symlink_to(toy_data / "videos")
    (data / "train.csv").write_text((toy_data / "train.csv").read_text().splitlines()[0] + "\n")
    settings = (*TRAINS, "NUM_PROCESSES", "2", "DATA.PATH_TO_DATA_DIR", str(data))
    status, said = finish(net(config_file, *settings))
    assert status == 0 and "epoch 2/2 1/1" in said, said


def test_two_machines_meet_at_an_address(config_file: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    machines = [
        net(
            config_file,
            *TRAINS,
            "SOLVER.MAX_EPOCH",
            "1",
            "--num_shards",
            "2",
            "--shard_id",
            number,
            "--init_method",
            address,
        )
        for number in "10"
    ]
    (second, said_second), (first, said_first) = (finish(machine) for machine in machines)
    assert (first, second) == (0, 0), said_first + said_second
    # The batch is per machine: 24 videos make 2 steps of 2 x 8, of which one is whole.
    assert "global batch 16 clips" in said_first and "training mvit" not in said_second
    stored = load_config_text((tmp_path / "run" / "config.yaml").read_text(), "config.yaml")
    assert (stored.NUM_SHARDS, stored.SHARD_ID) == (2, 0)


def test_several_machines_without_an_address(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_net.main(["--cfg", str(config_file), "--num_shards", "2", "--shard_id", "1"]) == 2
    assert "--init_method tcp://HOST:PORT" in capsys.readouterr().err


def test_a_machine_0_that_is_not_there(config_file: Path) -> None:
    machine = ("--num_shards", "2", "--shard_id", "1", "--init_method", "tcp://127.0.0.1:1")
    status, said = finish(net(config_file, *machine, "DISTRIBUTED.TIMEOUT", "2"))
    assert status == 2 and said.count("rank 1 waited 2 s for 127.0.0.1:1") == 1 and "Traceback" not in said, said


@pytest.mark.parametrize("launcher", [(sys.executable,), tuple(TORCHRUN)], ids=["alone", "torchrun"])
def test_a_mistake_is_said_once(config_file: Path, launcher: tuple[str, ...]) -> None:
    settings = ("NUM_PROCESSES", "2", "DATA.PATH_TO_DATA_DIR", "/nowhere")
    status, said = finish(net(config_file, *settings, launcher=launcher))
    ours = [line for line in said.splitlines() if "/nowhere" in line]
    assert status != 0 and len(ours) == 1 and ours[0].startswith("error: "), said
    if launcher[1:] == ():
        assert status == 2 and said.splitlines() == ours


def test_a_killed_process_ends_all_with_one_sentence(config_file: Path, tmp_path: Path) -> None:
    process = net(config_file, *TRAINS, "NUM_PROCESSES", "2", "SOLVER.MAX_EPOCH", "500")
    trained(process, tmp_path / "run")
    began = time.monotonic()
    os.kill(children(process)[1], signal.SIGKILL)
    status, said = finish(process)
    assert time.monotonic() - began < 30
    assert status == 137 and said.count("error: ") == 1 and "error: rank 1: ended by SIGKILL" in said, said
    assert "Traceback" not in said and "leaked" not in said


def test_a_signal_to_the_command_leaves_a_checkpoint(config_file: Path, tmp_path: Path) -> None:
    process = net(config_file, *TRAINS, "NUM_PROCESSES", "2", "SOLVER.MAX_EPOCH", "500")
    trained(process, tmp_path / "run")
    process.terminate()
    status, said = finish(process)
    newest = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    assert status == 143 and said.count(f"stopped by SIGTERM: {newest} is written") == 1, said


def test_processes_end_with_the_command(config_file: Path, tmp_path: Path) -> None:
    process = net(config_file, *TRAINS, "NUM_PROCESSES", "2", "SOLVER.MAX_EPOCH", "500")
    trained(process, tmp_path / "run")
    ranks = children(process)
    process.kill()
    finish(process)  # its pipes are open as long as a rank lives
    deadline = time.monotonic() + 10
    while any(map(lives, ranks)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list_checkpoints(tmp_path / "run" / "checkpoints")


def test_toy_data_is_made_once(config_file: Path, tmp_path: Path) -> None:
    status, said = finish(net(config_file, "--toy", "NUM_PROCESSES", "2", "OUTPUT_DIR", str(tmp_path / "toy")))
    assert (
        status == 0 and said.count("which is emptied first") == 1 and said.count("This ran on generated videos") == 1
    ), said
