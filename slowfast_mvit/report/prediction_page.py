"""The page of a prediction: what its tables say of one's own videos and images, in one file."""

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path

from slowfast_mvit.build.run import RunFolder
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.predictions import write_whole
from slowfast_mvit.report.boxes import MOST_BOXES
from slowfast_mvit.report.looping import Budget
from slowfast_mvit.report.page import MOST_UNREADABLE, write_report
from slowfast_mvit.report.predicted_boxes import PredictedObjects, objects_of, people_of
from slowfast_mvit.report.predicted_files import BOXES, Made, Prediction, read_prediction, write_record
from slowfast_mvit.report.predicted_videos import Predicted, videos_of
from slowfast_mvit.report.templates import NAME, filled

_LOG = logging.getLogger(__name__)
_PICTURES = 2_500_000  # bytes


def leave_report(root: Path, made: Made, files: Mapping[Path, str]) -> dict[Path, str]:
    """Write ``predictions.json`` and ``report.html`` into the folder of a prediction that has just been made.

    What cannot be written is a warning: the prediction is what counts. The report of a run in the same folder is left alone.

    Args:
        root: the folder.
        made: what the prediction was made of.
        files: that it has written, each with what it holds.

    Returns:
        ``files`` with the new ones.
    """
    try:
        record = write_record(root, made, list(files))
        files = {**files, record: "what was predicted with what"}
        if _holds_run(root):
            _LOG.warning("%s holds a run, whose %s stays: the prediction has none", root, NAME)
            return dict(files)
        page = write_prediction(root)
    except (UserError, OSError) as problem:
        _LOG.warning("the report could not be made: %s", problem)
        return dict(files)
    return {**files, page: "all of it on one page"} if page is not None else dict(files)


def _holds_run(root: Path) -> bool:
    folder = RunFolder(root)
    return any(path.exists() for path in (folder.config, folder.test_config, folder.epochs, folder.metrics))


def write_any(root: Path) -> Path | None:
    """Write the report of a folder, be it of a run or of a prediction; None where it is neither.

    Raises:
        UserError: there is no such folder, or it cannot be written in.
    """
    return write_report(root) or write_prediction(root)


def write_prediction(root: Path) -> Path | None:
    """Write ``report.html`` into the folder of a prediction, whole or not at all; None where there is nothing to show.

    Raises:
        UserError: there is no such folder, or it cannot be written in.
    """
    found = read_prediction(root)
    if found is None:
        return None
    write_whole(root / NAME, page_of(found).encode("utf-8", errors="replace"))
    return root / NAME


def page_of(found: Prediction) -> str:
    """The page as HTML."""
    budget = Budget(_PICTURES)
    people = found.kind == BOXES
    seen = people_of(found, budget) if people else videos_of(found, budget)
    objects = objects_of(found, budget)
    noun = "image" if found.images else "video"
    content = {
        "name": found.root.resolve().name,
        "lead": _lead(found, noun, seen, objects),
        "said": found.said,
        "command": found.command,
        "seen": seen,
        "seen_noun": noun,
        "seen_title": f"{noun.capitalize()}s",
        "drawn_words": f"The {noun} with its {'boxes' if people else 'labels'}",
        "bars_caption": "Best actions of anybody, by their highest scores" if people else "Best labels",
        "places_name": "Seconds" if people else "Windows",
        "table_name": "actions.csv" if people else "videos.csv",
        "objects": objects,
        "unreadable": _unreadable(found),
        "min_score": found.min_score,
        "most_boxes": MOST_BOXES,
        "notes": list(dict.fromkeys(found.notes)),
    }
    return filled("prediction.html", content)


def _lead(found: Prediction, noun: str, seen: Predicted | None, objects: PredictedObjects | None) -> str:
    """How much was predicted, in a line."""
    shown = seen or objects
    parts = []
    if shown is not None:
        count = len(shown.full) + len(shown.rest) + shown.left_out
        parts.append(f"{count:,} {noun}{'' if count == 1 else 's'}")
    tables = ((found.clips, "view"), (found.boxes, "box"), (found.objects, "object"))
    for table, what in tables:
        if table is not None and not (what == "view" and found.images):
            plural = "es" if what == "box" else "s"
            parts.append(f"{len(table):,} {what}{'' if len(table) == 1 else plural}")
    if found.unreadable is not None and len(found.unreadable):
        parts.append(f"{len(found.unreadable):,} unreadable")
    return ", ".join(parts)


def _unreadable(found: Prediction) -> tuple[list[dict[Hashable, object]], int] | None:
    table = found.unreadable
    if table is None or not len(table):
        return None
    return table[:MOST_UNREADABLE].assign(video=lambda rows: rows["video"].map(found.short)).to_dict("records"), len(
        table
    )
