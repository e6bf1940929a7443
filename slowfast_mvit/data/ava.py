"""Lists of key frames with people in boxes: AVA's files or one's own, as little memory as their numbers take.

A key frame is a second of a video at which people were annotated or detected. Boxes of a key frame with the same corners are
one person, whose actions are collected.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from slowfast_mvit.data.ava_actions import Actions
from slowfast_mvit.data.ava_csv import BoxRows, read_boxes, usable
from slowfast_mvit.data.ava_videos import AvaVideos, find_videos
from slowfast_mvit.data.given_videos import given_videos
from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.boxes import overlaps

_LOG = logging.getLogger(__name__)

TRAINING_OVERLAP = 0.9  # of a detected with an annotated box, for training (paper, B.6)
# AVA annotates minutes 15 to 30 of a film, and its frames and cut files begin at minute 15.
AVA_START, AVA_END = 900, 1800
_CUT_LENGTH = 910.0  # seconds that such a file lasts at most


@dataclass(frozen=True)
class AvaList:
    """K key frames with N boxes of one split, in arrays so that loader workers share them.

    Key frames are in the order of the videos and of their seconds, boxes in that of the key frames and of the files.

    Attributes:
        videos: V of them.
        key_videos: int32 [K], places in ``videos``.
        key_seconds: int32 [K], as the files count them.
        starts: int64 [K + 1]; the boxes of key frame k are starts[k] to starts[k + 1].
        boxes: float64 [N, 4] of x1, y1, x2, y2 in parts of the frame's width and height.
        box_labels: bool [N, classes]; all False where nobody knows.
        scores: float32 [N] of a detector, NaN for annotated boxes.
        label_names: name of each class, empty where it has a number only; class i is number i + 1 of the files.
        source: the box lists, for messages.
        first_second: what the files call the time of a video's first frame; None: see :meth:`start_of`.
    """

    videos: AvaVideos
    key_videos: np.ndarray
    key_seconds: np.ndarray
    starts: np.ndarray
    boxes: np.ndarray
    box_labels: np.ndarray
    scores: np.ndarray
    label_names: tuple[str, ...]
    source: str
    first_second: float | None = None

    def __len__(self) -> int:
        return len(self.key_seconds)

    @cached_property
    def names(self) -> np.ndarray:
        """str [K]: video and second, as AVA's protocol writes them, ``video,0902``."""
        return np.array([f"{self.video_name(k)},{self.key_seconds[k]:04d}" for k in range(len(self))])

    @property
    def labels(self) -> np.ndarray:
        """bool [K, classes]: what anybody does at a key frame."""
        return np.logical_or.reduceat(self.box_labels, self.starts[:-1], axis=0)  # no key frame is without boxes

    @property
    def box_keys(self) -> np.ndarray:
        """int64 [N]: the key frame of each box."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def video_name(self, index: int) -> str:
        """Name of the video of key frame ``index``."""
        return self.videos.names[self.key_videos[index]]

    def rows_of(self, index: int) -> slice:
        """The boxes of key frame ``index``."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def start_of(self, index: int, duration: float) -> float:
        """What the files call the time of the first frame of key frame ``index``'s video, which lasts ``duration`` seconds.

        ``first_second``, if it is given. Else 0; but 900 for AVA's frames and cut files: all key frames of the video are
        between 900 and 1800, and it lasts little more than these 900 seconds at most.
        """
        if self.first_second is not None:
            return self.first_second
        first, last = np.searchsorted(self.key_videos, [self.key_videos[index], self.key_videos[index] + 1])
        cut = self.key_seconds[first] >= AVA_START and self.key_seconds[last - 1] <= AVA_END
        return float(AVA_START) if cut and duration <= _CUT_LENGTH else 0.0

    def chosen(self, keys: np.ndarray) -> "AvaList":
        """The list of some key frames, by a bool [K] or by ascending places."""
        places = np.arange(len(self))[keys]
        counts = np.diff(self.starts)[places]
        kept = np.isin(self.box_keys, places)
        return replace(
            self,
            key_videos=self.key_videos[places],
            key_seconds=self.key_seconds[places],
            starts=np.concatenate(([0], np.cumsum(counts))),
            boxes=self.boxes[kept],
            box_labels=self.box_labels[kept],
            scores=self.scores[kept],
        )


