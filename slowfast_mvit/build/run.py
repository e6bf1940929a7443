"""What training and testing of one run share: the device, the folder, the files in it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from slowfast_mvit.build.precision import DTYPES
from slowfast_mvit.config.schema import Config
from slowfast_mvit.engine.checkpoint import read_newest
from slowfast_mvit.errors import UserError
from slowfast_mvit.tasks.classify import Classification, MixSettings
from slowfast_mvit.tasks.multilabel import MultiLabel
from slowfast_mvit.weights.load import read_source

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """Files of a run, under OUTPUT_DIR."""

    root: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.root / "checkpoints"

    @property
    def predictions(self) -> Path:
        """Folder of the prediction files."""
        return self.root / "predictions"

    @property
    def log(self) -> Path:
        """JSON lines of training."""
        return self.root / "log.jsonl"

    @property
    def epochs(self) -> Path:
        """A row for each finished epoch of the training."""
        return self.root / "epochs.csv"

    @property
    def best(self) -> Path:
        """Which epoch has the best validation, and its checkpoint."""
        return self.root / "best.json"

    @property
    def unreadable(self) -> Path:
        """Training videos that could not be read."""
        return self.root / "unreadable_train.csv"

    @property
    def metrics(self) -> Path:
        """Metrics of the test."""
        return self.root / "metrics.json"

    @property
    def labels(self) -> Path:
        """Names of the labels."""
        return self.root / "labels.json"

    @property
    def config(self) -> Path:
        """The config that trained."""
        return self.root / "config.yaml"

    @property
    def test_config(self) -> Path:
        """The config of a job that only tested."""
        return self.root / "test_config.yaml"


def choose_device(num_gpus: int, local_rank: int = 0) -> torch.device:
    """The CPU for NUM_GPUS 0, otherwise the GPU of this process's number on its machine.

    Raises:
        UserError: more GPUs are asked for than are there.
    """
    if num_gpus == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(f"NUM_GPUS is {num_gpus}, but no CUDA device is visible: set NUM_GPUS 0 to run on the CPU")
    visible = torch.cuda.device_count()
    if visible < num_gpus:
        there = f"{visible} CUDA device{'s are' if visible > 1 else ' is'} visible"
        raise UserError(f"NUM_GPUS is {num_gpus}, and {there}: set NUM_GPUS {visible}")
    return torch.device("cuda", local_rank) if num_gpus > 1 else torch.device("cuda")


def classification_of(config: Config, precision: str) -> Classification:
    """The task: one label per video, or several with DATA.MULTI_LABEL."""
    mixup = config.MIXUP
    task = MultiLabel if config.DATA.MULTI_LABEL else Classification
    return task(
        num_classes=config.MODEL.NUM_CLASSES,
        mean=config.DATA.MEAN,
        std=config.DATA.STD,
        mix=MixSettings(mixup.ALPHA, mixup.CUTMIX_ALPHA, mixup.PROB, mixup.SWITCH_PROB, mixup.LABEL_SMOOTH_VALUE)
        if mixup.ENABLE
        else None,
        erase_mode=config.AUG.RE_MODE,
        autocast_dtype=DTYPES[precision],
        loss=config.MODEL.LOSS_FUNC,
        activation=config.MODEL.HEAD_ACT,
        images=config.MODEL.ARCH == "mvit" and len(config.MVIT.PATCH_KERNEL) == 2,
    )


def weights_to_test(config: Config, folder: RunFolder, trained: Path | None) -> tuple[str, dict[str, Any]] | None:
    """File or URL of the weights that a test uses, and their content; None where there are none.

    TEST.CHECKPOINT_FILE_PATH, else what was just trained, else the run's newest, else TRAIN.CHECKPOINT_FILE_PATH. Where a
    checkpoint holds averaged weights (SOLVER.EMA_DECAY), they stand for its last ones unless TEST.USE_EMA is False.
    """
    found = _checkpoint_to_test(config, folder, trained)
    if found is None or not isinstance(found[1].get("ema_state"), Mapping):
        return found
    source, content = found
    if not config.TEST.USE_EMA:
        _LOG.info("%s also holds averaged weights, which TEST.USE_EMA False leaves aside", source)
        return found
    _LOG.info("taking the averaged weights of %s (TEST.USE_EMA False takes its last ones)", source)
    return source, content | {"model_state": content["ema_state"]}


def _checkpoint_to_test(config: Config, folder: RunFolder, trained: Path | None) -> tuple[str, dict[str, Any]] | None:
    given = config.TEST.CHECKPOINT_FILE_PATH
    source = given or (str(trained) if trained is not None else "")
    if not source:
        newest = read_newest(folder.checkpoints, config.TASK)
        if newest is not None:
            return str(newest[0]), newest[1]
        source = config.TRAIN.CHECKPOINT_FILE_PATH
    return (source, read_source(source)) if source else None
