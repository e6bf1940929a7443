"""Video files through PyAV (FFmpeg's libraries): the default backend.

Opening reads all packets once without decoding them: that tells which frames there are, when they are shown and where
the keyframes lie, none of which a header can be trusted for. Reading seeks to the last keyframe before a wanted frame
and decodes forward. A decoded frame is recognised by the packet it came from (every packet carries its position into
the decoder, its frame carries it out), never by counting frames.

Letters: n = frames asked for, H, W = height and width as shown, 3 = red, green, blue.
"""

import re
from bisect import bisect_left
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import chain
from numbers import Rational
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from slowfast_mvit.data.scan_cache import ScanCache
from slowfast_mvit.data.video import VideoError, VideoReader, check_file
from slowfast_mvit.data.video_index import (
    UNKNOWN,
    Scan,
    Stamp,
    average_rate,
    index_delivered,
    index_packets,
    starting_positions,
)

NEAR_KEYFRAME = 8
"""A seek costs about as much as decoding this many frames: nearer keyframes are reached by decoding on."""

UNORDERED_CONTAINERS = frozenset({"avi"})
"""Containers whose time stamps follow the order in the file and not the presentation order."""

BROADCASTS = frozenset({"mpegts", "mpeg"})
"""Containers that may begin in the middle of a group of pictures, whose remains are then no frames of the video."""

TOLERANT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
"""Options by which titles that are not UTF-8 do not matter: from PyAV 19 on they never do."""

READ_ERRORS = (av.FFmpegError, OSError)

Packets = Iterator[tuple[int, "av.Packet[VideoStream]"]]  # (position, packet)
Frames = Generator[tuple[int, VideoFrame]]  # (position of the packet, frame)


