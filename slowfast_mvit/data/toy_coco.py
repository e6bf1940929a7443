"""A small set of real JPEG files with objects in COCO's format, made here: bright shapes of several sizes on textured ground.

An object that nothing covers has a polygon as its outline, and one that is partly covered has run lengths, of what is seen of
it; some are of numbers and some of text. Now and then many small discs lie together and are annotated as one crowd. Masks are
exact: pictures are drawn by them. The same seed makes the same pixels.
"""

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as masks_of

from slowfast_mvit.data.toy import texture
from slowfast_mvit.data.toy_folder import make_once, run_jobs

CLASSES = ("disc", "square", "star", "triangle")
# COCO's ids are no row of numbers either.
CATEGORIES = tuple({"id": 2 * place + 1, "name": name} for place, name in enumerate(CLASSES))
SPLITS = ("train", "val")
FOLDERS = {split: f"{split}2017" for split in SPLITS}
ANNOTATIONS = {split: f"annotations/instances_{split}2017.json" for split in SPLITS}
_MANIFEST = "toy_coco.json"
_VERSION = 1  # of the pictures: a set made by another version is made again
_MOST = 5  # objects in an image
_CROWD_EVERY = 20  # images
_CORNERS = {"disc": 40, "square": 4, "star": 10, "triangle": 3}
_LEAST_SEEN = 0.6  # of an object; a new one that would hide more of another is not drawn
_TRIES = 10


@dataclass(frozen=True)
class ToyCoco:
    """What a toy set consists of.

    Attributes:
        num_train, num_val: images of each split.
        side: mean side of an image in pixels; widths and heights differ from it by up to an eighth.
        seed: of all images.
        num_classes: categories; those beyond the four shapes have no objects.
    """

    num_train: int = 1500
    num_val: int = 100
    side: int = 96
    seed: int = 0
    num_classes: int = len(CLASSES)


@dataclass(frozen=True)
class Shape:
    """One object.

    Attributes:
        label: place in :data:`CLASSES`.
        corners: float64 [n, 2]; x, y in pixels.
        mask: bool [height, width].
    """

    label: int
    corners: np.ndarray
    mask: np.ndarray


def make_toy_coco(root: Path, toy: ToyCoco, processes: int | None = None) -> Path:
    """Write the set under ``root`` in COCO's layout and return it; a complete set of the same parameters is kept as it is.

    Raises:
        UserError: the folder holds a data set that was not made here.
    """
    lists = [*FOLDERS.values(), "annotations"]
    return make_once(root, _MANIFEST, _VERSION, toy, lists, lambda: _write(root, toy, processes))


def _write(root: Path, toy: ToyCoco, processes: int | None) -> None:
    shutil.rmtree(root / "annotations", ignore_errors=True)
    (root / "annotations").mkdir(parents=True)
    first = 0
    for split, count in zip(SPLITS, (toy.num_train, toy.num_val), strict=True):
        shutil.rmtree(root / FOLDERS[split], ignore_errors=True)
        (root / FOLDERS[split]).mkdir()
        jobs = [(root / FOLDERS[split], toy, number) for number in range(first, first + count)]
        run_jobs(_write_job, jobs, processes)
        _join(root, split, [folder / f"{_name(number)}.json" for folder, _, number in jobs], toy.num_classes)
        first += count


def _name(number: int) -> str:
    return f"{number + 1:012d}"


def _write_job(job: tuple[Path, ToyCoco, int]) -> None:
    """One image, and beside it what is in it."""
    folder, toy, number = job
    picture, annotations = draw_image(
        toy.side, np.random.default_rng([toy.seed, number]), crowd=not number % _CROWD_EVERY
    )
    Image.fromarray(picture).save(folder / f"{_name(number)}.jpg", quality=95)
    height, width = picture.shape[:2]
    image = {"id": number + 1, "file_name": f"{_name(number)}.jpg", "height": height, "width": width}
    for annotation in annotations:
        annotation["image_id"] = number + 1
    (folder / f"{_name(number)}.json").write_text(json.dumps([image, annotations]), encoding="utf-8")


def _join(root: Path, split: str, parts: list[Path], num_classes: int) -> None:
    """The annotation file of a split, from those of its images, which go."""
    read = [json.loads(part.read_text(encoding="utf-8")) for part in parts]
    annotations = [annotation for _, of_image in read for annotation in of_image]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    others = [{"id": 2 * place + 1, "name": f"nothing {place}"} for place in range(len(CLASSES), num_classes)]
    content = {
        "images": [image for image, _ in read],
        "annotations": annotations,
        "categories": [*CATEGORIES[:num_classes], *others],
    }
    (root / ANNOTATIONS[split]).write_text(json.dumps(content), encoding="utf-8")
    for part in parts:
        part.unlink()


