"""Mean average precision over classes, for videos with any number of labels.

Letters: N videos, K classes.
"""

import numpy as np


def average_precisions(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision of each class, float64 [K], from 0 to 1; NaN for classes that no video has.

    The area under the step curve of precision over recall, as scikit-learn's ``average_precision_score``, which PySlowFast
    calls: videos are taken in by falling score, those of equal score at once, and every gain in recall counts by the precision
    that holds when it is made.

    Args:
        scores: [N, K], finite.
        labels: bool [N, K].
    """
    assert scores.shape == labels.shape and labels.dtype == bool, f"scores {scores.shape}, labels {labels.shape}"
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)
    hits = np.cumsum(np.take_along_axis(labels, order, axis=0), axis=0)  # true positives among the first n + 1
    precision = hits / np.arange(1, len(scores) + 1)[:, None]
    # Only the last of equal scores is a threshold: the others have its precision and its hits.
    last = np.append(ranked[1:] != ranked[:-1], np.ones((min(1, len(ranked)), scores.shape[1]), dtype=bool), axis=0)
    before = np.maximum.accumulate(np.where(last, hits, 0), axis=0)  # hits at the latest threshold
    gained = np.diff(before, axis=0, prepend=0)
    num_positive = labels.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return (precision * gained).sum(axis=0) / num_positive


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean in percent of :func:`average_precisions` over the classes that some video has; NaN where there are none."""
    found = average_precisions(scores, labels)
    found = found[~np.isnan(found)]
    return float(found.mean() * 100) if len(found) else float("nan")
