"""Joining the scores of a video's views."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

_JOINS = {"sum": np.add, "max": np.maximum}


def join_views(totals: np.ndarray, videos: np.ndarray, scores: np.ndarray, method: str) -> None:
    """Join views' scores [views, classes] into ``totals`` [videos, classes] in place: ``sum`` or ``max`` of probabilities.

    ``videos``, int64 [views], says whose view each row is; several rows may be of one video.
    """
    if method not in _JOINS:
        raise ValueError(f"DATA.ENSEMBLE_METHOD is {method!r}; it must be sum or max")
    join = _JOINS[method]
    order = np.argsort(videos, kind="stable")  # a video's views one after the other
    if len(order):
        starts = np.flatnonzero(np.diff(videos[order], prepend=-1))
        rows = videos[order[starts]]
        totals[rows] = join(totals[rows], join.reduceat(scores[order], starts, axis=0))


def softmax(logits: Tensor) -> Tensor:
    """Probabilities in float32, whatever the precision of the model."""
    return torch.softmax(logits.float(), dim=-1)


def sigmoid(logits: Tensor) -> Tensor:
    """Probability of each class on its own, in float32."""
    return torch.sigmoid(logits.float())


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType({"softmax": softmax, "sigmoid": sigmoid})
