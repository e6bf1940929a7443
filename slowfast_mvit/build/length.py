"""How long a training is: SOLVER.MAX_EPOCH epochs, or SOLVER.MAX_STEPS optimizer steps, the last of their epochs cut short."""

from slowfast_mvit.config.schema import Config
from slowfast_mvit.engine.loop import Position


def num_epochs(config: Config, steps_per_epoch: int) -> int:
    """Epochs of a training, the one that is cut short among them."""
    steps = config.SOLVER.MAX_STEPS
    return -(-steps // steps_per_epoch) if steps else config.SOLVER.MAX_EPOCH


def ends_epoch(config: Config, position: Position) -> bool:
    """Whether an epoch is over at a position: all of its steps are done, or all of the training."""
    return position.step == position.steps_per_epoch or 0 < config.SOLVER.MAX_STEPS <= position.steps_done


def is_over(config: Config, position: Position) -> bool:
    """Whether a training is over at a position."""
    last = position.epoch + 1 >= num_epochs(config, position.steps_per_epoch)
    return position.epoch >= num_epochs(config, position.steps_per_epoch) or (last and ends_epoch(config, position))
