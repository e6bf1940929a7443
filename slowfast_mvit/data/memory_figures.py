"""How much memory there is and who has it, in words: of the machine, the control group, these processes, and /dev/shm."""

import shutil
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
_SHARED = Path("/dev/shm")


def memory_figures(workers: Iterable[int] = ()) -> str:
    """The machine's available memory, the control group's use where it is limited, and what we and our workers hold.

    Args:
        workers: process ids; those that are gone count nothing.
    """
    parts = []
    machine = _table(_PROC / "meminfo")
    if "MemAvailable" in machine:
        parts.append(f"{_size(machine['MemAvailable'])} of the machine's {_size(machine['MemTotal'])} are available")
    group = _group()
    if group is not None:
        parts.append(f"its control group uses {_size(group[0])} of {_size(group[1])}")
    parts.append(f"this process holds {_size(resident('self'))}")
    pids = list(workers)
    if pids:
        parts.append(f"its workers {_size(sum(map(resident, pids)))}")
    return ", ".join(parts)


def shared_memory_figures() -> str:
    """Free and whole size of /dev/shm."""
    try:
        usage = shutil.disk_usage(_SHARED)
    except OSError:
        return f"there is no {_SHARED}"
    return f"{_size(usage.free)} of {_size(usage.total)} are free in {_SHARED}"


def resident(process: int | str) -> int:
    """Bytes that a process holds in memory, shared ones among them; 0 if it is gone."""
    return _table(_PROC / str(process) / "status").get("VmRSS", 0)


def _table(path: Path) -> dict[str, int]:
    """Lines such as ``MemTotal:  1024 kB`` as bytes by name; none where the file cannot be read."""
    found = {}
    for line in _text(path).splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if len(words) == 2 and words[1] == "kB":
            found[name] = int(words[0]) * 1024
    return found


def _group() -> tuple[int, int] | None:
    """Bytes in use and the limit of this process's control group (of version 2 or 1); None where it has no limit."""
    for line in _text(_PROC / "self" / "cgroup").splitlines():
        _, controllers, inside = line.split(":", 2)
        inside = inside.lstrip("/")
        if not controllers:
            folders, files = (_CGROUP / inside, _CGROUP), ("memory.current", "memory.max")
        elif "memory" in controllers.split(","):
            root = _CGROUP / "memory"
            folders, files = (root / inside, root), ("memory.usage_in_bytes", "memory.limit_in_bytes")
        else:
            continue
        for folder in folders:  # in a container, what it sees as the root may be its own group
            used, limit = (_text(folder / name).strip() for name in files)
            if used.isdigit() and limit.isdigit() and int(limit) < 1 << 60:  # version 1 writes about 2**63 for no limit
                return int(used), int(limit)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _size(number: float) -> str:
    return f"{number / 2**30:.1f} GiB"
