"""Stopping a training whose loss explodes (TRAIN.KILL_LOSS_EXPLOSION_FACTOR)."""

from collections import deque
from collections.abc import Iterable

from slowfast_mvit.errors import UserError

_BEFORE = 5  # losses that a new one is compared with
_FIRST = 7  # the official meter looks from its seventh loss on


class LossWatch:
    """Compares the loss of each step with the mean of the five before it, from the seventh step of an epoch on.

    As PySlowFast's TrainMeter does, which however looks only where LOG_PERIOD is over 6, and when the step is made already.

    Args:
        factor: the loss may grow by this; 0: by anything.
        losses: the last ones of the epoch so far, where a run goes on inside it.
    """

    def __init__(self, factor: float, losses: Iterable[float] = ()) -> None:
        self.factor = factor
        self.losses: deque[float] = deque(losses, maxlen=_FIRST)

    def start_epoch(self) -> None:
        """Forget the losses of the epoch before, as PySlowFast does."""
        self.losses.clear()

    def add(self, loss: float, step: int) -> None:
        """Take the loss of a step, which counts from 1.

        Raises:
            UserError: the loss explodes.
        """
        self.losses.append(loss)
        if not self.factor or len(self.losses) < _FIRST:
            return
        before = list(self.losses)[-1 - _BEFORE : -1]
        if loss > self.factor * sum(before) / _BEFORE:
            raise UserError(
                f"the loss explodes at step {step}: {loss:.4g} after {', '.join(f'{value:.4g}' for value in before)}, which is "
                f"over TRAIN.KILL_LOSS_EXPLOSION_FACTOR {self.factor:g} times their mean: lower SOLVER.BASE_LR, clip gradients "
                "(SOLVER.CLIP_GRAD_L2NORM), or raise the factor; the weights are those of the step before"
            )
