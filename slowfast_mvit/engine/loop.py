"""The one loop: ``fit`` for training, ``evaluate`` for testing. It names no task and no metric."""

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

from slowfast_mvit.batches import BatchT
from slowfast_mvit.engine.clock import Clock
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.explosion import LossWatch
from slowfast_mvit.engine.huge_pages import mend_huge_pages
from slowfast_mvit.engine.log import Log, ProgressBar
from slowfast_mvit.engine.memory import out_of_memory
from slowfast_mvit.engine.optimizer import set_learning_rate
from slowfast_mvit.engine.step import (
    FitPlan,
    Mine,
    Ours,
    Trainable,
    gradients_of_step,
    together,
    update_weights,
)
from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.schedule import Schedule

_LOG = logging.getLogger(__name__)


Viewed = TypeVar("Viewed")
Given = TypeVar("Given", contravariant=True)
Predicted = TypeVar("Predicted")
Scores = TypeVar("Scores", contravariant=True)


class Evaluator(Protocol[Given, Scores]):
    """What testing needs of an evaluator: it takes batches with what a model says of them."""

    def add(self, batch: Given, scores: Scores, /) -> None:
        """Count a batch."""


@dataclass(frozen=True)
class Position:
    """Where a training stands between two steps, and what it remembers of the steps before. Checkpoints hold it.

    Attributes:
        epoch: 0-based number of the epoch of the coming step.
        step: steps of that epoch that are done; at the end of an epoch all of them, and its number has not grown yet.
        steps_per_epoch: of the run that this is a position of.
        skipped: steps in a row, up to here, that were left out.
        recent_losses: what :class:`LossWatch` compares with.
        sums: what the means of the epoch are made of: numbers of ``clips`` and of what is ``scored`` in them, ``seconds``, and
            each loss times what is scored. Without ``scored`` it is clips.
    """

    epoch: int = 0
    step: int = 0
    steps_per_epoch: int = 1
    skipped: int = 0
    recent_losses: tuple[float, ...] = ()
    sums: dict[str, float] = field(default_factory=dict)

    @property
    def steps_done(self) -> int:
        """Steps of the training up to here."""
        return self.epoch * self.steps_per_epoch + self.step


class Course(Protocol):
    """What goes on around the steps of a training. Every rank has one; what is asked at a step is asked of all of them."""

    def after_update(self) -> None:
        """The weights of a step are there."""

    def new_bad_videos(self) -> int:
        """How many videos this rank has found unreadable since it was last asked."""

    def count_bad_videos(self, number: int) -> None:
        """So many were found on all ranks; raises UserError if they are too many."""

    def wants_checkpoint(self) -> bool:
        """Whether this rank wants a checkpoint now; one that does is enough."""

    def wants_stop(self) -> bool:
        """Whether this rank wants the training to stop; one that does is enough."""

    def save(self, position: Position) -> None:
        """Write a checkpoint inside an epoch."""

    def stop(self, position: Position) -> None:
        """Write a checkpoint and raise."""

    def after_epoch(self, position: Position, means: dict[str, float]) -> None:
        """An epoch is over; ``means`` are its losses, ``lr``, ``seconds`` and ``clips_per_second``.

        A training that starts from the end of an epoch calls this first.
        """


