"""A picture of what a recipe feeds its model in training."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from slowfast_mvit.batches import ClipBatch, collate_clips
from slowfast_mvit.build.data import step_plan, train_clips, videos_of
from slowfast_mvit.build.readiness import refuse_unbuilt
from slowfast_mvit.build.run import classification_of
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.augment import BLENDED_OPS, Augmentation, Op
from slowfast_mvit.data.contact_sheet import SheetRow, contact_sheet
from slowfast_mvit.data.lists import LabelledList
from slowfast_mvit.data.loader import StepSampler
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.mixing import Mix, draw_mix
from slowfast_mvit.ops.randomness import step_rng
from slowfast_mvit.tasks.classify import Classification

MAX_VIDEOS, MAX_FRAMES = 4, 6  # on the sheet


def augmentation_sheet(config: Config) -> Image.Image:
    """The first videos of the first training step as the model would be given them, all repeats of each.

    They go through the training set and the training task; a model that keeps its input stands in for the real one. Mixing is
    over the videos shown, which in training is over the whole forward pass.

    Raises:
        UserError, VideoError: what the user can mend; a video that cannot be read.
    """
    refuse_unbuilt(config)
    if config.TRAIN.DATASET in ("ava", "coco"):
        raise UserError(
            f"TRAIN.DATASET {config.TRAIN.DATASET}: there is no picture of what has boxes, which is cropped, "
            "resized and mirrored alone"
        )
    videos = videos_of(config, "train")
    dataset = train_clips(config, videos)
    noted = _Noted(dataset.transform.augment) if dataset.transform.augment is not None else None
    dataset.transform = replace(dataset.transform, augment=noted)
    sampler = StepSampler(step_plan(config, videos), seed=config.RNG_SEED, first_epoch=0, first_step=0, num_epochs=1)
    given = collate_clips([dataset[key] for key in islice(next(iter(sampler)), MAX_VIDEOS)])
    for video in given.unreadable:
        raise VideoError(video.path, video.backend, video.cause)
    batch = given.clips
    assert batch is not None
    task = classification_of(config, "float32")
    model = _Keep(config.MODEL.NUM_CLASSES)
    task.losses(model, batch, step_rng(config.RNG_SEED, 0))
    shown = _pixels(model.kept if model.kept.dim() == 5 else model.kept[:, :, None], task)
    chosen = np.linspace(0, shown.shape[2] - 1, min(MAX_FRAMES, shown.shape[2])).round().astype(int)
    frames = shown[:, :, chosen].movedim(1, -1).numpy()  # [B, n, H, W, 3]
    mix = _drawn_mix(task, batch, config.RNG_SEED)
    rows = [
        SheetRow(frames[row], *_words(config, videos, batch, row, noted.drawn[row] if noted else (), mix))
        for row in range(len(batch))
    ]
    is_video = shown.shape[2] > 1
    title = f"{videos.source}: {f'{shown.shape[2]} frames' if is_video else 'images'} of {shown.shape[4]} x {shown.shape[3]}"
    return contact_sheet(title, [f"frame {number}" if is_video else "image" for number in chosen], rows)


class _Noted:
    """An augmentation that remembers what was drawn."""

    def __init__(self, augment: Augmentation) -> None:
        self.augment = augment
        self.drawn: list[tuple[Op, ...]] = []

    def draw(self, rng: np.random.Generator) -> tuple[Op, ...]:
        self.drawn.append(self.augment.draw(rng))
        return self.drawn[-1]

    def apply(self, frames: Tensor, ops: tuple[Op, ...]) -> Tensor:
        return self.augment.apply(frames, ops)


class _Keep(nn.Module):
    """A model that keeps what it is given, and answers zeros."""

    kept: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, video: Tensor) -> Tensor:
        self.kept = video
        return torch.zeros(len(video), self.num_classes)


def _pixels(video: Tensor, task: Classification) -> Tensor:
    """The normalised video as uint8 of the same shape."""
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1, 1) for values in (task.mean, task.std))
    return ((video * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


def _drawn_mix(task: Classification, batch: ClipBatch, seed: int) -> Mix:
    """What the task drew: the same numbers of the same generator."""
    if task.mix is None:
        return Mix(1.0)
    height, width = batch.video.shape[-2:]
    mix = task.mix
    return draw_mix(
        step_rng(seed, 0),
        height,
        width,
        mixup_alpha=mix.mixup_alpha,
        cutmix_alpha=mix.cutmix_alpha,
        prob=mix.prob,
        switch_prob=mix.switch_prob,
    )


def _words(
    config: Config, videos: LabelledList, batch: ClipBatch, row: int, ops: tuple[Op, ...], mix: Mix
) -> tuple[str, tuple[str, ...]]:
    """Title and lines beside a clip."""
    return f"{row + 1}. {videos.names[batch.video_index[row]]}", tuple(_lines(config, videos, batch, row, ops, mix))


def _lines(
    config: Config, videos: LabelledList, batch: ClipBatch, row: int, ops: tuple[Op, ...], mix: Mix
) -> Iterator[str]:
    label = _label(videos, batch.labels[row])
    if mix.lam < 1:
        partner = len(batch) - 1 - row
        other, kind = _label(videos, batch.labels[partner]), "mixup" if mix.box is None else "cutmix"
        yield f"{mix.lam:.0%} {label}, {1 - mix.lam:.0%} {other} ({kind} with row {partner + 1})"
    else:
        yield label
    if config.AUG.NUM_SAMPLE > 1:
        yield f"copy {row % config.AUG.NUM_SAMPLE + 1} of {config.AUG.NUM_SAMPLE}"
    if batch.end_sec[row] > 0:
        yield f"{batch.start_sec[row]:.2f} to {batch.end_sec[row]:.2f} s"
    if ops:
        yield ", ".join(map(_op, ops))
    for box in batch.erasures[row].boxes if batch.erasures else ():
        yield f"erased {box.width} x {box.height} at {box.left}, {box.top}"


def _label(videos: LabelledList, label: Tensor) -> str:
    numbers = label.nonzero().flatten().tolist() if label.dim() else [int(label)]
    return " and ".join(videos.label_names[n] if videos.label_names else f"class {n}" for n in numbers) or "no label"


def _op(op: Op) -> str:
    if op.name in ("AutoContrast", "Equalize", "Invert"):
        return op.name
    units = {
        "Rotate": f"{op.amount:.0f} degrees",
        "Posterize": f"to {op.amount:.0f} bits",
        "Solarize": f"from {op.amount:.0f}",
    }
    times = f"x {op.amount:.2f}" if op.name in BLENDED_OPS else f"{op.amount:+.2f}"
    return f"{op.name} {units.get(op.name, f'+{op.amount:.0f}' if op.name == 'SolarizeAdd' else times)}"
