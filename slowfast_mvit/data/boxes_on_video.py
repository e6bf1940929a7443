"""A video with boxes or words drawn on its frames, as MP4 or Matroska."""

import math
from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class DrawnBox:
    """A box x1, y1, x2, y2 in parts of the frame's width and height, and the lines that stand in it."""

    corners: tuple[float, float, float, float]
    lines: tuple[str, ...] = ()


def draw_boxes(frame: np.ndarray, boxes: Sequence[DrawnBox], *, letters: int = 0) -> np.ndarray:
    """A frame uint8 RGB [H, W, 3] with boxes on it, each in a colour of its own, lines from its upper edge down.

    ``letters`` is their size in pixels; by default it follows from the frame's.
    """
    picture = Image.fromarray(np.ascontiguousarray(frame))
    draw = ImageDraw.Draw(picture)
    height, width = frame.shape[:2]
    letters = letters or _letter_size(width, height)
    thick = max(2, letters // 6)
    for number, box in enumerate(boxes):
        colour = COLOURS[number % len(COLOURS)]
        x1, x2 = (round(part * width) for part in box.corners[::2])
        y1, y2 = (round(part * height) for part in box.corners[1::2])
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=thick)
        _write_lines(draw, box.lines, x1 + thick + 2, y1 + thick, colour, letters)
    return np.asarray(picture)


def draw_lines(frame: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """A frame uint8 RGB [H, W, 3] with lines of text from its upper left corner down."""
    picture = Image.fromarray(np.ascontiguousarray(frame))
    letters = _letter_size(picture.width, picture.height)
    _write_lines(ImageDraw.Draw(picture), lines, 4, 2, COLOURS[0], letters)
    return np.asarray(picture)


def _letter_size(width: int, height: int) -> int:
    """Pixels of letters that can be read on a frame of this size."""
    return max(10, round(min(height, width) / 26))


def _write_lines(
    draw: ImageDraw.ImageDraw, lines: Sequence[str], left: int, top: int, colour: tuple[int, int, int], letters: int
) -> None:
    """Text on black, moved to the left where it would run out of the picture."""
    width, _ = draw.im.size
    font = ImageFont.load_default(letters)
    for line in lines:
        start = max(0, min(left, width - math.ceil(draw.textlength(line, font)) - 2))
        _, _, right, bottom = draw.textbbox((start, top), line, font)
        draw.rectangle((start - 2, top, right + 2, bottom + 2), fill=(0, 0, 0))
        draw.text((start, top), line, colour, font)
        top = math.ceil(bottom) + 2


def write_with_boxes(reader: VideoReader, boxes_at: Callable[[float], Sequence[DrawnBox]], path: Path) -> int:
    """Write the whole video with the boxes that ``boxes_at`` gives at each time in seconds; see :func:`write_drawn`."""
    return write_drawn(reader, lambda second, frame: draw_boxes(frame, boxes_at(second)), path)


def write_drawn(reader: VideoReader, drawn: Callable[[float, np.ndarray], np.ndarray], path: Path) -> int:
    """Write the whole video as ``drawn`` changes each frame (its second, uint8 RGB [H, W, 3]); returns the number of frames.

    The video is decoded once, and few of its frames are held. Frames keep their times and sizes; of an odd width or height the
    last column or row is left out, as H.264 asks for, and a single one is doubled. The file takes its name when it is whole.
    """
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")  # the ending says what it is
    try:
        count = _write_all(reader, drawn, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return count


def _write_all(reader: VideoReader, drawn: Callable[[float, np.ndarray], np.ndarray], path: Path) -> int:
    times = reader.timestamps().tolist()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=reader.fps)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = max(2, reader.height // 2 * 2), max(2, reader.width // 2 * 2)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _CLOCK
        tick = -1
        for index, frame in reader.pictures(range(len(times))):
            shown = drawn(times[index], frame)[: stream.height, : stream.width]
            if min(shown.shape[:2]) < 2:
                more = [(0, max(0, 2 - extent)) for extent in shown.shape[:2]]
                shown = np.pad(shown, (*more, (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), format="rgb24")
            tick = max(tick + 1, round(times[index] / _CLOCK))  # frames of one time, as AVI may have, cannot be written
            picture.pts, picture.time_base = tick, _CLOCK
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return len(times)
