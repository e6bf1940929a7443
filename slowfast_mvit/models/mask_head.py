"""The head that says which cells of a box belong to its object (arXiv 1703.06870): layers, targets and loss.

Letters: R boxes of all images, K classes, M = 28 cells a side of a mask.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast_mvit.models.region_layers import RegionConv, start_normal

_CONVS = 4


class MaskHead(nn.Module):
    """Logits [R, K, 2 x side, 2 x side] of pooled boxes [R, channels, side, side]; label k has row k - 1.

    Args:
        channels: of the maps.
        num_classes: K, without the background.
        conv_dim: width of the convolutions.
        norm: normalise after the convolutions, as the cascade does.
    """

    def __init__(self, channels: int, num_classes: int, conv_dim: int, *, norm: bool) -> None:
        super().__init__()
        for i in range(_CONVS):
            self.add_module(f"mask_fcn{i + 1}", RegionConv(conv_dim if i else channels, conv_dim, norm=norm))
        self.deconv = nn.ConvTranspose2d(conv_dim, conv_dim, 2, stride=2)
        self.predictor = nn.Conv2d(conv_dim, num_classes, 1)
        nn.init.kaiming_normal_(self.deconv.weight, mode="fan_out", nonlinearity="relu")
        assert self.deconv.bias is not None
        nn.init.zeros_(self.deconv.bias)
        start_normal(self.predictor, 0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Logits float32 [R, K, M, M] of pooled boxes [R, channels, M / 2, M / 2]."""
        for i in range(_CONVS):
            x = getattr(self, f"mask_fcn{i + 1}")(x)
        return self.predictor(F.relu(self.deconv(x))).float()


def mask_targets(masks: Tensor, rows: Tensor, boxes: Tensor, side: int) -> Tensor:
    """What of objects lies in boxes: float32 [R, side, side] of 0 and 1.

    A cell is 1 where the mean of the mask over it, by RoIAlign with the half-pixel correction, is at least one half.

    Args:
        masks: uint8 [n, h, w] of 0 and 1, of all objects of an image.
        rows: int64 [R], the object of each box.
        boxes: [R, 4] in pixels of the image.
    """
    from torchvision.ops import roi_align  # takes a second to import

    if not len(rows):
        return boxes.new_zeros(0, side, side)
    used, places = rows.unique(return_inverse=True)  # masks of whole images are large in float32
    regions = torch.cat((places[:, None].to(boxes.dtype), boxes), 1).float()
    cut = roi_align(masks[used, None].float(), regions, side, spatial_scale=1.0, sampling_ratio=0, aligned=True)
    return (cut[:, 0] >= 0.5).float()


def mask_loss(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross entropy of the masks of the boxes' own classes; 0 without boxes.

    Args:
        logits: [R, K, M, M].
        labels: int64 [R] in 1..K.
        targets: [R, M, M] of 0 and 1.
    """
    if not len(labels):
        return logits.sum() * 0
    return F.binary_cross_entropy_with_logits(_of_label(logits, labels), targets)


def mask_probabilities(logits: Tensor, labels: Sequence[Tensor]) -> list[Tensor]:
    """Probabilities [n, M, M] of the masks of the boxes' own classes, image by image.

    Args:
        logits: [R, K, M, M].
        labels: int64 [n] in 1..K of each image.
    """
    own = _of_label(logits, torch.cat(list(labels))).sigmoid()
    return list(own.split([len(of_image) for of_image in labels]))


def _of_label(logits: Tensor, labels: Tensor) -> Tensor:
    return logits[torch.arange(len(labels), device=labels.device), labels - 1]
