"""Classification with any number of labels per video: each class is a question of its own (Charades)."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from slowfast_mvit.batches import ClipBatch
from slowfast_mvit.ops.losses import LOSSES
from slowfast_mvit.ops.mixing import multi_hot_smooth
from slowfast_mvit.tasks.classify import Classification


@dataclass(frozen=True)
class MultiLabel(Classification):
    """The task of saying of each of ``num_classes`` classes whether it is in a clip; batches carry bool [B, num_classes].

    All else, mixing and smoothing too, is as in :class:`Classification`: a mixed clip has the labels of both, by their shares.
    """

    loss: str = "bce_logit"
    activation: str = "sigmoid"

    def losses(self, model: nn.Module, batch: ClipBatch, rng: np.random.Generator) -> dict[str, Tensor]:
        """The mean over a training batch: ``loss``, which is minimised."""
        targets = multi_hot_smooth(batch.labels, self.mix.label_smoothing if self.mix else 0.0)
        logits, targets = self._mixed(model, batch, targets, rng)
        return {"loss": LOSSES[self.loss](logits, targets)}
