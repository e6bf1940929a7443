"""What a run has left in its folder, read for the report: what is missing is None, what is damaged is told."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from slowfast_mvit.build.run import RunFolder
from slowfast_mvit.config.load import load_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.errors import UserError, reading
from slowfast_mvit.report.tables import (
    BOX_COLUMNS,
    CAUSE_COLUMNS,
    IMAGE_TEXT,
    OBJECT_COLUMNS,
    VIDEO_TEXT,
    read_json,
    read_table,
)


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
    run.epochs = read_table(run.notes, folder.epochs, ("epoch",))
    run.steps = _steps(run, folder.log)
    run.tests = _tests(run, folder.metrics)
    run.label_names = _label_names(run, folder.labels)
    predictions = _shown_predictions(folder.predictions, run.tests)
    run.videos = read_table(run.notes, predictions / "videos.csv", ("video", "num_views"), VIDEO_TEXT)
    run.boxes = read_table(run.notes, predictions / "boxes.csv", BOX_COLUMNS, VIDEO_TEXT)
    run.objects = read_table(run.notes, predictions / "objects.csv", OBJECT_COLUMNS, IMAGE_TEXT)
    run.classes = read_table(run.notes, predictions / "classes.csv", ("name",), ("name",))
    run.unreadable = read_table(run.notes, predictions / "unreadable.csv", ("video", "cause"), CAUSE_COLUMNS)
    run.unreadable_train = read_table(run.notes, folder.unreadable, ("video", "cause"), CAUSE_COLUMNS)
    return run


_MOST = 1_000_000  # classes; ImageNet-21K has 19,168


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


def _tests(run: RunFiles, path: Path) -> tuple[Mapping[str, Any], ...]:
    metrics = read_json(run.notes, path)
    several = metrics.get("tests")
    if isinstance(several, list):
        return tuple(test for test in several if isinstance(test, dict))
    return (metrics,) if metrics else ()


def _label_names(run: RunFiles, path: Path) -> tuple[str, ...]:
    numbers = read_json(run.notes, path)
    known = {number: name for name, number in numbers.items() if isinstance(number, int) and 0 <= number < _MOST}
    return tuple(known.get(number, "") for number in range(max(known, default=-1) + 1))


def _shown_predictions(folder: Path, tests: Sequence[Mapping[str, Any]]) -> Path:
    """The folder of the tables of the last test: each of several, with different numbers of clips, has one for itself."""
    count = str(tests[-1].get("protocol", "")).partition(" ")[0] if len(tests) > 1 else ""
    return folder / f"{count}_clip{'' if count == '1' else 's'}" if count.isdigit() else folder
