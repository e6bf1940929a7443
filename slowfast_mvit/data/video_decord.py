"""Video files through decord, where it is installed.

decord trusts headers: it takes the number of frames from them, hangs on indices past the real end, and hands out frames
without their times. So the packets are indexed by PyAV, as for the default backend, and decord only decodes:

- by index, in files whose groups of pictures are closed and whose keyframes are true: there it counts right from them;
- by reading on from the first frame in other MP4 and Matroska files and in AVI, where its seeks return wrong frames.

What decord cannot vouch for (other containers, frames that it patched over, a count that is not the file's) is a
VideoError: decord never says which frame it returned, and past the last one it can decode it repeats that one.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slowfast_mvit.data.scan_cache import ScanCache
from slowfast_mvit.data.video import VideoError, VideoReader, check_file
from slowfast_mvit.data.video_index import PacketIndex, is_closed
from slowfast_mvit.data.video_pyav import PyAVReader
from slowfast_mvit.errors import UserError

MP4, MATROSKA, AVI = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"  # FFmpeg's names of containers

TRUE_KEYFRAMES = frozenset({"vp8", "vp9", "av1"})
"""Codecs whose keyframes are what Matroska calls keyframes; H.264's may be points of a gradual refresh."""

NO_PATCHES = 1e-9
"""decord's `fault_tol`: the share of frames that it may replace by neighbours before it complains (0 is no limit)."""


class DecordReader(VideoReader):
    """A video file decoded by decord with one thread, indexed by PyAV."""

    backend = "decord"

    def __init__(self, path: str | Path, scans: ScanCache | None = None) -> None:
        super().__init__(path)
        check_file(path, self.backend)
        self._decord = _import_decord()
        try:
            with PyAVReader(path, scans) as scan:
                self.packets: PacketIndex = scan.packets
                self.num_frames, self.fps, self.codec = scan.num_frames, scan.fps, scan.codec
                self.height, self.width, self.rotation = scan.height, scan.width, scan.rotation
                unshown = scan.num_packets - scan.num_frames
                container = scan.container_name
                true_keys = container == MP4 or (container == MATROSKA and scan.codec in TRUE_KEYFRAMES)
                self._by_index = true_keys and is_closed(scan.packets)
        except VideoError as error:
            raise self._error(error.cause) from error
        if container not in (MP4, MATROSKA, AVI):
            raise self._error(
                f"decord is trusted with MP4, Matroska and AVI files only, not with {container}; use pyav"
            )
        if unshown:
            raise self._error(f"{unshown} of its packets are not to be shown, and decord cannot tell which; use pyav")
        self._reader = self._open()

    def timestamps(self) -> np.ndarray:
        """Times of all frames, float64 [num_frames], seconds from the first frame."""
        return self.packets.seconds()

    def close(self) -> None:
        """Release the file and the decoder."""
        super().close()
        self._reader = None

    def _open(self) -> Any:
        try:
            reader = self._decord.VideoReader(str(self.path), num_threads=1, fault_tol=NO_PATCHES)
        except (self._decord.DECORDError, RuntimeError, AssertionError) as error:
            raise self._error(_reason(error)) from error
        if len(reader) < self.num_frames:
            raise self._error(f"decord counts {len(reader)} frames in it, its packets hold {self.num_frames}")
        return reader

    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        index = 0
        try:
            if self._by_index:
                for index in wanted:
                    yield index, self._reader.get_batch([index]).asnumpy()[0]
                return
            self._reader = self._open()  # at the first frame; decord's own skipping of frames would seek
            asked = frozenset(wanted)
            for index in range(wanted[-1] + 1 if wanted else 0):
                picture = self._reader.next()
                if index in asked:
                    yield index, picture.asnumpy()
        except (self._decord.DECORDError, RuntimeError, StopIteration) as error:
            raise self._error(f"decord stopped at frame {index} of {self.num_frames}: {_reason(error)}") from error


def _import_decord() -> Any:
    try:
        import decord
    except ImportError as error:
        raise UserError(
            "backend 'decord' needs the package decord (pip install decord); 'pyav' needs nothing"
        ) from error
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def _reason(error: Exception) -> str:
    """decord's complaint without places in its source and without stack traces."""
    lines = str(error).strip().splitlines()
    return re.sub(r"\[\d+:\d+:\d+\] \S+?:\d+: ", "", lines[0]) if lines else type(error).__name__
