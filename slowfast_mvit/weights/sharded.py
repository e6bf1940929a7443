"""Checkpoints that several ranks write, each its parts: a folder that reads as the plain container does.

The folder holds torch.distributed.checkpoint's files, with every tensor of a checkpoint under a flat key (``model.NAME``,
``ema.NAME``, ``optimizer.INDEX.NAME``), and :data:`STATE`: the rest of the container, and size and checksum of every file.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from slowfast_mvit.errors import UserError

SUFFIX = ".sharded"
STATE = "state.pyth"
FILES = "files"  # in STATE: [bytes, checksum] of each other file
_PARTS = {"model_state": "model", "ema_state": "ema"}
_AT_A_TIME = 16 << 20  # bytes


def is_sharded_folder(path: Path) -> bool:
    """Whether this is such a folder."""
    return path.is_dir() and (path.name.endswith(SUFFIX) or (path / STATE).is_file())


def flatten(content: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a plain container by flat key, and the container without them. Tensors of no axis stay in it."""
    tensors: dict[str, Tensor] = {}
    rest = dict(content)
    for part, prefix in _PARTS.items():
        tensors |= {f"{prefix}.{name}": tensor for name, tensor in rest.pop(part, {}).items()}
    optimizer = rest.get("optimizer_state")
    if optimizer is not None:
        small: dict[Any, dict[str, Any]] = {}
        for index, entries in optimizer["state"].items():
            small[index] = {}
            for name, value in entries.items():
                if isinstance(value, Tensor) and value.dim():
                    tensors[f"optimizer.{index}.{name}"] = value
                else:
                    small[index][name] = value
        rest["optimizer_state"] = {**optimizer, "state": small}
    return tensors, rest


def nest(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The plain container again."""
    content = dict(rest)
    for part, prefix in _PARTS.items():
        named = {key.removeprefix(f"{prefix}."): t for key, t in tensors.items() if key.startswith(f"{prefix}.")}
        if named:
            content[part] = named
    if "optimizer_state" in content:
        state = {index: dict(entries) for index, entries in content["optimizer_state"]["state"].items()}
        for key, tensor in tensors.items():
            if is_moment(key):
                index, name = moment(key)
                state[index][name] = tensor
        content["optimizer_state"] = {**content["optimizer_state"], "state": state}
    return content


def is_moment(key: str) -> bool:
    """Whether a flat key is the optimizer's."""
    return key.startswith("optimizer.")


def moment(key: str) -> tuple[int, str]:
    """Index of the parameter and name of a moment's flat key."""
    index, name = key.split(".", 2)[1:]
    return int(index), name


def checksum(path: Path) -> list[int]:
    """Bytes of a file, and their CRC-32."""
    size = crc = 0
    with path.open("rb") as file:
        while part := file.read(_AT_A_TIME):
            size, crc = size + len(part), zlib.crc32(part, crc)
    return [size, crc]


def assemble(folder: Path, state: Mapping[str, Any], *, moments: bool = True) -> dict[str, Any]:
    """The plain container of a folder, with whole tensors on the CPU.

    Args:
        folder: where the parts are.
        state: the content of its :data:`STATE`.
        moments: read the optimizer's tensors too.

    Raises:
        UserError: a file is missing, cut short, or not as it was written.
    """
    rest = dict(state)
    files = rest.pop(FILES, None)
    if not isinstance(files, Mapping):
        raise UserError(f"{folder / STATE} names no files: {folder} is no checkpoint of this package")
    _verify(folder, files)
    # Here, since torch.distributed.checkpoint takes half a second to import.
    from slowfast_mvit.weights.parts import read_tensors

    try:
        return nest(read_tensors(folder, lambda key, like: like if moments or not is_moment(key) else None), rest)
    except LookupError as error:
        raise UserError(f"{folder} holds parts that its {STATE} does not know: {error}") from error


def _verify(folder: Path, files: Mapping[str, Any]) -> None:
    for name, written in files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{folder} lacks its file {name}: the copy did not finish, or a part was removed")
        if path.stat().st_size != written[0]:
            raise UserError(
                f"{path} is cut short: it has {path.stat().st_size:,} of {written[0]:,} bytes; copy the folder again"
            )
        if checksum(path) != list(written):
            raise UserError(f"{path} is damaged: its bytes are not what their checksum says; copy the folder again")
