"""A small set of real videos in Something-Something v2's layout, made here: the order of two events decides the label.

A shape moves along a corner, or appears and then moves, or moves and then vanishes. The classes come in pairs that are each
other played backwards, and a film of a pair is as likely as its reverse, so that neither one frame nor all frames without their
order tell the class. The same two moves in another order are another class, and so is a mirrored move. The shape is bright and
the ground dark: a model finds it at once, whatever its first weights, and the order is what it has to learn.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from slowfast_mvit.data.toy import random_shape, texture, write_video
from slowfast_mvit.data.toy_folder import make_once, refuse_odd, run_jobs

# Templates; each odd one is the one before it played backwards.
TEMPLATES = (
    "Moving [something] left then up",
    "Moving [something] down then right",
    "Moving [something] up then left",
    "Moving [something] right then down",
    "Showing [something] then moving it left",
    "Moving [something] right then hiding it",
    "Showing [something] then moving it up",
    "Moving [something] down then hiding it",
)
FPS = 12  # of the official videos
VIDEO_FOLDER = "20bn-something-something-v2"
_PREFIX = "something-something-v2-"
_MANIFEST = "toy_ssv2.json"
_VERSION = 2  # of the films: a set made by another version is made again


@dataclass(frozen=True)
class ToySsv2:
    """What a toy set consists of.

    Attributes:
        num_train, num_val: videos of each split; a test has those of the validation, as with the official set.
        num_frames, height, width: extent of each video; height and width are even.
        seed: of all videos.
        num_classes: 0 labels with the eight templates; otherwise the label map has this many, for a model of any number of
            classes: the first of the eight, or all of them and further ones without a video.
    """

    num_train: int = 1600
    num_val: int = 160
    num_frames: int = 36
    height: int = 80
    width: int = 96
    seed: int = 0
    num_classes: int = 0

    def __post_init__(self) -> None:
        refuse_odd(self.height, self.width)

    @property
    def templates(self) -> tuple[str, ...]:
        """Templates of the label map in the order of their numbers."""
        count = self.num_classes or len(TEMPLATES)
        return (*TEMPLATES, *(f"Doing [something] in way {number}" for number in range(len(TEMPLATES), count)))[:count]


def make_toy_ssv2(root: Path, toy: ToySsv2, processes: int | None = None) -> Path:
    """Write the set under ``root`` and return it.

    Its files are ``something-something-v2-{train,validation,labels}.json`` and ``20bn-something-something-v2/ID.webm`` (in VP9,
    or in H.264 as ``ID.mp4`` where PyAV has no encoder for it). A complete set of the same parameters is kept as it is.

    Raises:
        UserError: the folder holds annotations that were not written here.
    """
    return make_once(root, _MANIFEST, _VERSION, toy, [f"{_PREFIX}*.json"], lambda: _write(root, toy, processes))


def _write(root: Path, toy: ToySsv2, processes: int | None) -> None:
    (root / VIDEO_FOLDER).mkdir(exist_ok=True)
    jobs = list(_jobs(root, toy))
    run_jobs(_write_job, jobs, processes)
    for name, part in (("train", jobs[: toy.num_train]), ("validation", jobs[toy.num_train :])):
        records = [_record(path.stem, toy.templates[label]) for path, label, *_ in part]
        (root / f"{_PREFIX}{name}.json").write_text(json.dumps(records, indent=0), encoding="utf-8")
    labels = {_bare(template): str(number) for number, template in enumerate(toy.templates)}
    (root / f"{_PREFIX}labels.json").write_text(json.dumps(labels, indent=0), encoding="utf-8")


def render(label: int, toy: ToySsv2, rng: np.random.Generator) -> np.ndarray:
    """One film of class ``label``: uint8 RGB [T, H, W, 3]."""
    T, H, W = toy.num_frames, toy.height, toy.width
    pair, backwards = divmod(label, 2)
    time = np.linspace(0.0, 1.0, T, dtype=np.float32)[:: -1 if backwards else 1, None, None]
    x, y = np.arange(W, dtype=np.float32)[None, None, :], np.arange(H, dtype=np.float32)[None, :, None]
    unit = min(H, W)
    ground = texture(x / unit * 3.0, y / unit * 3.0, rng)
    center_x, center_y = W / 2 + rng.uniform(-0.06, 0.06) * W, H / 2 + rng.uniform(-0.06, 0.06) * H
    turn, reach = rng.uniform(0.45, 0.55), unit * rng.uniform(0.42, 0.5)
    first, second = np.clip(time / turn, 0, 1), np.clip((time - turn) / (1 - turn), 0, 1)
    left, up = ((first, second), (second, first), (second, 0.5), (0.5, second))[pair]
    angle, radius = rng.uniform(0, 2 * math.pi), unit * rng.uniform(0.18, 0.22)
    across, down = (x - center_x + reach * (left - 0.5)) / radius, (y - center_y + reach * (up - 0.5)) / radius
    u = (across * math.cos(angle) + down * math.sin(angle)).astype(np.float32)
    v = (down * math.cos(angle) - across * math.sin(angle)).astype(np.float32)
    there = random_shape(u, v, rng) & ((time >= turn * rng.uniform(0.6, 0.8)) | (pair < 2))
    film = np.where(there[..., None], 0.6 + 0.4 * texture(u, v, rng), 0.4 * ground)  # apart by 0.2 of the range
    film += 0.02 * rng.standard_normal((T, H, W, 1), dtype=np.float32)
    return (np.clip(film, 0.0, 1.0) * 255).astype(np.uint8)


def _jobs(root: Path, toy: ToySsv2) -> Iterator[tuple[Path, int, int, ToySsv2]]:
    suffix = ".webm" if _writes_vp9() else ".mp4"
    for number in range(toy.num_train + toy.num_val):
        place = number if number < toy.num_train else number - toy.num_train
        label = place % min(len(TEMPLATES), len(toy.templates))
        yield root / VIDEO_FOLDER / f"{number + 1}{suffix}", label, number, toy


def _writes_vp9() -> bool:
    """Whether PyAV's build has an encoder for what the official videos are."""
    try:
        av.Codec("libvpx-vp9", "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _write_job(job: tuple[Path, int, int, ToySsv2]) -> None:
    path, label, number, toy = job
    write_video(path, render(label, toy, np.random.default_rng([toy.seed, number])), FPS)


def _record(video: str, template: str) -> dict[str, object]:
    """An annotation as the official files have it."""
    return {"id": video, "label": _bare(template).lower(), "template": template, "placeholders": ["something"]}


def _bare(template: str) -> str:
    return template.replace("[", "").replace("]", "")
