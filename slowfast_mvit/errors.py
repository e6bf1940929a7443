"""What a user can mend."""

import difflib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(ValueError):
    """A mistake in what the user gave: the message is one sentence that says what was wrong, where, and what to do.

    The command-line tools print it without a traceback and exit with status 2.
    """


def closest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the known one that it resembles in any spelling, or all of them."""
    names = sorted(known)
    folded = {known_name.casefold(): known_name for known_name in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"did you mean {folded[close[0]]}?" if close else f"known are {', '.join(names)}"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Read an input file within: that it cannot be opened or read becomes a UserError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}: check its name and folder") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder: give the file that is meant") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}): give another file, or mend that"
        ) from error


def check_output(path: Path, option: str, *, folder: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output before any work is done for it; nothing is made.

    Args:
        path: a file, or with ``folder`` a folder, that will be written; it may be there already.
        option: of the command, which gave it.
        folder: it is to be a folder.
        inputs: files that are read, which it must not take the place of.

    Raises:
        UserError: a file is where a folder is needed or the other way round, the folder cannot be written in, or the output is
            one of the inputs.
    """
    folders = [path, *path.parents] if folder else list(path.parents)
    for place in folders:
        if place.exists() and not place.is_dir():
            raise UserError(f"{path} cannot be written: {place} is not a folder; give {option} another place")
    if not folder and path.is_dir():
        raise UserError(f"{path} cannot be written: it is a folder; give {option} the name of a file")
    there = next((place for place in folders if place.exists()), None)
    if there is not None and not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{path} cannot be written: {there} may not be written in; give {option} another place")
    for file in inputs:
        if path.exists() and file.exists() and path.samefile(file):
            raise UserError(f"{path} is read, and would be overwritten: give {option} another name")
