"""What is wrong with AVA's box lists, in words, and what they hold."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slowfast_mvit.build.ava_lists import ava_actions, ava_files, ava_list
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.ava import AvaList, key_seconds
from slowfast_mvit.data.ava_actions import Actions
from slowfast_mvit.data.ava_csv import BoxRows, describe, faults, read_boxes
from slowfast_mvit.data.inspection_table import Row
from slowfast_mvit.data.key_frames import reaches
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.errors import UserError

SPLITS = ("train", "val")  # a test has the files of val
ACTIONS = "actions.csv"
_FEW = 5  # examples


@dataclass(frozen=True)
class _Lists:
    """The box lists of a split as they are written."""

    annotated: tuple[BoxRows, ...]
    detected: tuple[BoxRows, ...]


def check_boxes(config: Config, out: Path) -> tuple[list[str], list[str]]:
    """Lines of a report on the box lists alone, and a sentence for each thing that is wrong with them.

    Writes ``actions.csv`` to ``out``: number, name, and annotated boxes of each action in training and validation.

    Raises:
        UserError: keys that are not set, or a wrong label map.
    """
    problems: list[str] = []
    lists = {split: _read(config, split, problems) for split in SPLITS}
    actions = None
    try:
        actions = ava_actions(config)
    except UserError as error:
        if str(error) not in problems:
            problems.append(str(error))
    lines: list[str] = []
    counts: dict[str, np.ndarray] = {}
    for split, of_split in lists.items():
        for rows in (*of_split.annotated, *of_split.detected):
            problems += [describe(rows, cause, chosen) for cause, chosen in faults(rows) if chosen.any()]
        lines += _summary(config, split, of_split)
        if actions is not None:
            counts[split] = _counts(of_split, actions, problems)
    if actions is not None:
        _write_actions(out / ACTIONS, actions, counts)
        lines += [_actions_line(split, actions, found) for split, found in counts.items()]
    return lines, list(dict.fromkeys(problems))


def check_seconds(config: Config, rows: tuple[Row, ...]) -> Iterator[str]:
    """A sentence for each video that does not reach all of its key frames, by the rows of its inspection."""
    for split in SPLITS:
        found = {row.path: row.seen.found for row in rows if row.split == split}
        if not found:
            continue
        keys = ava_list(config, "test" if split == "val" else split, must_exist=False)
        for video in np.unique(keys.key_videos):
            seen = found.get(str(keys.videos.paths[video]))
            if seen is None or not seen.duration or not seen.fps:
                continue
            at = np.flatnonzero(keys.key_videos == video)
            last_time = seen.duration - 1 / seen.fps
            start = keys.start_of(int(at[0]), last_time)
            seconds = keys.key_seconds[at]
            lost = seconds[~reaches(last_time, seconds - start)]
            if len(lost):
                few = ", ".join(map(str, lost[:_FEW])) + (" ..." if len(lost) > _FEW else "")
                yield (
                    f"{split}: {keys.videos.names[video]} has frames of seconds {start:g} to {start + last_time:.1f}, and "
                    f"{len(lost)} of its {len(at)} key seconds are not among them ({few}): set AVA.FIRST_SECOND, or mend "
                    "the lists"
                )


def videos_to_check(config: Config, split: str) -> VideoList:
    """The videos of a split, each once, with all actions of their key frames."""
    keys = ava_list(config, "test" if split == "val" else split, must_exist=False)
    names = tuple(name or str(number) for number, name in enumerate(keys.label_names, 1))
    videos = keys.videos
    return VideoList(videos.paths, np.array(videos.names), _labels_of_videos(keys), names, videos.source, videos.frames)


def _labels_of_videos(keys: AvaList) -> np.ndarray:
    labels = np.zeros((len(keys.videos.names), len(keys.label_names)), dtype=bool)
    np.logical_or.at(labels, keys.key_videos, keys.labels)
    return labels


def _read(config: Config, split: str, problems: list[str]) -> _Lists:
    """The box lists that can be read; why others cannot goes to ``problems``."""
    files = ava_files(config, split)
    truth = files.annotated if split == "train" else _truth_file(config)
    paths = [(path, False) for path in truth] + [(path, True) for path in files.detected if path not in truth]
    tables: dict[bool, list[BoxRows]] = {False: [], True: []}
    for path, detected in paths:
        try:
            tables[detected].append(read_boxes(path, detected=detected))
        except UserError as error:
            problems.append(str(error))
    return _Lists(tuple(tables[False]), tuple(tables[True]))


def _truth_file(config: Config) -> tuple[Path, ...]:
    name = config.AVA.GROUNDTRUTH_FILE
    return (Path(config.AVA.ANNOTATION_DIR) / name,) if name else ()


def _summary(config: Config, split: str, lists: _Lists) -> Iterator[str]:
    truth = key_seconds(lists.annotated)
    if lists.annotated:
        seconds = np.concatenate([rows.seconds for rows in lists.annotated])
        yield (
            f"{split} boxes: {len(truth)} annotated key frames of {len({video for video, _ in truth})} videos, seconds "
            f"{seconds.min()} to {seconds.max()}, {sum(map(len, lists.annotated))} rows"
        )
    least = config.AVA.DETECTION_SCORE_THRESH
    for rows in lists.detected:
        good = rows.rows(rows.scores >= least)
        found = key_seconds([good]) & truth
        yield (
            f"  {rows.source}: {len(good)} of {len(rows)} detected boxes have a score of at least {least:g}"
            + (f"; {len(found)} of {len(truth)} annotated key frames have such boxes" if truth else "")
        )


def _counts(lists: _Lists, actions: Actions, problems: list[str]) -> np.ndarray:
    """Annotated boxes of each action; lists with unknown actions go to ``problems``."""
    counts = np.zeros(len(actions.names), dtype=np.int64)
    for place, rows in enumerate((*lists.annotated, *lists.detected)):
        try:
            columns = actions.columns(rows)
        except UserError as error:
            problems.append(str(error))
            continue
        if place < len(lists.annotated):
            counts += np.bincount(columns[columns >= 0], minlength=len(counts))
    return counts


def _actions_line(split: str, actions: Actions, counts: np.ndarray) -> str:
    names = [name or str(number) for number, name in enumerate(actions.names, 1)]
    order = np.argsort(counts, kind="stable")
    with_boxes = [f"{names[i]} ({counts[i]})" for i in order if counts[i]]
    without = [names[i] for i in range(len(names)) if not counts[i]]
    return (
        f"  {split} actions: {len(with_boxes)} of {len(names)} have annotated boxes"
        + (f"; fewest: {', '.join(with_boxes[:_FEW])}" if with_boxes else "")
        + (f"; without: {', '.join(without[:_FEW])}{' ...' if len(without) > _FEW else ''}" if without else "")
    )


def _write_actions(path: Path, actions: Actions, counts: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["number", "name", *(f"{split}_boxes" for split in counts)])
        for number, name in enumerate(actions.names):
            table.writerow([number + 1, name, *(int(found[number]) for found in counts.values())])
