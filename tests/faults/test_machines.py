"""Three machines, one of which is cut off: three network namespaces on a bridge, each with an address of its own.

Where namespaces may not be made, the second test stays: three commands that meet on loopback, one of which is frozen.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from slowfast_mvit.engine.checkpoint import list_checkpoints
from tests.commands import RUN_NET, start

TIMEOUT = 10.0


@dataclass(frozen=True)
class Machine:
    """A namespace, and the address of its interface ``link``."""

    name: str
    link: str
    address: str


def ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True)


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    """Three of them; skips where this user may not make namespaces."""
    tag = f"m{os.getpid() % 10000}"
    three = [Machine(f"{tag}n{number}", f"{tag}v{number}", f"10.97.0.{number + 1}") for number in range(3)]
    bridge = f"{tag}b"
    steps = [("link", "add", bridge, "type", "bridge"), ("link", "set", bridge, "up")]
    for machine in three:
        inside = ("netns", "exec", machine.name, "ip")
        steps += [
            ("netns", "add", machine.name),
            ("link", "add", f"{machine.link}o", "type", "veth", "peer", "name", machine.link),
            ("link", "set", machine.link, "netns", machine.name),
            ("link", "set", f"{machine.link}o", "master", bridge, "up"),
            (*inside, "address", "add", f"{machine.address}/24", "dev", machine.link),
            (*inside, "link", "set", machine.link, "up"),
            (*inside, "link", "set", "lo", "up"),
        ]
    try:
        for step in steps:
            done = ip(*step)
            if done.returncode:
                pytest.skip(f"ip {' '.join(step)}: {done.stderr.strip()}")
        yield three
    finally:
        for machine in three:
            ip("netns", "delete", machine.name)
            ip("link", "delete", f"{machine.link}o")
        ip("link", "delete", bridge)


def torchrun(machine: Machine, config: Path, first: Machine, said: Path) -> subprocess.Popen[str]:
    """torchrun on one machine, in a session of its own; what it says goes to a file."""
    command = [
        "ip", "netns", "exec", machine.name,
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "3", "--nproc-per-node", "1",
        "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{first.address}:29400", "--rdzv-id", "job",
        "--rdzv-conf", f"is_host={int(machine == first)}",  # torchrun looks its own name up, which is no namespace's
        "--local-addr", machine.address,
        RUN_NET, "--cfg", str(config), "TEST.ENABLE", "False", "LOG_PERIOD", "1",
        "TRAIN.BATCH_SIZE", "2", "SOLVER.MAX_EPOCH", "40", "TRAIN.EVAL_PERIOD", "40",
        "DISTRIBUTED.TIMEOUT", str(TIMEOUT),
    ]  # fmt: skip
    return begin(said, *command)


def begin(said: Path, *command: str) -> subprocess.Popen[str]:
    """A process in a session of its own; what it says goes to a file."""
    return start(*command, stdout=said.open("wb"), stderr=subprocess.STDOUT, start_new_session=True)


def wait_for(text: str, file: Path, seconds: float) -> float:
    """When the file holds the text, in seconds from now."""
    began = time.monotonic()
    while not (file.exists() and text in file.read_text(errors="replace")):
        assert time.monotonic() - began < seconds, file.read_text() if file.exists() else file
        time.sleep(0.05)
    return time.monotonic() - began


def end(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_machine_is_cut_off_and_the_training_goes_on_later(
    machines: list[Machine], config_file: Path, tmp_path: Path
) -> None:
    run, saids = tmp_path / "run", [tmp_path / f"said{number}" for number in range(3)]
    processes = [
        torchrun(machine, config_file, machines[0], said) for machine, said in zip(machines, saids, strict=True)
    ]
    try:
        wait_for('"step": 10,', run / "log.jsonl", 150)  # of 4 in an epoch
        assert ip("link", "set", f"{machines[2].link}o", "down").returncode == 0
        took = wait_for("error: ", saids[0], TIMEOUT + 20)
        wait_for("error: ", saids[1], 10)
        # The one that is cut off cannot know more than that nobody answers.
        wait_for("error: ", saids[2], TIMEOUT + 20)
    finally:
        end(processes)
    sentences = [[line for line in said.read_text().splitlines() if line.startswith("error: ")] for said in saids]
    print(f"the sentence came after {took:.1f} s, with a time-out of {TIMEOUT:.0f} s:", *sentences, sep="\n")
    assert all(len(lines) == 1 for lines in sentences)
    assert all("nothing was heard of rank" in lines[0] for lines in sentences[:2])
    assert f"{machines[0].address}:" in sentences[2][0] and "does not answer" in sentences[2][0]
    ours = [line for said in saids for line in said.read_text().splitlines() if "run_net.py" in line and "File" in line]
    assert ours == []  # no traceback of the command; torchrun shows its own
    kept = list_checkpoints(run / "checkpoints")
    assert kept

    assert ip("link", "set", f"{machines[2].link}o", "up").returncode == 0
    again = [tmp_path / f"again{number}" for number in range(3)]
    processes = [
        torchrun(machine, config_file, machines[0], said) for machine, said in zip(machines, again, strict=True)
    ]
    try:
        assert [process.wait(timeout=200) for process in processes] == [0, 0, 0]
    finally:
        end(processes)
    told = "".join(said.read_text() for said in again)
    assert told.count(f"from {kept[-1]}") == 1, told
    assert list_checkpoints(run / "checkpoints")[-1].name == "checkpoint_epoch_00040.pyth"


@pytest.mark.slow
def test_a_machine_freezes_and_the_training_goes_on_later(config_file: Path, tmp_path: Path) -> None:
    def three(name: str) -> list[subprocess.Popen[str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        command = [
            sys.executable, RUN_NET, "--cfg", str(config_file), "TEST.ENABLE", "False",
            "LOG_PERIOD", "1", "TRAIN.BATCH_SIZE", "2", "SOLVER.MAX_EPOCH", "40", "TRAIN.EVAL_PERIOD", "40",
            "DISTRIBUTED.TIMEOUT", str(TIMEOUT), "--init_method", address, "--num_shards", "3", "--shard_id",
        ]  # fmt: skip
        return [begin(tmp_path / f"{name}{number}", *command, str(number)) for number in range(3)]

    run = tmp_path / "run"
    processes = three("said")
    try:
        wait_for('"step": 10,', run / "log.jsonl", 150)
        os.killpg(processes[2].pid, signal.SIGSTOP)
        began = time.monotonic()
        assert [process.wait(timeout=TIMEOUT + 30) for process in processes[:2]] == [2, 2]
        print(f"all others ended after {time.monotonic() - began:.1f} s, with a time-out of {TIMEOUT:.0f} s")
    finally:
        end(processes)
    for number in range(2):
        (sentence,) = [
            line for line in (tmp_path / f"said{number}").read_text().splitlines() if line.startswith("error: ")
        ]
        assert "nothing was heard of rank 2" in sentence
    kept = list_checkpoints(run / "checkpoints")[-1]
    processes = three("again")
    try:
        assert [process.wait(timeout=200) for process in processes] == [0, 0, 0]
    finally:
        end(processes)
    assert f"from {kept}" in (tmp_path / "again0").read_text()
