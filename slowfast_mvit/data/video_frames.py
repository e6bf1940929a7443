"""A folder of images as a video: one image file per frame, at a frame rate that the caller states.

Letters: n = frames asked for, H, W = height and width, 3 = red, green, blue.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from slowfast_mvit.data.video import VideoReader

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})

IMAGE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what PIL raises on broken files


class FrameFolderReader(VideoReader):
    """A folder of images in the natural order of their names (frame_9.jpg before frame_10.jpg), `frame_fps` a second.

    The pixels are taken as stored: an EXIF orientation is ignored. Sizes are compared when a frame is read, since
    opening every file of a long film just to open the folder would take seconds.
    """

    backend = "frames"
    rotation = 0

    def __init__(self, path: str | Path, frame_fps: float | Fraction = 30) -> None:
        super().__init__(path)
        # through its decimal form: 29.97 means 2997/100 and not the nearest binary number
        self.fps = Fraction(frame_fps) if isinstance(frame_fps, Fraction) else Fraction(str(frame_fps))
        if self.fps <= 0:
            raise ValueError(f"frame_fps must be positive, not {frame_fps}")
        if not self.path.is_dir():
            raise self._error(
                "it is a file, not a folder of images" if self.path.exists() else "there is no such folder"
            )
        files = [file for file in self.path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
        self.files = sorted((file for file in files if not file.name.startswith(".")), key=_natural)
        if not self.files:
            raise self._error(f"it holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        self.num_frames = len(self.files)
        try:
            with Image.open(self.files[0]) as image:
                self.width, self.height = image.size
                self.codec = str(image.format).lower()
        except IMAGE_ERRORS as error:
            raise self._error(f"{self.files[0].name} is no readable image: {error}") from error

    def timestamps(self) -> np.ndarray:
        """Times of all frames, float64 [num_frames], seconds from the first frame."""
        return np.arange(self.num_frames, dtype=np.int64) * self.fps.denominator / self.fps.numerator

    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        for index in wanted:
            file = self.files[index]
            try:
                with Image.open(file) as image:
                    picture = np.asarray(image.convert("RGB"))
            except IMAGE_ERRORS as error:
                raise self._error(f"{file.name} is no readable image: {error}") from error
            if picture.shape[:2] != (self.height, self.width):
                had = f"{picture.shape[1]}x{picture.shape[0]}"
                raise self._error(f"{file.name} is {had} while {self.files[0].name} is {self.width}x{self.height}")
            yield index, picture


def _natural(file: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort key that compares runs of digits as numbers; equal numbers (1 and 01) fall back to the name."""
    parts = re.split(r"([0-9]+)", file.name)
    return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)], file.name
