"""The arithmetic that MODEL.PRECISION and TRAIN.MIXED_PRECISION ask for, on the device at hand."""

import torch

from slowfast_mvit.config.schema import Config
from slowfast_mvit.errors import UserError

DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def precision_of(config: Config, device: torch.device, *, training: bool) -> str:
    """A key of :data:`DTYPES`: ``auto``, and PySlowFast's MIXED_PRECISION in training, are bfloat16 where the device has it.

    Raises:
        UserError: a baseline is to be trained in half precision on a CPU.
    """
    precision = config.MODEL.PRECISION
    if training and precision == "float32" and config.TRAIN.MIXED_PRECISION:
        precision = "auto"
    # oneDNN (torch 2.14) leaves parts of a kernel's gradient unset in half precision, where the convolution meets fewer frames
    # than its kernel has. MViT trains its convolutions in float32 on a CPU; the baselines' are PyTorchVideo's.
    unsafe = training and device.type == "cpu" and config.MODEL.ARCH != "mvit"
    if precision == "auto":
        return "bfloat16" if _has_bfloat16(device) and not unsafe else "float32"
    if precision != "float32" and unsafe:
        raise UserError(
            f"MODEL.PRECISION {precision} can give wrong gradients for {config.MODEL.ARCH} on a CPU: set it to float32 or auto"
        )
    return precision


def set_precision(config: Config, device: torch.device, *, training: bool) -> str:
    """:func:`precision_of`, and float32 made exact for MViT on a GPU: from now on cuDNN rounds nothing to TF32 in this process.

    Of an MViT on clips, cuDNN computes the first convolution alone. On an H100, logits of S 16x4 are 2.7e-6 from a CPU's, with
    TF32 2.4e-4; the pass takes 22.0 ms instead of 21.8. Baselines and detectors, mostly convolutions, keep torch's default.
    """
    precision = precision_of(config, device, training=training)
    if device.type == "cuda" and config.MODEL.ARCH == "mvit":
        torch.backends.cudnn.allow_tf32 = False
    return precision


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Without the CPU's own bfloat16 instructions it would be slower than float32.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.10
    return bool(capabilities.get("avx512_bf16"))
