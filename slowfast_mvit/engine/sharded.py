"""A checkpoint whose tensors are spread over the ranks: all of them write, and it is there whole or not at all.

:mod:`slowfast_mvit.weights.sharded` says what the folder holds, and reads it as a plain container. Weights are read so, since a
model is loaded before it is cut; the optimizer's moments, twice as many numbers, go straight to where they belong.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException

from slowfast_mvit.engine.checkpoint import cannot_write, sync_folder, system_error, write_synced
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.weights.parts import read_tensors
from slowfast_mvit.weights.sharded import FILES, STATE, checksum, flatten, is_moment, moment, nest


def save_sharded(path: Path, content: Mapping[str, Any], world: World) -> None:
    """Write a plain container whose tensors are DTensors, each rank its parts. Collective.

    The ranks write into a folder of a temporary name; when all files are synced and their checksums noted, rank 0 renames it.
    A crash leaves the old checkpoint or the new one.

    Raises:
        UserError: on all ranks, one of them cannot write; what was there before is intact, and nothing is left of this one.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    tensors, rest = flatten(content)

    def make_room() -> None:
        if world.is_main:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)

    def write_parts() -> None:
        dcp.save(tensors, storage_writer=_Writer(temporary), process_group=world.control)

    def checksums() -> dict[str, list[int]]:
        mine = [*temporary.glob(f"__{world.rank}_*"), *([temporary / ".metadata"] if world.is_main else [])]
        return {file.name: checksum(file) for file in mine}

    def finish() -> None:
        if not world.is_main:
            return
        write_synced(temporary / STATE, {**rest, FILES: files})
        sync_folder(temporary)
        old = path.with_name(f".{path.name}.old.tmp")
        if path.exists():  # a damaged one of the same step, which this training went past
            shutil.rmtree(old, ignore_errors=True)
            path.replace(old)
        temporary.replace(path)
        sync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)

    _together(world, path, temporary, make_room)
    _together(world, path, temporary, write_parts)
    found = _together(world, path, temporary, checksums)
    files = {name: written for part in found for name, written in part.items()}
    _together(world, path, temporary, finish)


def read_moments(folder: Path, owners: Mapping[int, nn.Parameter], state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state with the tensors that a sharded checkpoint holds for it, cut as its parameters are.

    Each rank reads its parts alone, whatever the number of ranks that wrote them.

    Args:
        folder: the checkpoint.
        owners: the parameters by index, on their device.
        state: ``optimizer_state`` of the checkpoint without these tensors.

    Raises:
        UserError: they do not fit.
    """

    def room(key: str, like: Tensor) -> Tensor | None:
        return torch.zeros_like(owners[moment(key)[0]], dtype=like.dtype) if is_moment(key) else None

    return nest(read_tensors(folder, room), {"optimizer_state": state})["optimizer_state"]


class _Writer(dcp.FileSystemWriter):
    """torch's writer, whose failures keep their cause on the way to the other ranks."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        try:
            return super().write_data(plan, planner)
        except RuntimeError as error:
            raise system_error(error) or error from error


def _together(world: World, path: Path, temporary: Path, work: Callable[[], Any]) -> list[Any]:
    """What each rank's ``work`` gave; where a system call of one failed, all raise its reason, and rank 0 clears up."""
    result: Any = None
    cause: OSError | None = None
    try:
        result = work()
    except CheckpointException as error:  # raised on all ranks, with the failures of each
        failures = [failure for _, (failure, _) in sorted(error.failures.items())]
        cause = next((failure for failure in failures if isinstance(failure, OSError)), None)
        if cause is None:
            raise failures[0] from error
    except OSError as error:
        cause = error
    except RuntimeError as error:
        cause = system_error(error)
        if cause is None:
            raise
    found = world.everyones((cause, result))
    causes = [cause for cause, _ in found if cause is not None]
    if causes:
        if world.is_main:
            shutil.rmtree(temporary, ignore_errors=True)
        raise cannot_write(path, causes[0])
    return [result for _, result in found]