@dataclass(frozen=True)
class AvaFiles:
    """The files of one split.

    Attributes:
        frame_dir: folder of videos, of folders of frames, or the one that the paths of frame lists are relative to.
        annotated, detected: box lists. One that is in both is annotated.
        frame_lists: PySlowFast's; needless where ``frame_dir`` holds videos or a folder of frames for each.
        min_score: detected boxes below it are left out.
        first_second: see :class:`AvaList`.
    """

    frame_dir: Path
    annotated: tuple[Path, ...] = ()
    detected: tuple[Path, ...] = ()
    frame_lists: tuple[Path, ...] = ()
    min_score: float = 0.0
    first_second: float | None = None


def read_annotated(paths: Iterable[Path]) -> list[BoxRows]:
    """The annotated boxes of lists. Raises UserError; what is left out is logged."""
    return [_usable(read_boxes(path, detected=False)) for path in paths]


def read_detected(paths: Iterable[Path], min_score: float) -> list[BoxRows]:
    """The detected boxes of lists with at least this score.

    Raises:
        UserError: a list is wrong, or none of its boxes has such a score.
    """
    tables = []
    for path in paths:
        rows = _usable(read_boxes(path, detected=True))
        good = rows.rows(rows.scores >= min_score)
        if not len(good):
            raise UserError(
                f"{path}: none of its {len(rows)} boxes has a score of at least {min_score:g}, the best has "
                f"{rows.scores.max():g}: lower AVA.DETECTION_SCORE_THRESH"
            )
        tables.append(good)
    return tables


def keys_to_train(files: AvaFiles, actions: Actions, *, must_exist: bool = True) -> AvaList:
    """Key frames with annotated boxes, and with detected ones that have labels.

    A detected list in which no box has an action is a detector's own: its boxes take the labels of the annotated box that they
    overlap the most, if that is by IoU > 0.9 (paper, B.6), and are left out otherwise. PySlowFast's has them already.

    Raises:
        UserError: see the readers; detected and annotated boxes have no key frame in common; there are no lists, or none that
            the boxes of a detector could have labels from.
    """
    if not files.annotated and not files.detected:
        raise UserError("there are no boxes to train on: name their lists in AVA.TRAIN_GT_BOX_LISTS")
    annotated = read_annotated(files.annotated)
    detected = read_detected([path for path in files.detected if path not in files.annotated], files.min_score)
    _refuse_foreign(detected, annotated)
    tables = [(rows, actions.columns(rows)) for rows in annotated]
    for rows in detected:
        if (rows.actions < 0).all():
            if not annotated:
                raise UserError(
                    f"{rows.source} names no actions, and AVA.TRAIN_GT_BOX_LISTS is empty: name the annotated boxes there, "
                    "from which those of a detector have their labels"
                )
            tables += _labelled_by_overlap(rows, annotated, actions)
        else:
            tables.append((rows, actions.columns(rows)))
    return _key_frames(files, tables, actions, _span(annotated), must_exist)


def keys_to_test(
    files: AvaFiles, actions: Actions, annotated: Sequence[BoxRows] = (), *, must_exist: bool = True
) -> AvaList:
    """Key frames with detected boxes, between the first and the last annotated second of the data set.

    A key frame at which nobody was detected has nothing for a model to look at and is not in the list; who was annotated there
    counts as not found by the evaluation, whose truth is not taken from this list.

    Raises:
        UserError: see the readers; detected and annotated boxes have no key frame in common; there are no lists.
    """
    if not files.detected:
        raise UserError("there are no boxes to test: name the lists of detected ones in AVA.TEST_PREDICT_BOX_LISTS")
    detected = read_detected(files.detected, files.min_score)
    _refuse_foreign(detected, annotated)
    return _key_frames(
        files, [(rows, actions.columns(rows)) for rows in detected], actions, _span(annotated), must_exist
    )


