"""What readers found in video files, remembered: films of which hundreds of clips are wanted are scanned once.

A scan of AVA's 15 minutes reads 27,000 packets. Its arrays count on in almost even steps, so that their differences compress to
about 0.14 MB.
"""

import pickle
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from slowfast_mvit.data.video_index import Scan


class ScanCache:
    """Scans of files by their path, in at most ``max_bytes``; those that were not asked for the longest go first.

    A file of another size or time of change is another file. A process has its own.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._kept = OrderedDict[Path, tuple[tuple[int, int], bytes]]()

    def get(self, path: Path, scan: Callable[[], Scan]) -> Scan:
        """The scan of a file: the one that is remembered, else what ``scan`` returns, which raises what it likes."""
        state = path.stat()
        stamp = state.st_size, state.st_mtime_ns
        known, packed = self._kept.pop(path, (None, b""))
        self.num_bytes -= len(packed)
        if known == stamp:
            found = _unpack(packed)
        else:
            found = scan()
            packed = _pack(found)
        self._kept[path] = stamp, packed
        self.num_bytes += len(packed)
        while self.num_bytes > self.max_bytes:
            _, (_, oldest) = self._kept.popitem(last=False)
            self.num_bytes -= len(oldest)
        return found


def _pack(scan: Scan) -> bytes:
    return zlib.compress(pickle.dumps(_with_arrays(scan, _differences), pickle.HIGHEST_PROTOCOL), 1)


def _unpack(packed: bytes) -> Scan:
    scan: Scan = pickle.loads(zlib.decompress(packed))
    return _with_arrays(scan, lambda differences: np.cumsum(differences, axis=0, dtype=np.int64))


def _differences(values: np.ndarray) -> np.ndarray:
    """Whatever overflows is undone by the sum, which overflows as well."""
    return np.diff(values, axis=0, prepend=np.zeros_like(values[:1]))


def _with_arrays(scan: Scan, change: Callable[[np.ndarray], np.ndarray]) -> Scan:
    """A scan with its int64 arrays changed."""
    arrays: dict[str, Any] = {
        name: change(value) for name, value in vars(scan.packets).items() if isinstance(value, np.ndarray)
    }
    return replace(scan, packets=replace(scan.packets, **arrays), starts=change(scan.starts))
