"""Layers of the heads of a detector, under detectron2's names: convolutions with norm and ReLU, and the norm of regions."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F


class _SumOverRanks(torch.autograd.Function):
    """The sum over all ranks, of values and of their gradients; torch's own of this kind is deprecated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


class RegionNorm(nn.BatchNorm2d):
    """Batch normalisation of regions [R, C, h, w], whose number differs from rank to rank and may be 0.

    In training with several ranks the statistics are over the regions of all ranks, each position of each weighing the same.
    It is detectron2's NaiveSyncBatchNorm with ``stats_mode="N"``, by a collective that goes through gloo and nccl alike;
    torch's own SyncBatchNorm takes no tensors on the CPU. Without any region the running statistics stay, as they do where a
    region is not finite: such a step is left out, and must leave nothing.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalised regions [R, C, h, w], float32 statistics."""
        if not self.training:
            return super().forward(input)
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            return self._joint(input)
        return self._alone(input)

    def _alone(self, input: Tensor) -> Tensor:
        """By the statistics of one process."""
        if not input.numel():  # nothing is normalised, yet weight and bias have their gradients, which are 0
            return input * self.weight[:, None, None] + self.bias[:, None, None]
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        out = F.batch_norm(input, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
        self._remember(mean, variance, mean.new_ones((), dtype=torch.bool))
        return out

    def _joint(self, input: Tensor) -> Tensor:
        """By the statistics of all ranks."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        x = input.float()
        sums = torch.cat((x.sum((0, 2, 3)), x.square().sum((0, 2, 3)), x.new_full((1,), x.numel() / x.shape[1])))
        totals = _SumOverRanks.apply(sums)
        count = totals[-1].detach()
        mean, square = (totals[:-1] / count.clamp(min=1)).chunk(2)
        variance = (square - mean.square()).clamp(min=0)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        unbiased = variance.detach() * count / (count - 1).clamp(min=1)  # as torch remembers it
        self._remember(
            self.running_mean.lerp(mean.detach(), self.momentum),
            self.running_var.lerp(unbiased, self.momentum),
            count > 0,
        )
        out = x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]
        return out.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, counts: Tensor) -> None:
        """Take new running statistics where a bool says so and they are finite."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        moved = counts & mean.isfinite().all() & variance.isfinite().all()
        self.running_mean.copy_(torch.where(moved, mean, self.running_mean))
        self.running_var.copy_(torch.where(moved, variance, self.running_var))
        self.num_batches_tracked += moved.long()


class RegionConv(nn.Conv2d):
    """A convolution, :class:`RegionNorm` if asked for, and ReLU; without a bias where there is a norm.

    The weight starts as detectron2 has it for heads: normal, by the number of outputs.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=not norm)
        self.norm = RegionNorm(out_channels) if norm else None
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Maps [R, out_channels, h, w] of maps [R, in_channels, h, w]."""
        x = super().forward(input)
        return F.relu(x if self.norm is None else self.norm(x))


def start_normal(layer: nn.Conv2d | nn.Linear, std: float) -> None:
    """Give a layer weights of that deviation, and no bias."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
