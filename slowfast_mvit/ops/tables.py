"""Tables of relative positions brought to other lengths."""

import torch.nn.functional as F
from torch import Tensor


def resize_table(table: Tensor, num_rows: int) -> Tensor:
    """A table [R, D] brought to ``num_rows`` rows by linear interpolation (half-pixel centres); unchanged if it has them."""
    if table.shape[0] == num_rows:
        return table
    resized = F.interpolate(table.float().t()[None], size=num_rows, mode="linear", align_corners=False)
    return resized[0].t().to(table.dtype)
