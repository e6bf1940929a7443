"""Boxes of people from other tools, as rows of a box list: COCO-style JSON and CVAT's XML ("CVAT for video 1.1").

Both annotate frames; a box list has whole seconds. Second s takes the boxes of frame round(s * fps).
"""

import csv
import json
import math
import re
import reprlib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from slowfast_mvit.data.ava_csv import COLUMNS
from slowfast_mvit.errors import UserError, reading

_T = TypeVar("_T")
_STEP = re.compile(r"step\s*=\s*(\d+)")
_FRAME_KEYS = ("frame_id", "frame_index", "frame", "frame_number")


class TrackBox(NamedTuple):
    """One box with one action: corners in parts of width and height, no action where it is empty, no score where it is None."""

    video: str
    frame: int
    x1: float
    y1: float
    x2: float
    y2: float
    action: str
    score: float | None = None


@dataclass(frozen=True)
class Converted:
    """Rows at whole seconds, and how many boxes lay at other frames."""

    rows: tuple[tuple[str, int, TrackBox], ...]
    left_out: int


def at_whole_seconds(boxes: Iterable[TrackBox], fps: float, first_frame: int = 0) -> Converted:
    """The boxes at the frame of a whole second.

    Args:
        boxes: any.
        fps: frames per second of the videos.
        first_frame: number of a video's first frame.

    Raises:
        UserError: there are none, or the rate is no rate.
    """
    if not 0 < fps < math.inf:
        raise UserError(
            f"the frame rate {fps:g} must be more than 0 and finite: give the videos' frames per second (--fps)"
        )
    rows, left_out = [], 0
    for box in boxes:
        place = box.frame - first_frame
        second = round(place / fps)
        if place >= 0 and place == _frame_of(second, fps):
            rows.append((box.video, second, box))
        else:
            left_out += 1
    if not rows:
        raise UserError(
            f"none of the {left_out} boxes lies at a whole second of {fps:g} frames a second: check the frame rate and the "
            "number of the first frame, or annotate frames at whole seconds"
        )
    return Converted(tuple(rows), left_out)


