"""Filling erased boxes of a clip."""

from collections.abc import Sequence

import torch
from torch import Tensor

from slowfast_mvit.batches import EraseBox


def erase(video: Tensor, boxes: Sequence[EraseBox], mode: str, generator: torch.Generator | None) -> Tensor:
    """A copy of ``video`` [..., H, W] (normalised float: [3, T, H, W] or an image [3, H, W]) with its boxes filled.

    ``pixel``: N(0, 1) noise, fresh for every pixel, channel and frame. ``rand``: one N(0, 1) colour per box and frame
    (PySlowFast's behaviour). ``const``: 0, the dataset's mean colour; it alone needs no generator.
    """
    _check_mode(mode)
    if not video.is_floating_point():
        raise ValueError(f"the video is {video.dtype}; boxes are erased from normalised floating-point videos")
    if generator is None and mode != "const":
        raise ValueError(f"erasing with mode {mode!r} draws noise and needs a torch.Generator")
    out = video.clone()
    for box in boxes:
        patch = out[..., box.top : box.top + box.height, box.left : box.left + box.width]
        if mode == "const":
            patch.zero_()
            continue
        shape = patch.shape if mode == "pixel" else (*patch.shape[:-2], 1, 1)
        patch.copy_(torch.randn(shape, generator=generator, dtype=video.dtype, device=video.device))
    return out


def _check_mode(mode: str) -> None:
    if mode not in ("pixel", "rand", "const"):
        raise ValueError(f"the mode of erasing is {mode!r}; it must be pixel, rand or const")
