"""Why a frame mAP is 0 or has no value, in sentences: what users of AVA's metric look for by hand."""

from collections.abc import Iterable, Sequence

import numpy as np

from slowfast_mvit.evaluation.ava import AvaResult
from slowfast_mvit.evaluation.ava_boxes import ActionBoxes

_PIXELS = 2.0  # coordinates beyond this are no parts of a frame; a detector's may be a little beyond 1
_NUM_NAMED = 5


def explain(result: AvaResult, truth: ActionBoxes, detections: ActionBoxes) -> list[str]:
    """Sentences about what went into a result, the weightiest first; none where every class has truth and a precision.

    Args:
        result: of :func:`~slowfast_mvit.evaluation.ava.evaluate`.
        truth, detections: as they were given to it.
    """
    reasons = [*_of_tables(result, truth, detections)]
    if result.images_of_truth and result.images_of_detections and not result.images_of_both:
        reasons.append(_no_common_image(truth, detections))
    reasons += _of_boxes(result, truth, detections)
    if not reasons and result.mean() == 0:
        best = float(result.best_ious.max())
        reasons.append(
            f"no detection reaches an IoU of {result.ious[0]:g} with a box of its own class: the highest is {best:.2f}"
            if best < result.ious[0]
            else "no class has a right detection"
        )
    return reasons + _of_classes(result, truth, detections)


def _of_tables(result: AvaResult, truth: ActionBoxes, detections: ActionBoxes) -> Iterable[str]:
    """Tables that are empty, or of which nothing is left to score."""
    for kind, table, images, unknown, excluded in (
        ("annotated boxes", truth, result.images_of_truth, result.dropped.truth_unknown, result.dropped.truth_excluded),
        ("detections", detections, result.images_of_detections, result.dropped.unknown, result.dropped.excluded),
    ):
        if not len(table):
            yield f"there are no {kind}"
        elif not images:
            yield (
                f"none of the {len(table)} {kind} can be scored: {unknown} have actions that the label map lacks,"
                f" {excluded} are at excluded seconds"
                + (f", {result.dropped.invalid} have no area" if table is detections else "")
            )


def _no_common_image(truth: ActionBoxes, detections: ActionBoxes) -> str:
    """Why no detection is at a second with truth: other names of videos, or other seconds."""
    theirs, ours = (_names(table) for table in (truth, detections))
    if not theirs & ours:
        return (
            f"no video of the detections (such as {min(ours)!r}) is among those with truth (such as {min(theirs)!r}):"
            " the names must be equal, so without folders and endings in both or in neither"
        )
    (low, high), (first, last) = ((int(t.at.seconds.min()), int(t.at.seconds.max())) for t in (detections, truth))
    return (
        f"no second of the detections ({low} to {high}) has truth (there it is {first} to {last}) in the same video: both must"
        " count whole seconds from the same start, and not frames or milliseconds"
    )


def _names(table: ActionBoxes) -> set[str]:
    return {table.at.video_names[place] for place in np.unique(table.at.videos)}


def _of_boxes(result: AvaResult, truth: ActionBoxes, detections: ActionBoxes) -> Iterable[str]:
    """Boxes in other units or forms."""
    for kind, table in (("annotated boxes", truth), ("detections", detections)):
        if len(table) and (highest := float(np.abs(table.boxes).max())) > _PIXELS:
            yield (
                f"coordinates of {kind} reach {highest:g}: they must be parts of the frame's width and height, from 0 to 1,"
                " and not pixels"
            )
    for kind, table, count in (
        ("annotated boxes", truth, _num_flat(truth)),
        ("detections", detections, result.dropped.invalid),
    ):
        if count:
            yield (
                f"{count} of the {len(table)} {kind} have x1 >= x2 or y1 >= y2 and are "
                + ("never found" if table is truth else "left out")
                + ": boxes are two corners, and not a corner with width and height"
            )


def _num_flat(table: ActionBoxes) -> int:
    x1, y1, x2, y2 = table.boxes.T
    return int(((x1 >= x2) | (y1 >= y2)).sum())


def _of_classes(result: AvaResult, truth: ActionBoxes, detections: ActionBoxes) -> list[str]:
    """Actions that one of truth, detections and label map lacks."""
    reasons = []
    known = [one.id for one in result.classes]
    for kind, table, count in (
        ("annotated boxes", truth, result.dropped.truth_unknown),
        ("detections", detections, result.dropped.unknown),
    ):
        if count:
            others = np.setdiff1d(table.actions, known)
            reasons.append(
                f"{count} of the {len(table)} {kind} are left out, as the label map lacks their actions {_listed(others)}"
                + (": actions are numbered from 1" if 0 in others else "")
            )
    names = np.array([one.name for one in result.classes], dtype=object)
    without_truth = result.num_truth == 0
    if without_truth.any():
        reasons.append(
            f"{without_truth.sum()} of the {len(names)} classes have no truth, so no precision, and are not in the mean:"
            f" {_listed(names[without_truth])}"
        )
    without_detections = ~without_truth & (result.num_detections == 0)
    if without_detections.any() and len(detections):
        reasons.append(
            f"{without_detections.sum()} of the {len(names)} classes have truth but no detection, and count as 0:"
            f" {_listed(names[without_detections])}"
        )
    missed = result.images_of_truth - result.images_of_both
    if missed and result.images_of_both:
        reasons.append(f"{missed} of the {result.images_of_truth} seconds with truth have no detection")
    beside = result.images_of_detections - result.images_of_both
    if beside and result.images_of_both:
        reasons.append(
            f"{beside} of the {result.images_of_detections} seconds with detections have no truth: all there counts as wrong"
        )
    return reasons


def _listed(things: Sequence[object] | np.ndarray) -> str:
    rest = len(things) - _NUM_NAMED
    return ", ".join(map(str, things[:_NUM_NAMED])) + (f" and {rest} more" if rest > 0 else "")
