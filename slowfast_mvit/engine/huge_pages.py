"""Huge pages of memory for what a process computes (Linux with glibc).

By default malloc hands the memory of a large tensor back to the system, which clears it anew for the next one, in pages of
4 KiB. A forward pass writes hundreds of megabytes, so a processor clears and looks up tens of thousands of pages, which is slow
in virtual machines above all: in one, S 16x4 took 0.79 s instead of 1.34. Here malloc keeps what it has had, in pages of 2 MiB.
"""

import ctypes
import os
import platform
from dataclasses import dataclass
from pathlib import Path

_THP = Path("/sys/kernel/mm/transparent_hugepage")
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_SHARE = 0.75  # of the machine's memory: what is set aside for huge pages. It is only addresses until it is written.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # malloc.h
_HUGEPAGE, _COLLAPSE = 14, 25  # mman.h; the second is Linux 6.1's
STEPS_UNTIL_MENDED = 8


@dataclass
class _Heap:
    """Memory in huge pages: where it begins, its bytes, and the steps since the last fork (None: there was none)."""

    libc: ctypes.CDLL
    start: int
    size: int
    steps: int | None = None

    def before_fork(self) -> None:
        """Give back what is free: of a huge page that processes share, whoever writes first gets small ones."""
        self.libc.malloc_trim(0)

    def after_fork(self) -> None:
        """In the parent: from now on, what it writes lies in small pages."""
        self.steps = 0

    def in_child(self) -> None:
        """In the child: memory is given back as malloc does by itself, for many workers may decode a large video once."""
        self.steps = None
        _as_by_itself(self.libc)


class _Kept:
    """The memory in huge pages of this process, if it has any."""

    heap: _Heap | None = None


def keep_huge_pages() -> bool:
    """Have this process compute in huge pages from now on; returns whether it does.

    Nothing is changed where something is in the way (:func:`hindrance`). Processes that are forked later are not meant.
    """
    if _Kept.heap is None and not hindrance():
        _Kept.heap = heap = _set_aside()
        if heap is not None:
            os.register_at_fork(before=heap.before_fork, after_in_parent=heap.after_fork, after_in_child=heap.in_child)
    return _Kept.heap is not None


def mend_huge_pages() -> None:
    """To be called after each step: some steps after a fork, pages that it has made small are made huge again."""
    heap = _Kept.heap
    if heap is None or heap.steps is None:
        return
    heap.steps += 1
    if heap.steps == STEPS_UNTIL_MENDED:
        heap.libc.madvise(heap.start, heap.size, _COLLAPSE)  # an older kernel refuses
        heap.steps = None


def hindrance() -> str:
    """What is in the way of huge pages on this system; empty if nothing is."""
    if platform.libc_ver()[0] != "glibc":
        return "malloc is not glibc's"
    chosen = [name for name in os.environ if name == "GLIBC_TUNABLES" or name.startswith("MALLOC_")]
    if chosen:
        return f"{', '.join(sorted(chosen))} set up malloc otherwise"
    if "[never]" in _read(_THP / "enabled", "[never]"):
        return f"the kernel gives none, by {_THP / 'enabled'}"
    if _read(_OVERCOMMIT, "2") == "2":
        return f"addresses count as memory here, by {_OVERCOMMIT}"
    return ""


def _read(path: Path, otherwise: str) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return otherwise


def _set_aside() -> _Heap | None:
    """Keep what is freed and ask for huge pages; None where that cannot be had."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    page = int(_read(_THP / "hpage_pmd_size", str(2**21)))
    size = int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _SHARE)
    # All tensors come from the heap then, and its end, which is free, is not given back.
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, -1)
    room = libc.malloc(size)
    if room is not None:  # None: more than this process may have, by ulimit -v
        start = -(-room // page) * page
        whole = (room + size - start) // page * page
        advised = libc.madvise(start, whole, _HUGEPAGE) == 0
        libc.free(room)
        if advised:
            return _Heap(libc, start, whole)
    _as_by_itself(libc)
    return None


def _as_by_itself(libc: ctypes.CDLL) -> None:
    """Have malloc give memory back again, by the bounds that it comes to by itself where tensors are large."""
    for option, value in ((_MMAP_MAX, 2**16), (_MMAP_THRESHOLD, 2**25), (_TRIM_THRESHOLD, 2**26)):
        libc.mallopt(option, value)
