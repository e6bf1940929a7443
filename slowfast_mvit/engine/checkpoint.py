"""Checkpoints: written whole or not at all, found again, and loaded without executing anything.

A file holds PySlowFast's container: ``epoch`` (0-based, the last one finished), ``model_state``, ``optimizer_state``,
``cfg`` (YAML text), and ours: ``label_names``.
"""

import logging
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.tables import resize_table

_LOG = logging.getLogger(__name__)
_PREFIX, _SUFFIX = "checkpoint_epoch_", ".pyth"
# What torch.load raises at bytes that are no checkpoint: its unpickler takes them for instructions.
_DAMAGED = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
)


def checkpoint_path(folder: Path, epoch: int) -> Path:
    """File of the checkpoint after ``epoch`` (0-based); names count from 1, as PySlowFast's."""
    return folder / f"{_PREFIX}{epoch + 1:05d}{_SUFFIX}"


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}")) if folder.is_dir() else []


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write under a temporary name, sync, rename: a crash leaves the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a checkpoint, on the CPU. A bare state dict is wrapped as ``model_state``.

    Raises:
        UserError: missing, damaged, or no checkpoint; or a file that would have to execute code to load.
    """
    if re.match(r"\w+:/", str(path)):
        raise UserError(f"{path} looks like a URL: download the file and give its path")
    if not path.is_file():
        raise UserError(f"the checkpoint {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be loaded as a checkpoint, it is damaged or of another kind: {reason}"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a checkpoint")
    if "model_state" not in content:
        if not content or not all(isinstance(value, Tensor) for value in content.values()):
            raise UserError(f"{path} holds no model_state; its keys are {', '.join(map(str, list(content)[:8]))}")
        return {"model_state": content}
    return content


def read_newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of a run that can be read, or None where there is none; damaged ones are passed with a warning.

    Raises:
        UserError: there are checkpoints, and every one is damaged.
    """
    paths = list_checkpoints(folder)
    for path in reversed(paths):
        try:
            return path, read_checkpoint(path)
        except UserError as error:
            _LOG.warning("%s; trying the checkpoint before it", error)
    if paths:
        raise UserError(f"none of the {len(paths)} checkpoints in {folder} can be read: mend or move them")
    return None


def load_model(model: nn.Module, state: dict[str, Tensor], source: Path, *, new_head: bool = False) -> None:
    """Load a state dict, every tensor by name and shape.

    Relative position tables of another length (another clip length or crop size) are resized by linear interpolation, as the
    official loader does.

    Args:
        model: receives the weights.
        state: tensors by name.
        source: for messages.
        new_head: let the classifier keep its fresh weights where its shape differs (fine-tuning on other classes).

    Raises:
        UserError: the file belongs to another model; says how many tensors differ and names some.
    """
    own = model.state_dict()
    if new_head:
        heads = [name for name in own if name.startswith("head.") and name in state]
        replaced = [name for name in heads if state[name].shape != own[name].shape]
        if replaced:
            _LOG.info("%s: the classifier has other classes; %s keep fresh weights", source, ", ".join(replaced))
            state = {**state, **{name: own[name] for name in heads}}
    state = _resize_tables(state, own, source)
    missing = sorted(set(own) - set(state))
    unexpected = sorted(set(state) - set(own))
    shapes = [
        f"{name} is {tuple(state[name].shape)}, the model's {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if missing or unexpected or shapes:
        examples = (shapes + [f"{n} is missing" for n in missing] + [f"{n} is not in the model" for n in unexpected])[
            :3
        ]
        raise UserError(
            f"{source} holds the weights of another model: {len(missing)} tensors missing, {len(unexpected)} unexpected, "
            f"{len(shapes)} of another shape ({'; '.join(examples)}). Use the config it was trained with"
        )
    model.load_state_dict(state)


def _resize_tables(state: dict[str, Tensor], own: dict[str, Tensor], source: Path) -> dict[str, Tensor]:
    """The state dict with relative position tables of the model's lengths."""
    other = [
        name
        for name in own
        if "rel_pos" in name and name in state and state[name].dim() == 2 and state[name].shape[0] != own[name].shape[0]
    ]
    if other:
        _LOG.info("%s: %d position tables are resized to this clip length and crop size", source, len(other))
    return state | {name: resize_table(state[name], own[name].shape[0]) for name in other}
