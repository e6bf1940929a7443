"""What was predicted in boxes: people of videos at their key frames, objects in images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from slowfast_mvit.data.ava import AvaList
from slowfast_mvit.data.ava_videos import AvaVideos
from slowfast_mvit.data.images import read_image
from slowfast_mvit.data.key_frames import KeyFrameSampling, read_clip
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.report.accuracy import percent
from slowfast_mvit.report.boxes import CORNERS, MOST_BOXES, BoxedPicture, BoxWords, actions_said, boxed
from slowfast_mvit.report.looping import Budget
from slowfast_mvit.report.predicted_files import Prediction, Source
from slowfast_mvit.report.predicted_videos import MOST_FULL, MOST_ROWS, Predicted, Row, Seen, curves_of, link_of
from slowfast_mvit.report.timeline import MOST_SPANS, Timeline, ranked

EACH = 4  # key frames of a video that are shown, those with the highest scores
_BARS = 5


def people_of(found: Prediction, budget: Budget) -> Predicted | None:
    """The videos of a prediction of people; None where there is no table of them.

    A label's score at a second is that of the person who has the highest.
    """
    if found.boxes is None or not len(found.boxes):
        return None
    groups = list(found.boxes.groupby("video", sort=False))
    full: list[Seen] = []
    for number, (name, rows) in enumerate(groups[:MOST_FULL], 1):
        seen = _video(found, str(name), rows.reset_index(drop=True), budget, f"video-{number}")
        if budget.refused:
            break
        full.append(seen)
    stop = min(len(groups), len(full) + MOST_ROWS)
    rest = []
    for name, rows in groups[len(full) : stop]:
        best = rows.iloc[int(rows["score_1"].to_numpy().argmax())]
        link = link_of(found.sources.get(str(name), Source()))
        rest.append(Row(str(name), link, str(best["action_1"]), percent(best["score_1"])))
    return Predicted(tuple(full), tuple(rest), len(groups) - stop)


def _video(found: Prediction, name: str, rows: pd.DataFrame, budget: Budget, element: str) -> Seen:
    timeline = people_along_time(rows)
    best = timeline.scores.groupby("label")["score"].max().sort_values(ascending=False, kind="stable")[:_BARS]
    source = found.sources.get(name, Source())
    surest = rows.groupby("second")["score_1"].max().sort_values(ascending=False, kind="stable").index[:EACH]
    boxed_frames = tuple(
        _key_frame(found, source, name, int(second), rows[rows["second"] == second], budget)
        for second in sorted(surest.tolist())
    )
    spans = timeline.spans() if len(timeline) > 1 else []
    return Seen(
        name,
        link_of(source),
        tuple((str(label), float(score)) for label, score in best.items()),
        boxed=boxed_frames,
        curves=curves_of(timeline, [str(label) for label in best.index], element),
        spans=tuple(spans[:MOST_SPANS]),
        num_spans=len(spans),
    )


def people_along_time(rows: pd.DataFrame) -> Timeline:
    """The actions of a video's key frames, each with the highest score that anybody has in it."""
    seconds, place = np.unique(rows["second"].to_numpy(dtype=np.float64), return_inverse=True)
    scores = ranked(rows, "action_{}", "score_{}").assign(place=lambda table: place[table["row"].to_numpy()])
    joined = scores.groupby(["place", "label"], sort=True)["score"].max().reset_index()
    return Timeline(seconds, seconds, joined, counted=True)


def _key_frame(
    found: Prediction, source: Source, name: str, second: int, rows: pd.DataFrame, budget: Budget
) -> BoxedPicture:
    shown = rows.sort_values("score_1", ascending=False, kind="stable")[:MOST_BOXES]
    words = [BoxWords(actions_said(row)) for _, row in shown.iterrows()]
    corners = shown[CORNERS].to_numpy(dtype=np.float64)
    frame: np.ndarray | str = "no picture"
    if source.path:
        try:
            frame = _frame(found, source, name, second)
        except VideoError as error:
            found.notes.append(str(error))
            frame = f"no picture: {error.cause}"
    return boxed(f"{name}, second {second}", frame, corners, words, len(rows) - len(shown), budget)


def _frame(found: Prediction, source: Source, name: str, second: int) -> np.ndarray:
    """The frame at a second as the prediction has counted it, uint8 RGB [H, W, 3]."""
    assert found.boxes is not None
    seconds = np.unique(found.boxes.loc[found.boxes["video"] == name, "second"].to_numpy(dtype=np.int32))
    keys = AvaList(
        AvaVideos((name,), np.array([source.path]), None, source.path, are_folders=False),
        key_videos=np.zeros(len(seconds), dtype=np.int32),
        key_seconds=seconds,
        starts=np.zeros(len(seconds) + 1, dtype=np.int64),
        boxes=np.empty((0, 4)),
        box_labels=np.empty((0, 0), dtype=bool),
        scores=np.empty(0, dtype=np.float32),
        label_names=(),
        source=source.path,
        first_second=found.first_second,
    )
    return read_clip(keys, int(np.searchsorted(seconds, second)), KeyFrameSampling(1, 1, 30.0), "pyav")[0][0]


@dataclass(frozen=True)
class PredictedObjects:
    """Images with objects: with pictures, in lines (image, address of its picture, what is in it), in the tables alone."""

    full: tuple[BoxedPicture, ...]
    rest: tuple[Row, ...]
    left_out: int


def objects_of(found: Prediction, budget: Budget) -> PredictedObjects | None:
    """The images of a prediction of objects; None where there is no table of them."""
    if found.objects is None:
        return None
    sure = found.objects[found.objects["score"] >= found.min_score]
    groups = dict(iter(sure.groupby("image", sort=False)))
    names = list(dict.fromkeys([*found.sources, *found.objects["image"]]))
    nothing = sure.iloc[:0]
    full: list[BoxedPicture] = []
    for name in names[:MOST_FULL]:
        shown = _image(found, name, groups.get(name, nothing), budget)
        if budget.refused:
            break
        full.append(shown)
    stop = min(len(names), len(full) + MOST_ROWS)
    rest = [
        Row(found.short(name), link_of(found.sources.get(name, Source())), *_in_words(groups.get(name, nothing)))
        for name in names[len(full) : stop]
    ]
    return PredictedObjects(tuple(full), tuple(rest), len(names) - stop)


def _in_words(rows: pd.DataFrame) -> tuple[str, str]:
    """The labels of an image with their numbers, and the highest score."""
    if not len(rows):
        return "none", ""
    counts = rows["label"].value_counts(sort=False).items()
    said = ", ".join(f"{label} ({count})" if count > 1 else str(label) for label, count in counts)
    return said, percent(float(rows["score"].max()))


def _image(found: Prediction, name: str, rows: pd.DataFrame, budget: Budget) -> BoxedPicture:
    source = found.sources.get(name, Source())
    shown = rows.sort_values("score", ascending=False, kind="stable")[:MOST_BOXES]
    words: Sequence[BoxWords] = [
        BoxWords(f"{label} {percent(score)}") for label, score in zip(shown["label"], shown["score"], strict=True)
    ]
    corners = shown[CORNERS].to_numpy(dtype=np.float64)
    frame: np.ndarray | str = "no picture"
    if source.path:
        try:
            frame = np.asarray(read_image(source.path, upright=True))
            height, width = frame.shape[:2]
            corners = corners / np.array([width, height, width, height])
        except VideoError as error:
            found.notes.append(str(error))
            frame = f"no picture: {error.cause}"
    return replace(
        boxed(found.short(name), frame, corners, words, len(rows) - len(shown), budget), link=link_of(source)
    )