def fit(
    model: nn.Module,
    task: Trainable[BatchT],
    passes: Iterable[BatchT | None],
    optimizer: Optimizer,
    schedule: Schedule,
    plan: FitPlan,
    *,
    device: torch.device,
    log: Log,
    name_of: Callable[[int], str],
    course: Course,
    world: World = World(),  # noqa: B008 - frozen
    blank: BatchT | None = None,
    scaler: torch.amp.GradScaler | None = None,
    start: Position = Position(),
) -> None:
    """Train from ``start`` through the last epoch.

    A step is the same whatever the number of ranks that share its clips: every clip weighs the same, gradients are summed
    over all passes and ranks, and sent once.

    Args:
        model: on ``device``, wrapped for several ranks.
        task: computes the losses.
        passes: what this rank does in the forward passes of all steps in order, beginning at ``start``; None where it has no
            clip.
        optimizer: its learning rate is set before each step.
        schedule: learning rate at a fractional epoch, or where ``plan`` counts steps at a number of steps.
        plan: see :class:`FitPlan`.
        device: where batches go.
        log: receives a line every ``log_period`` steps.
        name_of: name of a video from its index, for messages.
        course: see :class:`Course`.
        world: the ranks that train together.
        blank: a batch that stands in where this rank has no clip and others do; it weighs nothing. Needed for several ranks.
        scaler: of the loss, for float16. A step whose scaled gradients overflow is left out, and the scale halved.
        start: where to begin.

    Raises:
        UserError: ``plan.max_skipped`` steps in a row were not finite, which names the clips, the loss explodes, or the
            device has too little memory. Such a step has changed no weight.
    """
    scaler = scaler or torch.amp.GradScaler(device.type, enabled=False)
    clock = Clock(start.sums.get("seconds", 0.0))
    watch = LossWatch(plan.explosion_factor, start.recent_losses)
    stream = clock.waiting(passes)
    total, skipped, sums = plan.total_steps, start.skipped, dict(start.sums)
    position = start
    for epoch in range(start.epoch, plan.num_epochs):
        first, end = start.step if epoch == start.epoch else 0, plan.steps_in(epoch)
        if not first:
            watch.start_epoch()
            clock.start_epoch()
            sums = {}
        bar = ProgressBar(
            f"epoch {epoch + 1}/{plan.num_epochs}",
            end,
            first,
            plain_every=plan.log_period,
            shown=world.is_main,
        )
        model.train()
        for step in range(first, end):
            number = epoch * plan.steps_per_epoch + step
            rate = schedule(plan.moment(epoch, step))
            set_learning_rate(optimizer, rate)
            world.at(f"step {number + 1}")
            with out_of_memory(device):
                mine = gradients_of_step(model, task, stream, plan, number, device, scaler, world, blank)
                ours = together(
                    world,
                    mine,
                    num_bad=course.new_bad_videos(),
                    checkpoint=course.wants_checkpoint(),
                    stop=course.wants_stop(),
                    waited=clock.waited_since(),
                )
            try:
                course.count_bad_videos(ours.num_bad)
            except UserError:
                if position != start:  # the weights are good: no step that was made need be lost
                    course.save(position)
                raise
            if ours.finite:
                watch.add(ours.means["loss"], number + 1)
            with out_of_memory(device):
                norm = update_weights(model, optimizer, scaler, plan, ours)
            mend_huge_pages()
            if ours.finite and math.isfinite(norm):
                skipped = 0
                course.after_update()
            else:
                # Not where nothing can be scored: unreadable videos have their own limit, clips without boxes are no fault.
                skipped += ours.num_scored > 0
                _say_skipped(world, mine, ours, norm, number, skipped, plan, log, name_of, scaled=scaler.is_enabled())
            for name, value in ours.means.items() if ours.finite else ():
                sums[name] = sums.get(name, 0.0) + value * ours.num_scored
            sums["scored"] = sums.get("scored", sums.get("clips", 0.0)) + (ours.num_scored if ours.finite else 0)
            sums["clips"] = sums.get("clips", 0.0) + (ours.num_clips if ours.finite else 0)
            sums["seconds"] = clock.epoch_seconds
            clock.count(ours.num_clips, ours.waited)
            bar.advance(**{name: f"{value:.4g}" for name, value in ours.means.items()}, wait=f"{clock.wait_share:.0%}")
            if (step + 1) % plan.log_period == 0 or step + 1 == end:
                log.write(
                    "train",
                    epoch=epoch + 1,
                    step=number + 1,
                    steps=total,
                    lr=rate,
                    grad_norm=norm if math.isfinite(norm) else None,
                    **clock.readings(total - number - 1),
                    **_memory(device),
                    **ours.means,
                )
                clock.restart()
            position = Position(epoch, step + 1, plan.steps_per_epoch, skipped, tuple(watch.losses), dict(sums))
            if ours.stop:
                bar.close()
                course.stop(position)
            if ours.checkpoint and not skipped and step + 1 < end:
                course.save(position)
        bar.close()
        # One may be bad luck; after more, the weights would be saved in ruins. Where a signal has had them saved, they are.
        if skipped > 1 and not scaler.is_enabled() and first < end:
            raise UserError(
                f"the last {skipped} steps, up to the end of epoch {epoch + 1}, were left out because something was not "
                "finite: lower SOLVER.BASE_LR or clip gradients (SOLVER.CLIP_GRAD_L2NORM); the last checkpoint is intact"
            )
        course.after_epoch(position, _means(sums, schedule(plan.moment(epoch, end - 1))))
        clock.restart()


