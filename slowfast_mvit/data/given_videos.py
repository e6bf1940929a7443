"""Video files that a command was given, under the names that box lists call them by."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slowfast_mvit.data.ava_videos import AvaVideos
from slowfast_mvit.data.video import check_file
from slowfast_mvit.errors import UserError

_LOG = logging.getLogger(__name__)


def check_given(files: Sequence[Path]) -> None:
    """Refuse files that are not there, and two whose boxes could not be told apart.

    Raises:
        VideoError: a file is missing or empty, or it is a folder.
        UserError: two files have one name, whatever their endings.
    """
    first: dict[str, Path] = {}
    for file in files:
        check_file(file, "pyav")
        if file.stem in first:
            raise UserError(
                f"{first[file.stem]} and {file} are both called {file.stem}, and their boxes could not be told apart: rename "
                "one, or run the command for each"
            )
        first[file.stem] = file


def given_videos(files: Sequence[Path], wanted: Sequence[str], source: str) -> AvaVideos:
    """Those of the files that a box list names, with or without their endings; what it does not name is logged.

    Args:
        files: with names of their own, see :func:`check_given`.
        wanted: names of videos in the box list ``source``, which may have others too.

    Raises:
        UserError: the list names none of them.
    """
    file_of = {name: file for file in files for name in (file.stem, file.name)}
    names = tuple(name for name in wanted if name in file_of)
    if not names:
        raise UserError(
            f"{source} has boxes of {', '.join(wanted[:3])}{' ...' if len(wanted) > 3 else ''}, and none of "
            f"{', '.join(file.name for file in files[:3])}{' ...' if len(files) > 3 else ''}: its column video takes the "
            "files' names"
        )
    found = [file_of[name] for name in names]
    for file in files:
        if file not in found:
            _LOG.warning("%s has no boxes of %s, which is left out", source, file)
    return AvaVideos(names, np.array([str(file) for file in found]), None, source, are_folders=False)
