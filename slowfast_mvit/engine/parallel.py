"""How several ranks hold one model: whole copies (DDP) or a part of every block each (FSDP2)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from slowfast_mvit.engine.distributed import World


def spread(model: nn.Module, world: World, device: torch.device) -> nn.Module:
    """The model wrapped for all ranks; alone, itself. Its forward and backward passes are collective from now on.

    Args:
        model: on ``device``, with the same weights on every rank.
        world: the ranks.
        device: of this rank.
    """
    if world.size == 1:
        return model
    return DistributedDataParallel(
        model, device_ids=[device] if device.type == "cuda" else None, gradient_as_bucket_view=True
    )


def bare(model: nn.Module) -> nn.Module:
    """The network itself, whose parameters have their own names."""
    return model.module if isinstance(model, DistributedDataParallel) else model


@contextmanager
def communicating(model: nn.Module, *, last: bool) -> Iterator[None]:
    """Forward and backward passes inside send gradients only if they are the ``last`` of their step."""
    quiet = isinstance(model, DistributedDataParallel) and not last
    with model.no_sync() if quiet else nullcontext():  # type: ignore[operator]  # DDP's method
        yield


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The L2 norm over the gradients of all parameters, of all ranks' parts."""
    return nn.utils.get_total_norm(parameter.grad for parameter in parameters if parameter.grad is not None)
