"""Where a training begins: from fresh weights, from given ones, or where a checkpoint of the same run left it."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from slowfast_mvit.build.length import ends_epoch
from slowfast_mvit.build.run import RunFolder
from slowfast_mvit.config.keys import get_value
from slowfast_mvit.config.load import load_config_text
from slowfast_mvit.config.schema import Config, all_keys
from slowfast_mvit.engine.checkpoint import list_checkpoints, read_newest
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.ema import WeightAverage
from slowfast_mvit.engine.history import History, read_metrics
from slowfast_mvit.engine.log import ALIKE
from slowfast_mvit.engine.loop import Position
from slowfast_mvit.engine.optimizer import restore_optimizer
from slowfast_mvit.engine.parallel import will_shard
from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.containers import unwrap
from slowfast_mvit.weights.load import load_weights, read_source
from slowfast_mvit.weights.report import log_report
from slowfast_mvit.weights.sharded import is_sharded_folder

_LOG = logging.getLogger(__name__)

# Settings that make a training what it is; the others may differ between a run and its continuation.
_TRAINING_KEYS = (
    "MODEL.", "MVIT.", "SOLVER.", "AUG.", "MIXUP.", "RNG_SEED", "TRAIN.DATASET", "TRAIN.BATCH_SIZE", "TRAIN.ACCUMULATE_STEPS",
    "DATA.NUM_FRAMES", "DATA.SAMPLING_RATE", "DATA.TARGET_FPS", "DATA.TRAIN_", "DATA.INV_UNIFORM_SAMPLE", "DATA.RANDOM_FLIP",
    "DATA.MEAN", "DATA.STD", "DATA.MULTI_LABEL", "DATA.IN22", "DETECTION.", "AVA.TRAIN_", "AVA.DETECTION_SCORE_THRESH",
    "AVA.IMG_PROC_BACKEND", "AVA.FIRST_SECOND", "RCNN.", "COCO.TRAIN_", "COCO.MAX_SIDE", "COCO.CROP_", "COCO.JITTER_",
)  # fmt: skip


@dataclass(frozen=True)
class Start:
    """What a training begins with.

    Attributes:
        content: of the checkpoint that is gone on from; empty for a new training.
        source: that checkpoint, or "".
        position: where the checkpoint left off, in steps of its own run; see :func:`position_in`.
        history: of the epochs before.
        parts: folder of the checkpoint, where the ranks read the optimizer's tensors from it, which ``content`` lacks.
    """

    content: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    position: Position = field(default_factory=Position)
    history: History = field(default_factory=History)
    parts: Path | None = None

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels that the checkpoint was trained on."""
        return tuple(self.content.get("label_names", ()))


def load_start(config: Config, folder: RunFolder, model: nn.Module, world: World) -> Start:
    """Load the weights to start from into ``model``, which is not yet spread over the ranks.

    Raises:
        UserError: among others, the ranks do not see the same checkpoints, or TRAIN.AUTO_RESUME is False and there are some.
    """
    paths = world.everyones([str(path) for path in list_checkpoints(folder.checkpoints, config.TASK)])
    if paths.count(paths[0]) < len(paths):
        raise UserError(
            f"not all machines see the same checkpoints in {folder.checkpoints}: set OUTPUT_DIR to a folder that they share"
        )
    if paths[0] and not config.TRAIN.AUTO_RESUME:
        raise UserError(
            f"{folder.checkpoints} holds another run's checkpoints: set TRAIN.AUTO_RESUME True to go on with it, "
            "or another OUTPUT_DIR"
        )
    in_parts = will_shard(world, config.DISTRIBUTED.STRATEGY)
    newest = read_newest(folder.checkpoints, config.TASK, moments=not in_parts)
    read = world.everyones(str(newest[0]) if newest else "")
    if read.count(read[0]) < len(read):
        unlike = next(rank for rank, path in enumerate(read) if path != read[0])
        raise UserError(
            f"rank 0 has read {read[0]} and rank {unlike} {read[unlike]}, since one of them cannot read the newest checkpoint: "
            "see its warning, and start the same command again"
        )
    if newest is None:
        _load_given(config, model)
        return Start()
    path, content = newest
    try:
        report = load_weights(model, content, strict=True, name=str(path))
    except UserError as error:
        raise UserError(
            f"OUTPUT_DIR {folder.root} holds another model's run, use another OUTPUT_DIR: {error}"
        ) from error
    if report.resized:
        log_report(report)
    changed = changed_keys(content["cfg"], config) if "cfg" in content else []
    if changed:
        _LOG.warning(
            "settings differ from those that %s was trained with (use another OUTPUT_DIR to start afresh): %s",
            path,
            "; ".join(changed),
            extra=ALIKE,
        )
    position = _position(content)
    if world.is_main:
        _LOG.info("going on after %s from %s", in_words(position), path)
    history = History(content.get("history", ()))
    if ends_epoch(config, position):  # only then are the metrics of these weights
        metrics = read_metrics(folder.epochs, position.epoch + 1)
        if metrics:
            history.validated(position.epoch + 1, metrics)
    else:  # an epoch that was the last, cut short, and is gone on with
        history.forget(position.epoch + 1)
    return Start(content, str(path), position, history, path if in_parts and is_sharded_folder(path) else None)


