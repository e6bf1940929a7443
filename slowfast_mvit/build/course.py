"""What goes on around the steps of a training: checkpoints, validations, averaged weights, requests to stop."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from slowfast_mvit.build.bad_videos import BadVideos
from slowfast_mvit.build.length import ends_epoch, num_epochs
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.run import RunFolder
from slowfast_mvit.config.load import dump_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.engine.checkpoint import checkpoint_path, drop_later, drop_old, save_checkpoint
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.ema import WeightAverage
from slowfast_mvit.engine.history import History
from slowfast_mvit.engine.log import Log
from slowfast_mvit.engine.loop import Position
from slowfast_mvit.engine.parallel import bare, is_sharded, own, share_buffers, whole_state
from slowfast_mvit.engine.sharded import save_sharded
from slowfast_mvit.engine.stopping import Stopped, StopRequest
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.metrics import in_words
from slowfast_mvit.evaluation.predictions import write_json

_LOG = logging.getLogger(__name__)

# Gives the metrics of the val split, on rank 0.
Validate = Callable[[nn.Module], Mapping[str, float] | None]


class TrainingCourse:
    """The :class:`loop.Course` of a job.

    Args:
        config, folder, world: of the job.
        model: spread over the ranks.
        optimizer, scaler, average: what a checkpoint holds beside it.
        history: of the epochs before ``start``.
        start: the position that is on the disk already; None at the start of a training.
        source: the checkpoint that holds it.
        label_names: in the order of the model's outputs.
        bad_videos: what this rank could not read.
        validate: see :data:`Validate`; None where there is no such split.
        log: receives validations and epochs.
        stop: notes the signals.

    Attributes:
        newest: the checkpoint of the training as it is; None before there is one. Damaged ones may have later names.
    """

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        world: World,
        model: nn.Module,
        optimizer: Optimizer,
        scaler: torch.amp.GradScaler,
        average: WeightAverage | None,
        *,
        history: History,
        start: Position | None,
        source: Path | None,
        label_names: Sequence[str],
        bad_videos: BadVideos,
        validate: Validate | None,
        log: Log,
        stop: StopRequest,
    ) -> None:
        self.config = config
        self.folder = folder
        self.world = world
        self.model = model
        self.optimizer = optimizer
        self.scaler = scaler
        self.average = average
        self.history = history
        self.label_names = label_names
        self.bad_videos = bad_videos
        self.validate = validate
        self.log = log
        self.stop_request = stop
        self.newest = source
        self._on_disk = None if start is None else (start.epoch, start.step)
        self._saved_at = time.monotonic()

    def after_update(self) -> None:
        """Take the step's weights into the average."""
        if self.average is not None:
            self.average.update(bare(self.model))

    def new_bad_videos(self) -> int:
        """Unreadable videos of this rank since the last step."""
        return self.bad_videos.new()

    def count_bad_videos(self, number: int) -> None:
        """Stop where all ranks together found too many."""
        self.bad_videos.count(number, self.world)

    def wants_checkpoint(self) -> bool:
        """Whether TRAIN.CHECKPOINT_SECONDS are over, by the clock of rank 0."""
        seconds = self.config.TRAIN.CHECKPOINT_SECONDS
        return self.world.is_main and seconds > 0 and time.monotonic() - self._saved_at >= seconds

    def wants_stop(self) -> bool:
        """Whether a signal has come."""
        return self.stop_request.number != 0

    def stop(self, position: Position) -> None:
        """Save, and end the run."""
        number = max(self.world.everyones(self.stop_request.number))
        self.save(position)
        raise Stopped(number, f"{self._path(position)} is written; start the same command again to go on from there")

    def save(self, position: Position) -> None:
        """Write a checkpoint of this position, unless it is there already.

        Raises:
            UserError: on all ranks: the weights are ruined, or a rank cannot write.
        """
        if self._on_disk == (position.epoch, position.step):
            return
        self._agree(lambda: check_weights(bare(self.model), position))
        if is_sharded(self.model):
            save_sharded(self._path(position), self._content(position), self.world)
        else:
            self._agree(lambda: self._save_whole(position))
        self._on_disk, self._saved_at = (position.epoch, position.step), time.monotonic()
        self.newest = self._path(position)
        if self.world.is_main:
            drop_later(self.newest, self.config.TASK)
        self._drop_old()

    def _save_whole(self, position: Position) -> None:
        if self.world.is_main:
            save_checkpoint(self._path(position), self._content(position))

    def _agree(self, work: Callable[[], None]) -> None:
        """Do this rank's work; where one rank raises a UserError, all do."""
        problem = ""
        try:
            work()
        except UserError as error:
            problem = str(error)
        problems = [problem for problem in self.world.everyones(problem) if problem]
        if problems:
            raise UserError(problems[0])

    def after_epoch(self, position: Position, means: dict[str, float]) -> None:
        """Checkpoint and validate, in this order, so that a validation that is cut off costs nothing but itself."""
        epoch, train = position.epoch + 1, self.config.TRAIN
        last = epoch == num_epochs(self.config, position.steps_per_epoch)
        validates = self.validate is not None and (last or epoch % train.EVAL_PERIOD == 0)
        if not self.history.is_trained(epoch):
            self.history.add(epoch, means)
            self.log.write("epoch", epoch=epoch, **means)
        if last or validates or epoch % train.CHECKPOINT_PERIOD == 0:
            self.save(position)
        self.bad_videos.write(self.world, self.folder.unreadable)
        if validates and not self.history.is_validated(epoch):
            self._validate(epoch)
        if self.world.is_main:
            self.history.write(self.folder.epochs)
        self._drop_old()

    def _validate(self, epoch: int) -> None:
        assert self.validate is not None
        self.world.at(f"the validation of epoch {epoch}")
        metrics = self.world.mains(self.validate(self._to_validate()))
        assert metrics is not None
        self.history.validated(epoch, metrics)
        self.log.write("val", epoch=epoch, **metrics)
        if not self.world.is_main:
            return
        _LOG.info("epoch %d: validation %s", epoch, in_words(metrics))
        best = self.history.best()
        for checkpoint in self._best_paths():
            if best and checkpoint.exists():
                write_json({"epoch": best[0], best[1]: best[2], "checkpoint": checkpoint.name}, self.folder.best)

    def _to_validate(self) -> nn.Module:
        """The network that is validated. With FSDP a whole copy on each rank, put together for this validation.

        The ranks have their own numbers of videos, and a pass of a network in parts would wait for the passes of others. Even
        the largest MViT takes 2.7 GB so.
        """
        model = self.average.model if self.average else bare(self.model)
        if not is_sharded(model):
            share_buffers(model, self.world)
            return model
        with torch.device("meta"):  # shapes alone
            whole = build_model(self.config)
        whole.load_state_dict(whole_state(model), assign=True)
        return whole

    def _drop_old(self) -> None:
        if self.world.is_main:
            spare = [*self._best_paths(), *([self.newest] if self.newest else [])]
            drop_old(self.folder.checkpoints, self.config.TRAIN.KEEP_CHECKPOINTS, self.config.TASK, spare=spare)

    def _best_paths(self) -> list[Path]:
        """Where the checkpoint of the best epoch may be: an epoch before this run may have been written in the other way."""
        best, folder = self.history.best(), self.folder.checkpoints
        return [checkpoint_path(folder, best[0] - 1, self.config.TASK, sharded=way) for way in (False, True) if best]

    def _path(self, position: Position) -> Path:
        whole = ends_epoch(self.config, position)
        done, step = (position.epoch, 0) if whole else (position.epoch - 1, position.step)
        sharded = is_sharded(self.model)
        return checkpoint_path(self.folder.checkpoints, done, self.config.TASK, step=step, sharded=sharded)

    def _content(self, position: Position) -> dict[str, Any]:
        whole = ends_epoch(self.config, position)
        content = {
            "epoch": position.epoch if whole else position.epoch - 1,
            "model_state": bare(self.model).state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "cfg": dump_config(self.config),
            "label_names": list(self.label_names),
            "position": {**asdict(position), "recent_losses": list(position.recent_losses)},
            "history": self.history.as_list(),
        }
        if self.average is not None:
            content["ema_state"] = self.average.model.state_dict()
        if self.scaler.is_enabled():
            content["scaler_state"] = self.scaler.state_dict()
        return content


def check_weights(model: nn.Module, position: Position) -> None:
    """A ruined model (its weights, or the statistics of batch normalisation) must not be gone on from.

    With FSDP a rank looks at its parts.
    """
    if not all(torch.isfinite(own(tensor)).all() for tensor in model.state_dict().values()):
        raise UserError(
            f"weights are no longer finite after step {position.step} of epoch {position.epoch + 1}: lower SOLVER.BASE_LR or "
            "clip gradients (SOLVER.CLIP_GRAD_L2NORM); the last checkpoint is intact"
        )
