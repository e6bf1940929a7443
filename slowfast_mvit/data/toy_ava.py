"""A small set of real videos in AVA's layout, made here: two or three shapes in each, every one with a motion of its own.

In the second around a key frame a shape moves left, right, up or down, grows, shrinks or keeps still, and may blink besides;
then it goes back and does something else. At the key frame itself all are at home with their mean size, so that no single frame
tells what a shape does, and the boxes tell nothing either. Shapes are bright and the ground dark: what is to be learned is the
motion, and to whom it belongs. A mirrored motion is another class, hence recipes for this set must not flip.

The files begin at second 900, as AVA's that are cut from minute 15 on, and have 15 frames a second, not 30.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from slowfast_mvit.data.toy import random_shape, texture, turned, write_video
from slowfast_mvit.data.toy_folder import make_once, refuse_odd, run_jobs

MOTIONS = ("move left", "move right", "move up", "move down", "grow", "shrink", "keep still")
BLINK = "blink"
ACTIONS = (*MOTIONS, BLINK)
FPS = 15
FRAMES_PER_SECOND = 30  # of frame folders, as AVA's: every picture is there twice
START = 900  # what the box lists call the time of the first frame
SCORE = 0.8
"""Detections of shapes have higher scores than this, most others lower ones: the threshold of the official recipes."""

VIDEO_FOLDER, FRAME_FOLDER, LIST_FOLDER, BOX_FOLDER = "videos", "frames", "frame_lists", "annotations"
TRAIN_DETECTED = "ava_train_predicted_boxes.csv"
_TRUTH = {"train": "ava_train_v2.2.csv", "val": "ava_val_v2.2.csv"}
_DETECTED = {"train": TRAIN_DETECTED, "val": "ava_val_predicted_boxes.csv"}
_LABEL_MAP = "ava_action_list_v2.2_for_activitynet_2019.pbtxt"
_EXCLUSIONS = "ava_val_excluded_timestamps_v2.2.csv"
_SLOTS = 3  # places side by side, one for each shape
_BLINKS = 5.0  # a second
_MANIFEST = "toy_ava.json"
_VERSION = 1  # of the films: a set made by another version is made again


@dataclass(frozen=True)
class ToyAva:
    """What a toy set consists of.

    Attributes:
        num_train, num_val: videos of each split.
        num_seconds: key frames of a video, at seconds 901, 902 ...; the video lasts one second more.
        height, width: extent of each video, even.
        frames: also write folders of frames, 30 a second.
        seed: of all videos.
    """

    num_train: int = 200
    num_val: int = 40
    num_seconds: int = 6
    height: int = 96
    width: int = 192
    frames: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        refuse_odd(self.height, self.width)


@dataclass(frozen=True)
class Actor:
    """One shape of a video.

    Attributes:
        center: x and y at home, in pixels.
        radius: mean radius in pixels.
        angle: of the shape.
        look: seed of its form and texture.
        motions: number of the motion at each key frame.
        blinks: whether it blinks at each key frame.
    """

    center: tuple[float, float]
    radius: float
    angle: float
    look: int
    motions: tuple[int, ...]
    blinks: tuple[bool, ...]

    @property
    def pixels(self) -> tuple[float, float, float, float]:
        """Its box at every key frame: x1, y1, x2, y2."""
        (x, y), r = self.center, self.radius
        return x - r, y - r, x + r, y + r


def make_toy_ava(root: Path, toy: ToyAva, processes: int | None = None) -> Path:
    """Write the set under ``root`` and return it.

    Its files have AVA's names: ``videos/VIDEO.mp4``, ``frame_lists/{train,val}.csv`` and, in ``annotations``, annotated boxes,
    detected boxes, label map and excluded seconds. A complete set of the same parameters is kept as it is.

    Raises:
        UserError: the folder holds box lists that were not written here.
    """
    return make_once(root, _MANIFEST, _VERSION, toy, [f"{BOX_FOLDER}/*.csv"], lambda: _write(root, toy, processes))


def cast(toy: ToyAva, rng: np.random.Generator) -> tuple[Actor, ...]:
    """The shapes of a video, from left to right."""
    slots = np.sort(rng.permutation(_SLOTS)[: rng.integers(2, _SLOTS + 1)])
    slot_width, unit = toy.width / _SLOTS, min(toy.height, toy.width / _SLOTS)
    return tuple(
        Actor(
            center=(
                (slot + 0.5 + rng.uniform(-0.06, 0.06)) * slot_width,
                toy.height * (0.5 + rng.uniform(-0.12, 0.12)),
            ),
            radius=unit * rng.uniform(0.29, 0.34),
            angle=rng.uniform(0, 2 * math.pi),
            look=int(rng.integers(2**31)),
            motions=tuple(rng.integers(len(MOTIONS), size=toy.num_seconds).tolist()),
            blinks=tuple((rng.random(toy.num_seconds) < 0.25).tolist()),
        )
        for slot in slots.tolist()
    )


def render(actors: tuple[Actor, ...], toy: ToyAva, rng: np.random.Generator) -> np.ndarray:
    """The film of some shapes: uint8 RGB [T, H, W, 3], 15 frames a second."""
    T, H, W = (toy.num_seconds + 1) * FPS, toy.height, toy.width
    x, y = np.arange(W, dtype=np.float32) + 0.5, np.arange(H, dtype=np.float32) + 0.5
    ground = 0.4 * texture(x[None] / H * 3.0, y[:, None] / H * 3.0, rng)
    film = np.repeat(ground[None], T, axis=0)
    for actor in actors:
        reach = int(2.2 * actor.radius)
        left, top = (max(0, int(center) - reach) for center in actor.center)
        columns, rows = slice(left, int(actor.center[0]) + reach), slice(top, int(actor.center[1]) + reach)
        _draw(film[:, rows, columns], x[columns], y[rows], actor)
    film += 0.02 * rng.standard_normal((T, H, W, 1), dtype=np.float32)
    return (film.clip(0, 1) * 255).astype(np.uint8)


def _draw(part: np.ndarray, x: np.ndarray, y: np.ndarray, actor: Actor) -> None:
    """Put a shape into a part of a film, [T, h, w, 3] at ``x`` [w] and ``y`` [h]."""
    time = np.arange(len(part)) / FPS
    key = np.rint(time).astype(int).clip(1, len(actor.motions))
    progress = (2 * (time - key)).clip(-1, 1)  # from -1 to 1 in the second around a key frame
    motion, blinks = np.array(actor.motions)[key - 1], np.array(actor.blinks)[key - 1]

    def sign(more: int, less: int) -> np.ndarray:
        return (motion == more).astype(float) - (motion == less)

    step = 0.7 * actor.radius * progress
    center_x, center_y = actor.center[0] + step * sign(1, 0), actor.center[1] + step * sign(3, 2)
    radius = actor.radius * np.exp(0.5 * progress * sign(4, 5))
    light = np.where(blinks & (np.floor(time * 2 * _BLINKS) % 2 == 1), 0.45, 1.0)
    center_x, center_y, radius, light = (
        each.astype(np.float32)[:, None, None] for each in (center_x, center_y, radius, light)
    )
    u, v = turned(x - center_x, y[:, None] - center_y, actor.angle, radius)
    rng = np.random.default_rng(actor.look)
    inside = random_shape(u, v, rng)
    shade = (0.6 + 0.4 * texture(u, v, rng)) * light[..., None]
    part[inside] = shade[inside]


def _write(root: Path, toy: ToyAva, processes: int | None) -> None:
    for folder in (VIDEO_FOLDER, LIST_FOLDER, BOX_FOLDER, *([FRAME_FOLDER] if toy.frames else [])):
        (root / folder).mkdir(exist_ok=True)
    jobs = list(_jobs(root, toy))
    run_jobs(_write_job, jobs, processes)
    _write_label_map(root / BOX_FOLDER / _LABEL_MAP)
    for split in _TRUTH:
        casts = {name: cast(toy, _rng(toy, number, 0)) for job, name, number, *_ in jobs if job == split}
        boxes = root / BOX_FOLDER
        _write_lines(boxes / _TRUTH[split], _truth(casts, toy))
        _write_lines(boxes / _DETECTED[split], _detections(casts, toy, np.random.default_rng([toy.seed, len(split)])))
        _write_lines(root / LIST_FOLDER / f"{split}.csv", _frame_list(casts, toy))
        if split == "val":
            # The last key frame of every tenth video, as AVA's labellers left some out.
            _write_lines(boxes / _EXCLUSIONS, (f"{name},{START + toy.num_seconds:04d}" for name in list(casts)[::10]))


def _jobs(root: Path, toy: ToyAva) -> Iterator[tuple[str, str, int, Path, ToyAva]]:
    for number in range(toy.num_train + toy.num_val):
        split = "train" if number < toy.num_train else "val"
        yield split, f"{split}_{number:04d}", number, root, toy


def _rng(toy: ToyAva, number: int, use: int) -> np.random.Generator:
    return np.random.default_rng([toy.seed, number, use])


def _write_job(job: tuple[str, str, int, Path, ToyAva]) -> None:
    _, name, number, root, toy = job
    film = render(cast(toy, _rng(toy, number, 0)), toy, _rng(toy, number, 1))
    write_video(root / VIDEO_FOLDER / f"{name}.mp4", film, FPS)
    if toy.frames:
        folder = root / FRAME_FOLDER / name
        folder.mkdir(exist_ok=True)
        for index in range(len(film) * FRAMES_PER_SECOND // FPS):
            picture = Image.fromarray(film[index * FPS // FRAMES_PER_SECOND])
            picture.save(folder / _frame_name(name, index), quality=95)


def _frame_name(name: str, index: int) -> str:
    return f"{name}_{index + 1:06d}.jpg"


def _frame_list(casts: dict[str, tuple[Actor, ...]], toy: ToyAva) -> Iterator[str]:
    yield "original_vido_id video_id frame_id path labels"
    for number, name in enumerate(casts):
        for index in range((toy.num_seconds + 1) * FRAMES_PER_SECOND):
            yield f'{name} {number} {index} {name}/{_frame_name(name, index)} ""'


def _truth(casts: dict[str, tuple[Actor, ...]], toy: ToyAva) -> Iterator[str]:
    for name, actors in casts.items():
        for key in range(toy.num_seconds):
            for person, actor in enumerate(actors):
                actions = [actor.motions[key] + 1] + [len(ACTIONS)] * actor.blinks[key]
                for action in actions:
                    yield f"{name},{START + key + 1:04d},{_corners(actor.pixels, toy)},{action},{person}"


def _detections(casts: dict[str, tuple[Actor, ...]], toy: ToyAva, rng: np.random.Generator) -> Iterator[str]:
    """What a detector might say: shapes with noisy boxes, few of them missed, and boxes where there is nothing."""
    for name, actors in casts.items():
        for key in range(toy.num_seconds):
            at = f"{name},{START + key + 1:04d}"
            for actor in actors:
                if rng.random() < 0.98:
                    noisy = np.array(actor.pixels) + rng.normal(0, 0.04 * actor.radius, size=4)
                    yield f"{at},{_corners(noisy, toy)},,{rng.uniform(SCORE + 0.05, 1):.6f}"
            false = rng.random()
            if false < 0.4:  # one in eight of them above the threshold
                size = toy.height * rng.uniform(0.2, 0.5, size=2)
                corner = rng.uniform(0, 1, size=2) * (np.array([toy.width, toy.height]) - size)
                score = rng.uniform(SCORE, 0.9) if false < 0.05 else rng.uniform(0.05, SCORE - 0.05)
                yield f"{at},{_corners((*corner, *(corner + size)), toy)},,{score:.6f}"


def _corners(pixels: np.ndarray | tuple[float, ...], toy: ToyAva) -> str:
    """A box in parts of width and height, with AVA's three decimals."""
    parts = np.array(pixels) / [toy.width, toy.height, toy.width, toy.height]
    return ",".join(f"{part:.3f}" for part in parts.clip(0, 1))


def _write_label_map(path: Path) -> None:
    _write_lines(path, (f'item {{\n  name: "{name}"\n  id: {number}\n}}' for number, name in enumerate(ACTIONS, 1)))


def _write_lines(path: Path, lines: Iterator[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
