"""SoftNMS: boxes that overlap a better one are scored lower instead of being dropped (Bodla et al. 2017, figure 2).

Letters: n boxes, C classes among them, m boxes of the class that has most.
"""

import torch
from torch import Tensor

METHODS = ("linear", "gaussian")


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    method: str = "linear",
    sigma: float = 0.5,
    iou_threshold: float = 0.5,
    min_score: float = 0.001,
    limit: int | None = None,
) -> tuple[Tensor, Tensor]:
    """SoftNMS of boxes of one class.

    Again and again the box of the highest score is taken (of equal ones the first), and the scores s of those that are left
    become lower by their overlap u with it: ``linear`` s * (1 - u) where u >= ``iou_threshold``; ``gaussian``
    s * exp(-u^2 / ``sigma``).

    Args:
        boxes: float [n, 4] of x1, y1, x2, y2.
        scores: float [n], at least 0.
        method: one of :data:`METHODS`.
        sigma: above 0, of ``gaussian``.
        iou_threshold: of ``linear``.
        min_score: boxes whose lowered score is below it are dropped.
        limit: how many boxes to keep at most; None for all.

    Returns:
        int64 [k], places of the kept boxes, and float [k], their lowered scores, highest first.
    """
    labels = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
    return soft_nms_by_class(boxes, scores, labels, method, sigma, iou_threshold, min_score, limit)


def soft_nms_by_class(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    method: str = "linear",
    sigma: float = 0.5,
    iou_threshold: float = 0.5,
    min_score: float = 0.001,
    limit: int | None = None,
) -> tuple[Tensor, Tensor]:
    """SoftNMS of each class by itself, for all classes at once; the best of all classes come first.

    Args:
        labels: int64 [n]; boxes lower the scores of those with the same label alone.

    The others, and what is returned, as :func:`soft_nms` has them. With ``limit`` no class takes more steps than that.
    """
    assert method in METHODS, method
    if not len(scores):
        return torch.empty(0, dtype=torch.int64, device=scores.device), scores
    by_class = labels.argsort(stable=True)
    counts = torch.unique_consecutive(labels[by_class], return_counts=True)[1]
    rows = torch.arange(len(counts), device=scores.device).repeat_interleave(counts)
    columns = torch.arange(len(scores), device=scores.device) - (counts.cumsum(0) - counts)[rows]
    C, m = len(counts), int(counts.max())
    place = by_class.new_zeros(C, m)
    place[rows, columns] = by_class
    left = scores.new_full((C, m), -torch.inf)  # the scores of boxes that are not taken yet
    left[rows, columns] = scores[by_class]
    grouped = boxes[place]
    every = torch.arange(C, device=scores.device)
    taken, lowered = [], []
    for _ in range(m if limit is None else min(m, limit)):
        best, column = left.max(dim=1)
        if best.max() < min_score:
            break
        taken.append(place[every, column])
        lowered.append(best)
        overlap = _overlaps(grouped[every, column][:, None], grouped)
        if method == "linear":
            factor = torch.where(overlap >= iou_threshold, 1 - overlap, 1.0)
        else:
            factor = torch.exp(-(overlap**2) / sigma)
        left = (left * factor).masked_fill(left == -torch.inf, -torch.inf)  # which a factor of 0 would make NaN
        left[every, column] = -torch.inf
    if not taken:
        return by_class[:0], scores[:0]
    keep, kept_scores = torch.cat(taken), torch.cat(lowered)
    good = kept_scores >= min_score
    keep, kept_scores = keep[good], kept_scores[good]
    first = keep.argsort()  # of equal scores the first box comes first
    order = first[kept_scores[first].argsort(descending=True, stable=True)][:limit]
    return keep[order], kept_scores[order]


def _overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes [..., 4] that broadcast; 0 where they do not meet."""
    low = torch.maximum(boxes[..., :2], others[..., :2])
    high = torch.minimum(boxes[..., 2:], others[..., 2:])
    meet = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(some[..., 2:] - some[..., :2]).prod(dim=-1) for some in (boxes, others)]
    return torch.where(meet > 0, meet / (areas[0] + areas[1] - meet), 0.0)
