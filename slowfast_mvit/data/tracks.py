"""Boxes of people from other tools, as rows of a box list: COCO-style JSON and CVAT's XML ("CVAT for video 1.1").

Both annotate frames; a box list has whole seconds. Second s takes the boxes of frame round(s * fps).
"""

import csv
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from slowfast_mvit.data.ava_csv import COLUMNS
from slowfast_mvit.errors import UserError

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
        UserError: there are none.
    """
    if fps <= 0:
        raise UserError(f"the frame rate {fps:g} must be more than 0")
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
    """Write rows as a box list of one's own."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for video, second, box in converted.rows:
            corners = [f"{corner:.6g}" for corner in (box.x1, box.y1, box.x2, box.y2)]
            table.writerow([video, second, *corners, box.action, "" if box.score is None else f"{box.score:.9g}"])


def read_coco(path: Path) -> Iterator[TrackBox]:
    """Boxes of a COCO-style JSON file of ``images``, ``annotations`` and ``categories``, perhaps with ``videos``.

    An image's frame is its ``frame_id`` (``frame_index``, ``frame``), else the last number in its file name; its video is that
    of its ``video_id``, else the folder of its file. The action is the category; a score is the annotation's, if it has one.

    Raises:
        UserError: no JSON, missing fields, or annotations of unknown images or categories.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(stored, dict) or not {"images", "annotations", "categories"} <= stored.keys():
        raise UserError(f"{path} should be a JSON object with images, annotations and categories")
    try:
        names = {category["id"]: str(category["name"]) for category in stored["categories"]}
        videos = {video["id"]: Path(video.get("name") or video["file_name"]).stem for video in stored.get("videos", ())}
        images = {image["id"]: _coco_image(image, videos, path) for image in stored["images"]}
        for note in stored["annotations"]:
            video, frame, width, height = images[note["image_id"]]
            x, y, w, h = map(float, note["bbox"])
            corners = (x / width, y / height, (x + w) / width, (y + h) / height)
            score = note.get("score")
            yield TrackBox(video, frame, *corners, names[note["category_id"]], None if score is None else float(score))
    except KeyError as error:
        raise UserError(f"{path}: nothing is there for {error}, which images, annotations or categories need") from None
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"{path}: a size, a box or a number is not what COCO has there ({error})") from error


def _coco_image(image: dict[str, Any], videos: dict[Any, str], path: Path) -> tuple[str, int, float, float]:
    """Video, frame, width and height."""
    file = Path(str(image.get("file_name", "")).replace("\\", "/"))
    video = videos[image["video_id"]] if "video_id" in image else file.parent.name
    frame = next((image[key] for key in _FRAME_KEYS if key in image), None)
    if frame is None:
        digits = re.findall(r"\d+", file.stem)
        frame = digits[-1] if digits else None
    if not video or frame is None:
        raise UserError(
            f"{path}: image {image['id']} does not tell its video and frame: give it video_id and frame_id, or a file "
            "name like VIDEO/000123.jpg"
        )
    return video, int(frame), float(image["width"]), float(image["height"])


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
