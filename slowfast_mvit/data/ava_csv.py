"""Box lists: AVA's files without a header, and lists of one's own with one.

AVA's rows are ``video,second,x1,y1,x2,y2,action``, and then a person's number (annotated boxes) or a score (detected boxes).
A list of one's own begins with the header ``video,second,x1,y1,x2,y2,action,score``, its columns in any order; further columns
are not read. A row without a score is annotated, a row with one is detected, and one file may hold both. An action is a number,
from 1 on, or a name; it is empty (or -1, or has no column) for a box without an action. Corners are parts of the frame's width
and height. Seconds are whole, from 0 on, in any spelling (0902, 902, 902.0).
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from slowfast_mvit.errors import UserError

COLUMNS = ("video", "second", "x1", "y1", "x2", "y2", "action", "score")
_NEEDED, _CORNERS = COLUMNS[:6], COLUMNS[2:6]
_NO_ACTION = ("", "-1")
_PIECE = 100_000  # rows that are converted at once
_LARGEST = 2**31
# From 3.1 on pandas reads the nearest number by default, and its option for that is on the way out.
_EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)
_MARGIN = 0.01
"""Corners may lie this far outside 0..1, by rounding or by a detector's wish; they are clipped. AVA's do not."""


@dataclass(frozen=True)
class BoxRows:
    """N rows of a box list, in its order; a person with three actions is three rows.

    Attributes:
        video_names, action_names: each once, as spelled.
        source: the file.
        videos: int32 [N], places in ``video_names``.
        seconds: int32 [N].
        boxes: float64 [N, 4] of x1, y1, x2, y2, as written.
        actions: int32 [N], places in ``action_names``, -1 where there is none.
        scores: float64 [N], NaN for annotated boxes.
        lines: int32 [N], for messages.
    """

    video_names: tuple[str, ...]
    action_names: tuple[str, ...]
    source: str
    videos: np.ndarray
    seconds: np.ndarray
    boxes: np.ndarray
    actions: np.ndarray
    scores: np.ndarray
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.videos)

    def rows(self, chosen: np.ndarray) -> "BoxRows":
        """Some of the rows, by a bool [N] or by their places."""
        columns = (self.videos, self.seconds, self.boxes, self.actions, self.scores, self.lines)
        return BoxRows(self.video_names, self.action_names, self.source, *(column[chosen] for column in columns))


def read_boxes(path: Path, *, detected: bool | None) -> BoxRows:
    """The annotated or the detected boxes of a list; with ``detected`` None both.

    Without a header the boxes are of one kind, for None by the number of fields: detected ones have a score, the eighth.

    Raises:
        UserError: with file and line, for no such file, missing columns or fields, words in place of numbers, seconds that are
            not whole or negative, NaN; and for lists without boxes of that kind.
    """
    try:
        rows = None if detected is None else _plain(path, detected)
        return _row_by_row(path, detected) if rows is None else rows
    except FileNotFoundError:
        raise UserError(f"there is no box list {path}: set AVA.ANNOTATION_DIR and the names of its files") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8 ({error.reason} at byte {error.start})") from error
    except csv.Error as error:
        raise UserError(f"{path} is no CSV file: {error}") from error


def _plain(path: Path, detected: bool) -> BoxRows | None:
    """A list without header, quotes, gaps and faults, through pandas' C reader: AVA's have a million lines. Else None."""
    text = path.read_bytes()
    first = text.partition(b"\n")[0]
    num_fields, needed = first.count(b",") + 1, len(COLUMNS) if detected else len(COLUMNS) - 1
    if b'"' in text or not needed <= num_fields <= len(COLUMNS) or b"second" in first.lower():
        return None
    numbers = ("second", *_CORNERS, *(["score"] if detected else []))
    kinds = dict.fromkeys(numbers, "float64") | dict.fromkeys(("video", "action"), "category")
    names = COLUMNS[:num_fields]
    try:
        table = pd.read_csv(
            io.BytesIO(text),
            header=None,
            names=names,
            usecols=names[:needed],
            dtype=kinds,
            na_filter=False,
            low_memory=False,
            encoding="utf-8-sig",
            **_EXACT,
        )
    except ValueError:  # pandas' errors of parsing are of this kind
        return None
    values = {name: table[name].to_numpy() for name in numbers}
    seconds, videos, actions = values["second"], table["video"].cat, table["action"].cat
    if (
        len(table) != len(text.rstrip().splitlines())
        or text.count(b",") != len(table) * (num_fields - 1)
        or not all(np.isfinite(column).all() for column in values.values())
        or (seconds != np.floor(seconds)).any()
        or seconds.min() < 0
        or seconds.max() >= _LARGEST
        or not all(isinstance(name, str) for name in videos.categories)  # digits alone were read as numbers
    ):
        return None
    video_names, video_places = _by_appearance(videos)
    actions_written, action_places = _by_appearance(actions)
    known = [text for text in actions_written if text not in _NO_ACTION]
    places = np.array([known.index(text) if text in known else -1 for text in actions_written], dtype=np.int32)
    return BoxRows(
        video_names=tuple(video_names),
        action_names=tuple(known),
        source=str(path),
        videos=video_places,
        seconds=seconds.astype(np.int32),
        boxes=np.stack([values[name] for name in _CORNERS], axis=1),
        actions=places[action_places],
        scores=values["score"] if detected else np.full(len(table), np.nan),
        lines=np.arange(1, len(table) + 1, dtype=np.int32),
    )


def _by_appearance(column: Any) -> tuple[list[str], np.ndarray]:
    """The texts of a categorical column as they first appear, and the place of each row's among them, int32 [N]."""
    codes = column.codes.to_numpy()
    present, first = np.unique(codes, return_index=True)
    order = np.argsort(first)
    place = np.empty(len(column.categories), dtype=np.int32)
    place[present[order]] = np.arange(len(order))
    return [str(column.categories[code]).strip() for code in present[order]], place[codes]


