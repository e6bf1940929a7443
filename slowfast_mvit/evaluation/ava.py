"""Frame mAP of AVA: the Pascal protocol of ActivityNet's evaluation, which PySlowFast calls, on arrays.

1. Classes are those of the label map; rows of other classes are left out of truth and detections, and so is everything at an
   excluded second of a video.
2. Detections whose box has no area (x1 >= x2 or y1 >= y2) are left out; annotated ones are kept, and are never found.
3. In an image (a second of a video) the detections of a class are taken in the order of the file. Each looks at the annotated
   box of its class with which its IoU is the highest, the first of equals: it is right if that IoU reaches the threshold and no
   earlier detection took the box, else wrong.
4. The detections of a class are joined in the order in which their images first appear in the file of detections, and sorted
   by falling score. Among equal scores the later comes first: NumPy's stable sort, reversed. (The original reverses an
   unstable sort, so that the order of more than 16 equal scores is left to chance.)
5. The average precision is the area under the curve of precision over recall, with the precision made non-increasing from the
   right. It is 0 for a class without detections, and NaN for one without truth; the mean is over the classes with truth.

Letters: K classes, I thresholds, N detections and M annotated boxes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.ava_boxes import ActionBoxes, ActionClass, KeySeconds

IOU = 0.5  # AVA's threshold
_MAX_PAIRS = 1 << 20  # of boxes, that are compared at once


@dataclass(frozen=True)
class Curve:
    """Precision over recall of one class, at its right detections by falling score; between them recall stands still.

    Attributes:
        scores, recall, precision: float64 [number of right detections].
    """

    scores: np.ndarray
    recall: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True)
class Dropped:
    """How many rows the protocol left out: of classes that are not scored, at excluded seconds, of boxes without area."""

    truth_unknown: int
    truth_excluded: int
    unknown: int
    excluded: int
    invalid: int


@dataclass(frozen=True)
class AvaResult:
    """What the protocol says of some detections.

    Attributes:
        classes: the K classes of the label map, in its order.
        ious: the I thresholds.
        average_precisions: float64 [I, K], from 0 to 1; NaN for classes without truth.
        num_truth, num_detections: int64 [K], boxes that were scored.
        best_ious: float64 [K], the highest IoU of any detection with truth of its class and image; 0 where none meet.
        curves: [I][K].
        images_of_truth, images_of_detections, images_of_both: how many images have scored boxes.
        dropped: what was not scored.
    """

    classes: tuple[ActionClass, ...]
    ious: tuple[float, ...]
    average_precisions: np.ndarray
    num_truth: np.ndarray
    num_detections: np.ndarray
    best_ious: np.ndarray
    curves: tuple[tuple[Curve, ...], ...]
    images_of_truth: int
    images_of_detections: int
    images_of_both: int
    dropped: Dropped

    def mean(self, index: int = 0) -> float:
        """mAP at the threshold ``ious[index]``, from 0 to 1: over the classes with truth, NaN if there are none."""
        scored = self.average_precisions[index][self.num_truth > 0]
        return float(scored.mean()) if len(scored) else float("nan")


def evaluate(
    truth: ActionBoxes,
    detections: ActionBoxes,
    classes: Sequence[ActionClass],
    *,
    excluded: KeySeconds | None = None,
    ious: Sequence[float] = (IOU,),
) -> AvaResult:
    """Score detections, whose rows are in the order of their file, against the truth.

    Args:
        truth: its ``scores`` are not used.
        detections: with ``scores``.
        classes: those of the label map.
        excluded: seconds that are not scored.
        ious: thresholds, more than 0 and at most 1; AVA's is 0.5.

    Raises:
        UserError: for NaN or infinite numbers, thresholds out of range and label maps without classes.
    """
    _check(truth, detections, classes, ious)
    truth_keys, keys, excluded_keys = _image_keys(truth.at, detections.at, excluded)

    found = _kept(detections, keys, classes, excluded_keys, drop_invalid=True)
    known = _kept(truth, truth_keys, classes, excluded_keys, drop_invalid=False)
    # Images are numbered in the order in which they appear among the detections; those without detections are -1.
    truth_images = pd.Index(found.image_keys).get_indexer(pd.Index(known.image_keys))[known.images]

    by_class = _sorted_by_class(found.classes, found.images, len(classes))
    truth_by_class = _sorted_by_class(known.classes, truth_images, len(classes))
    assert detections.scores is not None
    curves, best_ious = [], np.zeros(len(classes))
    for k, (mine, theirs) in enumerate(zip(by_class, truth_by_class, strict=True)):
        rows, truth_rows = found.rows[mine], known.rows[theirs]
        matches = _best_truth(detections.boxes, rows, found.images[mine], truth.boxes[truth_rows], truth_images[theirs])
        best_ious[k] = matches.ious.max(initial=0.0)
        scores = detections.scores[rows]
        order = np.argsort(scores, kind="stable")[::-1]
        curves.append([_curve(scores, order, _right(len(rows), matches, iou), len(truth_rows)) for iou in ious])

    by_iou = tuple(zip(*curves, strict=True))
    with_boxes = np.unique(found.images)
    with_truth = np.unique(known.images)
    return AvaResult(
        classes=tuple(classes),
        ious=tuple(float(iou) for iou in ious),
        average_precisions=np.array(
            [[_area(one, len(rows)) for one, rows in zip(row, truth_by_class, strict=True)] for row in by_iou]
        ),
        num_truth=np.array([len(rows) for rows in truth_by_class]),
        num_detections=np.array([len(rows) for rows in by_class]),
        best_ious=best_ious,
        curves=by_iou,
        images_of_truth=len(with_truth),
        images_of_detections=len(with_boxes),
        images_of_both=len(np.intersect1d(known.image_keys[with_truth], found.image_keys[with_boxes])),
        dropped=Dropped(
            known.num_unknown, known.num_excluded, found.num_unknown, found.num_excluded, found.num_invalid
        ),
    )


def _check(truth: ActionBoxes, detections: ActionBoxes, classes: Sequence[ActionClass], ious: Sequence[float]) -> None:
    if not classes:
        raise UserError("the label map has no classes, so there is nothing to score")
    assert len({one.id for one in classes}) == len(classes), "a class is there twice"
    if not ious or not all(0 < iou <= 1 for iou in ious):
        raise UserError(
            f"thresholds of IoU must be more than 0 and at most 1, not {', '.join(map(str, ious)) or 'none'}"
        )
    assert detections.scores is not None, "detections need scores"
    for kind, table in (("annotated", truth), ("detected", detections)):
        wrong = ~np.isfinite(table.boxes).all(axis=1)
        if table is detections:
            wrong |= ~np.isfinite(detections.scores)
        if wrong.any():
            row = int(np.argmax(wrong))
            score = "" if table is truth else f" with score {detections.scores[row]}"
            raise UserError(
                f"the {kind} box {table.boxes[row].tolist()}{score} of action {table.actions[row]}, in video"
                f" {table.at.video_names[table.at.videos[row]]!r} at second {table.at.seconds[row]}, is not of finite numbers"
            )


def _image_keys(
    truth: KeySeconds, detections: KeySeconds, excluded: KeySeconds | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One whole number per row for its video and second, equal where these are: int64 of each table."""
    places: dict[str, int] = {}
    keys = []
    for table in (truth, detections, excluded):
        if table is None:
            keys.append(np.empty(0, dtype=np.int64))
            continue
        ours = np.array([places.setdefault(name, len(places)) for name in table.video_names], dtype=np.int64)
        keys.append((ours[table.videos] << 32) + table.seconds if len(table) else np.empty(0, dtype=np.int64))
    return keys[0], keys[1], keys[2]