def write_box_list(path: Path, converted: Converted) -> None:
    """Write rows as a box list of one's own, and its folder if need be.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            for video, second, box in converted.rows:
                corners = [f"{corner:.6g}" for corner in (box.x1, box.y1, box.x2, box.y2)]
                table.writerow([video, second, *corners, box.action, "" if box.score is None else f"{box.score:.9g}"])
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def read_tracks(path: Path, attribute: str = "") -> Iterator[TrackBox]:
    """Boxes of a file by its ending: :func:`read_coco` of .json, :func:`read_cvat` of .xml; it raises as they do."""
    kind = path.suffix.lower()
    if kind not in (".json", ".xml"):
        raise UserError(f"{path} should end in .json (COCO's) or .xml (CVAT's), which are the two that are read")
    return read_cvat(path, attribute) if kind == ".xml" else read_coco(path)


def read_coco(path: Path) -> Iterator[TrackBox]:
    """Boxes of a COCO-style JSON file of ``images``, ``annotations`` and ``categories``, perhaps with ``videos``.

    An image's frame is its ``frame_id`` (``frame_index``, ``frame``), else the last number in its file name; its video is that
    of its ``video_id``, else the folder of its file. The action is the category; a score is the annotation's, if it has one.

    Raises:
        UserError: no JSON; with place, id and key of the entry, for what is missing or of another kind, and for images and
            categories that are not there.
    """
    with reading(path):
        content = path.read_bytes()
    try:
        stored = json.loads(content)
    except ValueError as error:
        raise UserError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(stored, dict) or not {"images", "annotations", "categories"} <= stored.keys():
        raise UserError(f"{path} should be a JSON object with images, annotations and categories")
    names = {entry.id("id"): str(entry["name"]) for entry in _entries(stored, "categories", path)}
    videos = {entry.id("id"): _coco_video(entry) for entry in _entries(stored, "videos", path)}
    images = {entry.id("id"): _coco_image(entry, videos) for entry in _entries(stored, "images", path)}
    for note in _entries(stored, "annotations", path):
        video, frame, width, height = note.among(images, "image_id", "images")
        x, y, w, h = note.box("bbox")
        corners = (x / width, y / height, (x + w) / width, (y + h) / height)
        action = note.among(names, "category_id", "categories")
        yield TrackBox(video, frame, *corners, action, None if note.get("score") is None else note.number("score"))


@dataclass(frozen=True)
class _Entry:
    """An object in a list of a COCO file; ``where`` it is, for messages."""

    where: str
    fields: dict[str, Any]

    def __contains__(self, key: str) -> bool:
        return key in self.fields

    def __getitem__(self, key: str) -> Any:
        if key not in self.fields:
            raise UserError(f"{self.where} has no {key}: it needs one")
        return self.fields[key]

    def get(self, key: str) -> Any:
        return self.fields.get(key)

    def id(self, key: str) -> int | float | str:
        if not isinstance(self[key], int | float | str):
            raise self.wrong(key, "a number or a name")
        return self.fields[key]

    def number(self, key: str) -> float:
        return self._number(key, self[key], "a number")

    def box(self, key: str) -> list[float]:
        kind = "4 numbers (x, y, width, height)"
        if not isinstance(self[key], list) or len(self[key]) != 4:
            raise self.wrong(key, kind)
        return [self._number(key, value, kind) for value in self[key]]

    def among(self, known: Mapping[Any, _T], key: str, kind: str) -> _T:
        """What the id under the key stands for."""
        if (one := self.id(key)) not in known:
            raise UserError(f"{self.where}: {key} {one} is not in {kind}, which must hold it")
        return known[one]

    def wrong(self, key: str, kind: str) -> UserError:
        return UserError(f"{self.where}: {key} is {reprlib.repr(self.fields[key])} and should be {kind}")

    def _number(self, key: str, value: Any, kind: str) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self.wrong(key, kind)
        return number


def _entries(stored: dict[str, Any], key: str, path: Path) -> Iterator[_Entry]:
    """The objects of a list, which may be missing where it need not be there."""
    entries = stored.get(key, [])
    if not isinstance(entries, list):
        raise UserError(f"{path}: {key} should be a list of objects")
    for place, fields in enumerate(entries, 1):
        where = f"{path}: entry {place} of {key}"
        if not isinstance(fields, dict):
            raise UserError(f"{where} should be an object, and is {reprlib.repr(fields)}")
        yield _Entry(f"{where} (id {fields['id']})" if "id" in fields else where, fields)


def _coco_video(entry: _Entry) -> str:
    return Path(str(entry.get("name") or entry["file_name"])).stem


def _coco_image(image: _Entry, videos: dict[Any, str]) -> tuple[str, int, float, float]:
    """Video, frame, width and height."""
    file = Path(str(image.get("file_name") or "").replace("\\", "/"))
    video = image.among(videos, "video_id", "videos") if "video_id" in image else file.parent.name
    key = next((key for key in _FRAME_KEYS if key in image), None)
    digits = re.findall(r"\d+", file.stem)
    if not video or (key is None and not digits):
        raise UserError(
            f"{image.where} does not tell its video and frame: give it video_id and frame_id, or a file name like "
            "VIDEO/000123.jpg"
        )
    frame = int(digits[-1]) if key is None else image.number(key)
    if key is not None and frame != int(frame):
        raise image.wrong(key, "a whole number")
    width, height = image.number("width"), image.number("height")
    for name, size in (("width", width), ("height", height)):
        if size <= 0:
            raise image.wrong(name, "more than 0")
    return video, int(frame), width, height


def read_cvat(path: Path, attribute: str = "") -> Iterator[TrackBox]:
    """Boxes of one task or job in CVAT's XML for videos; between two boxes of a track they are interpolated.

    The video is the task's source, and frames count from its start, also where the task begins later or leaves frames out.

    Args:
        path: the file.
        attribute: whose value is the action; by default a track's label is.

    Raises:
        UserError: no such XML, or one of images or of a whole project.
    """
    try:
        with reading(path):
            root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise UserError(f"{path} is not an XML file: {error}") from error
    task = next((found for name in ("task", "job") if (found := root.find(f"meta/{name}")) is not None), None)
    size = root.find("meta/original_size")
    size = task.find("original_size") if size is None and task is not None else size
    tracks = root.findall("track")
    if task is None or size is None or not tracks:
        raise UserError(
            f"{path} holds no tracks of one task: export each task, or job, in the format 'CVAT for video 1.1'"
        )
    source = root.findtext("meta/source") or task.findtext("source") or task.findtext("name") or path.stem
    step = _STEP.search(task.findtext("frame_filter") or "")
    start, by = int(task.findtext("start_frame") or 0), int(step[1]) if step else 1
    width, height = float(size.findtext("width") or 0), float(size.findtext("height") or 0)
    if not width or not height:
        raise UserError(f"{path}: original_size has no width and height")
    for track in tracks:
        for frame, corners, action in _interpolated(track, attribute, path):
            x1, y1, x2, y2 = corners
            yield TrackBox(
                Path(source).stem, start + frame * by, x1 / width, y1 / height, x2 / width, y2 / height, action
            )


def _interpolated(track: ET.Element, attribute: str, path: Path) -> Iterator[tuple[int, list[float], str]]:
    """Frame, corners in pixels and action of a track's boxes, at every frame from one that is shown to the next in the file."""
    boxes = sorted(track.findall("box"), key=lambda box: int(box.get("frame", 0)))
    for box, later in zip(boxes, [*boxes[1:], None], strict=True):
        if box.get("outside") == "1":
            continue
        frame, corners, action = int(box.get("frame", 0)), _corners(box, path), _action(track, box, attribute)
        yield frame, corners, action
        if later is None:
            continue
        stop = int(later.get("frame", 0))
        end = corners if later.get("outside") == "1" else _corners(later, path)
        for between in range(frame + 1, stop):
            part = (between - frame) / (stop - frame)
            yield between, [a + (b - a) * part for a, b in zip(corners, end, strict=True)], action


def _corners(box: ET.Element, path: Path) -> list[float]:
    try:
        return [float(box.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr")]
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: the box at frame {box.get('frame')} has no number for {error}") from None


def _action(track: ET.Element, box: ET.Element, attribute: str) -> str:
    if not attribute:
        return track.get("label", "")
    for place in (box, track):
        for found in place.findall("attribute"):
            if found.get("name") == attribute:
                return (found.text or "").strip()
    return ""


def _frame_of(second: int, fps: float) -> int:
    return round(second * fps)