class PyAVReader(VideoReader):
    """A video file read with PyAV. `num_decoded` and `num_converted` count frames decoded and turned into RGB so far.

    Files whose packets do not tell the presentation order (AVI, raw streams) are decoded once while they are opened.
    `stated_frames` and `stated_seconds` are what the header says of the video stream, 0 where it says nothing: `num_packets`
    and the frames' times fall short of them in a file that was cut. `scans` remembers what earlier readers found in files.
    """

    backend = "pyav"

    def __init__(self, path: str | Path, scans: ScanCache | None = None) -> None:
        super().__init__(path)
        check_file(path, self.backend)
        self.num_decoded = self.num_converted = 0
        self._container: InputContainer | None = None
        self._stream: VideoStream
        self._complaint = ""  # what the demuxer or decoder last objected to, in brackets
        self._fed = 0  # position of the packet that the decoder got last
        self._refused: list[int] = []  # positions of the packets that it could not decode
        try:
            self._open()
            self._take(self._scan() if scans is None else scans.get(self.path, self._scan))
        except BaseException:
            self.close()
            raise

    def timestamps(self) -> np.ndarray:
        """Times of all frames, float64 [num_frames], seconds from the first frame."""
        return self.packets.seconds()

    def damaged_frames(self) -> list[int]:
        """Decode the whole video, keeping nothing: indices, ascending, of the frames that are not what was encoded.

        Those which the decoder does not deliver, or patches up, or which refer to a packet that it refused.
        """
        whole = {self._rank(position) for position, frame in self._decode(0) if not frame.is_corrupt}
        before_frame = np.searchsorted(self._refused, self.packets.positions)
        spoiled = before_frame > np.searchsorted(self._refused, self._starts)
        return [index for index in range(self.num_frames) if index not in whole or spoiled[index]]

    def close(self) -> None:
        """Release the file and the decoder."""
        super().close()
        if self._container is not None:
            self._container.close()
            self._container = None

    # Opening

    def _open(self) -> None:
        """Open the file at its beginning, with one decoder thread, reading nothing but its video stream."""
        if self._container is not None:
            self._container.close()
        try:
            self._container = av.open(str(self.path), **TOLERANT)
        except READ_ERRORS as error:
            raise self._error(f"it is no video, or one that is cut short: {_plain(error)}") from error
        streams = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise self._error("it holds no video stream")
        self._stream = streams[0]
        for stream in self._container.streams:
            if stream.index != self._stream.index:
                stream.discard = Discard.all
        context = self._stream.codec_context
        if context is None:
            raise self._error("FFmpeg has no decoder for its video stream")
        context.thread_type, context.thread_count, context.copy_opaque = ThreadType.NONE, 1, True

    def _take(self, scan: Scan) -> None:
        """Show what a scan found."""
        self.packets, self._ranks, self._starts = scan.packets, scan.packets.ranks(), scan.starts
        self.num_frames, self.num_packets = len(scan.packets.positions), scan.num_packets
        self.stated_frames, self.stated_seconds = scan.stated_frames, scan.stated_seconds
        self.container_name, self.codec, self.fps = scan.container, scan.codec, scan.fps
        self.height, self.width, self.rotation = scan.height, scan.width, scan.rotation

    def _scan(self) -> Scan:
        """Read all packets, then decode the first frame: it alone knows the rotation and the true size."""
        stamps = [Stamp(p.pts, p.dts, p.pos, p.is_keyframe, not p.is_discard) for _, p in self._demux()]
        if not any(stamp.shown for stamp in stamps):
            raise self._error(f"it holds no frames{self._complaint}")
        assert self._container is not None
        self.container_name = self._container.format.name
        stated_frames, stated_seconds = self._stream.frames, _stated_seconds(self._container, self._stream)
        time_base = _fraction(self._stream.time_base) or Fraction(1, 1000)
        rates = [_fraction(r) for r in (self._stream.average_rate, self._stream.guessed_rate, self._stream.base_rate)]
        unordered = self.container_name in UNORDERED_CONTAINERS
        self.packets = index_packets(stamps, time_base)
        if unordered or any(stamp.pts is None for stamp in stamps if stamp.shown):
            rate = next((rate for rate in rates if rate), Fraction(25))
            self.packets = index_delivered(stamps, time_base, rate, *self._delivery())
        self._ranks = self.packets.ranks()
        first = self._drop_undecodable_start()
        if first.rotation % 90:
            raise self._error(f"its pictures are turned by {first.rotation} degrees, which is no multiple of 90")
        rotation = -first.rotation % 360
        height, width = (first.width, first.height) if rotation in (90, 270) else (first.height, first.width)
        return Scan(
            packets=self.packets,
            starts=starting_positions(self.packets),
            num_packets=len(stamps),
            stated_frames=stated_frames,
            stated_seconds=stated_seconds,
            container=self.container_name,
            codec=self._stream.codec_context.codec.canonical_name,
            fps=average_rate(self.packets, rates),
            height=height,
            width=width,
            rotation=rotation,
        )

    def _delivery(self) -> tuple[list[int], list[int]]:
        """Positions in the order in which the decoder delivers their frames, and those which it says are keyframes."""
        delivered = {position: frame.pict_type for position, frame in self._decode(0)}
        if not delivered:
            raise self._nothing()
        return list(delivered), [position for position, kind in delivered.items() if kind == PictureType.I]

    def _drop_undecodable_start(self) -> VideoFrame:
        """The first frame delivered. Frames before it leave the index where a cut took what they refer to."""
        decoding = self._decode(0)
        found = next(((self._rank(p), frame) for p, frame in decoding if self._rank(p) >= 0), None)
        decoding.close()
        if found is None:
            raise self._nothing()
        lost, frame = found
        key = next((key for key in self.packets.keys if self._rank(key) >= 0), 0)
        cut_here = self.container_name in BROADCASTS or bool((self.packets.positions[:lost] > key).all())
        if lost > self._rank(key) or not cut_here:
            raise self._error(f"its first {lost} frames cannot be decoded{self._complaint}")
        if lost:
            self.packets = self.packets.without_leading(lost)
        return frame

    # Reading

    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        left = list(wanted)
        while left:
            before = len(left)
            start = int(self._starts[left[0]])
            yield from self._run(start, left)
            if len(left) == before and start > 0:
                yield from self._run(0, left)
                if len(left) < before:  # what the file calls keyframes are none: never start from them again
                    self._starts = np.zeros_like(self._starts)
            if len(left) == before:
                yield from self._stand_ins(left)
                return

    def _run(self, start: int, left: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Decode from `start`, yield and take from `left` what comes, until a seek is the shorter way to the next."""
        lowest = max(self._rank(start), 0)
        proven = start == 0
        for position, frame in self._decode(start):
            index = self._rank(position)
            if index < lowest:
                continue  # of an open GOP: decoded without what it refers to
            if not proven and (position != start or frame.pict_type != PictureType.I):
                return  # a keyframe for the file but not for the decoder
            proven = True
            place = bisect_left(left, index)
            if place < len(left) and left[place] == index:
                self._check_whole(index, position)
                del left[place]
                yield index, self._to_rgb(frame)
                if not left or self._starts[left[0]] > self._fed + NEAR_KEYFRAME:
                    return

    def _stand_ins(self, undelivered: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """For frames whose packets end the file but did not decode, the last frame before; else a VideoError."""
        stand_ins: dict[int, tuple[int, VideoFrame]] = {}
        last_position = -1
        for position, frame in self._decode(0):
            last_position = max(last_position, position)
            index = self._rank(position)
            for lost in undelivered:
                if stand_ins.get(lost, (-1, None))[0] < index < lost:
                    self._check_whole(index, position)
                    stand_ins[lost] = index, frame
        for lost in undelivered:
            if self.packets.positions[lost] < last_position or lost not in stand_ins:
                raise self._error(f"frame {lost} of {self.num_frames} cannot be decoded{self._complaint}")
        self.missing = tuple(undelivered)
        pictures = {index: self._to_rgb(frame) for index, frame in dict(stand_ins.values()).items()}
        for lost in undelivered:
            yield lost, pictures[stand_ins[lost][0]]

    def _rank(self, position: int) -> int:
        """Index of the frame of a packet, -1 where it is not shown or not known."""
        return int(self._ranks[position]) if 0 <= position < len(self._ranks) else -1

    def _check_whole(self, index: int, position: int) -> None:
        """Raise VideoError if a packet was refused between a frame's keyframe and the frame, which it then spoils."""
        if any(self._starts[index] <= refused < position for refused in self._refused):
            raise self._error(f"frame {index} of {self.num_frames} refers to damaged data{self._complaint}")

    def _to_rgb(self, frame: VideoFrame) -> np.ndarray:
        """The frame as shown, uint8 [H, W, 3]; turned by a view, so that the one copy into the output also turns it."""
        self.num_converted += 1
        return np.rot90(frame.to_ndarray(format="rgb24", threads=1), k=-self.rotation // 90)

    def _decode(self, start: int) -> Frames:
        """Frames as the decoder delivers them when it is fed the packets from `start` to the end of the file."""
        self._complaint, self._refused = "", []
        for position, packet in chain(self._packets_from(start), [(-1, None)]):  # None drains the decoder
            if packet is not None:
                self._fed = position
                packet.opaque = [position]  # a new object each time: PyAV files it under its identity
            try:
                frames = self._stream.codec_context.decode(packet)
            except READ_ERRORS as error:
                self._complaint = f" ({_plain(error)})"
                self._refused.append(self._fed)
                continue
            for frame in frames:
                self.num_decoded += 1
                label = frame.opaque
                yield label[0] if isinstance(label, list) else -1, frame

    def _packets_from(self, start: int) -> Packets:
        """Packets from `start` on: by a seek where the file allows it, else by reading from the beginning."""
        packets = self._seek(start)
        if packets is None:
            self._open()
            packets = self._demux()
        return ((position, packet) for position, packet in packets if position >= start)

    def _seek(self, start: int) -> Packets | None:
        """Packets after a seek towards `start`, or None if it did not land there or before, on a packet we know."""
        target = int(self.packets.seek_ticks[start])
        if target == UNKNOWN or self._container is None:
            return None
        try:
            self._container.seek(target, stream=self._stream)
        except READ_ERRORS:
            return None
        packets = self._demux()
        _, first = next(packets, (0, None))
        landed = None if first is None else self.packets.position_of(first.pts, first.pos)
        if first is None or landed is None or landed > start:
            return None
        return chain([(landed, first)], ((landed + number, packet) for number, packet in packets))

    def _demux(self) -> Packets:
        """Packets with data from where the file stands, numbered from 0. A read error ends them, as does the file."""
        assert self._container is not None
        number = 0
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:
                    yield number, packet
                    number += 1
        except READ_ERRORS as error:
            self._complaint = f" ({_plain(error)})"

    def _nothing(self) -> VideoError:
        return self._error(f"none of its frames can be decoded{self._complaint}")


def _fraction(number: Rational | None) -> Fraction | None:
    """From PyAV 19 on, rates are of a type of its own."""
    return (
        Fraction(int(number.numerator), int(number.denominator)) if number is not None and number.denominator else None
    )


def _stated_seconds(container: InputContainer, stream: VideoStream) -> float:
    """Duration that the header gives the stream, or a file of this stream alone; 0 where it gives none."""
    time_base = _fraction(stream.time_base)
    if stream.duration is not None and time_base is not None:
        return float(stream.duration * time_base)
    stated = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))  # of Matroska
    if stated:
        return int(stated[1]) * 3600 + int(stated[2]) * 60 + float(stated[3])
    alone = len(container.streams) == 1
    return container.duration / av.time_base if alone and container.duration is not None else 0.0


def _plain(error: Exception) -> str:
    """FFmpeg's own words, without its error number and file name."""
    return str(getattr(error, "strerror", None) or error).strip()
