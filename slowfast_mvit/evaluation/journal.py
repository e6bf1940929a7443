"""Finished videos of a test on the disk, so that a test that was cut off goes on from them.

Every few seconds each rank puts the rows of the videos that it has finished since into a file of its own, a part: the SHA-256
of what follows, then an NPZ of its rows (:class:`multiview.VideoRows`, :class:`ava_views.BoxScores`,
:class:`coco_found.ObjectRows`). Its name begins with the key of the test, which stands for everything that scores depend on.
"""

import contextlib
import hashlib
import io
import logging
import os
import uuid
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.multiview import VideoRows
from slowfast_mvit.evaluation.predictions import write_whole

_LOG = logging.getLogger(__name__)
_SUFFIX = ".part"
_DIGEST_BYTES = hashlib.sha256().digest_size


class Finishing(Protocol):
    """An evaluator, as a journal needs it."""

    def finished(self) -> np.ndarray:
        """Indices int64 of the videos that are finished, ascending."""

    def rows(self, videos: np.ndarray, /) -> Any:
        """What is known of some of them: a dataclass of arrays."""


class Journal:
    """The parts of one test, in a folder that is its own.

    Args:
        folder: made when the first part is written.
        key: of the test, usable in a file name; parts with another key are of another test.
        rows: type of the rows that its evaluator gives.
    """

    def __init__(self, folder: Path, key: str, rows: type[Any] = VideoRows) -> None:
        self.folder = folder
        self.key = key
        self._rows = rows
        self._kept = np.empty(0, dtype=np.int64)

    def read(self) -> list[Any]:
        """The rows of all parts of this test; damaged parts are passed with a warning, those of another test removed."""
        files = self._files()
        mine = [path for path in files if path.name.startswith(f"{self.key}-")]
        others = [path for path in files if path not in mine]
        for path in others:
            path.unlink(missing_ok=True)
        num_parts = sum(path.suffix == _SUFFIX for path in others)
        if num_parts:
            _LOG.info(
                "%s: removed what another test, which was not finished, has left (%d parts)", self.folder, num_parts
            )
        return [rows for path in mine if (rows := _read(path, self._rows)) is not None]

    def keep(self, evaluator: Finishing) -> None:
        """Write the videos that ``evaluator`` has finished since this was last called.

        Raises:
            UserError: the disk is full, or the folder cannot be written to.
        """
        finished = evaluator.finished()
        new = np.setdiff1d(finished, self._kept, assume_unique=True)
        if not len(new):
            return
        path = self.folder / f"{self.key}-{uuid.uuid4().hex}{_SUFFIX}"
        arrays = {name: array for name, array in vars(evaluator.rows(new)).items() if array is not None}
        content = io.BytesIO()
        np.savez(content, **arrays)
        try:
            write_whole(path, hashlib.sha256(content.getbuffer()).digest() + content.getbuffer())
        except UserError as error:
            raise UserError(
                f"{error}; make room and start the same command again, or set TEST.RESUME False, which keeps no scores of "
                "finished videos"
            ) from error
        self._kept = finished

    def remove(self) -> None:
        """Remove all parts and the folder: the test is over."""
        for path in self._files():
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it is not there, or holds files of somebody else
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        """Parts of any test, and what a killed test has left of a part that it was writing."""
        if not self.folder.is_dir():
            return []
        names = sorted(os.listdir(self.folder))  # noqa: PTH208
        return [self.folder / name for name in names if name.endswith((_SUFFIX, f"{_SUFFIX}.tmp"))]


def _read(path: Path, rows: type[Any]) -> Any | None:
    try:
        content = path.read_bytes()
    except OSError as error:
        _LOG.warning("%s cannot be read (%s): its videos are tested again", path, error.strerror)
        return None
    digest, arrays = content[:_DIGEST_BYTES], memoryview(content)[_DIGEST_BYTES:]
    if hashlib.sha256(arrays).digest() != digest:
        _LOG.warning("%s is damaged: its videos are tested again", path)
        return None
    with np.load(io.BytesIO(arrays), allow_pickle=False) as stored:
        return rows(**stored)
