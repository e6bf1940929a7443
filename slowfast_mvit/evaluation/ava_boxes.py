"""Boxes with actions at key seconds of videos, as the rows of AVA's files: what is annotated, detected or left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class ActionClass:
    """An action that is scored: its number in the files (from 1), and its name."""

    id: int
    name: str


@dataclass(frozen=True)
class KeySeconds:
    """N rows, each at a second of a video; several rows may be at the same one.

    Attributes:
        videos: int32 [N], places in ``video_names``.
        video_names: each once.
        seconds: int32 [N], as the files count them (AVA's from 902).
    """

    videos: np.ndarray
    video_names: tuple[str, ...]
    seconds: np.ndarray

    @classmethod
    def of(cls, videos: Sequence[object] | np.ndarray, seconds: Sequence[int] | np.ndarray) -> "KeySeconds":
        """Rows from the name (or number) of each row's video, and its second."""
        places, names = pd.factorize(np.asarray(videos))
        moments = np.asarray(seconds)
        assert places.shape == moments.shape and moments.ndim == 1, f"{places.shape} videos, {moments.shape} seconds"
        assert not len(moments) or np.issubdtype(moments.dtype, np.integer), f"seconds are {moments.dtype}"
        return cls(places.astype(np.int32), tuple(str(name) for name in names), moments.astype(np.int32))

    def __len__(self) -> int:
        return len(self.videos)

    def rows(self, chosen: np.ndarray) -> "KeySeconds":
        """Some of the rows, by a bool [N] or by their places."""
        return KeySeconds(self.videos[chosen], self.video_names, self.seconds[chosen])


@dataclass(frozen=True)
class ActionBoxes:
    """N boxes with one action each, in the order of their file; a person with three actions is three rows.

    Attributes:
        at: where each is.
        boxes: float64 [N, 4] of x1, y1, x2, y2, as parts of the frame's width and height.
        actions: int32 [N], the numbers of the label map.
        scores: float64 [N], finite; None for annotations.
    """

    at: KeySeconds
    boxes: np.ndarray
    actions: np.ndarray
    scores: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        videos: Sequence[object] | np.ndarray,
        seconds: Sequence[int] | np.ndarray,
        boxes: Sequence[Sequence[float]] | np.ndarray,
        actions: Sequence[int] | np.ndarray,
        scores: Sequence[float] | np.ndarray | None = None,
    ) -> "ActionBoxes":
        """Boxes from one name (or number) of a video, second, box, action and score per row."""
        at = KeySeconds.of(videos, seconds)
        return cls(
            at,
            np.asarray(boxes, dtype=np.float64).reshape(len(at), 4),
            np.asarray(actions, dtype=np.int32),
            None if scores is None else np.asarray(scores, dtype=np.float64),
        )

    def __post_init__(self) -> None:
        count = len(self.at)
        assert self.boxes.shape == (count, 4) and self.actions.shape == (count,), f"{self.boxes.shape} of {count} rows"
        assert self.scores is None or self.scores.shape == (count,), f"{count} rows"

    def __len__(self) -> int:
        return len(self.at)

    def rows(self, chosen: np.ndarray) -> "ActionBoxes":
        """Some of the rows, by a bool [N] or by their places: ``boxes.rows(boxes.at.seconds % 4 == 0)``."""
        scores = None if self.scores is None else self.scores[chosen]
        return ActionBoxes(self.at.rows(chosen), self.boxes[chosen], self.actions[chosen], scores)
