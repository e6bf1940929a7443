"""What a run has left in its folder, read for the report: what is missing is None, what is damaged is told."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from slowfast_mvit.build.run import RunFolder
from slowfast_mvit.config.load import load_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.errors import UserError, reading


@dataclass
class RunFiles:
    """The files of a run as they are.

    Attributes:
        root: the run's folder.
        config: of the test if there was one, else of the training.
        epochs: a row per finished epoch (``epochs.csv``).
        steps: a row per logged step: epoch, step, loss, lr, time (``log.jsonl``).
        tests: the metrics of each test.
        shown: the test whose predictions the page shows, a place in ``tests``; the last.
        label_names: of each label by its number; empty where nobody wrote them.
        videos, boxes, objects, classes: the tables of predictions, as text and numbers.
        unreadable: videos that the test could not read: video, path, backend, cause.
        unreadable_train: the same of the training.
        notes: what could not be read, a sentence each.
    """

    root: Path
    config: Config | None = None
    epochs: pd.DataFrame | None = None
    steps: pd.DataFrame | None = None
    tests: tuple[Mapping[str, Any], ...] = ()
    label_names: tuple[str, ...] = ()
    videos: pd.DataFrame | None = None
    boxes: pd.DataFrame | None = None
    objects: pd.DataFrame | None = None
    classes: pd.DataFrame | None = None
    unreadable: pd.DataFrame | None = None
    unreadable_train: pd.DataFrame | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def has_something(self) -> bool:
        """Whether there is anything to show of a training or a test."""
        tables = (self.epochs, self.steps, self.videos, self.boxes, self.objects)
        return bool(self.tests) or any(table is not None and len(table) for table in tables)

    @property
    def test(self) -> Mapping[str, Any]:
        """The metrics of the test that is shown; empty without one."""
        return self.tests[-1] if self.tests else {}

    def note(self, error: UserError | OSError) -> None:
        """Keep what went wrong for the page."""
        self.notes.append(str(error))


def read_run(root: Path, config: Config | None = None) -> RunFiles:
    """Read all that the page shows. Files that are damaged are named in ``notes``; the rest is read all the same.

    Args:
        root: OUTPUT_DIR of a run.
        config: of the run, if it is at hand; else the newer of the config files is taken.

    Raises:
        UserError: there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"there is no folder {root}: give the OUTPUT_DIR of a run")
    folder, run = RunFolder(root), RunFiles(root, config)
    if config is None:
        run.config = _config(run, folder)
    run.epochs = _table(run, folder.epochs, ("epoch",))
    run.steps = _steps(run, folder.log)
    run.tests = _tests(run, folder.metrics)
    run.label_names = _label_names(run, folder.labels)
    predictions = _shown_predictions(folder.predictions, run.tests)
    run.videos = _table(run, predictions / "videos.csv", ("video", "num_views"), _VIDEO_TEXT)
    run.boxes = _table(run, predictions / "boxes.csv", _BOX, _VIDEO_TEXT)
    run.objects = _table(run, predictions / "objects.csv", ("image", "label", "score", "x1", "y1", "x2", "y2"), _IMAGE)
    run.classes = _table(run, predictions / "classes.csv", ("name",), ("name",))
    run.unreadable = _table(run, predictions / "unreadable.csv", ("video", "cause"), _CAUSE)
    run.unreadable_train = _table(run, folder.unreadable, ("video", "cause"), _CAUSE)
    return run


_BOX = ("video", "second", "x1", "y1", "x2", "y2", "action_1", "score_1")
_VIDEO_TEXT = ("video", "label_name", "labels", "label_names", *(f"top{rank}_name" for rank in range(1, 6)))
_VIDEO_TEXT += tuple(f"action_{rank}" for rank in range(1, 6))
_MOST = 1_000_000  # classes; ImageNet-21K has 19,168
_IMAGE, _CAUSE = ("image", "label"), ("video", "path", "backend", "cause")


