"""Action detection: what people in boxes do. Several actions at once, as in AVA, or one of all where labels exclude each other.

Letters: R boxes of all clips of a batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from slowfast_mvit.batches import AvaBatch
from slowfast_mvit.ops.ensemble import ACTIVATIONS
from slowfast_mvit.ops.losses import LOSSES
from slowfast_mvit.ops.spatial import normalize


@dataclass(frozen=True)
class ActionDetection:
    """The task of saying of each box which of ``num_classes`` actions its person does.

    Attributes:
        num_classes: width of the model's logits.
        mean, std: of the pixels, per channel, in 0..1.
        autocast_dtype: compute type of the model's forward pass, or None for float32.
        loss: a name of :data:`slowfast_mvit.ops.losses.LOSSES`: ``bce_logit``, or ``cross_entropy`` for exclusive labels.
        activation: what turns logits into probabilities: ``sigmoid``, or ``softmax`` for exclusive labels.
    """

    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    autocast_dtype: torch.dtype | None = None
    loss: str = "bce_logit"
    activation: str = "sigmoid"

    def losses(self, model: nn.Module, batch: AvaBatch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Means over the boxes of a training batch: ``loss``, which is minimised, and ``top1_acc`` in percent.

        A box without labels is of none of the actions, as in PySlowFast; with exclusive labels it adds nothing to the sum.
        ``top1_acc`` is the share of the boxes whose most probable action is one of theirs, which a box without labels does not
        have. ``rng`` is not used: nothing is drawn for a whole batch.
        """
        logits = self._logits(model, normalize(batch.video, self.mean, self.std), batch.boxes).float()
        if not len(logits):
            nothing = logits.sum()  # a pass without boxes has gradients too, of zeros
            return {"loss": nothing, "top1_acc": nothing.detach()}
        right = batch.labels.gather(1, logits.detach().argmax(dim=1, keepdim=True)).sum()
        loss = LOSSES[self.loss](logits, batch.labels.float())
        return {"loss": loss, "top1_acc": right * 100.0 / len(logits)}

    def probabilities(self, model: nn.Module, batch: AvaBatch) -> Tensor:
        """Probabilities float32 [R, num_classes] of the boxes of a batch of normalised clips."""
        return ACTIVATIONS[self.activation](self._logits(model, batch.video, batch.boxes))

    def _logits(self, model: nn.Module, video: Tensor, boxes: Tensor) -> Tensor:
        with torch.autocast(video.device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None):
            return model(video, boxes)
