"""Checkpoints: written whole or not at all, found again, and thrown away when newer ones stand in their place.

A file holds PySlowFast's container: ``epoch`` (0-based, the last one finished), ``model_state``, ``optimizer_state``,
``cfg`` (YAML text), ``scaler_state`` with float16, and ours: ``label_names``, ``ema_state`` with SOLVER.EMA_DECAY, ``position``
(of :class:`loop.Position`), ``history`` (of :class:`history.History`). With FSDP it is a folder instead, which reads alike
(:mod:`slowfast_mvit.weights.sharded`). Random state is not among them, since everything random
is a function of the seed and the position (:mod:`slowfast_mvit.ops.randomness`).
"""

import errno
import logging
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from slowfast_mvit.engine.log import ALIKE
from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.containers import unwrap
from slowfast_mvit.weights.files import read_weights
from slowfast_mvit.weights.sharded import SUFFIX as _SHARDED

_LOG = logging.getLogger(__name__)
_PREFIX, _SUFFIX = "checkpoint_epoch_", ".pyth"
_NUMBERS = re.compile(r"(?P<epoch>\d+)(?:_step_(?P<step>\d+))?")


def checkpoint_path(folder: Path, epoch: int, task: str = "", *, step: int = 0, sharded: bool = False) -> Path:
    """File of the checkpoint after ``epoch`` (0-based) and, inside the next epoch, ``step`` steps more; a folder if sharded.

    Names count epochs from 1 and begin with the task, as PySlowFast's do, which takes the last one in the order of names too.
    """
    inside = f"_step_{step:08d}" if step else ""
    return folder / f"{_prefix(task)}{epoch + 1:05d}{inside}{_SHARDED if sharded else _SUFFIX}"


def list_checkpoints(folder: Path, task: str = "") -> list[Path]:
    """Checkpoints of a run, oldest first; those of another task are not among them."""
    if not folder.is_dir():
        return []
    found = [(_place(path, task), path) for path in folder.iterdir()]
    return [path for place, path in sorted((place, path) for place, path in found if place is not None)]


def _prefix(task: str) -> str:
    return f"{task}_{_PREFIX}" if task else _PREFIX


def _place(path: Path, task: str) -> tuple[int, int] | None:
    """Finished epochs and steps that a checkpoint's name gives; None for other files."""
    if not path.name.startswith(_prefix(task)) or path.suffix not in (_SUFFIX, _SHARDED):
        return None
    numbers = _NUMBERS.fullmatch(path.stem[len(_prefix(task)) :])
    return None if numbers is None else (int(numbers["epoch"]), int(numbers["step"] or 0))


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write under a temporary name, sync, rename: a crash leaves the old file or the new one, never half of one.

    Raises:
        UserError: it cannot be written; a disk is full. What is on the disk is as it was before.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(temporary, content)
        temporary.replace(path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        cause = system_error(error)
        if cause is None:
            raise
        temporary.unlink(missing_ok=True)
        raise cannot_write(path, cause) from error


def write_synced(path: Path, content: dict[str, Any]) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def cannot_write(path: Path, cause: OSError) -> UserError:
    """What to say, when the half-written checkpoint is gone."""
    newest = list_checkpoints(path.parent, path.name.partition(_PREFIX)[0].removesuffix("_"))
    intact = f"the newest checkpoint is {newest[-1].name}, which is intact" if newest else "there is none before it"
    full = cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    mend = "Make room (TRAIN.KEEP_CHECKPOINTS keeps fewer)" if full else "Mend that"
    return UserError(
        f"{path} cannot be written: {cause.strerror or cause}; {intact}. {mend} and start the same command again"
    )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems cannot, and need not
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def system_error(error: BaseException | None) -> OSError | None:
    """The OSError that an error is or came from.

    torch's zip writer meets a failed write a second time when it closes, and raises that instead.
    """
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def drop_old(folder: Path, keep: int, task: str = "", *, spare: Collection[Path] = ()) -> None:
    """Remove all checkpoints but the newest ``keep`` (0: none is removed) and those to ``spare``; and leftovers of writing."""
    for leftover in folder.glob(f".{_prefix(task)}*.tmp"):
        _remove(leftover)
    if not keep:
        return
    for path in list_checkpoints(folder, task)[:-keep]:
        if path not in spare:
            _remove(path)


def drop_later(path: Path, task: str = "") -> None:
    """Remove the checkpoints whose names come after the one just written, which would be taken for the newest.

    They are damaged ones that this training went past, or of an epoch that had more steps, with another batch.
    """
    paths = list_checkpoints(path.parent, task)
    for later in paths[paths.index(path) + 1 :]:
        _LOG.info("%s is removed: the training went on from before it, to %s", later, path.name)
        _remove(later)


def _remove(path: Path) -> None:
    """Remove a checkpoint; a folder loses its name first, so that none is ever found with half of its files."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    gone = path if path.suffix == ".tmp" else path.with_name(f".{path.name}.tmp")
    path.replace(gone)
    shutil.rmtree(gone)


def read_newest(folder: Path, task: str = "", *, moments: bool = True) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of a run that can be read, or None where there is none; damaged ones are passed with a warning.

    Without ``moments`` the optimizer's tensors of a sharded one are left for :func:`sharded.read_moments`.

    Raises:
        UserError: there are checkpoints, and every one is damaged.
    """
    paths = list_checkpoints(folder, task)
    for path in reversed(paths):
        try:
            content = read_weights(path, moments=moments)
            unwrap(content, str(path))
            return path, content
        except UserError as error:
            _LOG.warning("%s; trying the checkpoint before it", error, extra=ALIKE)
    if paths:
        raise UserError(f"none of the {len(paths)} checkpoints in {folder} can be read: mend or move them")
    return None
