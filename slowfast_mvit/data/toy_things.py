"""A small set of real videos in which things of the toy images move: what it is counts as much as where it goes.

The ten classes are the five shapes of the toy images, each going left or right. A frame tells the shape, only time tells the
direction: a model that knows shapes from images has half of the work behind it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slowfast_mvit.data.toy import texture, turned, write_video
from slowfast_mvit.data.toy_folder import make_once, refuse_odd, run_jobs
from slowfast_mvit.data.toy_images import SHAPES, TEXTURES, inside, pattern

DIRECTIONS = ("left", "right")
CLASSES = tuple(f"{shape}_{direction}" for shape in SHAPES for direction in DIRECTIONS)
SPLITS = ("train", "val", "test")
_MANIFEST = "toy_things.json"
_VERSION = 1  # of the films: a set made by another version is made again


@dataclass(frozen=True)
class ToyThings:
    """What a set consists of.

    Attributes:
        num_train, num_val, num_test: videos of each split. The training videos are few, as the set is for fine-tuning.
        num_frames, height, width: extent of each video; height and width are even.
        seed: of all videos.
    """

    num_train: int = 800
    num_val: int = 50
    num_test: int = 200
    num_frames: int = 40
    height: int = 80
    width: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        refuse_odd(self.height, self.width)


def make_toy_things(root: Path, toy: ToyThings, processes: int | None = None) -> Path:
    """Write the set under ``root`` and return it: ``{train,val,test}.csv`` and ``videos/<split>/*.mp4``.

    A complete set of the same parameters is kept as it is.

    Raises:
        UserError: the folder holds lists that were not written here.
    """
    return make_once(
        root, _MANIFEST, _VERSION, toy, [f"{split}.csv" for split in SPLITS], lambda: _write(root, toy, processes)
    )


def _write(root: Path, toy: ToyThings, processes: int | None) -> None:
    for split in SPLITS:
        (root / "videos" / split).mkdir(parents=True, exist_ok=True)
    jobs = list(_jobs(root, toy))
    run_jobs(_write_job, jobs, processes)
    for split in SPLITS:
        rows = [
            f"{path.relative_to(root).as_posix()} {CLASSES[label]}\n"
            for path, label, *_ in jobs
            if path.parent.name == split
        ]
        (root / f"{split}.csv").write_text("".join(rows), encoding="utf-8")


def film_thing(label: int, toy: ToyThings, rng: np.random.Generator) -> np.ndarray:
    """One film of class ``label``: uint8 RGB [T, H, W, 3]."""
    T, H, W = toy.num_frames, toy.height, toy.width
    shape, direction = CLASSES[label].split("_")
    sign = 1.0 if direction == "right" else -1.0
    unit = min(H, W)
    x, y = np.arange(W, dtype=np.float32)[None, None, :], np.arange(H, dtype=np.float32)[None, :, None]
    progress = np.linspace(-1.0, 1.0, T, dtype=np.float32)[:, None, None] * rng.uniform(0.8, 1.2)
    center_x = W / 2 + rng.uniform(-0.05, 0.05) * W + sign * 0.22 * W * progress
    center_y = H / 2 + rng.uniform(-0.1, 0.1) * H
    angle, radius = rng.uniform(0, 2 * math.pi), unit * rng.uniform(0.3, 0.4)
    u, v = turned(x - center_x, y - center_y, angle, radius)
    covering = pattern(TEXTURES[rng.integers(len(TEXTURES))], u, v, rng)
    film = np.where(inside(shape, u, v)[..., None], covering, texture(x / unit * 3, y / unit * 3, rng))
    film += 0.02 * rng.standard_normal((T, H, W, 1), dtype=np.float32)
    return (np.clip(film, 0.0, 1.0) * 255).astype(np.uint8)


def _jobs(root: Path, toy: ToyThings) -> Iterator[tuple[Path, int, int, ToyThings]]:
    number = 0
    for split, count in zip(SPLITS, (toy.num_train, toy.num_val, toy.num_test), strict=True):
        for i in range(count):
            yield root / "videos" / split / f"{i:05d}.mp4", i % len(CLASSES), number, toy
            number += 1


def _write_job(job: tuple[Path, int, int, ToyThings]) -> None:
    path, label, number, toy = job
    write_video(path, film_thing(label, toy, np.random.default_rng([toy.seed, number])))
