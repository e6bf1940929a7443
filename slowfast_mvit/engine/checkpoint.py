"""Checkpoints: written whole or not at all, and found again.

A file holds PySlowFast's container: ``epoch`` (0-based, the last one finished), ``model_state``, ``optimizer_state``,
``cfg`` (YAML text), ``scaler_state`` with float16, and ours: ``label_names``, ``ema_state`` with SOLVER.EMA_DECAY.
"""

import logging
import os
from pathlib import Path
from typing import Any

import torch

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.containers import unwrap
from slowfast_mvit.weights.files import read_weights

_LOG = logging.getLogger(__name__)
_PREFIX, _SUFFIX = "checkpoint_epoch_", ".pyth"


def checkpoint_path(folder: Path, epoch: int, task: str = "") -> Path:
    """File of the checkpoint after ``epoch`` (0-based); names count from 1 and begin with the task, as PySlowFast's."""
    return folder / f"{_prefix(task)}{epoch + 1:05d}{_SUFFIX}"


def list_checkpoints(folder: Path, task: str = "") -> list[Path]:
    """Checkpoints of a run, oldest first; those of another task are not among them."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if path.name.startswith(_prefix(task)) and path.name.endswith(_SUFFIX)
    )


def _prefix(task: str) -> str:
    return f"{task}_{_PREFIX}" if task else _PREFIX


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write under a temporary name, sync, rename: a crash leaves the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_newest(folder: Path, task: str = "") -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of a run that can be read, or None where there is none; damaged ones are passed with a warning.

    Raises:
        UserError: there are checkpoints, and every one is damaged.
    """
    paths = list_checkpoints(folder, task)
    for path in reversed(paths):
        try:
            content = read_weights(path)
            unwrap(content, str(path))
            return path, content
        except UserError as error:
            _LOG.warning("%s; trying the checkpoint before it", error)
    if paths:
        raise UserError(f"none of the {len(paths)} checkpoints in {folder} can be read: mend or move them")
    return None
