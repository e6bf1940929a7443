"""Images as a video, listed or in a folder: one image file per frame, at a frame rate that the caller states.

Letters: n = frames asked for, H, W = height and width, 3 = red, green, blue.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from slowfast_mvit.data.video import VideoError, VideoReader

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})

IMAGE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what PIL raises on broken files


class FrameFilesReader(VideoReader):
    """Image files in the given order, `frame_fps` a second.

    The pixels are taken as stored: an EXIF orientation is ignored. Nothing is opened before a frame is asked for, and no file
    twice: the size and the codec are those of the first image read, to which the others are compared.
    """

    backend = "frames"
    rotation = 0

    def __init__(self, path: str | Path, files: Sequence[str | Path], frame_fps: float | Fraction = 30) -> None:
        """Take `files` as the frames of the video that messages call `path`."""
        super().__init__(path)
        # through its decimal form: 29.97 means 2997/100 and not the nearest binary number
        self.fps = Fraction(frame_fps) if isinstance(frame_fps, Fraction) else Fraction(str(frame_fps))
        if self.fps <= 0:
            raise ValueError(f"frame_fps must be positive, not {frame_fps}")
        self.files = files
        self.num_frames = len(files)
        self._first: _Header | None = None

    @cached_property
    def height(self) -> int:  # type: ignore[override]  # known late here
        """Pixels from top to bottom."""
        return self._header().height

    @cached_property
    def width(self) -> int:  # type: ignore[override]  # known late here
        """Pixels from left to right."""
        return self._header().width

    @cached_property
    def codec(self) -> str:  # type: ignore[override]
        """Format of the images, for example `jpeg`."""
        return self._header().codec

    def timestamps(self) -> np.ndarray:
        """Times of all frames, float64 [num_frames], seconds from the first frame."""
        return np.arange(self.num_frames, dtype=np.int64) * self.fps.denominator / self.fps.numerator

    def _header(self) -> "_Header":
        if self._first is None:
            with self._opened(0) as (_, header):
                self._first = header
        return self._first

    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        for index in wanted:
            with self._opened(index) as (image, header):
                first = self._first = self._first or header
                if (header.width, header.height) != (first.width, first.height):
                    had = f"{header.width}x{header.height}"
                    raise self._error(f"{header.name} is {had} while {first.name} is {first.width}x{first.height}")
                picture = np.asarray(image.convert("RGB"))
            yield index, picture

    @contextmanager
    def _opened(self, index: int) -> Iterator[tuple[Image.Image, "_Header"]]:
        """The image of a frame; what PIL says of a broken one inside the block becomes a VideoError."""
        file = Path(self.files[index])
        try:
            with Image.open(file) as image:
                yield image, _Header(file.name, *image.size, str(image.format).lower())
        except FileNotFoundError as error:
            raise self._error(f"there is no file {file}") from error
        except IMAGE_ERRORS as error:
            raise self._error(f"{file.name} is no readable image: {error}") from error


class FrameFolderReader(FrameFilesReader):
    """A folder of images in the natural order of their names (frame_9.jpg before frame_10.jpg)."""

    def __init__(self, path: str | Path, frame_fps: float | Fraction = 30) -> None:
        folder = Path(path)
        if not folder.is_dir():
            raise VideoError(
                folder,
                self.backend,
                "it is a file, not a folder of images" if folder.exists() else "there is no such folder",
            )
        files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
        files = sorted((file for file in files if not file.name.startswith(".")), key=_natural)
        if not files:
            raise VideoError(folder, self.backend, f"it holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        super().__init__(folder, files, frame_fps)


@dataclass(frozen=True)
class _Header:
    """Name, extent in pixels and format of an image."""

    name: str
    width: int
    height: int
    codec: str


def _natural(file: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort key that compares runs of digits as numbers; equal numbers (1 and 01) fall back to the name."""
    parts = re.split(r"([0-9]+)", file.name)
    return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)], file.name
