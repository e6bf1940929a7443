"""run_net.py for tests: in processes of its own where signals count, and in this one, which saves seconds of starting."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import run_net
import torch

ROOT = Path(__file__).parents[1]
RUN_NET = str(ROOT / "tools" / "run_net.py")


def small_config(folder: Path, data: Path) -> Path:
    """The toy recipe at its smallest: a config in ``folder``, which writes to ``folder``/run."""
    path = folder / "small.yaml"
    path.write_text(
        f"""_BASE_: {ROOT}/configs/Toy/MVITV2_TOY_8x4.yaml
DATA:
  PATH_TO_DATA_DIR: {data}
MVIT:
  EMBED_DIM: 8
TRAIN:
  BATCH_SIZE: 8
TEST:
  BATCH_SIZE: 7
SOLVER:
  MAX_EPOCH: 2
DATA_LOADER:
  NUM_WORKERS: 0
OUTPUT_DIR: {folder}/run
"""
    )
    return path


def run_here(config: Path, *overrides: str) -> int:
    """The command in this process, on one thread as those of :func:`start`, with the same numbers; returns its status."""
    ours, threads = logging.getLogger("slowfast_mvit"), torch.get_num_threads()
    before = ours.handlers, ours.level, ours.propagate
    torch.set_num_threads(1)
    try:
        return run_net.main(["--cfg", str(config), *overrides])
    finally:
        torch.set_num_threads(threads)
        ours.handlers, ours.level, ours.propagate = before


def start(*command: str, **options: Any) -> subprocess.Popen[str]:
    """A process of one thread, with pipes for what it says; ``options`` are of Popen."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes | {"env": os.environ | {"OMP_NUM_THREADS": "1"}} | options)


def start_net(config: Path, *overrides: str, launcher: tuple[str, ...] = (sys.executable,)) -> subprocess.Popen[str]:
    """run_net.py on a config, by Python or by another launcher."""
    return start(*launcher, RUN_NET, "--cfg", str(config), *overrides)


def finish(process: subprocess.Popen[str], timeout: float = 200) -> tuple[int, str]:
    """Wait for its end; gives its status and all that it said."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out + err


def finish_well(process: subprocess.Popen[str], timeout: float = 200) -> str:
    """The same of one that must succeed."""
    status, said = finish(process, timeout)
    assert status == 0, said
    return said


def has_step(run: Path, step: int) -> bool:
    """Whether the log in ``run`` has this step of the training."""
    log = run / "log.jsonl"
    return log.exists() and f'"step": {step},' in log.read_text()


def wait_for_step(process: subprocess.Popen[str], run: Path, step: int) -> None:
    """Until the process has logged this step in ``run``."""
    deadline = time.monotonic() + 120
    while not has_step(run, step):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ranks_of(parent: int) -> list[int]:
    """Process ids of the ranks that a process has started, in their order."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            of = (folder / "stat").read_text().rpartition(")")[2].split()[1] if folder.name.isdigit() else ""
            if of == str(parent) and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended meanwhile
            continue
    return sorted(found)


@contextmanager
def signalled(run: Path, step: int, rank: int, number: signal.Signals) -> Iterator[None]:
    """While it is open, this process starts ranks, of which one is sent a signal as soon as the log has ``step``."""
    over = threading.Event()

    def send() -> None:
        while not has_step(run, step):
            if over.wait(0.005):
                return
        os.kill(ranks_of(os.getpid())[rank], number)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
