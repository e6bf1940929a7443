"""Weight files of every publisher: told apart by their content, read without executing anything, refused in one sentence."""

import hashlib
import json
import lzma
import mmap
import os
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.fetch import hash_in_name, is_web_page
from slowfast_mvit.weights.formats import FORMATS, OWN_NAMES
from slowfast_mvit.weights.pickles import CodeRefusedError, read_pickle
from slowfast_mvit.weights.sharded import STATE, assemble, is_sharded_folder

# What readers raise at bytes that are no weights: they take them for instructions, lengths and offsets.
DAMAGED = (
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
    ArithmeticError,
    MemoryError,
    zlib.error,
    lzma.LZMAError,
    SafetensorError,
)
_GIT_LFS = b"version https://git-lfs.github.com/spec/"
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_TORCH_MAGIC = (
    b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's first own format: a pickled number after two bytes of protocol
)
_LONGEST_HEADER = 100 << 20  # safetensors' own limit
# How torch's unpickler says that the file names something it would have to call.
_ASKS_FOR_CODE = re.compile(r"GLOBAL (?P<named>\S+)|Unsupported operand (?:129|147)\b")


def read_weights(path: Path, *, moments: bool = True) -> dict[str, Any]:
    """Content of a weight file, on the CPU, as its writer left it.

    Reads torch's files (both formats), safetensors and pickled numpy arrays (detectron2's), whatever the suffix, and the folder
    of a sharded checkpoint (:mod:`slowfast_mvit.weights.sharded`). A safetensors
    file gives ``model_state``, ``metadata`` and, where its metadata hold them, ``label_names``.

    torch's zip files carry a checksum of every record, which is compared. Its older format, pickles and safetensors carry none:
    a flipped bit of a weight is not seen there, unless the file's name carries a hash (:func:`fetch.hash_in_name`).

    Args:
        path: the file or folder.
        moments: of a sharded checkpoint, read the optimizer's tensors too.

    Raises:
        UserError: missing, damaged, no weights, a Caffe2 file, not what the hash in its name says, with class names that are
            none, or a file that would have to execute code to load.
    """
    if is_sharded_folder(path):
        return assemble(path, read_weights(path / STATE), moments=moments)
    if not path.is_file():
        raise UserError(f"{path} is a folder: give the file of weights" if path.is_dir() else missing(path))
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    kind = _kind_of(path, start)
    problem = hash_problem(path)
    if problem and not (kind == "safetensors" and _is_our_own(path)):
        raise UserError(problem)
    try:
        content = {"torch": _read_torch, "safetensors": _read_safetensors, "pickle": _read_pickle}[kind](path)
    except CodeRefusedError as error:
        raise UserError(_asks_for_code(path, str(error))) from error
    except DAMAGED as error:
        asks = _ASKS_FOR_CODE.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if asks:
            raise UserError(_asks_for_code(path, asks["named"] or "a call")) from error
        if kind == "safetensors" and _is_shorter_than_its_header_says(path):
            raise UserError(_cut_short(path)) from error
        raise UserError(_damaged(path, _reason(error))) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a checkpoint")
    if "blobs" in content:
        raise UserError(
            f"{path} is a Caffe2 file, whose networks this package does not build: take the PyTorch file of the model"
        )
    names = content.get("label_names", ())
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"{path} holds label_names that are no list of texts: leave them out, or list the classes' names"
        )
    return content


def hash_problem(path: Path) -> str | None:
    """What is wrong with a file whose name carries the start of its hash (see :func:`fetch.hash_in_name`); None if nothing."""
    named = hash_in_name(path.name)
    if named is None:
        return None
    algorithm, expected = named
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found.startswith(expected):
        return None
    return (
        f"{path} is not the file that its name says: its {algorithm} begins with {found[: len(expected)]}, not {expected}; "
        "download it again, or rename it if that part of its name is no hash"
    )


