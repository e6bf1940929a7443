"""Classification losses on logits, against targets [B, K] of any shares."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy against soft targets [B, K], not normalised (official recipe); mean over the batch."""
    return -(targets * F.log_softmax(logits.float(), dim=-1)).sum(dim=-1).mean()


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of each class on its own, by the sigmoid of its logit; mean over batch and classes."""
    return F.binary_cross_entropy_with_logits(logits.float(), targets)


# MODEL.LOSS_FUNC. Without mixing the targets of cross_entropy are one-hot, which makes it the soft one. PySlowFast's bce takes
# the sigmoid's output and its bce_logit the logits: one function, of which the second form does not round to infinity.
LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "cross_entropy": soft_cross_entropy,
        "soft_cross_entropy": soft_cross_entropy,
        "bce": binary_cross_entropy,
        "bce_logit": binary_cross_entropy,
    }
)
