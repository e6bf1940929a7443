"""Every file of a dataset read once: a table of what they are, and another of what is wrong.

The table is the memory: rows are added as files are read, so that a run that was stopped, however it was, goes on where it
stood, and a later run reads only files that are new or have changed.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slowfast_mvit.build import ava_check, coco_check
from slowfast_mvit.build.data import dataset_of, has_split, videos_of
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.inspect import OK, Inspection, Request
from slowfast_mvit.data.inspection_table import Row, Seen, append_rows, read_rows, write_rows
from slowfast_mvit.data.inspectors import inspect_all
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.engine.log import ProgressBar
from slowfast_mvit.errors import UserError

SPLITS = ("train", "val", "test")
MISSING = "missing"  # the status of a file that is not there
VIDEOS, UNREADABLE = "videos.csv", "unreadable.csv"
LABEL_SEPARATOR = "|"  # between the labels of one video
_PLAIN_LINES = 50  # of progress where there is no terminal


@dataclass(frozen=True)
class Checked:
    """A dataset that was read: a row for each entry of its lists, and of each split the labels that its rows may have."""

    rows: tuple[Row, ...]
    labels: dict[str, tuple[str, ...]]


class Entry(NamedTuple):
    """One line of a list: its split, the path as it is opened, and the label (or labels) by name where there are names."""

    split: str
    path: str
    label: str


def check_data(
    config: Config,
    out: Path,
    splits: Sequence[str] = (),
    *,
    num_workers: int,
    full: bool = False,
    timeout: float = 300.0,
    retry: bool = False,
) -> Checked:
    """Inspect every file of the splits' lists that the table in ``out`` does not know yet.

    Args:
        config: says where the lists are and how files are read.
        out: folder of ``videos.csv``, and of ``unreadable.csv``, which holds the rows that are not ok.
        splits: train, val, test; by default those which the dataset has.
        num_workers: processes that read files.
        full: decode every frame, and not the first, the middle and the last one alone.
        timeout: seconds after which a process that has not answered is taken for hung.
        retry: read again what was not ok.

    Raises:
        UserError: there are no lists, they are wrong, or the table in ``out`` is a foreign one.
    """
    splits = tuple(splits) or _all_splits(config)
    if not splits:
        raise UserError(
            f"DATA.PATH_TO_DATA_DIR {config.DATA.PATH_TO_DATA_DIR!r} has no train, val or test split to check"
        )
    lists = {split: _list(config, split) for split in splits}
    entries = [entry for split, videos in lists.items() for entry in _entries(split, videos)]
    states = {entry.path: _state(entry.path) for entry in entries}
    stored = list(read_rows(out / VIDEOS))
    kinds = {entry.path: _kind(config, entry.split, entry.path) for entry in entries}
    seen = {
        row.path: row.seen for row in stored if row.seen.full >= full and (row.seen.found.status == OK or not retry)
    }
    seen = {
        path: seen[path]
        for path, state in states.items()
        if path in seen and seen[path].kind == kinds[path] and _key(seen[path]) == state
    }
    seen |= {path: _missing(state, kinds[path], full) for path, state in states.items() if isinstance(state, str)}
    others = [row for row in stored if row.split not in splits]
    out.mkdir(parents=True, exist_ok=True)
    (out / UNREADABLE).unlink(missing_ok=True)  # of an earlier run
    write_rows(out / VIDEOS, [*others, *_rows(entries, seen)])  # without what has changed or a kill cut short
    unread: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.path not in seen:
            unread.setdefault(entry.path, []).append(entry)
    bar = ProgressBar("reading", len(states), len(seen), plain_every=max(10, len(unread) // _PLAIN_LINES))
    requests = _requests(config, lists, set(unread), full)
    with (out / VIDEOS).open("a", encoding="utf-8", errors="surrogateescape", newline="") as table:
        for request, found in inspect_all(requests, num_workers=num_workers, timeout=timeout):
            state = states[request.path]
            assert not isinstance(state, str)
            seen[request.path] = Seen(found, request.kind, full, *state)
            append_rows(table, _rows(unread[request.path], seen))
            bar.advance()
    bar.close()
    rows = tuple(_rows(entries, seen))
    write_rows(out / VIDEOS, [*others, *rows])  # in the order of the lists
    write_rows(out / UNREADABLE, (row for row in rows if row.seen.found.status != OK))
    numbers = tuple(map(str, range(config.MODEL.NUM_CLASSES)))
    return Checked(rows, {split: videos.label_names or numbers for split, videos in lists.items()})


def _all_splits(config: Config) -> tuple[str, ...]:
    if config.TRAIN.DATASET == "ava":
        return ava_check.SPLITS
    if config.TRAIN.DATASET == "coco":
        return tuple(split for split in coco_check.SPLITS if has_split(config, split))
    return tuple(split for split in SPLITS if has_split(config, split))


def _list(config: Config, split: str) -> VideoList | ImageList:
    if dataset_of(config, split) == "ava":
        return ava_check.videos_to_check(config, split)
    if dataset_of(config, split) == "coco":
        return coco_check.images_to_check(config, split)
    return videos_of(config, split, must_exist=False)


def _entries(split: str, videos: VideoList | ImageList) -> Iterator[Entry]:
    names = videos.label_names
    for index, label in enumerate(videos.labels):
        numbers = [int(label)] if label.ndim == 0 else np.flatnonzero(label).tolist()
        text = LABEL_SEPARATOR.join(names[number] if names else str(number) for number in numbers)
        yield Entry(split, _path(videos, index), text)


def _path(videos: VideoList | ImageList, index: int) -> str:
    return videos.path(index) if isinstance(videos, ImageList) else str(videos.paths[index])


def _state(path: str) -> tuple[int, int] | str:
    """Size in bytes and time of change in ns; or why there is no such file."""
    try:
        state = os.stat(path)  # noqa: PTH116 - a Path per row is slow on large lists
    except OSError as error:
        return error.strerror or str(error)
    return state.st_size, state.st_mtime_ns


def _key(seen: Seen) -> tuple[int, int]:
    return seen.size, seen.mtime_ns


def _kind(config: Config, split: str, path: str) -> str:
    """How the dataset reads a file of a split."""
    if dataset_of(config, split) == "ava" and Path(path).is_dir():
        return "frames"
    if dataset_of(config, split) == "coco":
        return "upright"
    return "image" if dataset_of(config, split) == "imagenet" else config.DATA.DECODING_BACKEND


def _missing(cause: str, kind: str, full: bool) -> Seen:
    return Seen(Inspection(MISSING, cause), kind, full, 0, 0)


def _rows(entries: Sequence[Entry], seen: dict[str, Seen]) -> Iterator[Row]:
    """The entries whose files have been seen."""
    return (Row(*entry, seen[entry.path]) for entry in entries if entry.path in seen)


def _requests(
    config: Config, lists: dict[str, VideoList | ImageList], unread: set[str], full: bool
) -> Iterator[Request]:
    """The unread files, each once, and how the dataset reads them."""
    for split, videos in lists.items():
        frames = videos.frames if isinstance(videos, VideoList) else None
        for index in range(len(videos)):
            path = _path(videos, index)
            if path in unread:
                unread.remove(path)
                images = tuple(frames[index]) if frames is not None else ()
                yield Request(path, _kind(config, split, path), images, config.DATA.TARGET_FPS, full)
