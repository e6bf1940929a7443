"""Optimizers and the groups of parameters that they treat alike.

Groups, their order and the names of their entries are PySlowFast's (slowfast/models/optimizer.py), so that an optimizer state
of either fits the other.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from slowfast_mvit.engine.parallel import norms, own, part_like
from slowfast_mvit.engine.sharded import read_moments
from slowfast_mvit.errors import UserError

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_OTHER_NORMS = (nn.LayerNorm, nn.GroupNorm)
_TRUST, _TINY = 0.001, 1e-8  # of LARS, as in PySlowFast


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    *,
    no_decay_1d: bool,
    no_decay_names: Iterable[str] = (),
    no_decay_norms: bool = False,
) -> list[dict[str, Any]]:
    """Groups of batch normalisation (no decay), with decay, and of all else without, in the official order; no empty ones.

    Args:
        model: its trainable parameters are grouped.
        weight_decay: decay of the second group.
        no_decay_1d: parameters of one dimension (biases and norms) do not decay.
        no_decay_names: nor does any parameter whose name contains one of these.
        no_decay_norms: nor do weights and biases of layer and group normalisation (detectron2's weight_decay_norm 0).
    """
    words = tuple(no_decay_names)
    batch_norms = _parameters_of(model, _BATCH_NORMS)
    norms_at_rest = _parameters_of(model, _OTHER_NORMS) if no_decay_norms else set()
    normalising: list[Tensor] = []
    decaying: list[Tensor] = []
    resting: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rests = (no_decay_1d and parameter.dim() == 1) or any(word in name for word in words)
            rests = rests or id(parameter) in norms_at_rest
            group = normalising if id(parameter) in batch_norms else resting if rests else decaying
            group.append(parameter)
    groups = [
        {"params": normalising, "weight_decay": 0.0, "layer_decay": 1.0, "apply_LARS": False},
        {"params": decaying, "weight_decay": weight_decay, "layer_decay": 1.0, "apply_LARS": True},
        {"params": resting, "weight_decay": 0.0, "layer_decay": 1.0, "apply_LARS": True},
    ]
    return [group for group in groups if group["params"]]


def _parameters_of(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> set[int]:
    """The identities of the parameters of the modules of these kinds."""
    return {
        id(parameter)
        for module in model.modules()
        if isinstance(module, kinds)
        for parameter in module.parameters(recurse=False)
    }


def layer_decay_groups(
    model: nn.Module,
    weight_decay: float,
    *,
    layer_decay: float,
    depth: int,
    no_decay_1d: bool,
    no_decay_names: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Groups of an MViT whose rates fall by ``layer_decay`` from each layer to the one before, in order of first appearance.

    A layer has a group with decay and one without; the entry ``layer_decay`` is the factor of the rate.

    Args:
        model: an MViT of ``depth`` blocks; its trainable parameters are grouped.
        weight_decay: of the decaying parameters.
        layer_decay: the factor per layer, see :func:`layer_of`; the last layer, norm and head, has the whole rate.
        depth: number of blocks.
        no_decay_1d: parameters of one dimension (biases and norms) do not decay.
        no_decay_names: nor does any whose name begins with one of these. The official code compares whole names here, so the
            relative positions of blocks always decay, unlike without layer decay.
    """
    words = tuple(no_decay_names)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            layer = layer_of(name, depth)
            rests = (no_decay_1d and parameter.dim() == 1) or name.startswith(words)
            group = groups.setdefault(
                (layer, rests),
                {
                    "params": [],
                    "weight_decay": 0.0 if rests else weight_decay,
                    "layer_decay": layer_decay ** (depth + 1 - layer),
                    "apply_LARS": True,
                },
            )
            group["params"].append(parameter)
    return list(groups.values())


def layer_of(name: str, depth: int) -> int:
    """Layer of an MViT's parameter: 0 for stem, class token and positions, i + 1 for block i, depth + 1 for norm and head."""
    if name.startswith(("patch_embed", "cls_token", "pos_embed")):
        return 0
    return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else depth + 1


def make_optimizer(
    method: str,
    groups: list[dict[str, Any]],
    *,
    momentum: float = 0.9,
    dampening: float = 0.0,
    nesterov: bool = True,
    betas: tuple[float, float] = (0.9, 0.999),
    lars: bool = False,
) -> Optimizer:
    """The optimizer ``sgd``, ``adam`` or ``adamw``; its learning rate is set before every step, by the schedule.

    With ``lars``, :func:`scale_layers` acts on the gradients before every step.
    """
    optimizer: Optimizer
    # Fused: one pass over the weights, not one per operation. AdamW of S on 2 cores of a Xeon: 31 ms instead of 142. SGD's does
    # not take weights in parts (torch 2.14).
    if method == "sgd":
        optimizer = SGD(groups, lr=0.0, momentum=momentum, dampening=dampening, nesterov=nesterov)
    elif method == "adam":
        optimizer = Adam(groups, lr=0.0, betas=betas, eps=1e-8, fused=True)
    elif method == "adamw":
        optimizer = AdamW(groups, lr=0.0, betas=betas, eps=1e-8, fused=True)
    else:
        raise UserError(f"SOLVER.OPTIMIZING_METHOD is {method!r}; it must be sgd, adam or adamw")
    if lars:
        decays = [group["weight_decay"] for group in optimizer.param_groups]

        def before(optimizer: Optimizer, *_: Any) -> None:
            for group in optimizer.param_groups:
                if group["apply_LARS"]:
                    scale_layers(group["params"], group["weight_decay"])
                    group["weight_decay"] = 0.0

        def after(optimizer: Optimizer, *_: Any) -> None:
            for group, decay in zip(optimizer.param_groups, decays, strict=True):
                group["weight_decay"] = decay

        optimizer.register_step_pre_hook(before)
        optimizer.register_step_post_hook(after)
    return optimizer


@torch.no_grad()
def scale_layers(parameters: Iterable[Tensor], weight_decay: float) -> None:
    """LARS (arXiv:1708.03888) as PySlowFast does it: gradients become (g + wd w) 0.001 |w| / (|g| + wd |w| + 1e-8).

    Gradients of one dimension, and where they or the weights are all 0, stay as they are and without decay.
    """
    moving = [parameter for parameter in parameters if parameter.grad is not None and parameter.dim() != 1]
    if not moving:
        return
    gradients = [parameter.grad for parameter in moving if parameter.grad is not None]
    weight_norms, gradient_norms = norms(moving), norms(gradients)
    acts = (weight_norms != 0) & (gradient_norms != 0)
    trust = torch.where(acts, _TRUST * weight_norms / (gradient_norms + weight_decay * weight_norms + _TINY), 1.0)
    parts = [own(gradient) for gradient in gradients]
    torch._foreach_add_(parts, torch._foreach_mul([own(weight) for weight in moving], (acts * weight_decay).unbind()))
    torch._foreach_mul_(parts, trust.unbind())


def restore_optimizer(optimizer: Optimizer, state: dict[str, Any], *, parts: Path | None = None) -> None:
    """Load the moments of a checkpoint; rates, decays and betas stay those of the optimizer, which the config made.

    Where ranks hold parts of the parameters, each takes its parts of the moments.

    Args:
        optimizer: without a step; its parameters are on their device.
        state: ``optimizer_state`` of a checkpoint, with whole tensors.
        parts: folder of the sharded checkpoint that holds the tensors, where ``state`` lacks them.

    Raises:
        UserError: the checkpoint is of another optimizer or groups its parameters in another way.
    """
    fresh = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    # Groups of momentum or of betas, and how large they are. Other settings come and go with the versions of torch.
    stored, ours = (
        [("betas" in group, len(group["params"])) for group in groups]
        for groups in (state["param_groups"], optimizer.param_groups)
    )
    if stored != ours:
        raise UserError(
            "the checkpoint was written with another SOLVER.OPTIMIZING_METHOD or other decay groups: restore those settings, "
            "or start in another OUTPUT_DIR from its weights (TRAIN.CHECKPOINT_FILE_PATH)"
        )
    places, parameters = (
        [one for group in groups for one in group["params"]]
        for groups in (state["param_groups"], optimizer.param_groups)
    )
    owners = dict(zip(places, parameters, strict=True))
    if parts is not None:
        state = read_moments(parts, owners, state)
    moments = {
        place: {
            name: _as_laid_out(part_like(value, owners[place]), owners[place])
            if isinstance(value, Tensor) and value.dim()
            else value
            for name, value in entries.items()
        }
        for place, entries in state["state"].items()
    }
    # With our settings from the start: where the moments lie depends on them.
    groups = [
        settings | {"params": group["params"]} for group, settings in zip(state["param_groups"], fresh, strict=True)
    ]
    optimizer.load_state_dict({**state, "state": moments, "param_groups": groups})


def _as_laid_out(moment: Tensor, parameter: Tensor) -> Tensor:
    """The moment in the memory layout of its parameter: a fused step on a CPU takes them for alike unseen (torch 2.14)."""
    if own(moment).stride() == own(parameter).stride():
        return moment
    return torch.empty_like(parameter, dtype=moment.dtype, device=moment.device).copy_(moment)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group the learning rate of the coming step: ``rate`` times the group's ``layer_decay``."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("layer_decay", 1.0)
