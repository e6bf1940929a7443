"""Processes of a machine: their seats, threads, and the one exit status."""

import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
import torch

from slowfast_mvit.engine.distributed import joined
from slowfast_mvit.engine.launch import Machine, launch, machine_of
from slowfast_mvit.engine.meeting import Lost, meet, seat_in
from slowfast_mvit.errors import UserError


def _work(folder: Path, kind: str) -> int:
    seat = seat_in(os.environ)
    assert seat is not None
    try:
        with meet(seat, 10.0) as meeting, joined(meeting, device_type="cpu", backend="nccl", timeout=10.0) as world:
            world.at("step 1")
            if world.rank == 1 and kind != "well":
                if kind == "status":
                    return 7
                os.kill(os.getpid(), signal.SIGKILL)
            place = [world.rank, world.size, world.local_rank, world.local_size, world.num_machines]
            (folder / str(world.rank)).write_text(f"{world.everyones(place)} {torch.get_num_threads()}")
    except Lost as error:
        if error.is_ours:
            print("SAID", error, flush=True)
        return 2
    return 0


def test_seats_and_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert launch(_work, (tmp_path, "well"), 2, Machine(), 10.0) == 0
    threads = max(len(os.sched_getaffinity(0)) // 2, 1)
    for rank in range(2):
        assert (tmp_path / str(rank)).read_text() == f"[[0, 2, 0, 2, 1], [1, 2, 1, 2, 1]] {threads}"


@pytest.mark.parametrize(("kind", "status"), [("killed", 137), ("status", 7)])
def test_the_first_that_fails_decides(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, status: int
) -> None:
    start = time.monotonic()
    assert launch(_work, (tmp_path, kind), 2, Machine(), 10.0) == status
    assert time.monotonic() - start < 40
    said = capfd.readouterr()
    if kind == "killed":  # once, by the parent
        assert said.err.splitlines()[0].startswith("error: rank 1: ended by SIGKILL") and "SAID" not in said.out
        assert len(said.err.splitlines()) == 1
    else:  # a rank that goes without a word
        assert said.out.startswith("SAID rank 0 on ") and "rank 1 on" in said.out


@pytest.mark.parametrize(
    ("count", "init_method", "said"),
    [
        (2, "", "NUM_SHARDS is 2: start the same command on every machine"),
        (1, "tcp://localhost:abc", "--init_method tcp://localhost:abc: write tcp://HOST:PORT"),
        (2, "file:///shared/x", "--init_method file:///shared/x: write tcp://HOST:PORT"),
        (2, "tcp://host", "write tcp://HOST:PORT"),
        (2, "tcp://host:99999", "write tcp://HOST:PORT"),
    ],
)
def test_machines_need_an_address(count: int, init_method: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        machine_of(0, count, init_method)


def test_machines() -> None:
    assert machine_of(1, 4, "tcp://[::1]:9999") == Machine(1, 4, ("[::1]", 9999))
    assert machine_of(0, 1, "tcp://localhost:9999") == Machine()


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of this machine is taken"):
            launch(_work, (), 1, Machine(0, 2, ("127.0.0.1", port)), 5.0)
