"""A small set of real videos, made here: textured shapes that move over textured ground.

The eight classes come in pairs that are each other played backwards (left and right, up and down, clockwise and
counter-clockwise, growing and shrinking), and one film of a pair is as likely as its reverse, so no single frame tells the
class: a model must see time. The same seed makes the same pixels. A mirrored direction is another class, hence recipes
for this set must not flip.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from slowfast_mvit.data.toy_folder import make_once, refuse_odd, run_jobs

CLASSES = (
    "move_left",
    "move_right",
    "move_up",
    "move_down",
    "turn_clockwise",
    "turn_counterclockwise",
    "grow",
    "shrink",
)
SPLITS = ("train", "val", "test")
FPS = 30
# Without mbtree: with it, x264's assembly makes other bytes of the same frames at every run.
_H264: tuple[str, dict[str, str]] = ("libx264", {"preset": "veryfast", "crf": "20", "x264-params": "mbtree=0"})
_VP9: tuple[str, dict[str, str]] = ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "24", "b": "0"})
_MANIFEST = "toy.json"
_VERSION = 2  # of the films: a set made by another version is made again


@dataclass(frozen=True)
class ToySet:
    """What a toy set consists of.

    Attributes:
        num_train, num_val, num_test: videos of each split.
        num_frames, height, width: extent of each video; height and width are even.
        seed: of all videos.
        num_classes: 0 labels the videos with the names of their classes; otherwise labels are numbers modulo this, for a model
            of any number of classes.
    """

    num_train: int = 1600
    num_val: int = 80
    num_test: int = 160
    num_frames: int = 48
    height: int = 80
    width: int = 96
    seed: int = 0
    num_classes: int = 0

    def __post_init__(self) -> None:
        refuse_odd(self.height, self.width)


def make_toy_set(root: Path, toy: ToySet, processes: int | None = None) -> Path:
    """Write the set under ``root`` and return it: ``{train,val,test}.csv`` and ``videos/<split>/*.mp4``.

    Lists are in PySlowFast's format. A complete set of the same parameters is kept as it is.

    Raises:
        UserError: the folder holds lists that were not written here.
    """
    return make_once(
        root, _MANIFEST, _VERSION, toy, [f"{split}.csv" for split in SPLITS], lambda: _write(root, toy, processes)
    )


def _write(root: Path, toy: ToySet, processes: int | None) -> None:
    for split in SPLITS:
        (root / "videos" / split).mkdir(parents=True, exist_ok=True)
    jobs = list(_jobs(root, toy))
    run_jobs(_write_job, jobs, processes)
    for split in SPLITS:
        rows = [
            f"{path.relative_to(root).as_posix()} {label % toy.num_classes if toy.num_classes else CLASSES[label]}\n"
            for job_split, path, label, *_ in jobs
            if job_split == split
        ]
        (root / f"{split}.csv").write_text("".join(rows), encoding="utf-8")


def render(label: int, toy: ToySet, rng: np.random.Generator) -> np.ndarray:
    """One film of class ``label``: uint8 RGB [T, H, W, 3]."""
    T, H, W = toy.num_frames, toy.height, toy.width
    pair, backwards = divmod(label, 2)
    progress = np.linspace(-1.0, 1.0, T, dtype=np.float32)[:, None, None] * rng.uniform(0.8, 1.2)
    if backwards:
        progress = -progress
    unit = min(H, W)
    x, y = np.arange(W, dtype=np.float32)[None, None, :], np.arange(H, dtype=np.float32)[None, :, None]
    center_x = _constant(W / 2 + rng.uniform(-0.1, 0.1) * W)
    center_y = _constant(H / 2 + rng.uniform(-0.1, 0.1) * H)
    angle = _constant(rng.uniform(0, 2 * math.pi))
    radius = _constant(unit * rng.uniform(0.3, 0.45))
    if pair == 0:
        center_x = center_x - 0.25 * W * progress
    elif pair == 1:
        center_y = center_y - 0.25 * H * progress
    elif pair == 2:
        angle = angle + 2.0 * progress
    else:
        radius = radius * np.exp(0.5 * progress)
    u, v = turned(x - center_x, y - center_y, angle, radius)
    inside = random_shape(u, v, rng)[..., None]
    ground = texture(x / unit * 3.0, y / unit * 3.0, rng)
    film = np.where(inside, texture(u, v, rng), ground)
    film += 0.02 * rng.standard_normal((T, H, W, 1), dtype=np.float32)
    return (np.clip(film, 0.0, 1.0) * 255).astype(np.uint8)


def write_video(path: Path, film: np.ndarray, fps: Fraction | int = FPS) -> None:
    """Encode uint8 RGB [T, H, W, 3] (even extents) as VP9 where the name ends in .webm, else as H.264."""
    codec, options = _VP9 if path.suffix == ".webm" else _H264
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = film.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {**options, "threads": "1"}
        for frame in film:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _jobs(root: Path, toy: ToySet) -> Iterator[tuple[str, Path, int, int, ToySet]]:
    number = 0
    for split, count in zip(SPLITS, (toy.num_train, toy.num_val, toy.num_test), strict=True):
        for i in range(count):
            label = i % len(CLASSES)
            yield split, root / "videos" / split / f"{i:05d}.mp4", label, number, toy
            number += 1


def _write_job(job: tuple[str, Path, int, int, ToySet]) -> None:
    _, path, label, number, toy = job
    write_video(path, render(label, toy, np.random.default_rng([toy.seed, number])))


def _constant(value: float) -> np.ndarray:
    return np.full((1, 1, 1), value, dtype=np.float32)


def random_shape(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Inside of a random shape of about unit radius: ellipse, rectangle or star."""
    kind = rng.integers(3)
    flatness = rng.uniform(0.6, 0.9)
    if kind == 0:
        return u**2 + (v / flatness) ** 2 < 1
    if kind == 1:
        return (np.abs(u) < 0.9) & (np.abs(v) < 0.9 * flatness)
    points = int(rng.integers(3, 6))
    return np.hypot(u, v) < 0.8 + 0.25 * np.cos(points * np.arctan2(v, u))


def turned(
    across: np.ndarray, down: np.ndarray, angle: np.ndarray | float, radius: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of a shape of about unit radius, turned by ``angle``, from distances to its centre in pixels."""
    cos, sin = np.cos(angle), np.sin(angle)
    return (across * cos + down * sin) / radius, (down * cos - across * sin) / radius


def texture(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours in 0..1 over coordinates u, v: three plane waves between two random colours."""
    waves = np.zeros(np.broadcast_shapes(u.shape, v.shape), dtype=np.float32)
    for _ in range(3):
        direction, frequency, phase = rng.uniform(0, 2 * math.pi), rng.uniform(2.0, 5.0), rng.uniform(0, 2 * math.pi)
        waves += np.sin(u * (frequency * math.cos(direction)) + v * (frequency * math.sin(direction)) + phase)
    mix = 0.5 + waves[..., None] / 6.0
    low, high = rng.random(3, dtype=np.float32), rng.random(3, dtype=np.float32)
    return low + (high - low) * mix
