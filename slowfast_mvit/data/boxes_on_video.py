"""A video with boxes and words drawn on its frames, as MP4 or Matroska."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from slowfast_mvit.data.video import VideoReader

COLOURS = ((255, 200, 40), (70, 200, 255), (120, 255, 120), (255, 120, 200), (255, 140, 90), (190, 160, 255))
SUFFIXES = (".mp4", ".mkv")
"""Endings of the files that are written, in any case."""
_CLOCK = Fraction(1, 90_000)  # seconds of a tick: the times of frames are kept, also where they are not evenly spaced
_AT_ONCE = 64  # frames that are decoded before they are written


@dataclass(frozen=True)
class DrawnBox:
    """A box x1, y1, x2, y2 in parts of the frame's width and height, and the lines that stand in it."""

    corners: tuple[float, float, float, float]
    lines: tuple[str, ...] = ()


def draw_boxes(frame: np.ndarray, boxes: Sequence[DrawnBox]) -> np.ndarray:
    """A frame uint8 RGB [H, W, 3] with boxes on it, each in a colour of its own, lines from its upper edge down."""
    picture = Image.fromarray(np.ascontiguousarray(frame))
    draw = ImageDraw.Draw(picture)
    height, width = frame.shape[:2]
    size = max(10, round(min(height, width) / 26))
    font, thick = ImageFont.load_default(size), max(2, size // 6)
    for number, box in enumerate(boxes):
        colour = COLOURS[number % len(COLOURS)]
        x1, x2 = (round(part * width) for part in box.corners[::2])
        y1, y2 = (round(part * height) for part in box.corners[1::2])
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=thick)
        top = y1 + thick
        for line in box.lines:
            left = max(0, min(x1 + thick + 2, width - math.ceil(draw.textlength(line, font)) - 2))
            _, _, right, bottom = draw.textbbox((left, top), line, font)
            draw.rectangle((left - 2, top, right + 2, bottom + 2), fill=(0, 0, 0))
            draw.text((left, top), line, colour, font)
            top = bottom + 2
    return np.asarray(picture)


def write_with_boxes(reader: VideoReader, boxes_at: Callable[[float], Sequence[DrawnBox]], path: Path) -> int:
    """Write the whole video with the boxes that ``boxes_at`` gives at each time in seconds; returns the number of frames.

    Frames keep their times and sizes; of an odd width or height the last column or row is left out, as H.264 asks for.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=reader.fps)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = reader.height // 2 * 2, reader.width // 2 * 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _CLOCK
        count = 0
        for second, frame in _frames(reader):
            drawn = draw_boxes(frame, boxes_at(second))[: stream.height, : stream.width]
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(drawn), format="rgb24")
            picture.pts, picture.time_base = round(second / _CLOCK), _CLOCK
            container.mux(stream.encode(picture))
            count += 1
        container.mux(stream.encode())
    return count


def _frames(reader: VideoReader) -> Iterator[tuple[float, np.ndarray]]:
    """Each frame with its time."""
    times = reader.timestamps()
    for start in range(0, len(times), _AT_ONCE):
        stop = min(start + _AT_ONCE, len(times))
        yield from zip(times[start:stop].tolist(), reader.frames_at(range(start, stop)), strict=True)
