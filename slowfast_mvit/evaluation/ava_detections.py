"""Detections of a test: as the evaluation takes them, as AVA's file, and as a table for people.

The file has no header and a row for every box and scored action, ``video,second,x1,y1,x2,y2,action_id,score``: key frames in
the order of the list, then boxes, then actions. Corners and scores have nine significant digits. Nine tell any two float32
apart, and corners are rounded to what the file holds before they are scored, so that the file gives the mAP of the test.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from slowfast_mvit.evaluation.ava_boxes import ActionBoxes, ActionClass, KeySeconds
from slowfast_mvit.evaluation.predictions import replacing

NUM_TOP = 5


@dataclass(frozen=True)
class ScoredBoxes:
    """N boxes with the scores of all C outputs of a model.

    Attributes:
        at: video and second of each box.
        boxes: float64 [N, 4] of x1, y1, x2, y2 in parts of the frame, with nine significant digits.
        scores: float32 [N, C]; output i is action i + 1.
    """

    at: KeySeconds
    boxes: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, at: KeySeconds, boxes: np.ndarray, scores: np.ndarray) -> "ScoredBoxes":
        """With boxes of any number of digits."""
        assert boxes.shape == (len(at), 4) and len(scores) == len(at)
        rounded = np.array([float(f"{corner:.9g}") for corner in boxes.ravel().tolist()])
        return cls(at, rounded.reshape(-1, 4), scores)

    def __len__(self) -> int:
        return len(self.at)


def detections_of(scored: ScoredBoxes, classes: Sequence[ActionClass]) -> ActionBoxes:
    """A row for each box and scored class, in the order of the file."""
    ids = np.array([one.id for one in classes], dtype=np.int32)
    rows = np.repeat(np.arange(len(scored)), len(ids))
    return ActionBoxes(
        scored.at.rows(rows),
        scored.boxes[rows],
        np.tile(ids, len(scored)),
        scored.scores[:, ids - 1].ravel().astype(np.float64),
    )


def write_detections(scored: ScoredBoxes, classes: Sequence[ActionClass], path: Path) -> None:
    """Write the file so that it is there with all of its content or not at all."""
    ids = [one.id for one in classes]
    names = [_field(name) for name in scored.at.video_names]
    columns = zip(
        scored.at.videos.tolist(),
        scored.at.seconds.tolist(),
        scored.boxes.tolist(),
        scored.scores[:, np.array(ids) - 1].tolist(),
        strict=True,
    )
    with replacing(path) as binary:
        file = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        for video, second, box, scores in columns:
            place = f"{names[video]},{second:04d},{','.join(f'{corner:.9g}' for corner in box)}"
            file.writelines(f"{place},{action},{score:.9g}\n" for action, score in zip(ids, scores, strict=True))
        file.detach()  # which flushes, and leaves the file open


def boxes_table(scored: ScoredBoxes, classes: Sequence[ActionClass]) -> pd.DataFrame:
    """One row per box: video, second, corners, and its best actions by name with their scores."""
    scores = scored.scores[:, [one.id - 1 for one in classes]]
    names = np.array([one.name for one in classes], dtype=object)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :NUM_TOP]
    best = np.take_along_axis(scores, order, axis=1)
    columns: dict[str, object] = {
        "video": np.array(scored.at.video_names, dtype=object)[scored.at.videos],
        "second": scored.at.seconds,
        **dict(zip(("x1", "y1", "x2", "y2"), scored.boxes.T, strict=True)),
    }
    for rank in range(order.shape[1]):
        columns |= {f"action_{rank + 1}": names[order[:, rank]], f"score_{rank + 1}": best[:, rank]}
    return pd.DataFrame(columns)


def _field(text: str) -> str:
    """A text as a field of a CSV row."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([text])
    return line.getvalue()
