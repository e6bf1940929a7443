"""What a prediction has left in its folder, and ``predictions.json`` beside it, which says what made it and of which files."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from slowfast_mvit.build.data import view_protocol
from slowfast_mvit.build.predict_scores import Looks
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.inputs import find_inputs
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.predictions import as_text, write_json
from slowfast_mvit.report.boxes import MIN_SCORE
from slowfast_mvit.report.tables import (
    BOX_COLUMNS,
    CAUSE_COLUMNS,
    IMAGE_TEXT,
    OBJECT_COLUMNS,
    VIDEO_TEXT,
    read_json,
    read_table,
)
from slowfast_mvit.weights.zoo import find

RECORD = "predictions.json"
CLIPS, BOXES, OBJECTS = "clips", "boxes", "objects"
_TABLES = {OBJECTS: "objects.csv", BOXES: "actions.csv", CLIPS: "videos.csv"}
_NAME_COLUMNS = {OBJECTS: "image", BOXES: "video", CLIPS: "video"}
_DRAWN = (".mp4", ".mkv", ".png", ".jpg")  # what predictions draw on; no table ends so
_SAID = {
    "model": "Model",
    "weights": "Weights",
    "config": "Config",
    "classes": "Classes",
    "input": "Input",
    "looks": "Looked at",
    "people": "People",
    "device": "Device",
}


@dataclass(frozen=True)
class Made:
    """What a prediction was made of.

    Attributes:
        kind: :data:`CLIPS` (whole videos or images), :data:`BOXES` (people) or :data:`OBJECTS` (in images).
        inputs: words of the command that name the files.
        config: what the model's test would be.
        command: as it was typed.
        model, weights, config_file: as they were named; empty where they were not.
        device: of the arithmetic.
        looks: how whole videos are looked at.
        people: where the boxes of people come from.
        min_score: objects below it are not drawn.
    """

    kind: str
    inputs: Sequence[str]
    config: Config
    command: str
    model: str = ""
    weights: str = ""
    config_file: str = ""
    device: str = ""
    looks: Looks | None = None
    people: str = ""
    min_score: float | None = None

    @property
    def images(self) -> bool:
        """Whether the files are images."""
        return self.config.TEST.DATASET in ("imagenet", "coco")


@dataclass(frozen=True)
class Source:
    """A file that was looked at: where it is, and under the folder of the prediction where it is drawn; empty if nowhere."""

    path: str = ""
    drawn: str = ""


@dataclass
class Prediction:
    """The files of a prediction as they are.

    Attributes:
        root: the folder.
        kind: see :class:`Made`.
        images: whether images were looked at, and no videos.
        said: words and values of what made it.
        command: that made it; empty where nobody wrote it.
        sources: by their names in the tables.
        videos, clips, boxes, objects: the tables, as text and numbers; those of another kind are None.
        unreadable: video, path, backend, cause.
        first_second: what box lists call the time of a first frame; None: see :class:`slowfast_mvit.data.ava.AvaList`.
        min_score: objects below it are not shown.
        folder: that all files are in, with its separator; empty where they have none in common.
        notes: what could not be read, a sentence each.
    """

    root: Path
    kind: str = ""
    images: bool = False
    said: tuple[tuple[str, str], ...] = ()
    command: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict)
    videos: pd.DataFrame | None = None
    clips: pd.DataFrame | None = None
    boxes: pd.DataFrame | None = None
    objects: pd.DataFrame | None = None
    unreadable: pd.DataFrame | None = None
    first_second: float | None = None
    min_score: float = MIN_SCORE
    folder: str = ""
    notes: list[str] = field(default_factory=list)

    def short(self, name: str) -> str:
        """The name of a file below the folder of all."""
        return name.removeprefix(self.folder)


def write_record(root: Path, made: Made, files: Sequence[Path]) -> Path:
    """Write ``predictions.json`` of a prediction whose tables are written; returns its path.

    Args:
        root: the folder.
        made: what it was made of.
        files: that the prediction has written, those that are drawn in the order of what was read.

    Raises:
        UserError: it cannot be written, or the inputs are not there any more.
    """
    table = pd.read_csv(root / _TABLES[made.kind], dtype=str, keep_default_na=False)
    names = list(dict.fromkeys(table[_NAME_COLUMNS[made.kind]]))
    drawn = [path for path in files if path.suffix.lower() in _DRAWN]
    written = {os.path.realpath(path) for path in files}
    if made.kind == BOXES:
        given = [Path(path) for path in made.inputs]
        paths = dict(zip(as_text([path.stem for path in given]).tolist(), given, strict=True))
        paths |= dict(zip(as_text([path.name for path in given]).tolist(), given, strict=True))
        of_stem = {path.name: path for path in drawn}
        pictures = {name: of_stem.get(f"{paths[name].stem}_boxes.mp4") for name in names if name in paths}
    else:
        paths = {
            name: path for name, path in _found(made).items() if os.path.realpath(path) not in written
        }  # drawn files may lie in a folder that is an input
        if made.kind == OBJECTS:  # some images have no object, and no row
            names = [name for name in paths if name not in _unread(root)]
        pictures = dict(zip(names, drawn, strict=True)) if len(drawn) == len(names) else {}
    sources = []
    for name in names:
        path, picture = paths.get(name), pictures.get(name)
        source = {"name": name, "path": "" if path is None else os.path.abspath(path)}  # noqa: PTH100 - links as they are
        sources.append(source | ({} if picture is None else {"drawn": picture.relative_to(root).as_posix()}))
    record: dict[str, object] = {
        "kind": made.kind,
        "images": made.images,
        "command": made.command,
        "model": made.model or made.config.MODEL.ARCH,
        "weights": made.weights or _published(made.model),
        "config": made.config_file,
        "classes": made.config.MODEL.NUM_CLASSES,
        "input": _input(made),
        "looks": _looks(made),
        "people": made.people,
        "device": made.device,
        "min_score": made.min_score,
        "first_second": made.config.AVA.FIRST_SECOND if made.kind == BOXES else None,
        "files": sources,
    }
    write_json(record, root / RECORD)
    return root / RECORD


def _input(made: Made) -> str:
    """What the model is given, in words."""
    data, coco = made.config.DATA, made.config.COCO
    if made.kind == OBJECTS:
        return (
            f"images, short side {', '.join(map(str, coco.TEST_SHORT_SIDES))}, long side at most {coco.TEST_MAX_SIDE}"
        )
    if made.images:
        return f"images, {data.TEST_CROP_SIZE} pixels"
    spread = f"{data.SAMPLING_RATE} apart at {data.TARGET_FPS:g} fps"
    if made.config.TEST.DATASET == "ssv2":
        spread = "one of each of as many equal parts"
    return f"{data.NUM_FRAMES} frames, {spread}, {data.TEST_CROP_SIZE} pixels"


def _looks(made: Made) -> str:
    """Which parts of a video the model has seen, in words."""
    looks = made.looks
    if looks is None or made.images:
        return ""
    views = f"the views of the test ({view_protocol(made.config)})"
    if looks.window == 0:
        return views
    length = "of the length of a clip" if looks.window is None else f"of {looks.window:g} s"
    if looks.window is None and looks.stride is None:
        return f"{views}; of videos of more than a minute windows {length}, one after the other"
    return f"windows {length}, {'one after the other' if looks.stride is None else f'one every {looks.stride:g} s'}"


def _published(model: str) -> str:
    """The weights that a name alone means."""
    if not model:
        return ""
    published = find(model)
    return ", ".join(filter(None, ("published ones", published.dataset, published.url)))


def _found(made: Made) -> dict[str, Path]:
    """The files that the words mean by name; of a name that two of them have, as in two lists, neither."""
    found = find_inputs(made.inputs, images=made.images)
    paths = [found.path(place) for place in range(len(found))] if isinstance(found, ImageList) else found.paths.tolist()
    names = as_text(found.names.tolist()).tolist()  # as the tables have them
    several = {name for name, count in Counter(names).items() if count > 1}
    return {name: Path(path) for name, path in zip(names, paths, strict=True) if name not in several}


def _unread(root: Path) -> set[str]:
    listed = root / "unreadable.csv"
    return set(pd.read_csv(listed, dtype=str, keep_default_na=False)["video"]) if listed.exists() else set()


def read_prediction(root: Path) -> Prediction | None:
    """Read all that the page shows; None where the folder holds no prediction.

    Files that are damaged are named in ``notes``; the rest is read all the same. Without ``predictions.json`` there are tables
    alone, and no pictures.

    Raises:
        UserError: there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"there is no folder {root}: give that of a prediction or a run")
    found = Prediction(root)
    record = read_json(found.notes, root / RECORD)
    there = next((kind for kind, name in _TABLES.items() if (root / name).is_file()), "")
    found.kind = str(record.get("kind")) if record.get("kind") in _TABLES else there
    if not found.kind:
        return None
    if not record:
        found.notes.append(f"there is no {RECORD} that says which files were looked at: their pictures are left out")
    found.images = found.kind == OBJECTS or record.get("images") is True
    found.said = tuple((word, str(record[key])) for key, word in _SAID.items() if record.get(key))
    found.command = str(record.get("command") or "")
    found.sources = _sources(record)
    start = record.get("first_second")
    found.first_second = float(start) if isinstance(start, int | float) else None
    if isinstance(record.get("min_score"), int | float):
        found.min_score = float(record["min_score"])
    notes = found.notes
    if found.kind == CLIPS:
        found.videos = read_table(notes, root / "videos.csv", ("video", "num_views", "top1", "top1_score"), VIDEO_TEXT)
        needed = ("video", "clip_index", "start_sec", "end_sec", "top1", "top1_score")
        found.clips = read_table(notes, root / "clips.csv", needed, VIDEO_TEXT)
    elif found.kind == BOXES:
        found.boxes = read_table(notes, root / "actions.csv", BOX_COLUMNS, VIDEO_TEXT)
    else:
        found.objects = read_table(notes, root / "objects.csv", OBJECT_COLUMNS, IMAGE_TEXT)
    found.unreadable = read_table(notes, root / "unreadable.csv", ("video", "cause"), CAUSE_COLUMNS)
    found.folder = _folder_of(found)
    if found.folder:
        found.said += (("Files of", found.folder),)
    return found


def _folder_of(found: Prediction) -> str:
    """The folder that all names begin with; empty where they have none in common."""
    tables = (found.videos, found.boxes, found.objects, found.unreadable)
    columns = [table["image" if "image" in table else "video"] for table in tables if table is not None]
    names = set(found.sources).union(*columns)
    folders = {name.rpartition("/")[0] for name in names}
    if not folders or "" in folders or len({folder.startswith("/") for folder in folders}) > 1:
        return ""
    common = os.path.commonpath(sorted(folders))
    return f"{common.rstrip('/')}/" if common else ""


def _sources(record: Mapping[str, Any]) -> dict[str, Source]:
    files = record.get("files")
    return {
        str(file.get("name", "")): Source(str(file.get("path") or ""), str(file.get("drawn") or ""))
        for file in (files if isinstance(files, list) else ())
        if isinstance(file, dict)
    }
