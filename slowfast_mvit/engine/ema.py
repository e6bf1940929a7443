"""The exponential moving average of a model's weights, which is validated and tested in their place."""

import copy

import torch
from torch import nn

from slowfast_mvit.engine.parallel import own


class WeightAverage:
    """Follows a model: after each step every parameter becomes decay x itself + (1 - decay) x the model's, in float32.

    Buffers, such as the statistics of batch normalisation, are copied. With FSDP both networks are cut alike, after the average
    is made, and each rank follows its parts.

    Args:
        model: what is followed; the average starts as its weights, on their device.
        decay: share of the old average, from 0 to below 1.

    Attributes:
        model: a network of its own that holds the averages, in eval mode; its state dict is ``ema_state`` of a checkpoint.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).float().eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the model's weights of the step just made into the average."""
        new = [own(parameter).float() for parameter in model.parameters()]
        torch._foreach_lerp_([own(parameter) for parameter in self.model.parameters()], new, 1.0 - self.decay)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
