"""The one loop: ``fit`` for training, ``evaluate`` for testing. It names no task and no metric."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from slowfast_mvit.batches import ClipBatch
from slowfast_mvit.engine.explosion import LossWatch
from slowfast_mvit.engine.log import JsonLog, ProgressBar
from slowfast_mvit.engine.optimizer import set_learning_rate
from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.randomness import step_rng, step_seed
from slowfast_mvit.ops.schedule import Schedule

_T = TypeVar("_T")
# Steps in a row that float16 may leave out: from its first scale of 2**16, halving that often ends below 1.
SKIPPED_STEPS = 20


class Trainable(Protocol):
    """What training needs of a task."""

    def losses(self, model: nn.Module, batch: ClipBatch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Means over the batch; ``loss`` is minimised, the rest is shown."""


class Evaluator(Protocol):
    """What testing needs of an evaluator."""

    def add(self, batch: ClipBatch, scores: Tensor) -> None:
        """Count a batch."""


@dataclass(frozen=True)
class FitPlan:
    """The frame of a training: how far, in which steps, from where.

    Attributes:
        num_epochs, steps_per_epoch: length.
        passes_per_step, clips_per_step: forward passes that make a step, and the clips in all of them.
        first_epoch: where to begin (0 unless resumed).
        seed: of everything random inside a step.
        clip_grad_value, clip_grad_norm: gradient clipping by value or by L2 norm; the value has priority.
        log_period: steps between lines of the log.
        explosion_factor: stop when the loss grows by more than this, see :class:`LossWatch`; 0: never.
    """

    num_epochs: int
    steps_per_epoch: int
    passes_per_step: int
    clips_per_step: int
    first_epoch: int = 0
    seed: int = 0
    clip_grad_value: float | None = None
    clip_grad_norm: float | None = None
    log_period: int = 10
    explosion_factor: float = 0.0


class _Stopwatch:
    """Counts the seconds spent waiting for data, and all seconds."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.start, self.waited = time.perf_counter(), 0.0

    def waiting(self, batches: Iterable[_T]) -> Iterator[_T]:
        iterator = iter(batches)
        while True:
            begin = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self.waited += time.perf_counter() - begin
            yield item

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.start


def fit(
    model: nn.Module,
    task: Trainable,
    batches: Iterable[ClipBatch],
    optimizer: Optimizer,
    schedule: Schedule,
    plan: FitPlan,
    *,
    device: torch.device,
    log: JsonLog,
    name_of: Callable[[int], str],
    after_epoch: Callable[[int], None],
    after_step: Callable[[], None] = lambda: None,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Train from ``plan.first_epoch`` through the last epoch.

    Args:
        model: on ``device``.
        task: computes the losses.
        batches: the forward passes of all steps in order, beginning at ``first_epoch``.
        optimizer: its learning rate is set before each step.
        schedule: learning rate at a fractional epoch.
        plan: see :class:`FitPlan`.
        device: where batches go.
        log: receives a line every ``log_period`` steps.
        name_of: name of a video from its index, for messages.
        after_epoch: called with the number of each finished epoch; checkpoints and evaluates.
        after_step: called when the weights of a step are there; averages them.
        scaler: of the loss, for float16. A step whose scaled gradients overflow is left out, and the scale halved.

    Raises:
        UserError: the loss is not finite, which names the step and its clips, or explodes. That step has changed no weight.
    """
    scaler = scaler or torch.amp.GradScaler(device.type, enabled=False)
    watch = _Stopwatch()
    losses = LossWatch(plan.explosion_factor)
    stream = watch.waiting(batches)
    total, skipped = plan.num_epochs * plan.steps_per_epoch, 0
    for epoch in range(plan.first_epoch, plan.num_epochs):
        model.train()
        losses.start_epoch()
        bar = ProgressBar(f"epoch {epoch + 1}/{plan.num_epochs}", plan.steps_per_epoch, plain_every=plan.log_period)
        for step in range(plan.steps_per_epoch):
            number = epoch * plan.steps_per_epoch + step
            rate = schedule(epoch + step / plan.steps_per_epoch)
            set_learning_rate(optimizer, rate)
            means = _step(model, task, stream, plan, number, device, name_of, scaler)
            losses.add(means["loss"], number + 1)
            scaler.unscale_(optimizer)
            norm = _clip_gradients(model, plan)
            if not math.isfinite(norm) and not scaler.is_enabled():
                raise UserError(
                    f"the gradient is {norm} at step {number + 1}, while the loss is finite: lower SOLVER.BASE_LR or clip "
                    "gradients (SOLVER.CLIP_GRAD_L2NORM); the weights are those of the step before"
                )
            scaler.step(optimizer)
            scaler.update()
            skipped = 0 if math.isfinite(norm) else skipped + 1
            if skipped >= SKIPPED_STEPS:
                raise UserError(
                    f"the gradients of {skipped} steps in a row, up to {number + 1}, are not finite, while the losses are: "
                    "train in MODEL.PRECISION bfloat16 or float32, or lower SOLVER.BASE_LR; none of them has changed a weight"
                )
            if not skipped:
                after_step()
            optimizer.zero_grad(set_to_none=True)
            wait_share = watch.waited / max(watch.elapsed, 1e-9)
            bar.advance(**{name: f"{value:.4g}" for name, value in means.items()}, wait=f"{wait_share:.0%}")
            if (step + 1) % plan.log_period == 0 or step + 1 == plan.steps_per_epoch:
                log.write(
                    "train",
                    epoch=epoch + 1,
                    step=number + 1,
                    steps=total,
                    lr=rate,
                    grad_norm=norm if math.isfinite(norm) else None,
                    data_wait_share=round(wait_share, 4),
                    seconds=round(watch.elapsed, 3),
                    **means,
                )
                watch.reset()
        bar.close()
        after_epoch(epoch)
        watch.reset()


