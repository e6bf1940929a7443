"""Learning rate as a pure function of the fractional epoch."""

import math
from collections.abc import Callable, Sequence
from functools import partial

Schedule = Callable[[float], float]


def cosine(epoch: float, *, base: float, end: float, max_epoch: float, offset: float = 0.0) -> float:
    """Half a cosine from ``base`` at ``offset`` to ``end`` at ``max_epoch``; ``base`` where the warm-up is all there is."""
    if max_epoch <= offset:
        return base
    progress = (epoch - offset) / (max_epoch - offset)
    return end + (base - end) * (math.cos(math.pi * progress) + 1.0) * 0.5


def relative_steps(epoch: float, *, base: float, steps: Sequence[float], factors: Sequence[float]) -> float:
    """``base`` times the factor of the interval that ``epoch`` lies in; ``steps`` are where intervals begin."""
    current = max(k for k, step in enumerate(steps) if epoch >= step)
    return base * factors[current]


def with_warmup(schedule: Schedule, *, start: float, epochs: float) -> Schedule:
    """Linear from ``start`` at epoch 0 to the schedule's own value at ``epochs``, the schedule after."""

    def warmed(epoch: float) -> float:
        if epoch >= epochs:
            return schedule(epoch)
        return start + (schedule(epochs) - start) * epoch / epochs

    return warmed


def make_schedule(
    policy: str,
    *,
    base: float,
    max_epoch: float,
    end: float = 0.0,
    warmup_start: float = 0.0,
    warmup_epochs: float = 0.0,
    cosine_after_warmup: bool = False,
    steps: Sequence[float] = (),
    factors: Sequence[float] = (),
) -> Schedule:
    """The schedule of a recipe: ``cosine`` or ``steps_with_relative_lrs``, with linear warm-up."""
    schedule: Schedule
    if policy == "cosine":
        offset = warmup_epochs if cosine_after_warmup else 0.0
        schedule = partial(cosine, base=base, end=end, max_epoch=max_epoch, offset=offset)
    elif policy == "steps_with_relative_lrs":
        schedule = partial(relative_steps, base=base, steps=steps, factors=factors)
    else:
        raise ValueError(f"SOLVER.LR_POLICY is {policy!r}; it must be cosine or steps_with_relative_lrs")
    return with_warmup(schedule, start=warmup_start, epochs=warmup_epochs)
