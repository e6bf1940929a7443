"""Reading video frames by their index: one contract, several backends.

Letters: n = frames asked for, H, W = height and width as shown (after rotation), 3 = red, green, blue.

A frame's index is its place in presentation order, its time is counted in seconds from the first frame. Readers are
opened where they are used (inside a dataset item), as context managers, and hold one decoder with one thread.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from slowfast_mvit.data.scan_cache import ScanCache

TIME_TOLERANCE = 1e-9
"""Seconds by which a bound of `frames_between` may miss a frame's time through floating-point noise."""

MOST_EARLY = 16
"""Frames that may come before one that is shown earlier: the most that a codec delays, by reordering, is 16."""


class VideoError(Exception):
    """A video cannot be read. Says which (`path`), by what (`backend`) and why (`cause`, plain words)."""

    def __init__(self, path: str | Path, backend: str, cause: str) -> None:
        super().__init__(str(path), backend, cause)  # these args rebuild the error when it is unpickled
        self.path = str(path)
        self.backend = backend
        self.cause = cause

    def __str__(self) -> str:
        return f"cannot read {self.path} with {self.backend}: {self.cause}"


class VideoReader(ABC):
    """A video as a sequence of frames, open until `close()` or the end of its `with` block.

    num_frames: frames that the file holds, by its packets and not by its header.
    fps: average frame rate, exact.
    height, width: pixels as shown, after rotation.
    codec: name of the codec, for example `h264`.
    rotation: degrees clockwise (0, 90, 180, 270) by which decoded pictures are turned to be shown.
    missing: of the last `frames_at`, the indices that the packets promised but the decoder did not deliver, ascending.
    """

    backend: str
    num_frames: int
    fps: Fraction
    height: int
    width: int
    codec: str
    rotation: int
    missing: tuple[int, ...] = ()

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def timestamps(self) -> np.ndarray:
        """Times of all frames, float64 [num_frames], seconds from the first frame, in presentation order."""

    @abstractmethod
    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index, picture uint8 [H, W, 3]) once for each of `wanted` (ascending, distinct), in any order."""

    def frames_at(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Frames at `indices` (any order, repeats allowed) as contiguous uint8 RGB [n, H, W, 3].

        Each frame is decoded and converted at most once. Where the end of the file is damaged, frames that the decoder
        does not deliver are replaced by the last one shown before them and listed in `missing`; any other hole, and
        any frame that refers to damaged data, is a VideoError.
        """
        if self._closed:
            raise ValueError(f"the reader of {self.path} is closed")
        rows = _rows_of(indices, self.num_frames, self.path)
        count = sum(map(len, rows.values()))
        self.missing = ()
        frames: np.ndarray | None = None
        for index, picture in self._pictures(sorted(rows)):
            if frames is None:  # only now do readers of images know their size
                frames = np.empty((count, self.height, self.width, 3), dtype=np.uint8)
            if picture.shape != frames.shape[1:]:
                had = f"{picture.shape[1]}x{picture.shape[0]}"
                raise self._error(f"frame {index} is {had} while the first is {self.width}x{self.height}")
            frames[rows.pop(index)] = picture
        assert not rows, f"no picture came for {sorted(rows)}"
        return np.empty((0, self.height, self.width, 3), dtype=np.uint8) if frames is None else frames

    def pictures(self, indices: Sequence[int] | np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Frames at `indices` (ascending, distinct) one at a time and in that order, as (index, uint8 RGB [H, W, 3]).

        The video is decoded once, and a few frames are held, however many are asked for. What :meth:`frames_at` says of damaged
        files holds here too; a hole is a VideoError when it is met.
        """
        if self._closed:
            raise ValueError(f"the reader of {self.path} is closed")
        wanted = list(_rows_of(indices, self.num_frames, self.path))
        if any(later <= earlier for earlier, later in pairwise(wanted)) or len(wanted) != len(indices):
            raise ValueError("frame indices must be ascending and distinct to be read one at a time")
        self.missing = ()
        early: dict[int, np.ndarray] = {}
        shape: tuple[int, ...] = ()
        due = iter(wanted)
        next_due = next(due, None)
        for index, picture in self._pictures(list(wanted)):
            shape = shape or picture.shape
            if picture.shape != shape:
                had, first = (f"{size[1]}x{size[0]}" for size in (picture.shape, shape))
                raise self._error(f"frame {index} is {had} while the first is {first}")
            early[index] = picture
            while next_due in early:
                assert next_due is not None
                yield next_due, early.pop(next_due)
                next_due = next(due, None)
            if len(early) > MOST_EARLY:
                raise self._error(f"frame {next_due} of {self.num_frames} cannot be decoded")
        assert next_due is None, f"no picture came for {next_due}"

    def frames_between(self, start_sec: float, end_sec: float) -> np.ndarray:
        """Indices, int64 [n], of the frames whose time lies in [start_sec, end_sec): 25 for one second at 25 fps."""
        if not start_sec <= end_sec:
            raise ValueError(f"the interval of seconds [{start_sec}, {end_sec}) must not end before it starts")
        bounds = np.asarray([start_sec, end_sec], dtype=np.float64) - TIME_TOLERANCE
        first, stop = np.searchsorted(self.timestamps(), bounds, side="left")
        return np.arange(first, stop, dtype=np.int64)

    def close(self) -> None:
        """Release the file and the decoder; calling it again does nothing."""
        self._closed = True

    def _error(self, cause: str) -> VideoError:
        return VideoError(self.path, self.backend, cause)


def open_video(
    path: str | Path, backend: str = "pyav", *, frame_fps: float | Fraction = 30, scans: ScanCache | None = None
) -> VideoReader:
    """Open the video `path` with `backend`: `pyav` or `decord` for a file, `frames` for a folder of images.

    `frame_fps` is the frame rate of a folder, which has none of its own; files keep theirs. `scans` remembers what is
    found in files, for those that are opened again and again. Raises VideoError.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown video backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    return BACKENDS[backend](path, frame_fps, scans)


def check_file(path: str | Path, backend: str) -> None:
    """Raise VideoError unless `path` is a file with something in it."""
    path = Path(path)
    if path.is_dir():
        raise VideoError(path, backend, "it is a folder, not a video file (backend 'frames' reads folders of images)")
    if not path.exists():
        raise VideoError(path, backend, "there is no such file")
    if path.stat().st_size == 0:
        raise VideoError(path, backend, "the file is empty")


def _rows_of(indices: Sequence[int] | np.ndarray, num_frames: int, path: Path) -> dict[int, list[int]]:
    """For each distinct frame index, the rows of the output that show it."""
    numbers = np.asarray(indices)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise ValueError(f"frame indices must be a flat list of integers, not {numbers.dtype} of shape {numbers.shape}")
    rows: dict[int, list[int]] = {}
    for row, index in enumerate(numbers.tolist()):
        if not 0 <= index < num_frames:
            raise IndexError(f"frame {index} is out of range: {path} has frames 0 to {num_frames - 1}")
        rows.setdefault(index, []).append(row)
    return rows


def _open_pyav(path: str | Path, frame_fps: float | Fraction, scans: ScanCache | None) -> VideoReader:
    from slowfast_mvit.data.video_pyav import PyAVReader

    return PyAVReader(path, scans)


def _open_decord(path: str | Path, frame_fps: float | Fraction, scans: ScanCache | None) -> VideoReader:
    from slowfast_mvit.data.video_decord import DecordReader

    return DecordReader(path, scans)


def _open_frames(path: str | Path, frame_fps: float | Fraction, scans: ScanCache | None) -> VideoReader:
    from slowfast_mvit.data.video_frames import FrameFolderReader

    return FrameFolderReader(path, frame_fps)


BACKENDS: dict[str, Callable[[str | Path, float | Fraction, ScanCache | None], VideoReader]] = {
    "pyav": _open_pyav,
    "decord": _open_decord,
    "frames": _open_frames,
}