def draw_image(side: int, rng: np.random.Generator, *, crowd: bool = False) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """A picture uint8 RGB [H, W, 3], and COCO's annotations of what is in it, without ids."""
    height, width = (round(side * rng.uniform(0.875, 1.125)) for _ in range(2))
    x, y = np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]
    picture = 0.15 + 0.4 * texture(x / side * 3, y / side * 3, rng)
    shapes: list[Shape] = []
    seen: list[np.ndarray] = []
    for _ in range(int(rng.integers(1, _MOST + 1))):
        for _ in range(_TRIES):
            shape = _random_shape(height, width, rng)
            if all(
                (mask & ~shape.mask).sum() >= _LEAST_SEEN * one.mask.sum()
                for one, mask in zip(shapes, seen, strict=True)
            ):
                seen = [*(mask & ~shape.mask for mask in seen), shape.mask]
                shapes.append(shape)
                picture[shape.mask] = _colour(rng)
                break
    annotations = [
        _annotation(shape, mask, number) for number, (shape, mask) in enumerate(zip(shapes, seen, strict=True))
    ]
    if crowd:
        mask = _crowd(picture, np.logical_or.reduce(seen), rng)
        if mask.any():
            annotations.append(_crowd_annotation(mask))
    picture += 0.02 * rng.standard_normal((height, width, 1), dtype=np.float32)
    return (np.clip(picture, 0.0, 1.0) * 255).astype(np.uint8), annotations


def _random_shape(height: int, width: int, rng: np.random.Generator) -> Shape:
    """A shape that lies in the image."""
    label = int(rng.integers(len(CLASSES)))
    side = min(height, width)
    radius = side * math.exp(rng.uniform(math.log(0.09), math.log(0.3)))
    centre = rng.uniform((radius, radius), (width - radius, height - radius))
    corners = centre + radius * _unit(CLASSES[label], rng.uniform(0, 2 * math.pi))
    return Shape(label, corners, _filled(corners, height, width))


def _unit(name: str, turn: float) -> np.ndarray:
    """The corners float64 [n, 2] of a shape of radius 1, turned by so many radians."""
    count = _CORNERS[name]
    angles = turn + np.arange(count) * (2 * math.pi / count)
    radii = np.where(np.arange(count) % 2, 0.45, 1.0) if name == "star" else 1.0
    return np.stack((radii * np.cos(angles), radii * np.sin(angles)), axis=1)


def _filled(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """bool [height, width]; what COCO's own rule says is in a polygon."""
    polygon = corners.round(2).ravel().tolist()
    mask: np.ndarray = masks_of.decode(masks_of.merge(masks_of.frPyObjects([polygon], height, width)))
    return mask.astype(bool)


def _colour(rng: np.random.Generator) -> np.ndarray:
    """float64 [3] in 0..1; brighter than any ground."""
    colour = rng.uniform(0.3, 1.0, 3)
    colour[rng.integers(3)] = rng.uniform(0.85, 1.0)
    return colour


def _crowd(picture: np.ndarray, taken: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw many small discs beside the shapes; returns what they cover, bool [H, W]."""
    height, width = taken.shape
    radius = 0.035 * min(height, width)
    middle = rng.uniform((6 * radius, 6 * radius), (width - 6 * radius, height - 6 * radius))
    covered = np.zeros_like(taken)
    for place in rng.uniform(-5 * radius, 5 * radius, (12, 2)):
        mask = _filled(middle + place + radius * _unit("disc", 0.0), height, width)
        if not (mask & (taken | covered)).any():
            picture[mask] = _colour(rng)
            covered |= mask
    return covered


def _annotation(shape: Shape, seen: np.ndarray, number: int) -> dict[str, Any]:
    """COCO's entry of an object of which ``seen`` is seen."""
    runs = masks_of.encode(np.asfortranarray(seen, dtype=np.uint8))
    if np.array_equal(seen, shape.mask):
        segmentation: object = [shape.corners.round(2).ravel().tolist()]
    elif number % 2:
        segmentation = _plain(seen)
    else:
        segmentation = {"size": runs["size"], "counts": runs["counts"].decode("ascii")}
    return {
        "category_id": CATEGORIES[shape.label]["id"],
        "bbox": masks_of.toBbox(runs).tolist(),
        "area": int(seen.sum()),
        "iscrowd": 0,
        "segmentation": segmentation,
    }


def _crowd_annotation(mask: np.ndarray) -> dict[str, Any]:
    box = masks_of.toBbox(masks_of.encode(np.asfortranarray(mask, dtype=np.uint8))).tolist()
    disc = CATEGORIES[CLASSES.index("disc")]["id"]
    return {"category_id": disc, "bbox": box, "area": int(mask.sum()), "iscrowd": 1, "segmentation": _plain(mask)}


def _plain(mask: np.ndarray) -> dict[str, Any]:
    """Run lengths as numbers, column by column, beginning with zeros."""
    flat = np.concatenate(([False], mask.ravel(order="F")))
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return {"size": list(mask.shape), "counts": np.diff([0, *changes, mask.size]).tolist()}
