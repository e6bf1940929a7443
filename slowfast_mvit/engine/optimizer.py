"""Optimizers and the groups of parameters that they treat alike."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from slowfast_mvit.errors import UserError

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def parameter_groups(
    model: nn.Module, weight_decay: float, *, no_decay_1d: bool, no_decay_names: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Groups of batch normalisation (no decay), with decay, and of all else without, in the official order; no empty ones.

    Args:
        model: its trainable parameters are grouped.
        weight_decay: decay of the second group.
        no_decay_1d: parameters of one dimension (biases and norms) do not decay.
        no_decay_names: nor does any parameter whose name contains one of these.
    """
    words = tuple(no_decay_names)
    batch_norms = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _BATCH_NORMS)
        for parameter in module.parameters(recurse=False)
    }
    normalising: list[Tensor] = []
    decaying: list[Tensor] = []
    resting: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rests = (no_decay_1d and parameter.dim() == 1) or any(word in name for word in words)
            group = normalising if id(parameter) in batch_norms else resting if rests else decaying
            group.append(parameter)
    groups = [
        {"params": normalising, "weight_decay": 0.0},
        {"params": decaying, "weight_decay": weight_decay},
        {"params": resting, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(
    method: str,
    groups: list[dict[str, Any]],
    *,
    momentum: float = 0.9,
    dampening: float = 0.0,
    nesterov: bool = True,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Optimizer:
    """The optimizer ``sgd``, ``adam`` or ``adamw``; its learning rate is set before every step, by the schedule."""
    if method == "sgd":
        return SGD(groups, lr=0.0, momentum=momentum, dampening=dampening, nesterov=nesterov)
    if method == "adam":
        return Adam(groups, lr=0.0, betas=betas, eps=1e-8)
    if method == "adamw":
        return AdamW(groups, lr=0.0, betas=betas, eps=1e-8)
    raise UserError(f"SOLVER.OPTIMIZING_METHOD is {method!r}; it must be sgd, adam or adamw")


def restore_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load the moments of a checkpoint; rates, decays and betas stay those of the optimizer, which the config made.

    Raises:
        UserError: the checkpoint is of another optimizer or groups its parameters in another way.
    """
    fresh = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    stored = state["param_groups"]
    same_sizes = [len(group["params"]) for group in stored] == [
        len(group["params"]) for group in optimizer.param_groups
    ]
    if not same_sizes or any(set(old) - {"params"} != set(new) for old, new in zip(stored, fresh, strict=True)):
        raise UserError(
            "the checkpoint was written with another SOLVER.OPTIMIZING_METHOD or other decay groups: restore those settings, "
            "or start in another OUTPUT_DIR from its weights (TRAIN.CHECKPOINT_FILE_PATH)"
        )
    optimizer.load_state_dict(state)
    for group, settings in zip(optimizer.param_groups, fresh, strict=True):
        group.update(settings)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group the learning rate of the coming step."""
    for group in optimizer.param_groups:
        group["lr"] = rate
