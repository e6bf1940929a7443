"""Mixup (arXiv:1710.09412) and cutmix (arXiv:1905.04899) of a batch with its own reverse, and their targets.

Letters: B batch, T frames, H, W pixels, K classes. Clips [B, 3, T, H, W] and images [B, 3, H, W] are treated alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class CutBox:
    """What cutmix takes from the partner, in all frames: rows top .. bottom - 1, columns left .. right - 1."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        """Pixels per frame."""
        return (self.bottom - self.top) * (self.right - self.left)


@dataclass(frozen=True)
class Mix:
    """How a batch is mixed: ``lam`` is the sample's own share of its target; a ``box`` makes it cutmix."""

    lam: float
    box: CutBox | None = None


def one_hot_smooth(labels: Tensor, num_classes: int, smoothing: float = 0.0) -> Tensor:
    """Targets float32 [B, K] of labels int64 [B]: 1 - s + s/K for the label, s/K for every other class."""
    if labels.ndim != 1:
        raise ValueError(f"labels have shape {list(labels.shape)}; one class number per sample is needed, [B]")
    if not 0 <= smoothing < 1:
        raise ValueError(f"label smoothing is {smoothing}; it must lie in 0 .. 1, below 1")
    off = smoothing / num_classes
    targets = torch.full((len(labels), num_classes), off, device=labels.device)
    return targets.scatter_(1, labels.long()[:, None], 1 - smoothing + off)


def multi_hot_smooth(labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Targets float32 [B, K] of bool labels [B, K]: 1 - s + s/K where a label holds, s/K elsewhere.

    Where one label holds, the row is that of :func:`one_hot_smooth`.
    """
    if labels.ndim != 2 or labels.dtype != torch.bool:
        raise ValueError(f"labels are {labels.dtype} {list(labels.shape)}; bool [B, K] is needed")
    if not 0 <= smoothing < 1:
        raise ValueError(f"label smoothing is {smoothing}; it must lie in 0 .. 1, below 1")
    return labels.float() * (1 - smoothing) + smoothing / labels.shape[1]


def draw_mix(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    mixup_alpha: float = 0.8,
    cutmix_alpha: float = 1.0,
    prob: float = 1.0,
    switch_prob: float = 0.5,
) -> Mix:
    """One mix for a whole batch of ``height`` x ``width`` pixels.

    With ``prob`` the batch is mixed at all; then with ``switch_prob`` by cutmix, otherwise by mixup. An alpha of 0
    switches its method off, and the other takes every batch. The share of the sample is Beta(alpha, alpha).
    """
    for name, value in (("prob", prob), ("switch_prob", switch_prob)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} of mixing is {value}; it must lie in 0..1")
    if min(mixup_alpha, cutmix_alpha) < 0 or (prob > 0 and mixup_alpha == cutmix_alpha == 0):
        raise ValueError(
            f"mixup alpha {mixup_alpha} and cutmix alpha {cutmix_alpha}: none may be negative, one must be positive"
        )
    if rng.random() >= prob:
        return Mix(1.0)
    if cutmix_alpha > 0 and (mixup_alpha == 0 or rng.random() < switch_prob):
        return _cut(rng, height, width, rng.beta(cutmix_alpha, cutmix_alpha))
    return Mix(float(rng.beta(mixup_alpha, mixup_alpha)))


def _cut(rng: np.random.Generator, height: int, width: int, lam: float) -> Mix:
    """Cutmix whose box has the frame's shape and about 1 - lam of its area before the borders clip it."""
    ratio = math.sqrt(1 - lam)
    half_height, half_width = int(height * ratio) // 2, int(width * ratio) // 2
    y, x = int(rng.integers(height)), int(rng.integers(width))
    box = CutBox(
        max(y - half_height, 0), min(y + half_height, height), max(x - half_width, 0), min(x + half_width, width)
    )
    return Mix(1 - box.area / (height * width), box)


def mix_clips(video: Tensor, targets: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
    """Every sample mixed with its partner, the batch in reverse order; the arguments stay as they are.

    ``video`` [B, 3, T, H, W] or [B, 3, H, W], ``targets`` [B, K] -> the same shapes. Mixup: lam * sample + (1 - lam) *
    partner. Cutmix: the partner's pixels in the box, of every frame. Targets: lam * own + (1 - lam) * partner's.
    """
    if len(video) != len(targets):
        raise ValueError(f"{len(video)} clips and {len(targets)} rows of targets cannot be mixed")
    if mix.lam == 1:
        return video, targets
    if len(video) < 2:
        raise ValueError("a batch of one sample has no partner to mix with: use larger batches, or MIXUP.PROB 0")
    mixed_targets = targets * mix.lam + targets.flip(0) * (1 - mix.lam)
    if mix.box is None:
        if not video.is_floating_point():
            raise ValueError(f"the video is {video.dtype}; mixup needs floating-point pixels")
        return video * mix.lam + video.flip(0) * (1 - mix.lam), mixed_targets
    box, (height, width) = mix.box, video.shape[-2:]
    if box.bottom > height or box.right > width:
        raise ValueError(f"{box} was drawn for larger frames than {height} x {width} pixels")
    mixed = video.clone()
    mixed[..., box.top : box.bottom, box.left : box.right] = video[
        ..., box.top : box.bottom, box.left : box.right
    ].flip(0)
    return mixed, mixed_targets


def mixed_correct(logits: Tensor, targets: Tensor, ks: Sequence[int] = (1, 5)) -> Tensor:
    """How many samples are right among their k best classes, for each k: int64 [len(ks)].

    PySlowFast's rule for mixed targets: the prediction of the second label is added to that of the first (the larger
    share) and set to 0, and the first is what counts. It gives the logits of training here; probabilities [B, K] work
    as well. A row whose second largest target is also its smallest has one label (not mixed, or with a partner of its
    own class) and counts in the ordinary way. k beyond K counts every sample.
    """
    rows = torch.arange(len(targets), device=targets.device)
    shares, labels = targets.topk(min(2, targets.shape[1]), dim=1)
    first, second = labels[:, 0], labels[:, -1]
    two = shares[:, -1] > targets.amin(dim=1)
    scores = logits.detach().float().clone()
    scores[rows, first] += torch.where(two, scores[rows, second], 0)
    scores[rows, second] = torch.where(two, 0, scores[rows, second])
    best = scores.topk(min(max(ks), scores.shape[1]), dim=1).indices
    hits = best == first[:, None]
    return torch.stack([hits[:, :k].sum() for k in ks])
