"""What a command was given to look at: files, folders, patterns and lists, as one list of videos or of images."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from slowfast_mvit.data.imagenet import ImageList, image_suffixes
from slowfast_mvit.data.kinetics import PATH_HEADERS, VIDEO_SUFFIXES, read_list, unquote
from slowfast_mvit.data.lists import VideoList, base_folder
from slowfast_mvit.errors import UserError, reading

LIST_SUFFIXES = frozenset({".csv", ".txt"})
_EITHER = ".gif"  # a picture, or a film


def find_inputs(words: Sequence[str | Path], *, images: bool = False) -> VideoList | ImageList:
    """The videos, or the images, that some words of a command mean, in their order and each once; labels are all 0.

    A word is a file, a folder (what is in it and below it, also by links, sorted; hidden files and folders left out), a pattern
    (``clips/**/*.mp4``, sorted) or a list: a .csv or .txt with a path per line, or with ``path label`` as the test's lists have
    them, the labels of which are not used. Paths of a list are relative to its folder, or to the working folder if only that
    has the first. Files are not opened here, but those that the words name must be there.

    Raises:
        UserError: a word means nothing, or a file of the other kind.
    """
    found: dict[str, tuple[str, str]] = {}
    for word in map(str, words):
        for path, name in _of_word(word, images):
            found.setdefault(os.path.abspath(path), (path, name))  # noqa: PTH100 - links keep their own names
    if not found:
        raise UserError(
            f"{' '.join(map(str, words)) or 'nothing'} holds no {'images' if images else 'videos'}: give some"
        )
    paths, names = zip(*found.values(), strict=True)
    labels, source = np.zeros(len(paths), dtype=np.int64), " ".join(map(str, words))
    if images:
        files = np.array([os.fsencode(path) for path in paths])
        return ImageList(("",), np.zeros(len(paths), dtype=np.uint8), files, labels, (), source)
    return VideoList(np.array(paths), np.array(names), labels, (), source)


def list_files(words: Sequence[str | Path]) -> list[Path]:
    """Those of the words that are list files, which no output may take the place of."""
    return [Path(word) for word in words if _is_list(Path(word))]


def _is_list(path: Path) -> bool:
    return path.suffix.lower() in LIST_SUFFIXES and path.is_file()


def _of_word(word: str, images: bool) -> Iterator[tuple[str, str]]:
    """(path, name) of all that a word means."""
    path = Path(word)
    if _is_list(path):
        yield from _of_list(path)
    elif path.is_dir():
        yield from _of_folder(path, images)
    elif path.exists():
        _refuse_other_kind(path, images)
        yield word, word
    elif glob.has_magic(word):
        matches = sorted(glob.glob(word, recursive=True))  # noqa: PTH207 - a Path's pattern may not begin at the root
        if not matches:
            raise UserError(f"no file fits the pattern {word}: check its folders, or put it in quotes")
        for match in matches:
            yield from _of_folder(Path(match), images, empty=True) if Path(match).is_dir() else _kept([match], images)
    else:
        raise UserError(f"there is no file or folder {word}: check its name and folder")


def _of_folder(folder: Path, images: bool, *, empty: bool = False) -> Iterator[tuple[str, str]]:
    """The files of that kind in a folder and below, hidden files and folders left out."""
    found = sorted(_kept(_below(folder), images))
    if not found and not empty:
        what, suffixes = ("images", image_suffixes()) if images else ("videos", VIDEO_SUFFIXES)
        raise UserError(
            f"the folder {folder} holds no {what} ({', '.join(sorted(suffixes))}), and no folder below it does"
        )
    yield from found


def _below(folder: Path) -> Iterator[str]:
    """All files in a folder and below; a linked folder that is there already is passed, so that links may go round."""
    been = set()

    def refuse(error: OSError) -> None:
        raise UserError(
            f"{error.filename} cannot be read ({error.strerror or error}): mend that, or give the other folders"
        ) from error

    for at, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        state = os.stat(at)  # noqa: PTH116
        if (state.st_dev, state.st_ino) in been:
            folders.clear()
            continue
        been.add((state.st_dev, state.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(at, file) for file in files if not file.startswith("."))  # noqa: PTH118 - fast


def _kept(paths: Iterable[str], images: bool) -> Iterator[tuple[str, str]]:
    suffixes = image_suffixes() if images else VIDEO_SUFFIXES
    return ((path, path) for path in paths if os.path.splitext(path)[1].lower() in suffixes)  # noqa: PTH122


def _of_list(path: Path) -> Iterator[tuple[str, str]]:
    with reading(path):
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")  # as names of files are
    lines = [unquote(line.strip()) for line in text.split("\n") if line.strip()]
    if len(lines) > 1 and lines[0].lower() in PATH_HEADERS:
        del lines[0]
    known = VIDEO_SUFFIXES | image_suffixes()
    if lines and all(Path(line).suffix.lower() in known for line in lines):
        names = lines
    else:
        names = [name for name, _ in read_list(path)]
    base = base_folder(path.parent, "", names[0])
    return ((os.path.join(base, name), name) for name in names)  # noqa: PTH118


def _refuse_other_kind(path: Path, images: bool) -> None:
    suffix = path.suffix.lower()
    if images and suffix in VIDEO_SUFFIXES:
        raise UserError(f"{path} is a video, and the model is one for images: give images, or a model for video")
    if not images and suffix in image_suffixes() - {_EITHER}:
        raise UserError(f"{path} is an image, and the model is one for video: give videos, or a model for images")
