"""Joining the scores of a video's views."""

import torch
from torch import Tensor


def combine_views(scores: Tensor, method: str) -> Tensor:
    """Video scores [classes] from view scores [views, classes]: ``sum`` or ``max`` of probabilities."""
    if method == "sum":
        return scores.sum(dim=0)
    if method == "max":
        return scores.amax(dim=0)
    raise ValueError(f"DATA.ENSEMBLE_METHOD is {method!r}; it must be sum or max")


def softmax(logits: Tensor) -> Tensor:
    """Probabilities in float32, whatever the precision of the model."""
    return torch.softmax(logits.float(), dim=-1)
