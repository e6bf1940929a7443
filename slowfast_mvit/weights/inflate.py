"""Image weights in a video model: convolutions are given a time axis (paper, section 4.3, and two older rules)."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.resize import is_convolution

RULES = ("centre", "repeat", "mean")
_OVER_TIME = re.compile(r"(?:.+\.)?rel_pos_(?:[kv]_)?t")
_OVER_TIME_AND_SPACE = re.compile(r"(?:.+\.)?rel_pos_(?:[kv]_)?thw")


def inflate(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], rule: str = "centre"
) -> tuple[dict[str, Tensor], list[str]]:
    """An image model's state dict with the time axes of a video model's, and the names of what was changed or added.

    ``centre``, the paper's: the kernel stands at the middle frame with zeros around it, and the temporal position tables are
    zero, so that a clip of equal frames is seen as the image was. ``repeat``, PySlowFast's: the kernel stands at every frame;
    temporal tables are left to the model. ``mean``, I3D's: the same, divided by the number of frames, with temporal tables of
    zero. A video model's state dict comes back as it is.

    Args:
        state: tensors by official name.
        own: the video model's tensors.
        rule: one of :data:`RULES`.

    Raises:
        UserError: there is no such rule, or the video model's tables are over time and space at once, which no image's tell.
    """
    if rule not in RULES:
        raise UserError(f"the inflation rule is {rule!r}; it must be one of {', '.join(RULES)}")
    inflated, changed = dict(state), []
    for name, tensor in state.items():
        if name in own and is_convolution(name) and own[name].dim() == 5 and own[name].shape[2] > 1:
            image = tensor.unsqueeze(2) if tensor.dim() == 4 else tensor
            if image.dim() == 5 and image.shape[2] == 1:
                inflated[name] = _with_frames(image, own[name].shape[2], rule)
                changed.append(name)
    joint = [name for name in own if _OVER_TIME_AND_SPACE.fullmatch(name) and name not in state] if changed else []
    if joint:
        raise UserError(
            f"image weights have no table over time and space for {joint[0]}: make the video model with positions='decomposed' "
            "or 'joint_space_plus_time' (MVIT.POSITIONS)"
        )
    if not changed or rule == "repeat":
        return inflated, changed
    tables = [name for name in own if _OVER_TIME.fullmatch(name) and name not in state]
    return inflated | {name: torch.zeros_like(own[name]) for name in tables}, changed + tables


def _with_frames(weight: Tensor, num_frames: int, rule: str) -> Tensor:
    """A kernel [D, C, 1, H, W] with ``num_frames`` along its third axis."""
    if rule == "repeat":
        return weight.expand(-1, -1, num_frames, -1, -1).clone()
    if rule == "mean":
        return weight.expand(-1, -1, num_frames, -1, -1) / num_frames
    frames = weight.new_zeros(*weight.shape[:2], num_frames, *weight.shape[3:])
    frames[:, :, num_frames // 2] = weight[:, :, 0]
    return frames
