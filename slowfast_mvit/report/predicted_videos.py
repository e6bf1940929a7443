"""What was predicted of whole videos or images: the first in full, with pictures and scores along time, the rest in rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from markupsafe import Markup

from slowfast_mvit.data.images import read_image
from slowfast_mvit.data.video import VideoError, open_video
from slowfast_mvit.report.accuracy import percent
from slowfast_mvit.report.boxes import BoxedPicture
from slowfast_mvit.report.chart import Curve, chart
from slowfast_mvit.report.looping import Budget, Looping, looping, smaller
from slowfast_mvit.report.predicted_files import Prediction, Source
from slowfast_mvit.report.timeline import MOST_SPANS, Span, Timeline, ranked

MOST_FULL = 40  # videos or images
MOST_ROWS = 2000  # of the table of the rest
WINDOWS = 3  # of a video that have a picture
CURVES = 3  # of a video, its best labels
FRAMES = 12  # of a window, evenly spaced
SIDE = 160  # pixels of the longer one
_FASTEST, _SLOWEST = 80, 300  # milliseconds that a frame stands


@dataclass(frozen=True)
class Window:
    """A picture of a part of a video: when, what was said of it; without a picture why there is none."""

    time: str
    said: str
    picture: Looping | None
    problem: str = ""


@dataclass(frozen=True)
class Seen:
    """A video or an image in full.

    Attributes:
        name: as in the tables.
        link: address of the file with the labels on it; empty where it is not drawn.
        bars: best labels with scores from 0 to 1.
        windows: the most certain ones.
        boxed: moments with people in boxes.
        curves: scores of the best labels along time, with their pictures.
        spans: when which label is the best; empty for a single window.
        num_spans: of which these are the first.
    """

    name: str
    link: str
    bars: tuple[tuple[str, float], ...] = ()
    windows: tuple[Window, ...] = ()
    boxed: tuple[BoxedPicture, ...] = ()
    curves: tuple[tuple[Curve, Markup], ...] = ()
    spans: tuple[Span, ...] = ()
    num_spans: int = 0

    @property
    def has_unknown(self) -> bool:
        """Whether a curve counts 0 somewhere, since the tables do not say the score."""
        return any(0 in curve.y for curve, _ in self.curves)


@dataclass(frozen=True)
class Row:
    """A video or an image in a line: its best label, and the score in words."""

    name: str
    link: str
    label: str
    score: str


@dataclass(frozen=True)
class Predicted:
    """All that is shown: in full, in lines, and how many are in the tables alone."""

    full: tuple[Seen, ...]
    rest: tuple[Row, ...]
    left_out: int

    @property
    def moves(self) -> bool:
        """Whether any picture does."""
        return any(window.picture and window.picture.moving for seen in self.full for window in seen.windows)


def link_of(source: Source) -> str:
    """Address of the drawn file, from the page; empty without one."""
    return f"./{quote(source.drawn.encode('utf-8', 'surrogateescape'))}" if source.drawn else ""


def videos_of(found: Prediction, budget: Budget) -> Predicted | None:
    """The videos or images of a prediction; None where there is no table of them."""
    videos = found.videos
    if videos is None or not len(videos):
        return None
    labels = ranked(videos, "top{}_name", "top{}_score")
    bars: dict[int, list[tuple[str, float]]] = {}
    for row, label, score in zip(labels["row"].tolist(), labels["label"], labels["score"].tolist(), strict=True):
        bars.setdefault(row, []).append((str(label), score))
    full: list[Seen] = []
    for row, clips in zip(range(min(MOST_FULL, len(videos))), _clips_of_each(found), strict=False):
        name = str(videos["video"].iloc[row])
        source = found.sources.get(name, Source())
        seen = _seen(found, source, found.short(name), bars.get(row, []), clips, budget, f"video-{row + 1}")
        if budget.refused:  # there is no room for this one's pictures: it begins the table
            break
        full.append(seen)
    stop = min(len(videos), len(full) + MOST_ROWS)
    rest = []
    for row in range(len(full), stop):
        name, best = str(videos["video"].iloc[row]), bars.get(row, [("", float("nan"))])[0]
        rest.append(Row(found.short(name), link_of(found.sources.get(name, Source())), best[0], percent(best[1])))
    return Predicted(tuple(full), tuple(rest), len(videos) - stop)


def _clips_of_each(found: Prediction) -> Iterator[pd.DataFrame]:
    """The rows of ``clips.csv`` of each row of ``videos.csv``, which are in one order; none where they do not fit together."""
    assert found.videos is not None
    counts = found.videos["num_views"].astype(np.int64).to_numpy()
    clips = found.clips
    fits = clips is not None and len(clips) == counts.sum()
    if fits and clips is not None:
        fits = bool((clips["video"].to_numpy() == np.repeat(found.videos["video"].to_numpy(), counts)).all())
    if not fits or clips is None:
        found.notes.append("clips.csv does not fit to videos.csv: scores along time are left out")
        for _ in counts:
            yield pd.DataFrame()
        return
    ends = np.cumsum(counts)
    for start, end in zip((ends - counts).tolist(), ends.tolist(), strict=True):
        yield clips.iloc[start:end].reset_index(drop=True)


def timeline_of(clips: pd.DataFrame) -> Timeline:
    """The scores of a video's clips, the mean of their crops; crops at which a label is not among the best count 0."""
    _, first, place = np.unique(clips["clip_index"].to_numpy(), return_index=True, return_inverse=True)
    num_crops = np.bincount(place)
    scores = ranked(clips, "top{}_name", "top{}_score").assign(place=lambda rows: place[rows["row"].to_numpy()])
    joined = scores.groupby(["place", "label"], sort=True)["score"].sum().reset_index()
    joined["score"] /= num_crops[joined["place"].to_numpy()]
    starts, ends = (clips[name].to_numpy(dtype=np.float64)[first] for name in ("start_sec", "end_sec"))
    return Timeline(starts, ends, joined)


