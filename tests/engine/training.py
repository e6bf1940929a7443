"""Trainings so small that every number can be worked out, for the tests of the step and of the loop."""

import json
from dataclasses import replace

import torch
from torch import nn

from slowfast_mvit.batches import AvaBatch, ClipBatch
from slowfast_mvit.engine.log import JsonLog
from slowfast_mvit.engine.loop import fit
from slowfast_mvit.engine.step import FitPlan

CPU = torch.device("cpu")


def batch(values, labels, videos=None):
    """Clips of one pixel."""
    count = len(values)
    return ClipBatch(
        video=torch.tensor(values, dtype=torch.float32).view(count, 1, 1, 1, 1).expand(count, 3, 1, 1, 1).clone(),
        labels=torch.tensor(labels),
        video_index=torch.arange(count) if videos is None else torch.tensor(videos),
        clip_index=torch.zeros(count).long(),
        crop_index=torch.zeros(count).long(),
        start_sec=torch.zeros(count).double(),
        end_sec=torch.ones(count).double(),
    )


class Squares:
    """(w x + b - label) squared, meant over the batch; remembers what the loop asks for."""

    def __init__(self):
        self.draws, self.train_modes = [], []

    def losses(self, model, batch, rng):
        self.draws.append(rng.random())
        self.train_modes.append(model.training)
        out = model(batch.video[:, :1, 0, 0, 0])[:, 0]
        return {"loss": ((out - batch.labels) ** 2).mean(), "mean_out": out.detach().mean()}


def line(weight=0.0, bias=0.0):
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(weight), layer.bias.fill_(bias)
    return layer


class Recorder(torch.optim.SGD):
    """Plain descent that notes the rates it steps with."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=123.0)
        self.rates = []

    def step(self, closure=None):
        self.rates.append(self.param_groups[0]["lr"])
        return super().step(closure)


class Course:
    """Remembers what the loop asks for; wants a checkpoint or a stop after the steps that it is told."""

    def __init__(self, after=lambda epoch: None, *, updated=lambda: None, save_at=(), stop_at=(), bad=()):
        self.after, self.after_update = after, updated
        self.save_at, self.stop_at, self.bad = set(save_at), set(stop_at), list(bad)
        self.asked, self.saved, self.ended, self.counted = 0, [], [], []

    def new_bad_videos(self):
        self.asked += 1
        return self.bad.pop(0) if self.bad else 0

    def count_bad_videos(self, number):
        self.counted.append(number)

    def wants_checkpoint(self):
        return self.asked in self.save_at

    def wants_stop(self):
        return self.asked in self.stop_at

    def save(self, position):
        self.saved.append(position)

    def stop(self, position):
        self.saved.append(position)
        raise InterruptedError

    def after_epoch(self, position, means):
        self.ended.append((position, means))
        self.after(position.epoch)


def run(
    tmp_path,
    model,
    batches,
    plan,
    *,
    task=None,
    schedule=lambda epoch: 0.1,
    optimizer=None,
    after=lambda epoch: None,
    name=str,
    course=None,
    **given,
):
    optimizer = optimizer or Recorder(model.parameters())
    with JsonLog(tmp_path / "log.jsonl") as log:
        fit(
            model,
            task or Squares(),
            batches,
            optimizer,
            schedule,
            plan,
            device=CPU,
            log=log,
            name_of=name,
            course=course or Course(after),
            **given,
        )
    return optimizer


def logged(tmp_path):
    return [entry for entry in all_logged(tmp_path) if entry["kind"] == "train"]


def all_logged(tmp_path):
    return [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]


def plan(**changed):
    return replace(FitPlan(num_epochs=1, steps_per_epoch=1, passes_per_step=1, clips_per_step=2), **changed)


def boxes_of(values, labels):
    """Clips of one pixel with as many boxes as each clip has labels."""
    rows = [row for row, of_clip in enumerate(labels) for _ in of_clip]
    return AvaBatch(
        video=batch(values, [0] * len(values)).video,
        boxes=torch.tensor([[row, 0.0, 0, 1, 1] for row in rows]).reshape(-1, 5),
        labels=torch.tensor([[bool(label)] for of_clip in labels for label in of_clip]).reshape(-1, 1),
        video_index=torch.arange(len(values)),
        box_index=torch.zeros(len(rows), dtype=torch.int64),
    )


class BoxSquares:
    """(w x + b - label) squared of each box's clip, meant over the boxes."""

    def losses(self, model, batch, rng):
        out = model(batch.video[batch.boxes[:, 0].long(), :1, 0, 0, 0])
        return {"loss": ((out - batch.labels.float()) ** 2).sum() / max(len(out), 1)}