def _row_by_row(path: Path, detected: bool | None) -> BoxRows:
    """Any list, or the line at fault."""
    videos, actions = dict[str, int](), dict[str, int]()
    pieces = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        numbered: Iterator[tuple[int, list[str]]] = ((lines.line_num, row) for row in lines if any(row))
        first = next(numbered, None)
        if first is None:
            raise UserError(f"{path} is empty: it should hold lines of {','.join(COLUMNS)}")
        places = _header(first[1], path)
        if places is None:
            detected = len(first[1]) >= len(COLUMNS) if detected is None else detected
            numbered = chain([first], numbered)
        while piece := list(islice(numbered, _PIECE)):
            pieces.append(_convert(piece, places, detected, path, videos, actions))
    joined = [np.concatenate(columns) for columns in zip(*pieces, strict=True)]
    if detected is None and not joined:
        raise UserError(f"{path} holds no boxes, but a header alone")
    if not joined or not len(joined[0]):
        kind, other = ("detected", "without") if detected else ("annotated", "with")
        raise UserError(
            f"{path} holds no {kind} boxes"
            + (f": all of its rows are {other} a score" if pieces and places is not None else "")
        )
    return BoxRows(tuple(videos), tuple(actions), str(path), *joined)


def faults(rows: BoxRows) -> Iterator[tuple[str, np.ndarray]]:
    """What is wrong with boxes and scores, in words, and the rows concerned, bool [N]."""
    outside = np.any((rows.boxes < 0) | (rows.boxes > 1), axis=1)
    yield "have corners outside 0..1 (parts of the frame's width and height, not pixels)", outside
    empty: np.ndarray = (rows.boxes[:, 0] >= rows.boxes[:, 2]) | (rows.boxes[:, 1] >= rows.boxes[:, 3])
    yield "have no area (x1 >= x2 or y1 >= y2)", empty
    yield (
        "have a score outside 0..1 (annotated boxes belong to TRAIN_GT_BOX_LISTS)",
        (rows.scores < 0) | (rows.scores > 1),
    )


def usable(rows: BoxRows) -> tuple[BoxRows, str]:
    """The rows that can be used, clipped to the frame; and what was left out, in words, empty if nothing was.

    Raises:
        UserError: corners are far outside 0..1, or scores outside.
    """
    (outside, _), (no_area, empty), (wrong, scores) = faults(rows)
    far = np.any((rows.boxes < -_MARGIN) | (rows.boxes > 1 + _MARGIN), axis=1)
    for cause, chosen in ((outside, far), (wrong, scores)):
        if chosen.any():
            raise UserError(describe(rows, cause, chosen))
    boxes = rows.boxes.clip(0, 1)
    clipped = replace(rows, boxes=boxes)
    empty |= (boxes[:, 0] >= boxes[:, 2]) | (boxes[:, 1] >= boxes[:, 3])
    if not empty.any():
        return clipped, ""
    return clipped.rows(~empty), f"{describe(rows, no_area, empty)}; they are left out"