@torch.inference_mode()
def evaluate(
    predict: Callable[[Viewed], Predicted],
    batches: Iterable[Viewed],
    evaluator: Evaluator[Viewed, Predicted],
    bar: ProgressBar,
) -> None:
    """Give every batch's prediction to the evaluator. ``predict`` runs a model that its owner has put in eval mode."""
    for batch in batches:
        evaluator.add(batch, predict(batch))
        mend_huge_pages()
        bar.advance()


def _say_skipped(
    world: World,
    mine: Mine,
    ours: Ours,
    norm: float,
    number: int,
    skipped: int,
    plan: FitPlan,
    log: Log,
    name_of: Callable[[int], str],
    *,
    scaled: bool,
) -> None:
    """Say why a step was left out; raise if it is one too many."""
    names = sorted({name_of(index) for indices in world.everyones(mine.bad_losses) for index in indices})
    if not ours.num_clips:
        reason = "none of its videos could be read"
    elif not ours.num_scored:
        reason = "there is no box in its clips"
    elif names:
        reason = f"the loss is not finite on the clips {', '.join(names)}"
    else:
        reason = f"the gradient is {norm}, while the loss is finite"
    searches_scale = scaled and not names and skipped < plan.max_skipped  # which float16 does now and then
    if world.is_main and not searches_scale:
        _LOG.warning("step %d is left out: %s", number + 1, reason)
    log.write("skipped", step=number + 1, reason=reason, clips=names)
    if skipped >= max(plan.max_skipped, 1):
        left_out = (
            "1 step was left out, it is" if skipped == 1 else f"{skipped} steps in a row were left out, the last is"
        )
        coarser = "train in MODEL.PRECISION bfloat16 or float32, " if scaled else ""
        videos = ", or look at these videos" if names else ""
        raise UserError(
            f"{left_out} {number + 1}, where {reason}: {coarser}lower SOLVER.BASE_LR, clip gradients "
            f"(SOLVER.CLIP_GRAD_L2NORM){videos}; the weights are those of the step before, and if the run has just been "
            "resumed, its newest checkpoint may be at fault"
        )


def _means(sums: dict[str, float], rate: float) -> dict[str, float]:
    """A row of an epoch from its sums."""
    clips, seconds = sums["clips"], sums["seconds"]
    scored = max(sums.get("scored", clips), 1)
    means = {name: value / scored for name, value in sums.items() if name not in ("clips", "scored", "seconds")}
    return {**means, "lr": rate, "seconds": seconds, "clips_per_second": clips / max(seconds, 1e-9)}


def _memory(device: torch.device) -> dict[str, float]:
    """The device's peak of memory, for a line of the log."""
    if device.type != "cuda":
        return {}
    return {"gpu_memory_mib": round(torch.cuda.max_memory_allocated(device) / 2**20)}
