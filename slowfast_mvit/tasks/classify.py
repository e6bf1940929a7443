"""Classification: what the loss of a batch of clips is, and what its probabilities are."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from slowfast_mvit.batches import ClipBatch
from slowfast_mvit.ops.ensemble import ACTIVATIONS
from slowfast_mvit.ops.erasing import erase
from slowfast_mvit.ops.losses import LOSSES
from slowfast_mvit.ops.mixing import draw_mix, mix_clips, mixed_correct, one_hot_smooth
from slowfast_mvit.ops.spatial import normalize


@dataclass(frozen=True)
class MixSettings:
    """Mixup and cutmix of a recipe; ``prob`` 0 keeps the label smoothing and mixes nothing."""

    mixup_alpha: float = 0.8
    cutmix_alpha: float = 1.0
    prob: float = 1.0
    switch_prob: float = 0.5
    label_smoothing: float = 0.1


@dataclass(frozen=True)
class Classification:
    """The task of giving a clip one of ``num_classes`` labels.

    Attributes:
        num_classes: width of the model's logits.
        mean, std: of the pixels, per channel, in 0..1.
        mix: mixup, cutmix and label smoothing in training, or None.
        erase_mode: what erased boxes are filled with.
        autocast_dtype: compute type of the model's forward pass, or None for float32.
        images: the model takes images: batches hold videos of one frame, whose time axis is taken off before the model.
        loss: what is minimised, a name of :data:`slowfast_mvit.ops.losses.LOSSES`.
        activation: what turns logits into probabilities, ``softmax`` or ``sigmoid``.
        num_scored: a test's probabilities are over this many first classes; None for all.
    """

    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mix: MixSettings | None = None
    erase_mode: str = "pixel"
    autocast_dtype: torch.dtype | None = None
    images: bool = False
    loss: str = "soft_cross_entropy"
    activation: str = "softmax"
    num_scored: int | None = None

    def losses(self, model: nn.Module, batch: ClipBatch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Means over a training batch: ``loss``, which is minimised, and ``top1_acc`` in percent.

        ``rng`` draws what the batch shares (mixup). With mixed labels a prediction counts by the larger of its two labels.
        """
        targets = one_hot_smooth(batch.labels, self.num_classes, self.mix.label_smoothing if self.mix else 0.0)
        logits, targets = self._mixed(model, batch, targets, rng)
        correct = mixed_correct(logits, targets, ks=(1,))
        return {"loss": LOSSES[self.loss](logits, targets), "top1_acc": correct[0] * 100 / len(batch)}

    def probabilities(self, model: nn.Module, batch: ClipBatch) -> Tensor:
        """Class probabilities float32 [B, num_scored or num_classes] of a batch of normalised clips."""
        return ACTIVATIONS[self.activation](self._logits(model, batch.video)[:, : self.num_scored])

    def _mixed(
        self, model: nn.Module, batch: ClipBatch, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Logits of a training batch, erased and mixed, and its targets [B, num_classes] mixed likewise."""
        video = self._fill_erasures(normalize(batch.video, self.mean, self.std), batch)
        if self.mix is not None and len(video) > 1:  # a clip whose partners could not be read stays as it is
            mix = draw_mix(
                rng,
                height=video.shape[-2],
                width=video.shape[-1],
                mixup_alpha=self.mix.mixup_alpha,
                cutmix_alpha=self.mix.cutmix_alpha,
                prob=self.mix.prob,
                switch_prob=self.mix.switch_prob,
            )
            video, targets = mix_clips(video, targets, mix)
        return self._logits(model, video), targets

    def _logits(self, model: nn.Module, video: Tensor) -> Tensor:
        with self._autocast(video.device):
            return model(video.squeeze(2) if self.images else video)

    def _fill_erasures(self, video: Tensor, batch: ClipBatch) -> Tensor:
        for row, erasure in enumerate(batch.erasures):
            if erasure.boxes:
                generator = torch.Generator(video.device).manual_seed(erasure.seed)
                video[row] = erase(video[row], erasure.boxes, self.erase_mode, generator)
        return video

    def _autocast(self, device: torch.device) -> AbstractContextManager[object]:
        return torch.autocast(device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None)
