"""Measuring rows, and writing what came out: a table for people, JSON for machines."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from slowfast_mvit.benchmark.networks import MATMUL_SIDE, make_matmul
from slowfast_mvit.benchmark.rows import Row
from slowfast_mvit.benchmark.sides import Process, Side, Timing, time_sides

_LIBRARIES = ("torch", "torchvision", "timm", "pytorchvideo", "av")


@dataclass(frozen=True)
class Measured:
    """A row and what it took; ``limit`` is the matrix product that ran in turn with it."""

    row: Row
    ours: Timing
    peer: Timing | None
    limit: Timing | None

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the peer."""
        return self.peer.median / self.ours.median if self.peer else None

    @property
    def memory_ratio(self) -> float | None:
        """Our peak memory over the peer's, each of the whole process."""
        return self.ours.peak_bytes / self.peer.peak_bytes if self.peer else None

    @property
    def work_memory_ratio(self) -> float | None:
        """The same of what the work added to the process; None where the peer's added nothing."""
        return self.ours.work_bytes / self.peer.work_bytes if self.peer and self.peer.work_bytes else None

    @property
    def rate(self) -> float:
        """FLOPs a second (two per multiply-add); 0 where there is nothing to count."""
        return self.row.flops / self.ours.median

    @property
    def share_of_limit(self) -> float | None:
        """Our rate over that of the matrix product."""
        return self.rate / (2 * MATMUL_SIDE**3 / self.limit.median) if self.limit else None


def measure(row: Row, *, runs: int, process: Process) -> Measured:
    """Run a row's sides in turn, with a matrix product between them where there are FLOPs to compare."""
    sides = [row.ours]
    if row.peer:
        sides.append(row.peer)
    if row.flops:
        sides.append(Side("matrix product", partial(make_matmul, row.precision, row.device)))
    timings = time_sides(sides, runs=min(runs, row.most_runs or runs), process=process)
    return Measured(
        row,
        timings[0],
        timings[1] if row.peer else None,
        timings[-1] if row.flops else None,
    )


HEADS = (
    "work",
    "ours",
    "peer",
    "times as fast",
    "goal",
    "items/s",
    "GFLOP/s",
    "of the limit",
    "peak memory",
    "of the peer's",
    "added by the work",
    "of the peer's",
)


def table(measured: Sequence[Measured]) -> str:
    """A Markdown table; times are medians, memory is that of the whole process and what the work added to it."""
    lines = [HEADS, ["---"] * len(HEADS), *(_cells(entry) for entry in measured)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(entry: Measured) -> list[str]:
    row, ours, peer = entry.row, entry.ours, entry.peer
    return [
        row.title,
        _seconds(ours.median),
        f"{_seconds(peer.median)} ({peer.name})" if peer else "",
        _form(entry.ratio, "{:.2f}"),
        _form(row.goal, "{:g}"),
        f"{row.items / ours.median:.3g}",
        f"{entry.rate / 1e9:.0f}" if row.flops else "",
        _form(entry.share_of_limit, "{:.0%}"),
        f"{ours.peak_bytes / 2**20:.0f} MiB",
        _form(entry.memory_ratio, "{:.2f}") + (f" (goal {row.memory_goal:g})" if row.memory_goal else ""),
        f"{ours.work_bytes / 2**20:.0f} MiB",
        _form(entry.work_memory_ratio, "{:.2f}"),
    ]


def _form(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"


def machine(process: Process) -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": process.threads,
        "pages": "huge" if process.huge_pages else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        **{name: version(name) for name in _LIBRARIES},
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def as_json(measured: Sequence[Measured], process: Process) -> str:
    """Everything, run by run."""
    entries = []
    for entry in measured:
        derived = {
            "ratio": entry.ratio,
            "memory_ratio": entry.memory_ratio,
            "work_memory_ratio": entry.work_memory_ratio,
            "share_of_limit": entry.share_of_limit,
        }
        sides = {
            name: asdict(timing) | {"median": timing.median}
            for name, timing in (("ours", entry.ours), ("peer", entry.peer), ("limit", entry.limit))
            if timing
        }
        row = entry.row
        numbers = {"items": row.items, "flops": row.flops, "precision": row.precision, "goal": row.goal}
        entries.append({"work": row.title} | numbers | derived | sides)
    return json.dumps({"machine": machine(process), "rows": entries}, indent=1)


def run_rows(rows: Sequence[Row], *, runs: int, process: Process, say: Callable[[str], None]) -> list[Measured]:
    """Measure rows one after the other, telling of each when it is done."""
    measured = []
    for row in rows:
        entry = measure(row, runs=runs, process=process)
        measured.append(entry)
        say(
            f"{row.title}: {_seconds(entry.ours.median)}"
            + (f", {entry.ratio:.2f} times as fast" if entry.ratio else "")
        )
    return measured
