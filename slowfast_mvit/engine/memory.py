"""What is said when the device has too little memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from slowfast_mvit.errors import UserError

_IN_TRAINING = (
    "halve TRAIN.BATCH_SIZE and double TRAIN.ACCUMULATE_STEPS, which gives the same training, set MODEL.ACT_CHECKPOINT True, "
    "or MODEL.PRECISION bfloat16"
)
_CPU = "can't allocate memory"  # torch's allocator of the CPU raises a plain RuntimeError that holds this


@contextmanager
def out_of_memory(device: torch.device, advice: str = _IN_TRAINING) -> Iterator[None]:
    """Turn what torch raises for want of memory into a sentence with what helps.

    Raises:
        UserError: the device has too little memory.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and _CPU not in str(error):
            raise
        raise UserError(f"{device} has too little memory for this step{_figures(device)}: {advice}") from error


def _figures(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    ours = torch.cuda.memory_allocated(device)
    return f" ({ours / 2**30:.1f} GiB of it are in use here, {free / 2**30:.1f} of {total / 2**30:.1f} GiB are free)"
