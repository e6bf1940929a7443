"""What a list of labelled videos is, whoever wrote it, and whether its files are there."""

import os
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, overload

import numpy as np

from slowfast_mvit.errors import UserError


class LabelledList(Protocol):
    """What training and tests need of any list, of videos or of images."""

    def __len__(self) -> int: ...

    @property
    def names(self) -> np.ndarray:
        """str [N], as tables and messages name the entries."""

    @property
    def labels(self) -> np.ndarray:
        """int64 [N], or bool [N, classes] where an entry may have several."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each label, empty where the data has no names."""

    @property
    def source(self) -> str:
        """The list file or folder, for messages."""


@dataclass(frozen=True)
class ListFormat:
    """How list files are written.

    Attributes:
        prefix: folder that paths are relative to; by default the dataset folder, or the working folder if only that has
            the first file.
        separator: between path and label; if lines do not fit it, comma, tab and semicolon are tried.
        columns: names of the fields (``path``, ``label``, ``ignore``) of lists with more of them.
        skip_rows: lines left out at the top.
    """

    prefix: str = ""
    separator: str = " "
    columns: tuple[str, ...] = ()
    skip_rows: int = 0


PLAIN_LISTS = ListFormat()


@dataclass(frozen=True)
class VideoList:
    """Videos with their labels, in arrays so that loader workers share them.

    Attributes:
        paths: str [N], as they are opened.
        names: str [N], as the list spells them.
        labels: int64 [N], or bool [N, classes] where a video may have several.
        label_names: name of each label, empty where the data has no names.
        source: the list file or folder, for messages.
        frames: image files of each video in order, where the list gives them one by one; ``paths`` are then their folders.
    """

    paths: np.ndarray
    names: np.ndarray
    labels: np.ndarray
    label_names: tuple[str, ...]
    source: str
    frames: "FrameLists | None" = None

    def __len__(self) -> int:
        return len(self.paths)


class FrameLists:
    """The image files of N videos in one block of memory that workers share, each video's as :func:`pack_frames` makes it.

    The 17 million paths of Something-Something v2's 170,000 videos take about 40 MB.
    """

    def __init__(self, packed: Sequence[bytes], folder: str = "") -> None:
        """Take in the packed paths of each video, which ``folder`` is put before when they are asked for."""
        self.folder = folder
        self._block = b"".join(packed)
        self._ends = np.cumsum([len(text) for text in packed], dtype=np.int64)

    @property
    def packed(self) -> bytes:
        """All packed paths one after the other: equal for equal lists."""
        return self._block

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> "FramePaths":
        """Paths of the frames of video ``index``, in order."""
        start = int(self._ends[index - 1]) if index else 0
        return FramePaths(self.folder, unpack_frames(self._block[start : int(self._ends[index])]))


class FramePaths(Sequence[str]):
    """Paths in a folder, each joined with it when it is asked for: of AVA's 27,000 a clip opens 32."""

    def __init__(self, folder: str, names: Sequence[str]) -> None:
        self.folder = folder
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "FramePaths": ...
    def __getitem__(self, index: int | slice) -> "str | FramePaths":
        if isinstance(index, slice):
            return FramePaths(self.folder, self.names[index])
        return os.path.join(self.folder, self.names[index])  # noqa: PTH118


def pack_frames(paths: Sequence[str]) -> bytes:
    """The paths of a video's frames as compressed text: those of neighbours are almost the same."""
    return zlib.compress("\n".join(paths).encode(errors="surrogateescape"), 1)


def unpack_frames(packed: bytes) -> list[str]:
    """What :func:`pack_frames` packed."""
    return zlib.decompress(packed).decode(errors="surrogateescape").split("\n")


def base_folder(root: Path, prefix: str, first: str) -> str:
    """Where a list's paths begin: ``prefix``, else ``root``, else the working folder if only it has ``first``."""
    if prefix:
        return prefix
    return "" if not (root / first).exists() and Path(first).exists() else str(root)


def check_files(paths: Sequence[str], source: Path) -> None:
    """Every listed file must be there. One directory listing per folder: a list may name a quarter of a million files."""
    folders = Counter(os.path.dirname(path) for path in paths)  # noqa: PTH120
    present = {folder: entries(folder) for folder in folders}
    missing = [path for path in paths if os.path.basename(path) not in present[os.path.dirname(path)]]  # noqa: PTH119, PTH120
    if missing:
        raise UserError(
            f"{source}: {len(missing)} of {len(paths)} files do not exist, for example {', '.join(missing[:5])}: "
            "set DATA.PATH_PREFIX to the folder that the list's paths are relative to, or take them off the list"
        )


def entries(folder: str) -> frozenset[str]:
    """Names in a folder, none where it cannot be listed."""
    try:
        return frozenset(os.listdir(folder or "."))  # noqa: PTH208
    except OSError:
        return frozenset()