def in_words(position: Position) -> str:
    """What is done: ``epoch 2``, or ``step 7 of epoch 3``."""
    if position.step == position.steps_per_epoch:
        return f"epoch {position.epoch + 1}"
    return f"step {position.step} of epoch {position.epoch + 1}" if position.step else f"epoch {position.epoch}"


def _position(content: Mapping[str, Any]) -> Position:
    """Where a checkpoint stands; PySlowFast's stand between epochs."""
    stored = content.get("position")
    if stored is None:
        return Position(epoch=int(content.get("epoch", -1)) + 1)
    return Position(**{**stored, "recent_losses": tuple(stored["recent_losses"])})


def position_in(position: Position, steps_per_epoch: int) -> Position:
    """The same place in a run whose epochs have ``steps_per_epoch`` steps: the list or the global batch may have changed.

    The step is the last one that is not past the place, so that a little may be trained twice and nothing is left out.
    """
    if position.steps_per_epoch == steps_per_epoch or not position.step:
        return Position(**{**vars(position), "steps_per_epoch": steps_per_epoch})
    step = position.step * steps_per_epoch // position.steps_per_epoch
    if position.step < position.steps_per_epoch:
        _LOG.warning(
            "epochs have %d steps now and had %d: going on from step %d of this one",
            steps_per_epoch,
            position.steps_per_epoch,
            step,
            extra=ALIKE,
        )
    return Position(**{**vars(position), "step": step, "steps_per_epoch": steps_per_epoch})


def restore_training(start: Start, optimizer: Optimizer, scaler: torch.amp.GradScaler) -> None:
    """Give optimizer and scaler what the checkpoint holds for them. The optimizer's parameters are on their device."""
    if "optimizer_state" in start.content:
        restore_optimizer(optimizer, start.content["optimizer_state"], parts=start.parts)
    if scaler.is_enabled() and "scaler_state" in start.content:
        scaler.load_state_dict(start.content["scaler_state"])


def average_of(config: Config, model: nn.Module, start: Start) -> WeightAverage | None:
    """The average of the weights by SOLVER.EMA_DECAY, as the checkpoint left it, else begun with the model's weights."""
    if not config.SOLVER.EMA_DECAY:
        return None
    average = WeightAverage(model, config.SOLVER.EMA_DECAY)
    if start.content.get("ema_state") is not None:
        state = {"model_state": start.content["ema_state"]}
        load_weights(average.model, state, strict=True, name=f"ema_state of {start.source}")
    elif start.source:
        _LOG.warning(
            "%s holds no averaged weights (ema_state): the average begins with its last weights",
            start.source,
            extra=ALIKE,
        )
    return average


def _load_given(config: Config, model: nn.Module) -> None:
    """The weights of TRAIN.CHECKPOINT_FILE_PATH, if it is set."""
    source = config.TRAIN.CHECKPOINT_FILE_PATH
    if not source:
        return
    content = read_source(source)
    state = _clear_names(unwrap(content, source), config.TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN)
    start = {"model_state": state, "metadata": content.get("metadata")}
    kernels = "repeat" if config.TRAIN.CHECKPOINT_IN_INIT else "centre"
    inflation = "mean" if config.TRAIN.CHECKPOINT_INFLATE else kernels
    log_report(load_weights(model, start, inflation=inflation, name=source))
    _LOG.info("starting from the weights of %s", source)


def changed_keys(stored: str, config: Config) -> list[str]:
    """Settings of the training that differ from those of a checkpoint's ``cfg``, each as ``KEY old -> new``."""
    try:
        before = load_config_text(stored, "the checkpoint's config")
    except UserError:  # of another version or of PySlowFast: there is nothing to compare with
        return []
    return [
        f"{name} {get_value(before, name)} -> {get_value(config, name)}"
        for name in all_keys()
        if name.startswith(_TRAINING_KEYS) and get_value(before, name) != get_value(config, name)
    ]


def _clear_names(state: dict[str, Any], patterns: Iterable[str]) -> dict[str, Any]:
    """The state dict with the first occurrence of each text taken out of its names."""
    for pattern in patterns:
        state = {name.replace(pattern, "", 1): tensor for name, tensor in state.items()}
    return state
