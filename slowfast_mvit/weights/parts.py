"""Whole tensors from the files of torch.distributed.checkpoint, without ranks and without executing anything."""

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import filesystem, metadata
from torch.distributed.checkpoint.api import CheckpointException

from slowfast_mvit.errors import UserError

# All that the index of torch.distributed.checkpoint names: it is a pickle, and one that names more is not read.
_CLASSES = {
    ("torch.distributed.checkpoint.metadata", name): getattr(metadata, name)
    for name in (
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    )
} | {
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"): filesystem._StorageInfo,
    ("torch.serialization", "_get_layout"): torch.serialization._get_layout,
    ("torch", "Size"): torch.Size,
    ("pathlib", "PosixPath"): PurePosixPath,  # where it was written
}


def read_tensors(
    folder: Path, room: Callable[[str, Tensor], Tensor | None] = lambda key, like: like
) -> dict[str, Tensor]:
    """The tensors of a folder by their keys.

    Args:
        folder: where the parts are.
        room: gives the tensor that a key's numbers are read into, from a whole empty one on the CPU, which is the default; None
            leaves the key out. Of a DTensor each rank reads its parts, and nothing is sent.

    Raises:
        UserError: its index names what is no part of one, or does not fit the files or the tensors.
    """
    reader = _Reader(folder)
    try:
        tensors = {}
        for key, entry in reader.read_metadata().state_dict_metadata.items():
            assert isinstance(entry, metadata.TensorStorageMetadata)  # by the classes that the index may name
            into = room(key, torch.empty(entry.size, dtype=entry.properties.dtype))
            if into is not None:
                tensors[key] = into
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            dcp.load(tensors, storage_reader=reader, no_dist=True)
    except (CheckpointException, pickle.UnpicklingError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder} cannot be loaded as a checkpoint, it is damaged or of another kind: {error}"
        ) from error
    return tensors


class _Index(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        dtype = getattr(torch, name, None) if module == "torch" else None
        found = dtype if isinstance(dtype, torch.dtype) else _CLASSES.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is refused")
        return found


class _Reader(dcp.FileSystemReader):
    """torch's reader, but for the index, which is read without executing anything."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> metadata.Metadata:
        with (Path(self.path) / ".metadata").open("rb") as file:
            index = _Index(file).load()
        if not isinstance(index, metadata.Metadata):
            raise pickle.UnpicklingError("its index is something else")
        return index
