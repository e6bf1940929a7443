"""What one file of a dataset is, and whether it can be read: a video, a folder of frames or an image.

A quick inspection opens the file as training does, which reads all packets of a video without decoding them, and decodes the
first, the middle and the last frame with what they refer to. It finds what is no video, what is empty or lacks its index, what
was cut (the header promises more than there is) and damage between a keyframe and one of the three frames. A full one decodes
every frame, and also finds damage elsewhere and pictures that the decoder patched up.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slowfast_mvit.data.images import read_image
from slowfast_mvit.data.lists import entries
from slowfast_mvit.data.video import VideoError, VideoReader, open_video
from slowfast_mvit.data.video_frames import FrameFilesReader
from slowfast_mvit.data.video_pyav import PyAVReader

OK, DAMAGED, UNREADABLE = "ok", "damaged", "unreadable"
CUT_SECONDS = 1.0
"""A header may promise this much more than the frames last: some count sound, or the end of a pause."""

_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"  # FFmpeg's name; these count their packets in the header, exactly


@dataclass(frozen=True)
class Request:
    """A file to be inspected.

    kind: how the dataset reads it: `pyav`, `decord`, `frames` (a folder of images), `image`, or `upright` (turned by EXIF).
    files: images that make the video, where the list gives them one by one.
    frame_fps: frame rate of images.
    full: decode every frame.
    """

    path: str
    kind: str = "pyav"
    files: tuple[str, ...] = ()
    frame_fps: float = 30
    full: bool = False


@dataclass(frozen=True)
class Inspection:
    """What was found; numbers are None where the file did not tell them.

    status: `ok`, `damaged` (parts cannot be read as they were encoded), or `unreadable`.
    cause: what is wrong, in words.
    width, height: pixels as shown, after rotation.
    rotation: degrees clockwise.
    duration: seconds of video.
    seconds: that the inspection took.
    """

    status: str = OK
    cause: str = ""
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    fps: float | None = None
    codec: str = ""
    rotation: int | None = None
    duration: float | None = None
    seconds: float | None = None


def inspect_file(request: Request) -> Inspection:
    """Inspect one file; what is wrong with it is in the answer."""
    start = time.perf_counter()
    try:
        found = _inspect_image(request) if request.kind in ("image", "upright") else _inspect_video(request)
    except VideoError as error:
        found = Inspection(UNREADABLE, error.cause)
    return replace(found, seconds=round(time.perf_counter() - start, 4))


def _inspect_image(request: Request) -> Inspection:
    image = read_image(request.path, upright=request.kind == "upright")
    form = Path(request.path).suffix.removeprefix(".").lower()
    return Inspection(width=image.width, height=image.height, frames=1, codec=form, rotation=0)


def _inspect_video(request: Request) -> Inspection:
    """Facts and damage of a video or a folder of frames."""
    lost = _lost(request.files)
    if lost:
        return Inspection(DAMAGED, lost, frames=len(request.files))
    with _open(request) as reader:
        causes = [_shortfall(reader), _damage(reader, request.full)]
        facts = _facts(reader)
    if request.kind == "decord":
        try:
            with open_video(request.path, "decord") as other:
                other.frames_at(_three(other.num_frames))
        except VideoError as error:
            return replace(facts, status=UNREADABLE, cause=error.cause)
    causes = [cause for cause in causes if cause]
    return replace(facts, status=DAMAGED if causes else OK, cause="; ".join(causes))


def _open(request: Request) -> VideoReader:
    if request.files:
        return FrameFilesReader(request.path, request.files, request.frame_fps)
    # decord takes its index from PyAV, which alone tells what is wrong with a file.
    return open_video(request.path, "frames" if request.kind == "frames" else "pyav", frame_fps=request.frame_fps)


def _lost(files: Sequence[str]) -> str:
    """How many listed images are not there: an extraction that was stopped leaves out the last ones."""
    present = {folder: entries(folder) for folder in {os.path.dirname(file) for file in files}}  # noqa: PTH120
    lost = [file for file in files if os.path.basename(file) not in present[os.path.dirname(file)]]  # noqa: PTH119, PTH120
    return f"{len(lost)} of its {len(files)} listed images are not there, the first is {lost[0]}" if lost else ""


def _facts(reader: VideoReader) -> Inspection:
    fps = float(reader.fps)
    return Inspection(
        width=reader.width,
        height=reader.height,
        frames=reader.num_frames,
        fps=round(fps, 3),
        codec=reader.codec,
        rotation=reader.rotation,
        duration=round(_length(reader), 3),
    )


def _length(reader: VideoReader) -> float:
    """Seconds from the first frame to the end of the last one."""
    return float(reader.timestamps()[-1]) + 1 / float(reader.fps)


def _three(num_frames: int) -> list[int]:
    """The first, the middle and the last frame."""
    return [0, num_frames // 2, num_frames - 1]


def _shortfall(reader: VideoReader) -> str:
    """What the header promises beyond what there is: the file was cut, or never finished."""
    if not isinstance(reader, PyAVReader):
        return ""
    if reader.container_name == _MP4 and reader.num_packets < reader.stated_frames:
        return f"cut short: its header promises {reader.stated_frames} frames, and it holds {reader.num_packets}"
    length, stated = _length(reader), max(reader.stated_seconds, reader.stated_frames / float(reader.fps))
    if stated > length + CUT_SECONDS:
        return f"cut short: its header promises {stated:.1f} s, and its frames last {length:.1f} s"
    return ""


def _damage(reader: VideoReader, full: bool) -> str:
    """What cannot be read as it was encoded."""
    if full and isinstance(reader, PyAVReader):
        damaged = reader.damaged_frames()
        few = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        return f"{len(damaged)} of {reader.num_frames} frames are damaged or missing: {few}" if damaged else ""
    try:
        for indices in [[i] for i in range(reader.num_frames)] if full else [_three(reader.num_frames)]:
            reader.frames_at(indices)
    except VideoError as error:
        return error.cause
    missing = len(reader.missing)
    return f"its last {'frame' if missing == 1 else f'{missing} frames'} cannot be decoded" if missing else ""
