"""How several ranks hold one model: whole copies (DDP) or a part of every tensor each (FSDP2).

With FSDP a parameter, its gradient and its moments are DTensors, cut along their first axis. All of a block's parameters are
there while the block runs, forward and backward. Arithmetic and results are those of DDP.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from slowfast_mvit.engine.distributed import World


def spread(model: nn.Module, world: World, device: torch.device, strategy: str = "ddp") -> nn.Module:
    """The model wrapped for all ranks. Its forward and backward passes are collective from now on.

    A process alone keeps the model as it is, with either strategy. One that has a process group of its own size, as torchrun
    makes, shards with ``fsdp`` nevertheless: its checkpoints are of the kind that more ranks would write.

    Args:
        model: on ``device``, with the same weights on every rank. With ``fsdp`` an MViT, which is changed in place.
        world: the ranks.
        device: of this rank.
        strategy: ``ddp`` or ``fsdp``.
    """
    if will_shard(world, strategy):
        return shard(model, device)
    if world.size == 1:
        return model
    # A gradient of one clip may be strided, as that of the class token: DDP copies its few numbers, and says so at length.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return DistributedDataParallel(
        model, device_ids=[device] if device.type == "cuda" else None, gradient_as_bucket_view=True
    )


def will_shard(world: World, strategy: str) -> bool:
    """Whether :func:`spread` will give each rank a part only."""
    return strategy == "fsdp" and world.control is not None


def shard(model: nn.Module, device: torch.device) -> nn.Module:
    """Cut the parameters of an MViT over all ranks: each block gathers its own when it runs, and the root the few others.

    A copy of a model, as of averaged weights, must be made before either is cut.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in model.get_submodule("blocks").children():
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def is_sharded(model: nn.Module) -> bool:
    """Whether this rank holds a part of the model only."""
    return isinstance(model, FSDPModule)


def bare(model: nn.Module) -> nn.Module:
    """The network itself, whose parameters have their own names."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def share_buffers(model: nn.Module, world: World) -> None:
    """Give every rank the buffers of rank 0, such as the statistics of batch normalisation: its checkpoint holds these."""
    if world.size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def own(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict with whole tensors, on every rank. Collective with FSDP."""
    state = model.state_dict()
    return {name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor for name, tensor in state.items()}


def part_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor that every rank has, cut as ``like`` is and on its device. Nothing is sent. One that is cut stays so."""
    if not isinstance(like, DTensor) or isinstance(tensor, DTensor):
        return tensor
    part = distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return part.clone()  # which lets go of the whole


@contextmanager
def communicating(model: nn.Module, *, last: bool) -> Iterator[None]:
    """Forward and backward passes inside send gradients only if they are the ``last`` of their step.

    With FSDP the gradients of the passes before are summed whole on each rank, and parameters are gathered in every pass.
    """
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
    quiet = isinstance(model, DistributedDataParallel) and not last
    with model.no_sync() if quiet else nullcontext():  # type: ignore[operator]  # DDP's method
        yield


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """The L2 norm of each tensor [len(tensors)], of all ranks' parts. One message, if they have parts."""
    found = torch.stack(torch._foreach_norm([own(tensor) for tensor in tensors]))
    first = tensors[0]
    if not isinstance(first, DTensor):
        return found
    squares = found.square()
    dist.all_reduce(squares, group=first.device_mesh.get_group())
    return squares.sqrt()


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The L2 norm over the gradients of all parameters, of all ranks' parts."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.linalg.vector_norm(norms(gradients)) if gradients else torch.zeros(())