def _table(run: RunFiles, path: Path, needed: Sequence[str], text: Sequence[str] = ()) -> pd.DataFrame | None:
    """A CSV file: columns of ``text`` as they stand, the others as numbers (NaN where there is none)."""
    if not path.is_file():
        return None
    try:
        with reading(path):
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except pd.errors.EmptyDataError:
        return None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        run.notes.append(f"{path} is no CSV file: {error}")
        return None
    except UserError as error:
        run.note(error)
        return None
    lacking = [name for name in needed if name not in table.columns]
    if lacking:
        run.notes.append(f"{path} has no column {', '.join(lacking)}: it is left out")
        return None
    numbers = {name: _numbers(table[name]) for name in table.columns if name not in text}
    table = table.assign(**numbers)
    whole = table[[name for name in needed if name not in text]].notna().all(axis=1)
    if not whole.all():
        run.notes.append(f"{(~whole).sum()} rows of {path} lack a number in {', '.join(needed)}: they are left out")
    return table[whole].reset_index(drop=True)


def _numbers(texts: pd.Series) -> pd.Series:
    """The numbers that texts say, NaN where they say none or an infinite one."""
    numbers = pd.to_numeric(texts, errors="coerce")
    return numbers.where(np.isfinite(numbers))


def _config(run: RunFiles, folder: RunFolder) -> Config | None:
    """The newer of the configs: a later test has its own."""
    there = [path for path in (folder.config, folder.test_config) if path.is_file()]
    if not there:
        return None
    try:
        with reading(there[0]):
            return load_config(max(there, key=lambda path: path.stat().st_mtime_ns))
    except UserError as error:
        run.note(error)
        return None


def _steps(run: RunFiles, path: Path) -> pd.DataFrame | None:
    """The logged steps in order; of those that were made again after a resumption the last ones."""
    rows: dict[int, dict[str, Any]] = {}
    damaged = 0
    try:
        with reading(path), path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                record = _record(line)
                damaged += record is None
                if record and record.get("kind") == "train" and isinstance(record.get("step"), int):
                    rows.pop(record["step"], None)
                    rows[record["step"]] = {name: record.get(name) for name in ("epoch", "step", "loss", "lr", "time")}
    except UserError as error:
        if path.exists():
            run.note(error)
        return None
    if damaged:
        run.notes.append(f"{path} has {damaged} damaged lines, as of a run that was killed: they are left out")
    table = pd.DataFrame([rows[step] for step in sorted(rows)], columns=["epoch", "step", "loss", "lr", "time"])
    return table.apply(pd.to_numeric, errors="coerce")


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _json(run: RunFiles, path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        with reading(path):
            found = json.loads(path.read_text(encoding="utf-8"))
    except UserError as error:
        run.note(error)
        return {}
    except ValueError as error:
        run.notes.append(f"{path} is no JSON file: {error}")
        return {}
    if not isinstance(found, dict):
        run.notes.append(f"{path} is not an object of names and values: it is left out")
        return {}
    return found


def _tests(run: RunFiles, path: Path) -> tuple[Mapping[str, Any], ...]:
    metrics = _json(run, path)
    several = metrics.get("tests")
    if isinstance(several, list):
        return tuple(test for test in several if isinstance(test, dict))
    return (metrics,) if metrics else ()


def _label_names(run: RunFiles, path: Path) -> tuple[str, ...]:
    numbers = _json(run, path)
    known = {number: name for name, number in numbers.items() if isinstance(number, int) and 0 <= number < _MOST}
    return tuple(known.get(number, "") for number in range(max(known, default=-1) + 1))


def _shown_predictions(folder: Path, tests: Sequence[Mapping[str, Any]]) -> Path:
    """The folder of the tables of the last test: each of several, with different numbers of clips, has one for itself."""
    count = str(tests[-1].get("protocol", "")).partition(" ")[0] if len(tests) > 1 else ""
    return folder / f"{count}_clip{'' if count == '1' else 's'}" if count.isdigit() else folder
