"""Frames as small pictures inside the page: data URLs, no more bytes of them than a budget allows."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

_QUALITY = 55  # of WebP, from 0 to 100


@dataclass(frozen=True)
class Looping:
    """A picture for an HTML page.

    Attributes:
        moving: data URL of an endless animation; empty where there is one frame.
        still: data URL of its middle frame.
        width, height: in pixels.
    """

    moving: str
    still: str
    width: int
    height: int


@dataclass
class Budget:
    """How many bytes of pictures the page may still take."""

    left: int = 3_500_000
    refused: int = field(default=0)

    def take(self, picture: Looping) -> bool:
        """Whether there is room for it, which is then taken."""
        size = len(picture.moving) + len(picture.still)
        if size > self.left:
            self.refused += 1
            return False
        self.left -= size
        return True


def looping(frames: np.ndarray | Sequence[np.ndarray], milliseconds: int, longest_side: int) -> Looping:
    """Frames uint8 RGB [n, H, W, 3] as an endless animation, made smaller where a side is longer than ``longest_side``."""
    pictures = [Image.fromarray(smaller(frame, longest_side)) for frame in frames]
    middle = pictures[len(pictures) // 2]
    moving = "" if len(pictures) == 1 else _webp(pictures, duration=milliseconds, loop=0, save_all=True)
    return Looping(moving, _webp([middle]), middle.width, middle.height)


def smaller(frame: np.ndarray, longest_side: int) -> np.ndarray:
    """A frame uint8 RGB [H, W, 3] whose longer side is at most ``longest_side``."""
    if max(frame.shape[:2]) <= longest_side:
        return np.ascontiguousarray(frame)
    scale = longest_side / max(frame.shape[:2])
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    picture = Image.fromarray(np.ascontiguousarray(frame)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def larger(frame: np.ndarray, longest_side: int) -> np.ndarray:
    """A frame with hard pixels, each as a square of as many as fit into ``longest_side``."""
    factor = max(1, longest_side // max(frame.shape[:2]))
    return frame.repeat(factor, axis=0).repeat(factor, axis=1)


def _webp(pictures: Sequence[Image.Image], **options: object) -> str:
    data = io.BytesIO()
    more = {"append_images": list(pictures[1:])} if len(pictures) > 1 else {}
    pictures[0].save(data, "WEBP", quality=_QUALITY, method=4, **more, **options)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
