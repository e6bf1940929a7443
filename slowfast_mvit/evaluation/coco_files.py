"""COCO's files: annotations of objects, and results (one entry per detection), checked where they come in."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slowfast_mvit.errors import UserError, reading
from slowfast_mvit.evaluation.predictions import write_whole

_LEAST_NUMBERS = 6  # of a polygon: three corners

CocoEntry = dict[str, Any]
"""A detection of COCO's results: image_id, category_id, score, bbox [x, y, w, h], segmentation {size [h, w], counts}."""


@dataclass(frozen=True)
class CocoTruth:
    """What a file of annotations says.

    Attributes:
        source: the file.
        images: of the file by id, each with ``height`` and ``width``.
        categories: id to name, by rising id.
        annotations: of these images and categories; None where the file has no list of them, as that of COCO's test images.
        has_masks: whether every annotation has one.
    """

    source: str
    images: Mapping[int, Mapping[str, Any]]
    categories: Mapping[int, str]
    annotations: Sequence[Mapping[str, Any]] | None
    has_masks: bool


def read_truth(path: Path) -> CocoTruth:
    """Read annotations in COCO's format.

    Raises:
        UserError: it is not there, not JSON, or an entry lacks what scores are made of.
    """
    content = _read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object: give COCO's annotations, such as instances_val2017.json")
    images = _keyed(content, "images", ("height", "width"), path)
    _check_sizes(images, path)
    categories = _keyed(content, "categories", ("name",), path)
    annotations = content.get("annotations")
    if annotations is not None:
        annotations = [
            _annotation(given, number, path) for number, given in enumerate(_entries(content, "annotations", path))
        ]
        annotations = [
            one | {"segmentation": _outline(one["segmentation"], images[one["image_id"]], one["id"] - 1, path)}
            for one in annotations
            if one["image_id"] in images and one["category_id"] in categories
        ]
    return CocoTruth(
        str(path),
        images,
        {number: str(categories[number]["name"]) for number in sorted(categories)},
        annotations,
        has_masks=all(one["segmentation"] for one in annotations or ()),
    )


def read_results(path: Path, truth: CocoTruth) -> list[CocoEntry]:
    """Read results in COCO's format.

    Raises:
        UserError: it is not there, not JSON, or an entry is of no image or category of ``truth``, or lacks score or place.
    """
    content = _read_json(path)
    if not isinstance(content, list):
        raise UserError(
            f"{path} holds no JSON list: give COCO's results, [{{image_id, category_id, bbox, score}}, ...]"
        )
    for number, entry in enumerate(content):
        wrong = _wrong_with(entry, truth)
        if wrong:
            raise UserError(f"{path}: entry {number} {wrong}: give results of the images of {truth.source}")
    for name in ("bbox", "segmentation"):
        having = sum(name in entry for entry in content)
        if having not in (0, len(content)):
            raise UserError(f"{path}: {having} of {len(content)} entries have a {name}: give it to all or to none")
    return content


def write_results(results: Iterable[CocoEntry], path: Path) -> None:
    """Write a file that scores the same as ``results`` do: numbers lose nothing."""
    write_whole(path, json.dumps(list(results), separators=(",", ":"), allow_nan=False).encode())


def _read_json(path: Path) -> Any:
    with reading(path):
        content = path.read_bytes()
    try:
        return json.loads(content)
    except ValueError as error:  # of the text, or of its encoding
        raise UserError(f"{path} is not JSON ({error}): give a file in COCO's format") from error


def _entries(content: Mapping[str, Any], name: str, path: Path) -> list[Any]:
    entries = content.get(name)
    if not isinstance(entries, list):
        raise UserError(f"{path} has no list {name!r}: give annotations in COCO's format")
    return entries


