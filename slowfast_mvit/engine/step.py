"""One step of a training on all its ranks: the gradients of each, what they tell each other, the update."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from slowfast_mvit.batches import AvaBatch, BatchT, ClipBatch
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.parallel import communicating, gradient_norm
from slowfast_mvit.ops.randomness import step_rng, step_seed
from slowfast_mvit.pictures import DetectionBatch

GivenBatch = TypeVar("GivenBatch", ClipBatch, AvaBatch, DetectionBatch, contravariant=True)


class Trainable(Protocol[GivenBatch]):
    """What training needs of a task."""

    def losses(self, model: nn.Module, batch: GivenBatch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Means over what the batch has ``num_scored`` of; ``loss`` is minimised, the rest is shown."""


@dataclass(frozen=True)
class FitPlan:
    """The frame of a training: how far, in which steps.

    Attributes:
        num_epochs, steps_per_epoch: length.
        num_steps: of the whole training, where it is measured in steps: the last epoch is cut short. 0: all of its epochs.
        passes_per_step, clips_per_step: forward passes that make a step, and the clips in all of them, of all ranks.
        seed: of everything random inside a step.
        clip_grad_value, clip_grad_norm: gradient clipping by value or by L2 norm; the value has priority.
        log_period: steps between lines of the log.
        explosion_factor: stop when the loss grows by more than this, see :class:`LossWatch`; 0: never.
        max_skipped: steps in a row that may be left out because something is not finite. float16 needs some: from its first
            scale of 2**16, 17 halvings end below 1.
    """

    num_epochs: int
    steps_per_epoch: int
    passes_per_step: int
    clips_per_step: int
    seed: int = 0
    clip_grad_value: float | None = None
    clip_grad_norm: float | None = None
    log_period: int = 10
    explosion_factor: float = 0.0
    max_skipped: int = 20
    num_steps: int = 0

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.num_steps or self.num_epochs * self.steps_per_epoch

    def steps_in(self, epoch: int) -> int:
        """Steps of an epoch (from 0): fewer in the last one of a training that is measured in steps."""
        return max(0, min(self.steps_per_epoch, self.total_steps - epoch * self.steps_per_epoch))

    def moment(self, epoch: int, step: int) -> float:
        """The time of a step (from 0) for the learning rate: in steps where the training is measured in them, or in epochs."""
        return float(epoch * self.steps_per_epoch + step) if self.num_steps else epoch + step / self.steps_per_epoch


@dataclass(frozen=True)
class Mine:
    """What one rank's passes of a step gave: clips, what was scored in them (boxes, or the clips themselves), sums over that,
    and the videos of losses that are not finite."""

    num_clips: int
    num_scored: int
    sums: dict[str, float]
    bad_losses: tuple[int, ...]


@dataclass(frozen=True)
class Ours:
    """What the passes of all ranks gave, and what any of them wants."""

    num_clips: int
    num_scored: int
    means: dict[str, float]
    finite: bool
    num_bad: int
    checkpoint: bool
    stop: bool
    waited: float


def gradients_of_step(
    model: nn.Module,
    task: Trainable[BatchT],
    stream: Iterator[BatchT | None],
    plan: FitPlan,
    number: int,
    device: torch.device,
    scaler: torch.amp.GradScaler,
    world: World,
    blank: BatchT | None,
) -> Mine:
    """Gradients of one step, accumulated over its passes: those of the sum over all that is scored, over ``clips_per_step``."""
    rng = step_rng(plan.seed, number)
    names: tuple[str, ...] = ()
    sums = torch.zeros(())
    passed: list[tuple[BatchT, Tensor]] = []
    num_clips = num_scored = 0
    for index in range(plan.passes_per_step):
        batch = next(stream)
        if batch is None and world.size == 1:
            continue
        clips = blank if batch is None else batch
        assert clips is not None
        clips = clips.to(device)
        # Dropout and drop path are functions of (seed, step, pass, rank). Seeded after the loader, which draws when it starts.
        torch.manual_seed(step_seed(plan.seed, number, index, world.rank))
        counted = 0 if batch is None else batch.num_scored
        with communicating(model, last=index + 1 == plan.passes_per_step):
            losses = task.losses(model, clips, rng)
            # Ranks' gradients are averaged, so each weighs its own by their number.
            scaler.scale(losses["loss"] * (counted * world.size / plan.clips_per_step)).backward()
        names = tuple(losses)
        sums = sums.to(device) + torch.stack([value.detach().float() for value in losses.values()]) * counted
        num_scored += counted
        if batch is not None:
            num_clips += len(batch)
            passed.append((batch, losses["loss"].detach()))
    bad = {index for batch, loss in passed if not torch.isfinite(loss) for index in batch.video_index.tolist()}
    return Mine(
        num_clips, num_scored, dict(zip(names, sums.tolist(), strict=True)) if names else {}, tuple(sorted(bad))
    )


def together(world: World, mine: Mine, *, num_bad: int, checkpoint: bool, stop: bool, waited: float) -> Ours:
    """One message that joins what the ranks have, and what any of them wants."""
    counts = [mine.num_clips, mine.num_scored, bool(mine.bad_losses), num_bad]
    clips, scored, bad_losses, bad_videos, saves, stops, seconds, *sums = world.sum(
        [*counts, checkpoint, stop, waited, *mine.sums.values()]
    )
    means = {name: value / max(scored, 1) for name, value in zip(mine.sums, sums, strict=True)}
    finite = not bad_losses and scored > 0
    return Ours(int(clips), int(scored), means, finite, int(bad_videos), saves > 0, stops > 0, seconds / world.size)


def update_weights(
    model: nn.Module, optimizer: Optimizer, scaler: torch.amp.GradScaler, plan: FitPlan, ours: Ours
) -> float:
    """Make the step, unless something is not finite; returns the L2 norm over all gradients before clipping."""
    if not ours.num_scored:
        optimizer.zero_grad(set_to_none=True)
        return math.nan
    scaler.unscale_(optimizer)
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    # Some videos could not be read, or boxes are scored: the mean is over these.
    if ours.num_scored != plan.clips_per_step:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        torch._foreach_mul_(gradients, plan.clips_per_step / ours.num_scored)
    norm = gradient_norm(parameters)
    size = float(norm)
    if plan.clip_grad_value is not None:
        nn.utils.clip_grad_value_(parameters, plan.clip_grad_value)
    elif plan.clip_grad_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, plan.clip_grad_norm, norm)
    if ours.finite and math.isfinite(size):
        scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return size