@dataclass(frozen=True)
class _Kept:
    """The N rows of a table that are scored: places in it, classes int16, images int64 (places in ``image_keys``)."""

    rows: np.ndarray
    classes: np.ndarray
    images: np.ndarray
    image_keys: np.ndarray
    num_unknown: int
    num_excluded: int
    num_invalid: int


def _kept(
    table: ActionBoxes,
    keys: np.ndarray,
    classes: Sequence[ActionClass],
    excluded_keys: np.ndarray,
    *,
    drop_invalid: bool,
) -> _Kept:
    """What steps 1 and 2 leave; images are numbered as they first appear among rows of known classes, invalid ones too."""
    of_class = pd.Index([one.id for one in classes]).get_indexer(pd.Index(table.actions)).astype(np.int16)
    rows = np.flatnonzero(of_class >= 0)
    images, image_keys = pd.factorize(keys[rows])
    excluded = np.isin(image_keys, excluded_keys)[images]
    kept = ~excluded
    if drop_invalid:
        x1, y1, x2, y2 = table.boxes.T
        kept &= ((x1 < x2) & (y1 < y2))[rows]
    num_excluded = int(excluded.sum())
    return _Kept(
        rows=rows[kept],
        classes=of_class[rows[kept]],
        images=images[kept],
        image_keys=image_keys,
        num_unknown=len(table) - len(rows),
        num_excluded=num_excluded,
        num_invalid=len(rows) - num_excluded - int(kept.sum()),
    )