def keys_to_predict(
    boxes: Path, videos: Sequence[Path], actions: Actions, *, min_score: float, first_second: float | None
) -> AvaList:
    """Key frames of given video files with the boxes of one list: annotated ones, and detected ones with at least this score.

    What the list says of actions is not read.

    Raises:
        UserError: the list is wrong, has boxes of none of the videos, or none with such a score.
    """
    rows = _usable(read_boxes(boxes, detected=None))
    if not len(rows):
        raise UserError(f"{boxes}: none of its boxes can be used")
    present = tuple(rows.video_names[video] for video in np.unique(rows.videos))
    given = given_videos(videos, present, rows.source)
    mine = rows.rows(np.isin(rows.videos, [rows.video_names.index(name) for name in given.names]))
    good = mine.rows(~(mine.scores < min_score))  # annotated ones have NaN
    if not len(good):
        raise UserError(
            f"{boxes}: none of the {len(mine)} boxes of these videos has a score of at least {min_score:g}, the best has "
            f"{mine.scores.max():g}: lower AVA.DETECTION_SCORE_THRESH"
        )
    return _key_frames_in(given, [(good, np.full(len(good), -1))], actions, first_second)


def _usable(rows: BoxRows) -> BoxRows:
    good, left_out = usable(rows)
    if left_out:
        _LOG.warning("%s", left_out)
    return good


def _refuse_foreign(detected: Sequence[BoxRows], annotated: Sequence[BoxRows]) -> None:
    if detected and annotated:
        ours, theirs = key_seconds(detected), key_seconds(annotated)
        if not ours & theirs:
            raise UserError(
                f"{_sources(detected)} and {_sources(annotated)} have no key frame (video and second) in common, as "
                f"{min(ours)} and {min(theirs)}: they are of different sets"
            )


def key_seconds(tables: Iterable[BoxRows]) -> set[tuple[str, int]]:
    """The videos and seconds that lists have boxes at."""
    found = set[tuple[str, int]]()
    for rows in tables:
        pairs = np.unique(np.stack((rows.videos, rows.seconds), axis=1), axis=0)
        found |= {(rows.video_names[video], second) for video, second in pairs.tolist()}
    return found


def _span(annotated: Sequence[BoxRows]) -> tuple[int, int] | None:
    """The first and the last annotated second, 902 and 1798 of AVA: beyond them nothing is known."""
    seconds = [rows.seconds for rows in annotated]
    return (min(int(s.min()) for s in seconds), max(int(s.max()) for s in seconds)) if seconds else None


def _sources(tables: Iterable[BoxRows]) -> str:
    return ", ".join(rows.source for rows in tables)


def _labelled_by_overlap(
    rows: BoxRows, annotated: Sequence[BoxRows], actions: Actions
) -> Iterator[tuple[BoxRows, np.ndarray]]:
    """Detected boxes with the labels of the annotated ones that they overlap the most, a row for each label."""
    truth = _joined([(table, actions.columns(table)) for table in annotated])
    ours = _joined([(rows, np.full(len(rows), -1))])
    place = {name: number for number, name in enumerate(truth.names)}
    keys = np.array([place.get(name, -1) for name in ours.names])[ours.videos].astype(np.int64) << 32 | ours.seconds
    truth_keys = truth.videos.astype(np.int64) << 32 | truth.seconds
    order, truth_order = np.argsort(keys, kind="stable"), np.argsort(truth_keys, kind="stable")
    in_order = truth_keys[truth_order]
    begins = np.flatnonzero(np.concatenate(([True], np.diff(keys[order]) != 0)))
    first = np.searchsorted(in_order, keys[order[begins]], side="left")
    stop = np.searchsorted(in_order, keys[order[begins]], side="right")
    taken, columns = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for key in np.flatnonzero(first < stop):
        mine = order[begins[key] : begins[key + 1] if key + 1 < len(begins) else None]
        theirs = truth_order[first[key] : stop[key]]
        pairs = overlaps(ours.boxes[mine], truth.boxes[theirs])
        # Rows of one person have the same corners and so the same overlap.
        best = pairs == pairs.max(axis=1, keepdims=True)
        box, label = np.nonzero(best & (pairs > TRAINING_OVERLAP))
        taken.append(mine[box])
        columns.append(truth.columns[theirs[label]])
    yield rows.rows(np.concatenate(taken)), np.concatenate(columns)


