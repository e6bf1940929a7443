"""What the page is told of one file: by a classifier, by a model of boxes, or by a detector of objects.

Letters: K windows of a video, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Protocol

import numpy as np
import pandas as pd

from slowfast_mvit.batches import UnreadableVideo
from slowfast_mvit.build.data import sampling_of
from slowfast_mvit.build.predict_boxes import BoxModel, predict_boxes
from slowfast_mvit.build.predict_model import ReadyModel
from slowfast_mvit.build.predict_objects import predict_objects
from slowfast_mvit.build.predict_scores import Looks, score, scoring_of
from slowfast_mvit.build.ready_detector import ReadyDetector
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.view_scores import VideoScores

NUM_CURVES = 5
NUM_BEST = 5
_MIN_SCORE = 0.3  # of an action or object that is drawn, and named beside the picture
_MOST_ROWS = 2000


@dataclass(frozen=True)
class Label:
    """A class and its score, 0 to 1."""

    name: str
    score: float


@dataclass(frozen=True)
class Window:
    """A part of a video in seconds, and its best classes."""

    start: float
    end: float
    best: tuple[Label, ...]


@dataclass(frozen=True)
class Curve:
    """A class and its score in every window."""

    name: str
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Scores:
    """Of whole clips, or of an image.

    Attributes:
        whole: the best classes of the file, windows joined as by the test.
        windows: in the order of time; none for an image.
        curves: the classes that score highest in any window, highest first.
    """

    whole: tuple[Label, ...]
    windows: tuple[Window, ...]
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Found:
    """One person or object that is drawn: its second (None in an image), and what is said of it."""

    second: float | None
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class Drawn:
    """A film or picture with boxes on it.

    Attributes:
        found: in the order of time, the first 2,000 of them.
        num_found: how many there are.
    """

    found: tuple[Found, ...]
    num_found: int


@dataclass(frozen=True)
class Answer:
    """What is shown of a file: scores, or a drawn file and what is on it.

    Attributes:
        scores: of a classifier.
        drawn: what is on ``file``.
        file: that is drawn.
        problem: what could not be read, in a sentence; empty if all could.
    """

    scores: Scores | None = None
    drawn: Drawn | None = None
    file: Path | None = None
    problem: str = ""


class Looker(Protocol):
    """A model that answers; one at a time.

    Attributes:
        images: it takes images.
        draws: its answers are drawn files.
    """

    images: bool
    draws: bool

    def look(self, path: Path, folder: Path, moved: Callable[[float], None], stopped: Callable[[], bool]) -> Answer:
        """The answer to one file.

        Args:
            path: of the file.
            folder: for what is drawn.
            moved: is told how far the work is, 0 to 1, where that is known; what it raises ends the work.
            stopped: is asked now and then whether to end the work.

        Raises:
            UserError: what the visitor or the user can mend.
            VideoError: the file cannot be read.
        """


class Classifier:
    """Scores windows of videos, or images, as :class:`slowfast_mvit.Predictor` does.

    Args:
        ready: the model.
        window, stride: in seconds, as of tools/predict.py; but by default videos of any length, not only long ones, are seen by
            windows as long as the model's clip, since the page shows them along time.
    """

    draws = False

    def __init__(self, ready: ReadyModel, window: float | None = None, stride: float | None = None) -> None:
        if ready.images and (window, stride) != (None, None):
            raise UserError("a window or stride is of videos, and the model is one for images: leave it out")
        self.ready = ready
        self.images = ready.images
        self.looks = Looks(window, stride)
        if window is None and not ready.images:
            windows, _ = self.looks.windows(sampling_of(ready.config, "test"))
            assert windows is not None  # of no window that was asked for
            self.looks = Looks(windows.seconds, stride)

    def look(self, path: Path, folder: Path, moved: Callable[[float], None], stopped: Callable[[], bool]) -> Answer:
        """See :class:`Looker`."""
        scoring = scoring_of(self.ready, [path], self.looks)
        found: list[VideoScores] = []
        unreadable: list[UnreadableVideo] = []
        score(
            scoring,
            [0],
            finished=found.append,
            unreadable=unreadable.append,
            keep_probabilities=True,
            shown=False,
            moved=moved,
        )
        if not found:
            raise VideoError(unreadable[0].path, unreadable[0].backend, unreadable[0].cause)
        (scores,) = found
        problem = f"The file is damaged: {unreadable[0].cause}." if unreadable else ""
        each, seconds = scores.clip_scores(scoring.protocol.ensemble)
        return Answer(
            scores_of(
                scores.result.scores[0], each, np.empty((0, 2)) if self.images else seconds, self.ready.label_names
            ),
            problem=problem,
        )


def scores_of(whole: np.ndarray, each: np.ndarray, seconds: np.ndarray, names: Sequence[str]) -> Scores:
    """What is shown of probabilities.

    Args:
        whole: of the file, float [C].
        each: of its windows, float [K, C].
        seconds: of the windows, float [K, 2]; [0, 2] for an image, which has none.
        names: of the classes; empty where nobody knows them, which are then called by their numbers.
    """
    highest = _best(each.max(axis=0), NUM_CURVES)
    windows = [
        Window(start, end, _labels(row, names)) for (start, end), row in zip(seconds.tolist(), each, strict=False)
    ]
    curves = [Curve(_name(names, place), tuple(each[:, place].tolist())) for place in highest] if windows else []
    return Scores(_labels(whole, names), tuple(windows), tuple(curves))


def _best(scores: np.ndarray, count: int) -> list[int]:
    return list(np.argsort(-scores, kind="stable")[:count].tolist())


def _labels(scores: np.ndarray, names: Sequence[str]) -> tuple[Label, ...]:
    return tuple(Label(_name(names, place), float(scores[place])) for place in _best(scores, NUM_BEST))


def _name(names: Sequence[str], place: int) -> str:
    return names[place] if place < len(names) else f"class {place}"


class People:
    """Scores people in boxes of a list or a detector, and draws them, by :mod:`slowfast_mvit.build.predict_boxes`."""

    images = False
    draws = True

    def __init__(self, ready: BoxModel, *, boxes: Path | None, detector: Path | None) -> None:
        self.ready = ready
        self.boxes = boxes
        self.detector = detector

    def look(self, path: Path, folder: Path, moved: Callable[[float], None], stopped: Callable[[], bool]) -> Answer:
        """See :class:`Looker`."""
        predicted = predict_boxes(
            self.ready,
            [path],
            folder,
            boxes=self.boxes,
            detector=self.detector,
            draw=True,
            stop_signal=lambda: SIGTERM if stopped() else 0,
        )
        table = pd.read_csv(folder / "actions.csv")
        ranks = range(1, sum(str(name).startswith("score_") for name in table) + 1)
        # A detector's seconds count from the film's beginning, as a player's do, unless AVA.FIRST_SECOND says otherwise.
        found = [
            Found(
                float(row["second"]),
                tuple(
                    Label(str(row[f"action_{rank}"]), float(row[f"score_{rank}"]))
                    for rank in ranks
                    if row[f"score_{rank}"] >= _MIN_SCORE
                ),
            )
            for row in table.head(_MOST_ROWS).to_dict("records")
        ]
        problem = predicted.problem.partition(f": see {folder}")[0].replace(str(path), path.name)
        drawn = Drawn(tuple(found), predicted.num_boxes)
        return Answer(drawn=drawn, file=folder / f"{path.stem}_boxes.mp4", problem=problem)


class Objects:
    """Finds objects in images, and draws them, by :mod:`slowfast_mvit.build.predict_objects`."""

    images = True
    draws = True

    def __init__(self, ready: ReadyDetector) -> None:
        self.ready = ready

    def look(self, path: Path, folder: Path, moved: Callable[[float], None], stopped: Callable[[], bool]) -> Answer:
        """See :class:`Looker`."""
        predict_objects(self.ready, [path], folder, min_score=_MIN_SCORE)
        table = pd.read_csv(folder / "objects.csv")
        drawn = table[table["score"] >= _MIN_SCORE].sort_values("score", ascending=False, kind="stable")
        found = [
            Found(None, (Label(str(row["label"]), float(row["score"])),))
            for row in drawn.head(_MOST_ROWS).to_dict("records")
        ]
        return Answer(drawn=Drawn(tuple(found), len(drawn)), file=folder / "pictures" / f"{path.stem}_objects.jpg")
