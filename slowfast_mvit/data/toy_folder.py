"""What the toy sets share: a folder that is made once, by several processes, and never over somebody else's data."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from slowfast_mvit.errors import UserError

_Job = TypeVar("_Job")


def make_once(
    root: Path, manifest: str, version: int, toy: Any, lists: Sequence[str], write: Callable[[], None]
) -> Path:
    """Let ``write`` fill ``root``, unless it holds the complete set of the same parameters; returns ``root``.

    Args:
        root: the folder.
        manifest: name of the file in it that says what was made, written last: an interrupted set is made again.
        version: of what is made; a set of another version is made again.
        toy: the parameters, a dataclass.
        lists: glob patterns of what marks a data set.
        write: makes the set.

    Raises:
        UserError: the folder holds a data set that was not made here.
    """
    path, complete = root / manifest, json.dumps({"version": version, **asdict(toy)})
    if path.is_file() and path.read_text() == complete:
        return root
    foreign = [] if path.exists() else [found.name for pattern in lists for found in sorted(root.glob(pattern))]
    if foreign:
        raise UserError(f"{root} holds {', '.join(foreign)} of another dataset, which a toy set would overwrite")
    root.mkdir(parents=True, exist_ok=True)
    path.write_text("unfinished")
    write()
    path.write_text(complete)
    return root


def run_jobs(work: Callable[[_Job], None], jobs: Iterable[_Job], processes: int | None = None) -> None:
    """``work`` on every job, in as many processes as there are cores unless ``processes`` says otherwise."""
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        list(pool.map(work, jobs, chunksize=16))


def refuse_odd(height: int, width: int) -> None:
    """Raise UserError for extents that the video encoders do not take."""
    if height % 2 or width % 2:
        raise UserError(f"video encoders need even extents, not {height}x{width}")
