"""AVA's CSV files: annotated boxes, detections and excluded seconds, by the million rows.

==========  ==========================================================
truth       ``video,second,x1,y1,x2,y2,action_id[,person_id]``
detections  ``video,second,x1,y1,x2,y2,action_id,score``
exclusions  ``video,second``
==========  ==========================================================

AVA's files have no header; one with names in this order is passed over. Seconds are whole numbers in any spelling (0902, 902,
902.0). Numbers become the float64 nearest to what is written, as Python's own, so that equal IoUs and scores stay equal.

Pieces of a file go through pandas' C reader. Where one is not plain (quotes, rows of different lengths, a word in place of a
number), the file is read row by row instead, which understands it or finds the line at fault.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from slowfast_mvit.errors import UserError, reading
from slowfast_mvit.evaluation.ava_boxes import ActionBoxes, KeySeconds

_PIECE = 16 << 20  # bytes that are parsed at once
_LARGEST = 2**31 - 1  # second or action
# From 3.1 on pandas reads the nearest number by default, and its option for that is on the way out.
_EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)


@dataclass(frozen=True)
class _Layout:
    """The columns of one kind of file: the video, numbers, and what may follow and is not read."""

    numbers: tuple[str, ...]
    unread: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return ("video", *self.numbers, *self.unread)

    @property
    def lengths(self) -> range:
        """How many fields a row may have."""
        return range(1 + len(self.numbers), 1 + len(self.columns))

    def __str__(self) -> str:
        return ",".join(["video", *self.numbers]) + "".join(f"[,{name}]" for name in self.unread)


_BOX = ("second", "x1", "y1", "x2", "y2", "action_id")
_TRUTH = _Layout(_BOX, unread=("person_id",))
_DETECTIONS = _Layout((*_BOX, "score"))
_EXCLUSIONS = _Layout(("second",))
_WHOLE = ("second", "action_id")


def read_truth(path: str | Path) -> ActionBoxes:
    """Annotated boxes, such as ava_val_v2.2.csv.

    Raises:
        UserError: with file and line, for rows of another length, numbers that are none or not finite, and seconds or actions
            that are not whole; with the file, if it cannot be opened.
    """
    at, numbers = _read(Path(path), _TRUTH)
    return ActionBoxes(at, *_boxes_and_actions(numbers))


def read_detections(path: str | Path) -> ActionBoxes:
    """Detected boxes with scores, in the order of the file; raises as :func:`read_truth` does."""
    at, numbers = _read(Path(path), _DETECTIONS)
    return ActionBoxes(at, *_boxes_and_actions(numbers), np.concatenate([part[:, 6] for part in numbers]))


def read_exclusions(path: str | Path) -> KeySeconds:
    """Seconds that are not scored, such as ava_val_excluded_timestamps_v2.2.csv; raises as :func:`read_truth` does."""
    return _read(Path(path), _EXCLUSIONS)[0]


def _boxes_and_actions(numbers: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    boxes = np.concatenate([part[:, 1:5] for part in numbers])
    return boxes, np.concatenate([part[:, 5].astype(np.int32) for part in numbers])


def _read(path: Path, layout: _Layout) -> tuple[KeySeconds, list[np.ndarray]]:
    """Where the rows are, and their numbers in parts: float64 [rows of the part, numbers of the layout]."""
    names: dict[str, int] = {}
    parts = []
    with reading(path):
        for piece in _pieces(path, layout):
            part = _plain(piece, layout, names)
            if part is None:
                names = {}
                parts = [_row_by_row(path, layout, names)]
                break
            parts.append(part)
    videos = np.concatenate([part.videos for part in parts])
    seconds = np.concatenate([part.numbers[:, 0].astype(np.int32) for part in parts])
    return KeySeconds(videos, tuple(names), seconds), [part.numbers for part in parts]


@dataclass(frozen=True)
class _Part:
    """Some rows: their videos' places among the names, int32, and their numbers, float64 [rows, numbers]."""

    videos: np.ndarray
    numbers: np.ndarray


