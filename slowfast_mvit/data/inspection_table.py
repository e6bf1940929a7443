"""The table of inspected files: a CSV file to which rows are added one by one, and which survives a kill at any moment."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TextIO

from slowfast_mvit.data.inspect import Inspection
from slowfast_mvit.errors import UserError


@dataclass(frozen=True)
class Seen:
    """What is known of one file, and by what the file is known to be the same.

    Attributes:
        found: what the inspection said.
        kind: by what it was read, see :class:`slowfast_mvit.data.inspect.Request`.
        full: whether every frame was decoded.
        size, mtime_ns: bytes and time of change when it was read; of the folder, for a folder of frames.
    """

    found: Inspection
    kind: str
    full: bool
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Row:
    """One entry of a list: its split, the path as it is opened, the label by name where there are names, and the file."""

    split: str
    path: str
    label: str
    seen: Seen


_FACTS = tuple(field.name for field in fields(Inspection))
COLUMNS = ("split", "path", "label", *_FACTS, "kind", "full", "size", "mtime_ns")
_WHOLE, _REAL = ("width", "height", "frames", "rotation"), ("fps", "duration", "seconds")


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a table in their order, none if there is no such file; a row that a kill cut short is left out.

    Raises:
        UserError: a file with other columns.
    """
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.reader(file)
        if tuple(next(table, COLUMNS)) != COLUMNS:
            raise UserError(f"{path} is not a table of this check: move it, or write to another folder (--out)")
        for values in table:
            if len(values) == len(COLUMNS) and values[-1].isdecimal():
                yield _row_of(dict(zip(COLUMNS, values, strict=True)))


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a table anew; it is never seen half written."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.writer(file).writerow(COLUMNS)
        append_rows(file, rows)
    part.replace(path)


def append_rows(file: TextIO, rows: Iterable[Row]) -> None:
    """Add rows to an open table, and hand them to the operating system."""
    csv.writer(file).writerows(_values(row) for row in rows)
    file.flush()


def _values(row: Row) -> list[object]:
    seen = row.seen
    return [
        *(row.split, row.path, row.label),
        *(getattr(seen.found, name) for name in _FACTS),  # None is written as an empty field
        *(seen.kind, int(seen.full), seen.size, seen.mtime_ns),
    ]


def _row_of(values: dict[str, str]) -> Row:
    whole = {name: int(values[name]) for name in _WHOLE if values[name]}
    real = {name: float(values[name]) for name in _REAL if values[name]}
    found = Inspection(values["status"], values["cause"], codec=values["codec"], **whole, **real)  # type: ignore[arg-type]
    seen = Seen(found, values["kind"], values["full"] == "1", int(values["size"]), int(values["mtime_ns"]))
    return Row(values["split"], values["path"], values["label"], seen)
