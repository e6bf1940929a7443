"""How each class fares: bars, the confusion matrix of few classes, and the pairs that are confused the most."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slowfast_mvit.report.files import RunFiles

MOST_IN_MATRIX = 16  # classes; a wider one is no reading
MOST_PAIRS = 20
MOST_BARS = 1000


@dataclass(frozen=True)
class Bar:
    """A class: its name, the value from 0 to 1 (NaN: nobody has it), and what it counts, in words."""

    name: str
    value: float
    count: str

    @property
    def known(self) -> bool:
        """Whether the test has the class."""
        return not np.isnan(self.value)


@dataclass(frozen=True)
class Bars:
    """The classes from the best to the worst, those without a value last.

    Attributes:
        value_name: what the bars are.
        count_name: what the counts are of.
        bars: at most :data:`MOST_BARS`, the worst left out.
        left_out: how many classes are not shown.
    """

    value_name: str
    count_name: str
    bars: tuple[Bar, ...]
    left_out: int


@dataclass(frozen=True)
class Confusions:
    """Which classes are taken for which.

    Attributes:
        pairs: class, what it was taken for, how often, and the share of the class's videos; the most frequent first.
        num_pairs: of all, shown or not.
        names: of the matrix's classes, empty where there are too many for one.
        matrix: counts [class, taken for].
    """

    pairs: tuple[tuple[str, str, int, float], ...]
    num_pairs: int
    names: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]


def bars_of(run: RunFiles) -> Bars | None:
    """The bars of a test: average precision where its table of classes has it, else the share of right videos."""
    if run.classes is not None:
        found = _bars_of_classes(run.classes)
        if found is not None:
            return found
    one_label = _one_label(run)
    if one_label is None:
        return None
    labels, taken, names = one_label
    counts, right = Counter(labels.tolist()), Counter(labels[labels == taken].tolist())
    bars = [
        Bar(_name(label, names), right[label] / counts[label], f"{right[label]} of {counts[label]}") for label in counts
    ]
    return _sorted("right", "videos", bars)


# Column of the value, of its counts, what both are called, and the value of a perfect class.
_TABLES = (
    ("average_precision", "num_videos", "average precision", "videos", 1),
    ("AP@0.5IOU", "num_truth", "average precision at IoU 0.5", "annotated", 1),
    ("box_ap", "num_truth", "box AP", "annotated", 100),
    ("mask_ap", "num_truth", "mask AP", "annotated", 100),
)


def _bars_of_classes(classes: pd.DataFrame) -> Bars | None:
    """The tables of tests with several labels, of AVA's and of COCO's."""
    for value, count, value_name, count_name, whole in _TABLES:
        if value in classes and count in classes:
            names = [name or number for number, name in zip(_numbers(classes), classes["name"], strict=True)]
            parts, counts = classes[value].astype(float) / whole, classes[count]
            bars = [
                Bar(name, part, "" if pd.isna(number) else f"{number:.0f}")
                for name, part, number in zip(names, parts, counts, strict=True)
            ]
            return _sorted(value_name, count_name, bars)
    return None


def _numbers(classes: pd.DataFrame) -> list[str]:
    for name in ("class", "action_id", "category_id"):
        if name in classes:
            return [f"{number:g}" if isinstance(number, float) else str(number) for number in classes[name]]
    return [str(place) for place in range(len(classes))]


def _sorted(value_name: str, count_name: str, bars: list[Bar]) -> Bars:
    ordered = sorted(bars, key=lambda bar: (not bar.known, -bar.value if bar.known else 0, bar.name))
    return Bars(value_name, count_name, tuple(ordered[:MOST_BARS]), max(0, len(ordered) - MOST_BARS))


def confusions_of(run: RunFiles) -> Confusions | None:
    """What the best class was where it was not the label; None where videos may have several labels."""
    found = _one_label(run)
    if found is None:
        return None
    labels, taken, names = found
    counts = Counter(labels.tolist())
    wrong = Counter(zip(labels[labels != taken].tolist(), taken[labels != taken].tolist(), strict=True))
    ordered = sorted(wrong.items(), key=lambda pair: (-pair[1], -pair[1] / counts[pair[0][0]], pair[0]))
    pairs = tuple(
        (_name(label, names), _name(other, names), number, number / counts[label])
        for (label, other), number in ordered[:MOST_PAIRS]
    )
    classes = np.union1d(labels, taken)
    if len(classes) > MOST_IN_MATRIX:
        return Confusions(pairs, len(wrong), (), ())
    matrix = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(matrix, (np.searchsorted(classes, labels), np.searchsorted(classes, taken)), 1)
    shown = tuple(_name(label, names) for label in classes.tolist())
    return Confusions(pairs, len(wrong), shown, tuple(tuple(row) for row in matrix.tolist()))


def _one_label(run: RunFiles) -> tuple[np.ndarray, np.ndarray, dict[int, str]] | None:
    """Label and best class of each video, int64, with the names of classes that the tables give."""
    videos = run.videos
    if videos is None or "label" not in videos or "top1" not in videos:
        return None
    known = videos[videos["label"].notna() & videos["top1"].notna()]
    if not len(known):
        return None
    names = {number: name for number, name in enumerate(run.label_names) if name}
    for number, name in (("label", "label_name"), ("top1", "top1_name")):
        if name in known:
            names |= {int(label): text for label, text in zip(known[number], known[name], strict=True) if text}
    return known["label"].to_numpy(dtype=np.int64), known["top1"].to_numpy(dtype=np.int64), names


def _name(label: int, names: dict[int, str]) -> str:
    return names.get(label, f"class {label}")
