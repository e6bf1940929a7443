"""What the packets of a video file say about its frames: pure functions on time stamps, shared by pyav and decord.

Letters: P = packets of the video stream in file order, n = frames in presentation order. A packet's place in the file
is its `position` (0 .. P-1), a frame's place on the screen is its `index` (0 .. n-1).
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np

UNKNOWN = int(np.iinfo(np.int64).min)
"""Stands for a time stamp or byte offset that a packet does not have."""


class Stamp(NamedTuple):
    """One packet: presentation and decoding time (ticks), byte offset, keyframe or not, shown or only decoded."""

    pts: int | None
    dts: int | None
    offset: int | None
    key: bool
    shown: bool


@dataclass(frozen=True)
class PacketIndex:
    """Where the frames of a file are.

    positions: for each frame, the position of its packet, int64 [n].
    ticks: for each frame, its time stamp in units of `time_base`, int64 [n]; the first need not be 0.
    keys: positions of the keyframes, ascending, int64.
    seek_ticks: for each packet, the time stamp by which it is sought, int64 [P]: the earlier of its two times, as
        whichever a container seeks by, it then lands at or before the packet. UNKNOWN where it has none.
    names: pts and byte offset of each packet, int64 [P, 2], for recognising packets after a seek; [0, 2] if ambiguous.
    """

    positions: np.ndarray
    ticks: np.ndarray
    time_base: Fraction
    keys: np.ndarray
    seek_ticks: np.ndarray
    names: np.ndarray

    def seconds(self) -> np.ndarray:
        """Times of the frames from the first one, float64 [n], each correctly rounded."""
        return (self.ticks - self.ticks[0]) * self.time_base.numerator / self.time_base.denominator

    def ranks(self) -> np.ndarray:
        """For each packet, the index of its frame, int64 [P], or -1 where it is not shown."""
        ranks = np.full(len(self.seek_ticks), -1, dtype=np.int64)
        ranks[self.positions] = np.arange(len(self.positions))
        return ranks

    def position_of(self, pts: int | None, offset: int | None) -> int | None:
        """Position of the packet of this time stamp and byte offset, if it is known."""
        found = np.flatnonzero((self.names == (_or_unknown(pts), _or_unknown(offset))).all(axis=1))
        return int(found[0]) if len(found) else None

    def without_leading(self, count: int) -> "PacketIndex":
        """The index less its first `count` frames."""
        return replace(self, positions=self.positions[count:], ticks=self.ticks[count:])


def index_packets(stamps: Sequence[Stamp], time_base: Fraction) -> PacketIndex:
    """Index of packets whose time stamps tell the presentation order (dts stands in for a pts that is not there)."""
    ticks = [_first_known(stamp.pts, stamp.dts, position) for position, stamp in enumerate(stamps)]
    positions = sorted((p for p, stamp in enumerate(stamps) if stamp.shown), key=ticks.__getitem__)
    names = [(_or_unknown(stamp.pts), _or_unknown(stamp.offset)) for stamp in stamps]
    clear = len(set(names)) == len(names)
    return PacketIndex(
        positions=np.asarray(positions, dtype=np.int64),
        ticks=np.asarray([ticks[p] for p in positions], dtype=np.int64),
        time_base=time_base,
        keys=np.asarray([p for p, stamp in enumerate(stamps) if stamp.key], dtype=np.int64),
        seek_ticks=np.asarray([_seek_tick(stamp) for stamp in stamps], dtype=np.int64),
        names=np.asarray(names if clear else [], dtype=np.int64).reshape(-1, 2),
    )


def index_delivered(
    stamps: Sequence[Stamp], time_base: Fraction, rate: Fraction, positions: Sequence[int], keys: Sequence[int]
) -> PacketIndex:
    """Index of packets whose stamps do not tell the order, from the order in which the decoder delivered their frames.

    Times are the decoding times, sorted; where those are missing too, frames are counted at `rate`.
    """
    known = sorted(stamp.dts for stamp in stamps if stamp.shown and stamp.dts is not None)
    if len(known) < len(positions):
        known, time_base = list(range(len(positions))), 1 / rate
    return replace(
        index_packets(stamps, time_base),
        positions=np.asarray(positions, dtype=np.int64),
        ticks=np.asarray(known[: len(positions)], dtype=np.int64),
        keys=np.asarray(sorted(keys), dtype=np.int64),
    )


def starting_positions(index: PacketIndex) -> np.ndarray:
    """For each frame, the position from which decoding must start, int64 [n].

    It is that of the last keyframe before the frame in file *and* on screen.

    Frames shown before the keyframe that they follow in the file (open GOP) need the keyframe before that one.
    """
    rank = index.ranks().tolist()
    keys = [key for key in index.keys.tolist() if rank[key] >= 0]
    starts = []
    for number, position in enumerate(index.positions.tolist()):
        at = bisect_right(keys, position) - 1
        while at >= 0 and rank[keys[at]] > number:
            at -= 1
        starts.append(keys[at] if at >= 0 else 0)
    return np.asarray(starts, dtype=np.int64)


def is_closed(index: PacketIndex) -> bool:
    """Whether no frame is shown before a keyframe that it follows in the file (closed groups of pictures)."""
    ranks = index.ranks()
    is_key = np.zeros(len(ranks), dtype=bool)
    is_key[index.keys] = True
    is_key, ranks = is_key[ranks >= 0], ranks[ranks >= 0]
    return bool((ranks >= np.maximum.accumulate(np.where(is_key, ranks, -1))).all())


@dataclass(frozen=True)
class Scan:
    """What reading all packets of a file, and decoding its first frame, tells of its video.

    packets: see :class:`PacketIndex`.
    starts: of :func:`starting_positions`.
    num_packets: P.
    stated_frames, stated_seconds: what the header says of the video stream, 0 where it says nothing.
    container, codec: FFmpeg's names.
    fps, height, width, rotation: see :class:`slowfast_mvit.data.video.VideoReader`.
    """

    packets: PacketIndex
    starts: np.ndarray
    num_packets: int
    stated_frames: int
    stated_seconds: float
    container: str
    codec: str
    fps: Fraction
    height: int
    width: int
    rotation: int


def average_rate(index: PacketIndex, stated: Sequence[Fraction | None]) -> Fraction:
    """Frames per second: the first of the `stated` rates that fits the frames' times to one tick, else their own."""
    gaps = len(index.positions) - 1
    span = int(index.ticks[-1] - index.ticks[0]) * index.time_base
    rates = [rate for rate in stated if rate]
    for rate in rates:
        if abs(span - gaps / rate) <= index.time_base:
            return rate
    return gaps / span if span else Fraction(1)


def _first_known(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def _or_unknown(value: int | None) -> int:
    return UNKNOWN if value is None else value


def _seek_tick(stamp: Stamp) -> int:
    return min((tick for tick in (stamp.pts, stamp.dts) if tick is not None), default=UNKNOWN)