def curves_of(timeline: Timeline, labels: Sequence[str], name: str) -> tuple[tuple[Curve, Markup], ...]:
    """Curves of the labels with their pictures, whose elements' names begin with ``name``; none of a single place."""
    if len(np.unique(timeline.starts + timeline.ends)) < 2:
        return ()
    known = set(timeline.scores["label"])
    shown = [label for label in labels[:CURVES] if label in known]
    scores = timeline.scores
    most = (
        100 * scores.loc[scores["label"].isin(shown), "score"].max()
    )  # one scale for all, so that they can be compared
    curves = [timeline.curve(label, most) for label in shown]
    return tuple((curve, chart(curve, f"{name}-curve-{number}")) for number, curve in enumerate(curves))


def _seen(
    found: Prediction,
    source: Source,
    name: str,
    bars: Sequence[tuple[str, float]],
    clips: pd.DataFrame,
    budget: Budget,
    element: str,
) -> Seen:
    shown = tuple(bars)
    if found.images:
        return Seen(name, link_of(source), shown, (_image(found, source, budget),))
    if not len(clips):
        return Seen(name, link_of(source), shown)
    timeline = timeline_of(clips)
    spans = timeline.spans() if len(timeline) > 1 else []
    return Seen(
        name,
        link_of(source),
        shown,
        tuple(_windows(found, source, timeline, budget)),
        curves=curves_of(timeline, [label for label, _ in shown], element),
        spans=tuple(spans[:MOST_SPANS]),
        num_spans=len(spans),
    )


def certain_windows(timeline: Timeline) -> list[int]:
    """Places with the highest scores, in the order of time; none that shares more than half of its time with another."""
    chosen: list[int] = []
    for place in timeline.best().sort_values("score", ascending=False, kind="stable").index.tolist():
        start, end = timeline.starts[place], timeline.ends[place]
        shared = [min(end, timeline.ends[other]) - max(start, timeline.starts[other]) for other in chosen]
        if all(part <= (end - start) / 2 for part in shared):
            chosen.append(place)
        if len(chosen) == WINDOWS:
            break
    return sorted(chosen)


def _windows(found: Prediction, source: Source, timeline: Timeline, budget: Budget) -> Iterator[Window]:
    """The most certain windows; their video is opened once."""
    best = timeline.best()
    places = certain_windows(timeline)
    spans = [(float(timeline.starts[place]), float(timeline.ends[place])) for place in places]
    pictures = _pictures(found, source, spans)
    for place, picture in zip(places, pictures, strict=True):
        said = f"{best['label'].loc[place]} {percent(best['score'].loc[place])}"
        yield _window(timeline.time([place]), said, picture, budget)


def _window(time: str, said: str, picture: Looping | str, budget: Budget) -> Window:
    if isinstance(picture, str):
        return Window(time, said, None, picture)
    return Window(time, said, picture if budget.take(picture) else None)


def _pictures(found: Prediction, source: Source, spans: Sequence[tuple[float, float]]) -> list[Looping | str]:
    """A picture of each part of a video, which is decoded once, or why there is none."""
    if not source.path:
        return ["no picture"] * len(spans)
    try:
        with open_video(Path(source.path), "pyav") as reader:
            times = reader.timestamps()
            each = [_indices(times, start, end).tolist() for start, end in spans]
            wanted = sorted({index for indices in each for index in indices})
            frames = {
                index: smaller(frame, SIDE) for index, frame in reader.pictures(wanted)
            }  # large ones one at a time
    except VideoError as error:
        found.notes.append(str(error))
        return [f"no picture: {error.cause}"] * len(spans)
    return [
        _looping([frames[index] for index in indices], end - start)
        for indices, (start, end) in zip(each, spans, strict=True)
    ]


def _indices(times: np.ndarray, start: float, end: float) -> np.ndarray:
    """Frames int64 [n], n at most FRAMES, evenly spaced from a second to another."""
    last = max(len(times) - 1, 0)
    first = min(int(np.searchsorted(times, start - 1e-3)), last)
    stop = max(first, min(int(np.searchsorted(times, end + 1e-3)) - 1, last))
    count = min(FRAMES, stop - first + 1)
    return np.linspace(first, stop, count).round().astype(np.int64)


def _looping(frames: Sequence[np.ndarray], seconds: float) -> Looping:
    return looping(frames, int(np.clip(1000 * seconds / len(frames), _FASTEST, _SLOWEST)), SIDE)


def _image(found: Prediction, source: Source, budget: Budget) -> Window:
    """An image as its model saw it."""
    if not source.path:
        return Window("", "", None, "no picture")
    try:
        picture = looping([np.asarray(read_image(source.path))], 0, 2 * SIDE)
    except VideoError as error:
        found.notes.append(str(error))
        return Window("", "", None, f"no picture: {error.cause}")
    return _window("", "", picture, budget)
