"""What the figures of a test mean, in words."""

import math
from collections.abc import Mapping
from typing import Any

from slowfast_mvit.report.files import RunFiles

_MEANINGS = {
    "top1_acc": ("top-1", "the share whose label is the class with the highest score"),
    "top5_acc": ("top-5", "the share whose label is among the five classes with the highest scores"),
    "map": (
        "mAP",
        "the mean over classes of the average precision: how well a class's scores rank those that have it first",
    ),
    "box_ap": (
        "box AP",
        "the mean over classes and over overlaps of 0.5 to 0.95 of the average precision of boxes (COCO)",
    ),
    "mask_ap": ("mask AP", "the same of masks"),
}
_SKIPPED = frozenset({*_MEANINGS, "protocol", "precision", "reasons", "left_out", "num_unreadable"})
_Z = 1.959964  # of a normal distribution's central 95 %


def percent(share: float, digits: int = 1) -> str:
    """A share from 0 to 1 in words, as in ``41.5 %``, which no line is broken in."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def figures(test: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The percentages of a test: name, value, and what it means."""
    return [
        (name, f"{test[key]:.2f} %", meaning)
        for key, (name, meaning) in _MEANINGS.items()
        if isinstance(test.get(key), int | float)
    ]


def other_values(test: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What else ``metrics.json`` says, by its keys."""
    return [
        (key, f"{value:.6g}" if isinstance(value, float) else str(value))
        for key, value in test.items()
        if key not in _SKIPPED and isinstance(value, int | float | str)
    ]


def certainty(run: RunFiles) -> str:
    """How sure the top-1 of so few videos is, and what guessing would give; empty where there is no top-1."""
    videos = run.videos
    if videos is None or "label" not in videos or "top1" not in videos or not len(videos):
        return ""
    count, right = len(videos), int((videos["label"] == videos["top1"]).sum())
    low, high = wilson(right, count)
    said = (
        f"{right} of {count} are right. Of as many others of the same kind, the share would be between {percent(low)} and "
        f"{percent(high)} (Wilson's 95 % interval)."
    )
    if run.config is not None:
        said += (
            f" Guessing among {run.config.MODEL.NUM_CLASSES} classes gives {percent(1 / run.config.MODEL.NUM_CLASSES)}."
        )
    return said


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share, by Wilson's score (J. Am. Stat. Assoc. 22, 1927), from 0 to 1."""
    share, spread = right / count, _Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