@dataclass(frozen=True)
class _Joined:
    """Rows of several lists, their videos numbered together."""

    names: tuple[str, ...]
    videos: np.ndarray
    seconds: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    columns: np.ndarray


def _joined(tables: Sequence[tuple[BoxRows, np.ndarray]], names: Sequence[str] = ()) -> _Joined:
    """The rows of lists with their ``columns``; of the videos ``names`` alone where these are given."""
    place = {name: number for number, name in enumerate(names)}
    if not names:
        for rows, _ in tables:
            for name in rows.video_names:
                place.setdefault(name, len(place))
    parts: list[tuple[np.ndarray, ...]] = []
    for rows, columns in tables:
        videos = np.array([place.get(name, -1) for name in rows.video_names] + [-1], dtype=np.int32)[rows.videos]
        kept = videos >= 0
        parts.append((videos[kept], rows.seconds[kept], rows.boxes[kept], rows.scores[kept], columns[kept]))
    return _Joined(tuple(place), *(np.concatenate(column) for column in zip(*parts, strict=True)))


def _key_frames(
    files: AvaFiles,
    tables: Sequence[tuple[BoxRows, np.ndarray]],
    actions: Actions,
    span: tuple[int, int] | None,
    must_exist: bool,
) -> AvaList:
    """The list of rows with the outputs of their actions, whose seconds are within ``span`` (both ends)."""
    wanted = tuple(dict.fromkeys(rows.video_names[v] for rows, _ in tables for v in np.unique(rows.videos)))
    videos = find_videos(files.frame_dir, wanted, files.frame_lists, must_exist=must_exist)
    return _key_frames_in(videos, tables, actions, files.first_second, span)


def _key_frames_in(
    videos: AvaVideos,
    tables: Sequence[tuple[BoxRows, np.ndarray]],
    actions: Actions,
    first_second: float | None,
    span: tuple[int, int] | None = None,
) -> AvaList:
    """The list of those rows that are of the videos."""
    source = _sources(rows for rows, _ in tables)
    all_rows = _joined(tables, videos.names)
    first, last = span or (-(2**31), 2**31)
    kept = (all_rows.seconds >= first) & (all_rows.seconds <= last)
    if not kept.any():
        raise UserError(f"{source}: none of its boxes is at one of the annotated seconds, {first} to {last}")
    v, s, boxes, scores, columns = (
        column[kept]
        for column in (all_rows.videos, all_rows.seconds, all_rows.boxes, all_rows.scores, all_rows.columns)
    )
    # Rows of one person next to each other, the first of the files in front.
    order = np.lexsort((*boxes.T[::-1], s, v))
    keys = np.column_stack((v, s, boxes))[order]
    is_new = np.concatenate(([True], (keys[1:] != keys[:-1]).any(axis=1)))
    person = np.cumsum(is_new) - 1
    firsts = order[is_new]  # lexsort is stable
    # People in the order of key frames and of the files.
    by_key = np.lexsort((firsts, s[firsts], v[firsts]))
    rank = np.empty_like(by_key)
    rank[by_key] = np.arange(len(by_key))
    labels = np.zeros((len(firsts), len(actions.names)), dtype=bool)
    known = columns[order] >= 0
    labels[rank[person][known], columns[order][known]] = True
    rows = firsts[by_key]
    begins = np.flatnonzero(np.concatenate(([True], (np.diff(v[rows]) != 0) | (np.diff(s[rows]) != 0))))
    return AvaList(
        videos=videos,
        key_videos=v[rows][begins],
        key_seconds=s[rows][begins],
        starts=np.append(begins, len(rows)),
        boxes=boxes[rows],
        box_labels=labels,
        scores=scores[rows].astype(np.float32),
        label_names=actions.names,
        source=source,
        first_second=first_second,
    )
