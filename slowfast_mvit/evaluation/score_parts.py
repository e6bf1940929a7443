"""Scores of finished videos on the disk, so that a prediction that was cut off goes on from them.

A part is an NPZ of the videos that were finished since the one before, those with as many views together: of the i-th such
group ``i/keys`` (str [N]; what each video's scores follow from), and each of their arrays, stacked, as ``i/NAME``.
"""

import contextlib
import logging
import time
import uuid
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from slowfast_mvit.evaluation.predictions import replacing
from slowfast_mvit.evaluation.view_scores import VideoScores

_LOG = logging.getLogger(__name__)
_SUFFIX = ".npz"
_SECONDS = 5.0


class ScoreParts:
    """The parts in a folder of their own, which is made when there is something to keep.

    Args:
        folder: of the parts.
        seconds: between two parts.
    """

    def __init__(self, folder: Path, seconds: float = _SECONDS) -> None:
        self.folder = folder
        self._seconds = seconds
        self._waiting: list[tuple[str, VideoScores]] = []
        self._written = time.monotonic()

    def read(self, places: Mapping[str, int]) -> list[VideoScores]:
        """The scores of videos that are kept: those of the keys in ``places``, which give their places in the list.

        Parts that cannot be read are passed with a warning: their videos are scored again.
        """
        found: dict[int, VideoScores] = {}
        for path in self._files():
            try:
                with np.load(path, allow_pickle=False) as part:
                    groups: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
                    for file in part.files:
                        number, _, name = file.partition("/")
                        groups[number][name] = part[file]
                    keys = {number: arrays.pop("keys").tolist() for number, arrays in groups.items()}
            except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
                _LOG.warning("%s cannot be read (%s): its videos are scored again", path, error)
                continue
            for number, arrays in groups.items():
                for row, key in enumerate(keys[number]):
                    if key in places:
                        mine = {name: array[row] for name, array in arrays.items()}
                        found[places[key]] = VideoScores.of_arrays(mine, places[key])
        return [found[place] for place in sorted(found)]

    def add(self, key: str, scores: VideoScores) -> None:
        """Keep a finished video: within a few seconds it is on the disk.

        Raises:
            UserError: the disk is full, or the folder cannot be written to.
        """
        self._waiting.append((key, scores))
        if time.monotonic() - self._written >= self._seconds:
            self.keep()

    def keep(self) -> None:
        """Write what is not on the disk yet."""
        if self._waiting:
            groups: dict[tuple[object, ...], list[tuple[str, dict[str, np.ndarray]]]] = defaultdict(list)
            for key, scores in self._waiting:
                each = scores.arrays()
                groups[tuple((name, array.shape) for name, array in each.items())].append((key, each))
            arrays: dict[str, np.ndarray] = {}
            for number, group in enumerate(groups.values()):
                arrays[f"{number}/keys"] = np.array([key for key, _ in group])
                arrays |= {f"{number}/{name}": np.stack([each[name] for _, each in group]) for name in group[0][1]}
            with replacing(self.folder / f"{uuid.uuid4().hex}{_SUFFIX}") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # of its allow_pickle
        self._waiting = []
        self._written = time.monotonic()

    def remove(self) -> None:
        """Remove all parts and the folder: everything is over, and written."""
        for path in self._files():
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it is not there, or holds files of somebody else
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{_SUFFIX}")) if self.folder.is_dir() else []
