"""A small set of real JPEG files in ImageNet's layout, made here: a textured shape on textured ground.

The classes are the pairs of five shapes and two textures. Colours, size, place and angle are drawn for each image, so that none
of them tells the class. The same seed makes the same pixels.
"""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from slowfast_mvit.data.toy import texture, turned
from slowfast_mvit.data.toy_folder import make_once, run_jobs

SHAPES = ("bar", "disc", "ring", "star", "triangle")
TEXTURES = ("striped", "checked")
CLASSES = tuple(sorted(f"{texture}_{shape}" for texture in TEXTURES for shape in SHAPES))
SPLITS = ("train", "val")
_MANIFEST = "toy_images.json"
_VERSION = 1  # of the pictures: a set made by another version is made again


@dataclass(frozen=True)
class ToyImageSet:
    """What a toy set consists of.

    Attributes:
        num_train, num_val: images of each split.
        side: mean side of an image in pixels; widths and heights differ from it by up to a quarter.
        seed: of all images.
        num_classes: 0 makes one folder for each class; otherwise lists number the classes modulo this, for a model of any
            number of classes.
    """

    num_train: int = 3000
    num_val: int = 300
    side: int = 80
    seed: int = 0
    num_classes: int = 0


def make_toy_images(root: Path, toy: ToyImageSet, processes: int | None = None) -> Path:
    """Write the set under ``root`` and return it: ``{train,val}/<class>/*.JPEG``, as ImageNet has it.

    A complete set of the same parameters is kept as it is.

    Raises:
        UserError: the folder holds images that were not written here.
    """
    return make_once(root, _MANIFEST, _VERSION, toy, SPLITS, lambda: _write(root, toy, processes))


def _write(root: Path, toy: ToyImageSet, processes: int | None) -> None:
    for split in SPLITS:
        shutil.rmtree(root / split, ignore_errors=True)  # what lies in a folder is listed
        (root / f"{split}.csv").unlink(missing_ok=True)
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
    jobs = list(_jobs(root, toy))
    run_jobs(_write_job, jobs, processes)
    for split in SPLITS if toy.num_classes else ():
        rows = [
            f"{path.relative_to(root).as_posix()} {label % toy.num_classes}\n"
            for path, label, *_ in jobs
            if path.parent.parent.name == split
        ]
        (root / f"{split}.csv").write_text("".join(rows), encoding="utf-8")


def draw_image(label: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """A picture of class ``label``: uint8 RGB [H, W, 3]."""
    height, width = (round(side * rng.uniform(0.75, 1.25)) for _ in range(2))
    unit = min(height, width)
    x, y = np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]
    angle, radius = rng.uniform(0, 2 * math.pi), unit * rng.uniform(0.3, 0.45)
    center_x, center_y = width / 2 + rng.uniform(-0.1, 0.1) * width, height / 2 + rng.uniform(-0.1, 0.1) * height
    u, v = turned(x - center_x, y - center_y, angle, radius)
    texture_name, shape_name = CLASSES[label].split("_")
    picture = np.where(
        inside(shape_name, u, v)[..., None], pattern(texture_name, u, v, rng), texture(x / unit * 3, y / unit * 3, rng)
    )
    picture += 0.02 * rng.standard_normal((height, width, 1), dtype=np.float32)
    return (np.clip(picture, 0.0, 1.0) * 255).astype(np.uint8)


def inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Where coordinates lie inside one of :data:`SHAPES`, of about unit radius."""
    distance = np.hypot(u, v)
    if shape == "disc":
        return distance < 0.9
    if shape == "ring":
        return (distance < 0.95) & (distance > 0.5)
    if shape == "bar":
        return (np.abs(u) < 1.0) & (np.abs(v) < 0.35)
    direction = np.arctan2(v, u)
    if shape == "triangle":  # a polygon's edge lies at a constant distance along its normal
        turn = 2 * math.pi / 3
        return distance * np.cos((direction % turn) - turn / 2) < 0.5
    return distance < 0.6 + 0.4 * np.cos(5 * direction)


def pattern(name: str, u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours in 0..1 of one of :data:`TEXTURES` over coordinates, float32 [..., 3]: two colours far from each other."""
    first = rng.uniform(0.0, 0.4, 3)
    second = first + rng.uniform(0.35, 0.6, 3)
    turn, frequency = rng.uniform(0, 2 * math.pi), rng.uniform(6.0, 9.0)
    a = np.sin((u * math.cos(turn) + v * math.sin(turn)) * frequency)
    b = np.sin((v * math.cos(turn) - u * math.sin(turn)) * frequency)
    on = a > 0 if name == "striped" else a * b > 0
    return np.where(on[..., None], first, second).astype(np.float32)


def _jobs(root: Path, toy: ToyImageSet) -> Iterator[tuple[Path, int, int, ToyImageSet]]:
    number = 0
    for split, count in zip(SPLITS, (toy.num_train, toy.num_val), strict=True):
        for i in range(count):
            label = i % len(CLASSES)
            yield root / split / CLASSES[label] / f"{i:05d}.JPEG", label, number, toy
            number += 1


def _write_job(job: tuple[Path, int, int, ToyImageSet]) -> None:
    path, label, number, toy = job
    Image.fromarray(draw_image(label, toy.side, np.random.default_rng([toy.seed, number]))).save(path, quality=90)