def write_safetensors(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str | Sequence[str]]) -> None:
    """Write tensors by name as safetensors, under a temporary name, synced, then renamed: whole or not at all.

    Args:
        path: where to.
        state: tensors by name, of any strides.
        metadata: of the file, such as ``model`` and ``label_names``; lists are stored as JSON. ``format`` is the names' format,
            ``official`` unless given.

    Raises:
        UserError: the file cannot be written there.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    texts = {key: value if isinstance(value, str) else json.dumps(list(value)) for key, value in metadata.items()}
    # Tensors that share memory, as chunks of one do, are no safetensors: each is copied.
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(copies, temporary, {"format": "official", **texts})
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be written: {_reason(error)}") from error


def missing(path: Path) -> str:
    """What is said of a checkpoint that is not there."""
    begins = "" if path.is_absolute() else f", which begins in {Path.cwd()}"
    return f"the checkpoint {path} does not exist: check its path{begins}"


def _cut_short(path: Path) -> str:
    return f"{path} is cut short: the download or the copy did not finish; do it again"


def _damaged(path: Path, reason: str) -> str:
    return f"{path} cannot be loaded as a checkpoint, it is damaged or of another kind: {reason}"


def _reason(error: BaseException) -> str:
    """The first line of what a reader says; of torch's, what follows its advice to run the file's code."""
    line = str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0]
    return " ".join(line.split()) or type(error).__name__


def _asks_for_code(path: Path, what: str) -> str:
    return (
        f"{path} would have to execute code to load (it asks for {what}), which is refused: "
        "save its weights alone, as tensors by name"
    )


def _kind_of(path: Path, start: bytes) -> str:
    """``torch``, ``safetensors`` or ``pickle``; raises UserError at anything else."""
    if not start:
        raise UserError(f"{path} is empty: download or copy it again")
    if is_web_page(start):
        raise UserError(
            f"{path} is a web page and holds no weights: the address led elsewhere; download the file itself"
        )
    if start.startswith(_GIT_LFS):
        raise UserError(f"{path} is a git-lfs pointer and holds no weights: fetch the file itself with git lfs pull")
    if start.startswith(_ZIP):
        return _kind_of_zip(path)
    if start.startswith(_PICKLE):
        return "torch" if start[2:].startswith(_TORCH_MAGIC) else "pickle"
    if len(start) > 8 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= _LONGEST_HEADER:
        return "safetensors"
    raise UserError(_damaged(path, "it is no file of torch, no safetensors and no pickle"))


def _kind_of_zip(path: Path) -> str:
    names = None
    try:
        if zipfile.is_zipfile(path):  # it has the list of contents that stands at the end
            with zipfile.ZipFile(path) as archive:
                names = [name.rpartition("/")[2] for name in archive.namelist()]
    except DAMAGED as error:
        raise UserError(_damaged(path, _reason(error))) from error
    if names is None:
        raise UserError(_cut_short(path))
    if "constants.pkl" in names:
        raise UserError(_asks_for_code(path, "TorchScript, which is a program"))
    if "data.pkl" not in names:
        raise UserError(_damaged(path, "it is a zip archive without weights"))
    return "torch"


def _check_records(path: Path) -> None:
    """Compare every record of a zip file with its checksum, which torch does not; told to write none, it writes zeros."""
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip() if any(record.CRC for record in archive.infolist()) else None
    if broken is not None:
        raise zipfile.BadZipFile(f"its record {broken} is not what its checksum says")


def _read_torch(path: Path) -> Any:
    with path.open("rb") as file:
        if file.read(len(_ZIP)) == _ZIP:
            _check_records(path)
    with path.open("rb") as file:  # by its path, torch would take the suffix for the format
        return torch.load(file, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
        content: dict[str, Any] = {
            "model_state": {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
            "metadata": metadata,
        }
    if "label_names" in metadata:
        content["label_names"] = json.loads(metadata["label_names"])
    return content


def _is_our_own(path: Path) -> bool:
    """Whether a safetensors file was written by :func:`write_safetensors`: what looks like a hash in its name is none."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") in (*FORMATS, OWN_NAMES)
    except DAMAGED:
        return False


def _is_shorter_than_its_header_says(path: Path) -> bool:
    """Whether a damaged safetensors file ends before its last tensor does."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    if len(data) < 8 + length:
        return True
    try:
        header = json.loads(data[8 : 8 + length])
        return len(data) < 8 + length + max(entry["data_offsets"][1] for entry in header.values() if "dtype" in entry)
    except DAMAGED:
        return False


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return read_pickle(mapped)  # type: ignore[arg-type]
