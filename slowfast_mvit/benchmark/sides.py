"""Timing several pieces of work fairly: each in a process of its own, run in turn and in changing order (A B C C B A ...), so
that drift cancels.

A side that is not running waits for its turn and uses no processor. All processes have the same settings. Where the work is on
a GPU, its end is waited for, and memory is the GPU's.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from slowfast_mvit.engine.huge_pages import hindrance, keep_huge_pages
from slowfast_mvit.errors import UserError

Work = Callable[[], object]


@dataclass(frozen=True)
class Side:
    """One piece of work.

    Attributes:
        name: for the report.
        make: called once in the side's process; returns what is timed. It must be picklable: a function of a module, or a
            ``functools.partial`` of one.
    """

    name: str
    make: Callable[[], Work]


@dataclass(frozen=True)
class Process:
    """How the process of every side is set up.

    Attributes:
        threads: of torch.
        huge_pages: memory is kept and lies in huge pages, as in our commands; otherwise as Python starts.
    """

    threads: int = 2
    huge_pages: bool = False


@dataclass(frozen=True)
class Timing:
    """What a side took.

    Attributes:
        name: of the side.
        seconds: of each counted run, in order.
        peak_bytes: the largest memory of its process, work and libraries together; on a GPU, of its tensors.
        idle_bytes: the largest until it was made and had not run.
    """

    name: str
    seconds: tuple[float, ...]
    peak_bytes: int
    idle_bytes: int

    @property
    def work_bytes(self) -> int:
        """The largest memory of the work: what came on top of Python, the libraries and the weights."""
        return self.peak_bytes - self.idle_bytes

    @property
    def median(self) -> float:
        """Seconds of the median run."""
        return statistics.median(self.seconds)


def time_sides(
    sides: Sequence[Side],
    *,
    runs: int,
    warmup: int = 1,
    process: Process = Process(),
) -> list[Timing]:
    """Run every side ``warmup`` + ``runs`` times in turn, each in a ``process`` of its own.

    Raises:
        UserError: a side failed; says which and why.
    """
    context = multiprocessing.get_context("spawn")
    workers = []
    try:
        for side in sides:
            ours, theirs = context.Pipe()
            worker = context.Process(target=_serve, args=(theirs, side.make, process), daemon=True)
            worker.start()
            theirs.close()
            workers.append((side, worker, ours))
            _receive(side, ours)  # made: only one side is at work at any time
        seconds: list[list[float]] = [[] for _ in sides]
        for run in range(warmup + runs):
            turns = list(zip(workers, seconds, strict=True))
            for (side, _, connection), counted in turns if run % 2 else reversed(turns):
                connection.send("run")
                took = _receive(side, connection)
                if run >= warmup:
                    counted.append(took)
        timings = []
        for (side, _, connection), counted in zip(workers, seconds, strict=True):
            connection.send("stop")
            timings.append(Timing(side.name, tuple(counted), *_receive(side, connection)))
        return timings
    finally:
        for _, worker, connection in workers:
            connection.close()
            worker.join(timeout=10)
            worker.kill()


def _receive(side: Side, connection: Connection) -> Any:
    try:
        kind, value = connection.recv()
    except EOFError:
        raise UserError(f"the process of {side.name} ended: it may have run out of memory") from None
    if kind == "failed":
        raise UserError(f"{side.name} cannot be measured: {value}")
    return value


def _peak_bytes() -> int:
    """The largest memory of this process. (``ru_maxrss`` would begin with that of the process that started it.)"""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def _serve(connection: Connection, make: Callable[[], Work], process: Process) -> None:
    """The process of a side: make, then run on demand."""
    torch.set_num_threads(process.threads)
    torch.backends.cudnn.allow_tf32 = False  # as in our own runs, for every side
    if process.huge_pages and not keep_huge_pages():
        connection.send(("failed", f"no huge pages: {hindrance() or 'the kernel refused'}"))
        return
    try:
        work = make()
        idle = _peak_bytes()
        connection.send(("made", None))
        while connection.recv() == "run":
            start = time.perf_counter()
            work()
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            connection.send(("ran", time.perf_counter() - start))
        peak = _peak_bytes()
        connection.send(("memory", (peak, idle)))
    except EOFError:  # another side has failed: nobody asks any more
        return
    except (RuntimeError, ValueError, TypeError, ImportError, OSError, AttributeError) as error:
        connection.send(("failed", f"{type(error).__name__}: {error}"))