def _pieces(path: Path, layout: _Layout) -> Iterator[bytes]:
    """A file's text in pieces of whole lines, at least one; without byte order mark and header."""
    with path.open("rb") as file:
        first = file.readline().removeprefix(b"\xef\xbb\xbf")
        rest = b"" if _is_header(first.decode("utf-8", "replace").strip().split(","), path, layout) else first
        while text := file.read(_PIECE):
            end = text.rfind(b"\n") + 1
            if end:
                yield rest + text[:end]
                rest = text[end:]
            else:
                rest += text
        yield rest


def _is_header(fields: Sequence[str], path: Path, layout: _Layout) -> bool:
    """Whether the first row names the columns.

    Raises:
        UserError: if it names them in another order.
    """
    named = [field.strip().casefold() for field in fields]
    if len(named) < 2 or not any(word in named[1] for word in ("sec", "time")):
        return False
    corners = [name for name in layout.numbers if name[0] in "xy"]
    if [name[-2:] for name in named[2 : 2 + len(corners)]] != corners:
        raise UserError(f"{path}, line 1: the columns are {','.join(fields)} where {layout} are expected")
    return True


def _plain(text: bytes, layout: _Layout, names: dict[str, int]) -> _Part | None:
    """Rows of a piece, whose videos are added to the names; None if it is not plain."""
    if not text.strip():
        return _Part(np.empty(0, dtype=np.int32), np.empty((0, len(layout.numbers))))
    num_fields = text.partition(b"\n")[0].count(b",") + 1
    if num_fields not in layout.lengths or b'"' in text:
        return None
    options: dict[str, Any] = {
        "header": None,
        "names": layout.columns[:num_fields],
        "na_filter": False,
        "low_memory": False,
        **_EXACT,
    }
    kinds = dict.fromkeys(layout.numbers, "float64") | dict.fromkeys(("video", *layout.unread), "category")
    try:
        table = pd.read_csv(io.BytesIO(text), dtype=kinds, **options)
    except ValueError:  # pandas' errors of parsing are of this kind
        return None
    numbers = table[list(layout.numbers)].to_numpy(dtype=np.float64)
    whole = numbers[:, [layout.numbers.index(name) for name in _WHOLE if name in layout.numbers]]
    if not np.isfinite(numbers).all() or (whole != np.floor(whole)).any() or (np.abs(whole) > _LARGEST).any():
        return None
    videos = table["video"]
    if not all(isinstance(name, str) for name in videos.cat.categories):
        # Names of digits alone were read as numbers, without their zeros.
        videos = pd.read_csv(io.BytesIO(text), dtype=str, usecols=["video"], **options)["video"].astype("category")
    places = [names.setdefault(name, len(names)) for name in videos.cat.categories]
    return _Part(np.array(places, dtype=np.int32)[videos.cat.codes], numbers)


def _row_by_row(path: Path, layout: _Layout, names: dict[str, int]) -> _Part:
    """All rows of a file, whose videos are added to the names.

    Raises:
        UserError: for the first line that is wrong.
    """
    videos, numbers = [], []
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        try:
            for index, row in enumerate(lines):
                if not any(field.strip() for field in row) or (index == 0 and _is_header(row, path, layout)):
                    continue
                where = f"{path}, line {lines.line_num}"
                if len(row) not in layout.lengths:
                    raise UserError(f"{where}: {len(row)} fields where {layout} are expected")
                videos.append(names.setdefault(row[0], len(names)))
                numbers.append([_number(*pair, where) for pair in zip(layout.numbers, row[1:], strict=False)])
        except csv.Error as error:
            raise UserError(f"{path}, line {lines.line_num}: no CSV ({error})") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: no text in UTF-8 ({error.reason}): give a CSV file") from error
    return _Part(np.array(videos, dtype=np.int32), np.array(numbers, dtype=np.float64).reshape(-1, len(layout.numbers)))


def _number(name: str, text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise UserError(f"{where}: {name} is {text!r}, which is not a number") from None
    if not math.isfinite(number):
        raise UserError(f"{where}: {name} is {text}, which is not a finite number")
    if name in _WHOLE and (number != math.floor(number) or abs(number) > _LARGEST):
        raise UserError(f"{where}: {name} is {text}, which is not a whole number")
    return number
