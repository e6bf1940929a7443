"""What a test says of its scores, by the kind of its labels."""

from collections.abc import Mapping

from slowfast_mvit.evaluation.multilabel import mean_average_precision
from slowfast_mvit.evaluation.multiview import MultiViewResult

_NAMES = {"top1_acc": "top-1", "top5_acc": "top-5", "map": "mAP", "box_ap": "box AP", "mask_ap": "mask AP"}


def metrics_of(result: MultiViewResult) -> dict[str, float]:
    """``top1_acc`` and ``top5_acc`` where each video has one label, ``map`` where it may have several; in percent."""
    if result.labels.ndim == 2:
        return {"map": mean_average_precision(result.scores, result.labels)}
    return {"top1_acc": result.accuracy(1), "top5_acc": result.accuracy(5)}


def in_words(metrics: Mapping[str, object]) -> str:
    """The percentages among some metrics, as in "top-1 81.00 %, top-5 94.60 %"; "no score" where none has a value."""
    there = {words: metrics[name] for name, words in _NAMES.items() if name in metrics}
    return (
        ", ".join(f"{words} {value:.2f} %" for words, value in there.items() if value == value) or "no score"
    )  # not NaN
