"""Lists in which a video has any number of labels: ``path 3,17,40``, or names, or ``""`` for none of them.

A line of PySlowFast's frame lists of Charades ends so too.
"""

from collections.abc import Sequence

import numpy as np


def split_labels(text: str) -> tuple[str, ...]:
    """The labels of a comma-joined text, none of an empty one."""
    return tuple(label for part in text.split(",") if (label := part.strip()))


def are_numbers(text: str) -> bool:
    """Whether a text is one whole number or several, comma-joined; so is an empty one."""
    return all(label.removeprefix("-").isdecimal() for label in split_labels(text))


def multi_hot(labels: Sequence[int], counts: Sequence[int], num_classes: int) -> np.ndarray:
    """Bool [N, num_classes] of N videos, whose ``counts`` labels stand one after the other in ``labels``."""
    hot = np.zeros((len(counts), num_classes), dtype=bool)
    hot[np.repeat(np.arange(len(counts)), counts), np.asarray(labels, dtype=np.int64)] = True
    return hot