def _sorted_by_class(classes: np.ndarray, images: np.ndarray, num_classes: int) -> list[np.ndarray]:
    """Places of the rows of each class, by image and then in the order of the file."""
    # Files are mostly in the order of their images, and 16-bit numbers are sorted by counting.
    in_order = bool(np.all(images[1:] >= images[:-1]))
    order = np.argsort(classes, kind="stable") if in_order else np.lexsort((images, classes))
    return np.split(order, np.cumsum(np.bincount(classes, minlength=num_classes))[:-1])


@dataclass(frozen=True)
class _Matches:
    """Detections with the truth that each looks at: places int64, ascending in ``detections``, and their IoU float64."""

    detections: np.ndarray
    truth: np.ndarray
    ious: np.ndarray


def _best_truth(
    boxes: np.ndarray, rows: np.ndarray, images: np.ndarray, truth: np.ndarray, truth_images: np.ndarray
) -> _Matches:
    """The annotated box of the highest IoU for every detection of one class whose image has any, the first of equals.

    Args:
        boxes: of all detections, [.., 4]; few of a class meet truth, and only theirs are looked up.
        rows: places of the class's detections in ``boxes``, [N], with ``images`` [N], ascending.
        truth: [M, 4], with ``truth_images`` [M], ascending.
    """
    first = np.searchsorted(truth_images, images, side="left")
    counts = np.searchsorted(truth_images, images, side="right") - first
    some = np.flatnonzero(counts)
    parts = [
        (part, *_best_of(boxes[rows[part]], truth, first[part], counts[part])) for part in _portions(some, counts[some])
    ]
    if not parts:
        return _Matches(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    return _Matches(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _portions(rows: np.ndarray, counts: np.ndarray) -> Iterator[np.ndarray]:
    """Rows in portions whose counts add up to about _MAX_PAIRS, so that crowds take bounded memory."""
    ends = np.cumsum(counts)
    if len(rows):
        cuts = np.searchsorted(ends, np.arange(_MAX_PAIRS, ends[-1], _MAX_PAIRS))
        yield from (part for part in np.split(rows, np.unique(cuts)) if len(part))


def _best_of(
    boxes: np.ndarray, truth: np.ndarray, first: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each of some boxes [P, 4], the best of the ``counts`` annotated ones from ``first`` on: their places and IoUs."""
    starts = np.cumsum(counts) - counts
    pair_truth = np.arange(counts.sum()) + np.repeat(first - starts, counts)
    ious = _iou(np.repeat(boxes, counts, axis=0), truth[pair_truth])
    best = np.maximum.reduceat(ious, starts)
    winners = np.flatnonzero(ious == np.repeat(best, counts))
    # Of several equals, the first in the box's stretch of pairs.
    return pair_truth[winners[np.searchsorted(winners, starts)]], best


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of pairs of boxes, both [P, 4], in float64 and in the protocol's order of operations; 0 where they do not meet."""
    heights = np.maximum(0, np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1]))
    widths = np.maximum(0, np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0]))
    meet = heights * widths
    union = _areas(a) + _areas(b) - meet
    return np.divide(meet, union, out=np.zeros(len(meet)), where=meet > 0)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 2] - boxes[:, 0])


def _right(count: int, matches: _Matches, iou: float) -> np.ndarray:
    """Which of ``count`` detections are right, bool: the first of those that reach the threshold with the same box."""
    reach = matches.ious >= iou
    _, firsts = np.unique(matches.truth[reach], return_index=True)
    right = np.zeros(count, dtype=bool)
    right[matches.detections[reach][firsts]] = True
    return right


def _curve(scores: np.ndarray, order: np.ndarray, right: np.ndarray, num_truth: int) -> Curve:
    """The curve of one class whose detections, taken in ``order``, are ``right`` or not."""
    places = np.flatnonzero(right[order])
    hits = np.arange(1, len(places) + 1, dtype=np.float64)
    return Curve(scores[order[places]], hits / max(num_truth, 1), hits / (places + 1))


def _area(curve: Curve, num_truth: int) -> float:
    """Area under the curve with each precision raised to the highest at its recall or beyond; NaN without truth."""
    if not num_truth:
        return float("nan")
    highest = np.maximum.accumulate(curve.precision[::-1])[::-1]
    return float((np.diff(curve.recall, prepend=0.0) * highest).sum())