def describe(rows: BoxRows, cause: str, chosen: np.ndarray) -> str:
    """A sentence about some rows, with the first of them as an example."""
    row = int(np.argmax(chosen))
    corners = ", ".join(f"{corner:g}" for corner in rows.boxes[row])
    score = "" if np.isnan(rows.scores[row]) else f", score {rows.scores[row]:g}"
    return (
        f"{rows.source}: {int(chosen.sum())} of {len(rows)} boxes {cause}, the first in line {rows.lines[row]}: "
        f"{rows.video_names[rows.videos[row]]} at second {rows.seconds[row]}, {corners}{score}"
    )


def _header(row: Sequence[str], path: Path) -> dict[str, int] | None:
    """Where the columns are, if the first row names them; None for AVA's files, which begin with a box."""
    named = [field.strip().casefold() for field in row]
    if not {"second", "x1"} & set(named):
        return None
    missing = [name for name in _NEEDED if name not in named]
    if missing:
        raise UserError(f"{path}: its header {','.join(row)!r} lacks {', '.join(missing)}")
    return {name: named.index(name) for name in COLUMNS if name in named}


def _convert(
    piece: Sequence[tuple[int, list[str]]],
    places: dict[str, int] | None,
    detected: bool | None,
    path: Path,
    videos: dict[str, int],
    actions: dict[str, int],
) -> tuple[np.ndarray, ...]:
    """Columns of BoxRows from ``videos`` to ``lines``; names that are new are added."""
    headed = places is not None
    if places is None:
        places = {name: place for place, name in enumerate(COLUMNS) if detected or name != "score"}
    width = max(places.values()) + 1
    for line, row in piece:
        if len(row) < width:
            raise UserError(f"{path}:{line}: expected {width} fields ({','.join(places)}), got {','.join(row)!r}")
    scores = _column(piece, places["score"]) if "score" in places else [""] * len(piece)
    wanted = [i for i, score in enumerate(scores) if detected is None or bool(score) == detected]
    if headed and len(wanted) < len(piece):
        piece, scores = [piece[i] for i in wanted], [scores[i] for i in wanted]
    lines = [line for line, _ in piece]
    numbers = {
        name: _numbers(_column(piece, places[name]), name, lines, path, whole=name == "second")
        for name in ("second", *_CORNERS)
    }
    texts = _column(piece, places["action"]) if "action" in places else [""] * len(piece)
    return (
        np.array([videos.setdefault(name, len(videos)) for name in _column(piece, places["video"])], dtype=np.int32),
        numbers["second"].astype(np.int32),
        np.stack([numbers[name] for name in _CORNERS], axis=1),
        np.array(
            [-1 if text in _NO_ACTION else actions.setdefault(text, len(actions)) for text in texts], dtype=np.int32
        ),
        _numbers(scores, "score", lines, path) if detected else _scores_or_nan(scores, lines, path),
        np.array(lines, dtype=np.int32),
    )


def _scores_or_nan(texts: Sequence[str], lines: Sequence[int], path: Path) -> np.ndarray:
    """float64 [N], NaN where there is no text."""
    scores = np.full(len(texts), np.nan)
    given = [row for row, text in enumerate(texts) if text]
    scores[given] = _numbers([texts[row] for row in given], "score", [lines[row] for row in given], path)
    return scores


def _column(piece: Sequence[tuple[int, list[str]]], place: int) -> list[str]:
    return [row[place].strip() for _, row in piece]


def _numbers(texts: list[str], name: str, lines: Sequence[int], path: Path, whole: bool = False) -> np.ndarray:
    """float64 [N] of texts.

    Raises:
        UserError: for the first that is no finite number, or where they are to be ``whole``, no whole one from 0 on.
    """
    try:
        values = np.array(texts, dtype=np.float64)
    except ValueError:
        values = np.array([_number_or_nan(text) for text in texts])
    not_whole = (values != np.floor(values)) | (values < 0)
    wrong = ~np.isfinite(values) | (whole & not_whole) | (np.abs(values) >= _LARGEST)
    if wrong.any():
        at = int(np.argmax(wrong))
        kind = "a whole number from 0 on: boxes are annotated and scored at whole seconds" if whole else "a number"
        raise UserError(f"{path}:{lines[at]}: {name} is {texts[at]!r} and should be {kind}")
    return values


def _number_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
