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

SWITCH = "SLOWFAST_MVIT_HUGE_PAGES"
STEPS_UNTIL_MENDED = 8
_THP = Path("/sys/kernel/mm/transparent_hugepage")
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_PAGE = 2**21
# What is set aside for huge pages, of the machine's memory and at the most. It is only addresses until it is written.
_SHARE, _MOST = 0.75, 2**36
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8  # malloc.h
_HUGEPAGE, _COLLAPSE = 14, 25  # mman.h; the second is Linux 6.1's


@dataclass
class _Heap:
    """The memory in huge pages of this process.

    Attributes:
        libc: the C library.
        start, end: its addresses.
        steps: since a fork whose small pages are not mended yet (None: nothing to mend).
    """

    libc: ctypes.CDLL
    start: int
    end: int
    steps: int | None = None


class _Kept:
    """What is true of this process: the functions that a fork calls can be registered, but not taken back."""

    heap: _Heap | None = None
    registered = False


def keep_huge_pages() -> bool:
    """Have this process compute in huge pages from now on; returns whether it does.

    To be called by the main thread, before the weights are made. Nothing is changed where something is in the way
    (:func:`hindrance`). A process that is forked later does not have them.
    """
    if _Kept.heap is None and not hindrance():
        _Kept.heap = _set_aside(_libc())
        if not _Kept.registered:
            os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
            _Kept.registered = True
    return _Kept.heap is not None


def mend_huge_pages() -> None:
    """To be called after each step: some steps after a fork, pages that it has made small are made huge again."""
    heap = _Kept.heap
    if heap is None or heap.steps is None:
        return
    heap.steps += 1
    if heap.steps == STEPS_UNTIL_MENDED:
        heap.steps = None
        # One by one: where nothing lies, the kernel refuses, and would leave out the rest. An older one refuses all.
        for page in range(-(-heap.start // _PAGE) * _PAGE, heap.end - _PAGE + 1, _PAGE):
            heap.libc.madvise(page, _PAGE, _COLLAPSE)


def hindrance() -> str:
    """What is in the way of huge pages on this system; empty if nothing is."""
    if platform.libc_ver()[0] != "glibc":
        return "malloc is not glibc's"
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH} is 0"
    chosen = sorted(name for name in os.environ if name == "GLIBC_TUNABLES" or name.startswith("MALLOC_"))
    if chosen:
        return f"malloc is set up by {', '.join(chosen)}"
    if "malloc" in os.environ.get("LD_PRELOAD", ""):
        return "LD_PRELOAD brings another malloc"
    if "[never]" in _read(_THP / "enabled", "[never]"):
        return f"the kernel gives none, by {_THP / 'enabled'}"
    if _read(_THP / "hpage_pmd_size", str(_PAGE)) != str(_PAGE):
        return f"the kernel's are not of 2 MiB, by {_THP / 'hpage_pmd_size'}"
    if _read(_OVERCOMMIT, "2") == "2":
        return f"addresses count as memory, by {_OVERCOMMIT}"
    import resource  # Windows has none

    limits = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    if any(resource.getrlimit(limit)[0] != resource.RLIM_INFINITY for limit in limits):
        return "the addresses of a process are limited, by ulimit -v or -d"
    return ""


def _read(path: Path, otherwise: str) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return otherwise


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def _set_aside(libc: ctypes.CDLL) -> _Heap | None:
    """Have malloc keep what is freed, and ask for huge pages; None where that cannot be had."""
    # All threads share the heap, tensors of any size come from it, and its end, which is free, is not given back.
    for option, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1)):
        libc.mallopt(option, value)
    place = _extend(libc)
    if place is None:
        _give_back_as_usual(libc)
        libc.malloc_trim(0)
        return None
    return _Heap(libc, *place)


def _extend(libc: ctypes.CDLL) -> tuple[int, int] | None:
    """Make the heap's end long and ask for huge pages in it: where it begins and ends, or None."""
    size = min(int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _SHARE), _MOST)
    room = libc.malloc(size)
    if room is None:
        return None
    small = os.sysconf("SC_PAGE_SIZE")
    start, end = -(-room // small) * small, (room + size) // small * small
    advised = libc.madvise(start, end - start, _HUGEPAGE) == 0
    libc.free(room)
    # A thread that has a heap of its own gets its room elsewhere.
    return (start, end) if advised and end <= libc.sbrk(0) else None


def _before_fork() -> None:
    """Give back what is free: of a huge page that processes share, whoever writes first gets small ones."""
    if _Kept.heap is not None:
        _Kept.heap.libc.malloc_trim(0)


def _after_fork() -> None:
    """In the parent: the heap has a new end, and what lives in it becomes small pages where it is written."""
    heap = _Kept.heap
    if heap is None:
        return
    place = _extend(heap.libc)
    if place is not None:
        heap.end = place[1]
    heap.steps = 0


def _in_child() -> None:
    """In the child, memory is given back again: of many workers, each may decode a large video once."""
    if _Kept.heap is not None:
        _give_back_as_usual(_Kept.heap.libc)
        _Kept.heap = None


def _give_back_as_usual(libc: ctypes.CDLL) -> None:
    """Have malloc give memory back by the bounds that it comes to by itself where tensors are large."""
    for option, value in ((_ARENA_MAX, 0), (_MMAP_MAX, 2**16), (_MMAP_THRESHOLD, 2**25), (_TRIM_THRESHOLD, 2**26)):
        libc.mallopt(option, value)