def _keyed(content: Mapping[str, Any], name: str, needed: Sequence[str], path: Path) -> dict[int, Any]:
    """Entries by id."""
    found: dict[int, Any] = {}
    for number, entry in enumerate(_entries(content, name, path)):
        missing = [key for key in ("id", *needed) if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise UserError(f"{path}: {name}[{number}] has no {' and no '.join(missing)}: mend the file")
        if not isinstance(entry["id"], int):
            raise UserError(f"{path}: the id of {name}[{number}] is {entry['id']!r}: give a whole number")
        found[entry["id"]] = entry
    return found


def _check_sizes(images: Mapping[int, Mapping[str, Any]], path: Path) -> None:
    for number, image in images.items():
        size = image["height"], image["width"]
        if not all(isinstance(side, int) and side > 0 for side in size):
            raise UserError(f"{path}: image {number} is of height {size[0]!r} and width {size[1]!r}: give its pixels")


def _annotation(given: Any, number: int, path: Path) -> CocoEntry:
    """A copy with all that pycocotools looks for.

    It takes a match with annotation 0 for none, so that they are numbered from 1.
    """
    missing = [key for key in ("image_id", "category_id", "bbox") if not isinstance(given, dict) or key not in given]
    if missing:
        raise UserError(f"{path}: annotations[{number}] has no {' and no '.join(missing)}: mend the file")
    box = given["bbox"]
    if not _is_box(box):
        raise UserError(f"{path}: the bbox of annotations[{number}] is {box!r}: give four numbers x, y, width, height")
    area = given.get("area", box[2] * box[3])
    if not _is_number(area):
        raise UserError(f"{path}: the area of annotations[{number}] is {area!r}: give a number of pixels")
    return {
        "id": number + 1,
        "image_id": given["image_id"],
        "category_id": given["category_id"],
        "bbox": box,
        "area": area,
        "iscrowd": int(bool(given.get("iscrowd"))),
        "segmentation": given.get("segmentation"),
    }


def _outline(given: Any, image: Mapping[str, Any], number: int, path: Path) -> list[Any] | dict[str, Any] | None:
    """A segmentation that pycocotools can read, without polygons of less than three corners; None where there is none."""
    if not given:
        return None
    size = [image["height"], image["width"]]
    if isinstance(given, dict):
        counts = given.get("counts")
        if given.get("size") == size and (isinstance(counts, str) or _are_runs(counts, size)):
            return given
    elif isinstance(given, list) and all(isinstance(one, list) and all(map(_is_number, one)) for one in given):
        return [one for one in given if len(one) >= _LEAST_NUMBERS and len(one) % 2 == 0] or None
    raise UserError(
        f"{path}: the segmentation of annotations[{number}] is neither polygons [[x, y, ...], ...] nor run lengths of its "
        f"image, whose size is {size} (height, width): mend the file"
    )


def _are_runs(counts: Any, size: Sequence[int]) -> bool:
    """Whether these are run lengths of so many pixels, not compressed."""
    right = isinstance(counts, list) and all(isinstance(count, int) and count >= 0 for count in counts)
    return right and sum(counts) == size[0] * size[1]


def _wrong_with(entry: Any, truth: CocoTruth) -> str:
    """What is wrong with an entry of results; empty if nothing is."""
    if not isinstance(entry, dict):
        return "is no JSON object"
    missing = [key for key in ("image_id", "category_id", "score") if key not in entry]
    if missing or not ("bbox" in entry or "segmentation" in entry):
        return f"has no {' and no '.join(missing) or 'bbox and no segmentation'}"
    for name, known in (("image", truth.images), ("category", truth.categories)):
        number = entry[f"{name}_id"]
        if not isinstance(number, int) or number not in known:
            return f"is of the unknown {name} {number!r}"
    if not _is_number(entry["score"]):
        return f"has the score {entry['score']!r}"
    if "bbox" in entry and not _is_box(entry["bbox"]):
        return f"has the bbox {entry['bbox']!r}, which is no x, y, width, height"
    return _wrong_with_mask(entry["segmentation"], truth.images[entry["image_id"]]) if "segmentation" in entry else ""


def _wrong_with_mask(mask: Any, image: Mapping[str, Any]) -> str:
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str) or not isinstance(mask.get("size"), list):
        return "has a segmentation that is no compressed run-length code with size and counts"
    if mask["size"] != [image["height"], image["width"]]:
        return f"has a mask of {mask['size']} in an image of {[image['height'], image['width']]} (height, width)"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_box(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 4 and all(map(_is_number, value))
