"""Memory figures are those of the kernel's files, of either version of control groups."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slowfast_mvit.data import memory_figures as figures
from slowfast_mvit.data.memory_figures import memory_figures, resident, shared_memory_figures

GIB = 2**30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes files of a machine with 16 GiB; machine(group, {file: text})."""

    def write(group: str, files: dict[str, str]) -> None:
        proc, groups = tmp_path / "proc", tmp_path / "cgroup"
        for process, kib in (("self", 3 * 2**20), ("71", 2**19), ("72", 2**20)):
            (proc / process).mkdir(parents=True)
            (proc / process / "status").write_text(f"Name:\tpython\nVmRSS:\t {kib} kB\nThreads:\t1\n")
        (proc / "meminfo").write_text(
            f"MemTotal:  {16 * 2**20} kB\nMemFree: 1 kB\nMemAvailable:  {2**20} kB\nHugePages: 0\n"
        )
        (proc / "self" / "cgroup").write_text(group)
        for name, text in files.items():
            (groups / name).parent.mkdir(parents=True, exist_ok=True)
            (groups / name).write_text(text)
        monkeypatch.setattr(figures, "_PROC", proc)
        monkeypatch.setattr(figures, "_CGROUP", groups)

    return write


MACHINE = "1.0 GiB of the machine's 16.0 GiB are available, "
OURS = "this process holds 3.0 GiB"
LIMITED = f"its control group uses 7.5 GiB of 8.0 GiB, {OURS}"


@pytest.mark.parametrize(
    ("group", "files", "said"),
    [
        ("0::/jobs/1\n", {"jobs/1/memory.current": f"{15 * GIB // 2}\n", "jobs/1/memory.max": f"{8 * GIB}\n"}, LIMITED),
        ("0::/seen/outside\n", {"memory.current": f"{15 * GIB // 2}\n", "memory.max": f"{8 * GIB}\n"}, LIMITED),
        ("0::/jobs/1\n", {"jobs/1/memory.current": "5\n", "jobs/1/memory.max": "max\n"}, OURS),
        (
            "9:cpu,cpuacct:/a\n4:memory:/b\n0::/\n",
            {"memory/b/memory.usage_in_bytes": str(15 * GIB // 2), "memory/b/memory.limit_in_bytes": str(8 * GIB)},
            LIMITED,
        ),
        (
            "4:memory:/b\n",
            {"memory/b/memory.usage_in_bytes": "5", "memory/b/memory.limit_in_bytes": str(2**63 - 4096)},
            OURS,
        ),
        ("", {}, OURS),
    ],
    ids=["v2", "v2 in a container", "v2 without limit", "v1", "v1 without limit", "none"],
)
def test_figures(machine, group: str, files: dict[str, str], said: str) -> None:
    machine(group, files)
    assert memory_figures() == MACHINE + said
    assert memory_figures([71, 72, 73]) == MACHINE + said + ", its workers 1.5 GiB"  # 73 is gone


def test_figures_of_this_machine() -> None:
    assert re.search(r"of the machine's \d+\.\d GiB are available.*this process holds \d+\.\d GiB$", memory_figures())
    assert re.fullmatch(r"\d+\.\d GiB of \d+\.\d GiB are free in /dev/shm", shared_memory_figures())
    code = "held = b'x' * 200_000_000; input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        while resident(process.pid) < 200_000_000:
            assert process.poll() is None
        assert resident(process.pid) < 400_000_000
        process.stdin.close()
    assert resident(process.pid) == 0
    assert resident("self") == pytest.approx(resident(os.getpid()), rel=0.1)


def test_a_machine_without_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_SHARED", Path("/nowhere"))
    assert shared_memory_figures() == "there is no /nowhere"
