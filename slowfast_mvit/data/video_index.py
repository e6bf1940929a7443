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

    positions: for each frame, the position of its packet, [n].
    ticks: for each frame, its time stamp in units of `time_base`, int64 [n]; the first need not be 0.
    keys: positions of the keyframes, ascending.
    seek_ticks: for position 0 and every keyframe, the time stamp by which it is sought; empty where there are none.
    names: position of each packet by its (pts, byte offset), for recognising packets after a seek; empty if ambiguous.
    """

    positions: tuple[int, ...]
    ticks: np.ndarray
    time_base: Fraction
    keys: tuple[int, ...]
    seek_ticks: dict[int, int]
    names: dict[tuple[int | None, int | None], int]

    def seconds(self) -> np.ndarray:
        """Times of the frames from the first one, float64 [n], each correctly rounded."""
        return (self.ticks - self.ticks[0]) * self.time_base.numerator / self.time_base.denominator

    def without_leading(self, count: int) -> "PacketIndex":
        """The index less its first `count` frames."""
        return replace(self, positions=self.positions[count:], ticks=self.ticks[count:])


def index_packets(stamps: Sequence[Stamp], time_base: Fraction) -> PacketIndex:
    """Index of packets whose time stamps tell the presentation order (dts stands in for a pts that is not there)."""
    ticks = [_first_known(stamp.pts, stamp.dts, position) for position, stamp in enumerate(stamps)]
    positions = sorted((p for p, stamp in enumerate(stamps) if stamp.shown), key=ticks.__getitem__)
    keys = tuple(p for p, stamp in enumerate(stamps) if stamp.key)
    names = {(stamp.pts, stamp.offset): p for p, stamp in enumerate(stamps)}
    return PacketIndex(
        positions=tuple(positions),
        ticks=np.asarray([ticks[p] for p in positions], dtype=np.int64),
        time_base=time_base,
        keys=keys,
        seek_ticks=_seek_ticks(stamps, {0, *keys}),
        names=names if len(names) == len(stamps) else {},
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
        positions=tuple(positions),
        ticks=np.asarray(known[: len(positions)], dtype=np.int64),
        keys=tuple(sorted(keys)),
        seek_ticks=_seek_ticks(stamps, {0, *keys}),
    )


def starting_positions(index: PacketIndex) -> list[int]:
    """For each frame, the position from which decoding must start: the last keyframe before it in file *and* on screen.

    Frames shown before the keyframe that they follow in the file (open GOP) need the keyframe before that one.
    """
    rank = {position: number for number, position in enumerate(index.positions)}
    keys = [key for key in index.keys if key in rank]
    starts = []
    for number, position in enumerate(index.positions):
        at = bisect_right(keys, position) - 1
        while at >= 0 and rank[keys[at]] > number:
            at -= 1
        starts.append(keys[at] if at >= 0 else 0)
    return starts


def is_closed(index: PacketIndex) -> bool:
    """Whether no frame is shown before a keyframe that it follows in the file (closed groups of pictures)."""
    rank = {position: number for number, position in enumerate(index.positions)}
    keys, latest_key = set(index.keys), -1
    for position in sorted(rank):
        if rank[position] < latest_key:
            return False
        if position in keys:
            latest_key = rank[position]
    return True


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


def _seek_ticks(stamps: Sequence[Stamp], positions: set[int]) -> dict[int, int]:
    """The earlier of a packet's two times: whichever a container seeks by, it lands at or before the packet."""
    known = {p: [tick for tick in (stamps[p].pts, stamps[p].dts) if tick is not None] for p in positions}
    return {p: min(ticks) for p, ticks in known.items() if ticks}