@torch.inference_mode()
def evaluate(
    predict: Callable[[ClipBatch], Tensor], batches: Iterable[ClipBatch], evaluator: Evaluator, bar: ProgressBar
) -> None:
    """Give every batch's prediction to the evaluator. ``predict`` runs a model that its owner has put in eval mode."""
    for batch in batches:
        evaluator.add(batch, predict(batch))
        bar.advance()


def _step(
    model: nn.Module,
    task: Trainable,
    stream: Iterator[ClipBatch],
    plan: FitPlan,
    number: int,
    device: torch.device,
    name_of: Callable[[int], str],
    scaler: torch.amp.GradScaler,
) -> dict[str, float]:
    """Gradients of one step, accumulated over its passes; returns the means over the step's clips."""
    rng = step_rng(plan.seed, number)
    means: dict[str, float] = {}
    for forward_pass in range(plan.passes_per_step):
        batch = next(stream).to(device)
        # Dropout and drop path are functions of (seed, step, pass). Seeded after the loader, which draws when it starts.
        torch.manual_seed(step_seed(plan.seed, number, forward_pass))
        share = len(batch) / plan.clips_per_step
        losses = task.losses(model, batch, rng)
        if not math.isfinite(float(losses["loss"].detach())):
            clips = sorted({name_of(index) for index in batch.video_index.tolist()})
            raise UserError(
                f"the loss is {float(losses['loss'].detach())} at step {number + 1} on the clips {', '.join(clips)}: "
                "lower SOLVER.BASE_LR, clip gradients (SOLVER.CLIP_GRAD_L2NORM), or look at these videos; if the run has just "
                "been resumed, its newest checkpoint may be at fault"
            )
        scaler.scale(losses["loss"] * share).backward()
        for name, value in losses.items():
            means[name] = means.get(name, 0.0) + float(value.detach()) * share
    return means


def _clip_gradients(model: nn.Module, plan: FitPlan) -> float:
    """Clip as the plan says; returns the L2 norm over all gradients before clipping."""
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(parameter.grad for parameter in parameters if parameter.grad is not None)
    if plan.clip_grad_value is not None:
        nn.utils.clip_grad_value_(parameters, plan.clip_grad_value)
    elif plan.clip_grad_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, plan.clip_grad_norm, norm)
    return float(norm)
