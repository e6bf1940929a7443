"""Whether a CPU's bfloat16 can be trusted with the gradients of a model."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from slowfast_mvit.config.schema import Config
from slowfast_mvit.errors import UserError

_LOG = logging.getLogger(__name__)


def trusted_precision(config: Config, model: nn.Module, device: torch.device, precision: str) -> str:
    """The precision to train in: as given, or ``float32`` where bfloat16 would give wrong gradients and is not asked for.

    On CPUs with AVX-512, oneDNN (torch 2.14) leaves parts of a weight's gradient unset in bfloat16: in convolutions of stride 1
    over more than one frame and fewer frames than the kernel has. The forward pass is right, and so is float32.

    Args:
        config: of the run; its clips are tried.
        model: on ``device``. It is left in eval mode, and otherwise as it was.
        device: where it is trained.
        precision: ``float32`` or ``bfloat16``.

    Raises:
        UserError: MODEL.PRECISION demands bfloat16, and the clips are too short for it.
    """
    if device.type != "cpu" or precision != "bfloat16" or config.TRAIN.DATASET == "imagenet":
        return precision
    side = config.DATA.TRAIN_CROP_SIZE
    if not has_short_convolution(model, torch.zeros(1, 3, config.DATA.NUM_FRAMES, side, side)):
        return precision
    reason = (
        f"clips of DATA.NUM_FRAMES {config.DATA.NUM_FRAMES} leave this model's kernels longer than their input in time, "
        "and CPUs compute wrong bfloat16 gradients of such convolutions"
    )
    if config.MODEL.PRECISION == "bfloat16":
        raise UserError(f"{reason}: set MODEL.PRECISION float32, or more frames")
    _LOG.info("training in float32: %s", reason)
    return "float32"


@torch.no_grad()
def has_short_convolution(model: nn.Module, video: Tensor) -> bool:
    """Whether some convolution of stride 1 meets more than one frame, and fewer than its kernel has. Runs the model once."""
    model.eval()
    with _Watch() as watch:
        model(video)
    return watch.found


class _Watch(TorchDispatchMode):
    """Sees every convolution, however it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.convolution.default:
            x, weight, _, stride = args[:4]
            if weight.dim() == 5:
                self.found |= stride[0] == 1 and 1 < x.shape[2] < weight.shape[2]
        return func(*args, **(kwargs or {}))
