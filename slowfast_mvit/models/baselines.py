"""The baselines of the paper's tables: PyTorchVideo's hub networks, for any clip length and size, with logits for output.

This is the only file that imports PyTorchVideo's models, and it does so when a network is built.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mvit.errors import UserError

BASELINE_CLASSES = 400  # Kinetics-400, on which the hub's files were trained
BOX_BASELINES = ("slow_r50", "slowfast_r50")  # those that the hub also has for boxes
BOX_PIXELS_PER_CELL = 16  # of the last feature map of these: their last stage dilates instead of striding
LEAST_SIDE = 32  # pixels of one cell of the last feature map, in every one of these networks


@dataclass(frozen=True)
class Baseline:
    """The protocol that the hub's published file of a network was trained with.

    Attributes:
        num_frames, sampling_rate: frames of a clip, and video frames from each to the next. For SlowFast they are those of the
            fast pathway: "8x8" in its file's name are the slow one's.
        crop_size: side of a crop in pixels.
        alpha: SlowFast only: frames of the fast pathway for each frame of the slow one.
        least_frames: the shortest clip that the network takes.
    """

    num_frames: int
    sampling_rate: int
    crop_size: int
    alpha: int | None = None
    least_frames: int = 1


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        # A pool after the first stage joins each two frames of C2D and I3D.
        "c2d_r50": Baseline(8, 8, 224, least_frames=2),
        "i3d_r50": Baseline(8, 8, 224, least_frames=2),
        "slow_r50": Baseline(8, 8, 224),
        "slowfast_r50": Baseline(32, 2, 224, alpha=4),
        "slowfast_r101": Baseline(32, 2, 224, alpha=4),
        "r2plus1d_r50": Baseline(16, 4, 224),
        "csn_r101": Baseline(32, 2, 224),
        "x3d_xs": Baseline(4, 12, 160),
        "x3d_s": Baseline(13, 6, 160),
        "x3d_m": Baseline(16, 5, 224),
        "x3d_l": Baseline(16, 5, 312),
    }
)


def create_baseline(
    name: str,
    *,
    num_classes: int | None = None,
    num_frames: int | None = None,
    crop_size: int | tuple[int, int] | None = None,
    in_channels: int = 3,
    dropout_rate: float = 0.0,
) -> nn.Module:
    """A baseline with fresh weights: video [B, in_channels, T, H, W] (float, normalised) -> logits [B, num_classes].

    Its parameters carry the names of PyTorchVideo's hub, whose files load strictly. It differs from the hub's network in its
    head alone: the pool is over the whole feature map, whatever its size, and there is no softmax. At the hub's own sizes
    nothing else changes. At larger ones the hub, and PySlowFast in its tests at 256 pixels, move a pool of fixed size over the
    map and average the results; here the features are averaged.

    Args:
        name: one of :data:`BASELINES`.
        num_classes: width of the logits; 400 by default.
        num_frames, crop_size: clip length, and side (or height and width) in pixels, that the network is to be used with. They
            are only checked: the network is the same for all.
        in_channels: channels of the input.
        dropout_rate: dropout before the last linear layer, in training.

    Raises:
        UserError: a number that the network cannot take.
    """
    baseline = BASELINES[name]
    classes = BASELINE_CLASSES if num_classes is None else num_classes
    _check_numbers(name, baseline, classes, num_frames, crop_size, in_channels, dropout_rate)
    channels = {"input_channel": in_channels} if baseline.alpha is None else {"input_channels": (in_channels,) * 2}
    network = _hub_builder(name)(pretrained=False, model_num_class=classes, **channels)
    _open_head(network.blocks, dropout_rate)
    return network if baseline.alpha is None else PackedPathways(network.blocks, baseline.alpha)


def create_box_baseline(
    name: str,
    *,
    num_classes: int,
    num_frames: int | None = None,
    crop_size: int | tuple[int, int] | None = None,
    in_channels: int = 3,
    dropout_rate: float = 0.0,
    resolution: int = 7,
    aligned: bool = True,
) -> nn.Module:
    """A baseline that scores boxes: video [B, in_channels, T, H, W] and boxes [R, 5] -> logits [R, num_classes].

    The hub's networks for AVA (``slow_r50_detection``, ``slowfast_r50_detection``) with PyTorchVideo's RoI head. Boxes are as
    for :class:`slowfast_mvit.models.action.ActionMViT`. It differs from the hub's in that the pool over time fits any clip
    length, RoIAlign has the half-pixel correction as PySlowFast's has, and there is no sigmoid. The blocks stand under the
    names of the network for clips, so that its weights load.

    Args:
        name: one of :data:`BOX_BASELINES`.
        num_classes, num_frames, crop_size, in_channels, dropout_rate: see :func:`create_baseline`.
        resolution: cells a side that a box is resampled to.
        aligned: RoIAlign with the half-pixel correction.

    Raises:
        UserError: a number that the network cannot take, or a network that has no form for boxes.
    """
    if name not in BOX_BASELINES:
        raise UserError(f"{name} has no form that scores boxes; of the baselines {' and '.join(BOX_BASELINES)} have")
    baseline = BASELINES[name]
    _check_numbers(name, baseline, num_classes, num_frames, crop_size, in_channels, dropout_rate)
    channels = {"input_channel": in_channels} if baseline.alpha is None else {"input_channels": (in_channels,) * 2}
    sides = {"head_spatial_resolution": (resolution, resolution)}
    network = _hub_builder(f"{name}_detection")(pretrained=False, model_num_class=num_classes, **channels, **sides)
    head = network.detection_head
    head.activation = None
    head.dropout = nn.Dropout(dropout_rate)
    head.roi_layer.aligned = aligned
    head.proj.register_forward_pre_hook(_in_type_of_weights)
    blocks = nn.ModuleList([*network.model.blocks, head])
    for module in list(blocks.modules()):
        for place, child in list(module.named_children()):
            if isinstance(child, nn.AvgPool3d):  # over the clip's frames, whose number is fixed there
                setattr(module, place, nn.AdaptiveAvgPool3d((1, None, None)))
    return BoxNetwork(blocks, baseline.alpha)


class BoxNetwork(nn.Module):
    """PyTorchVideo's blocks of which the last, the RoI head, also takes boxes.

    Args:
        blocks: of the network, the head among them.
        alpha: of SlowFast: frames of the fast pathway for each frame of the slow one; None for one pathway.
    """

    def __init__(self, blocks: nn.ModuleList, alpha: int | None) -> None:
        super().__init__()
        self.blocks = blocks
        self.alpha = alpha
        self.pixels_per_cell = BOX_PIXELS_PER_CELL

    def forward(self, video: Tensor, boxes: Tensor) -> Tensor:
        """Video [B, C, T, H, W] and boxes [R, 5] -> logits [R, num_classes]."""
        x: Any = video if self.alpha is None else _pathways(video, self.alpha)
        *body, head = self.blocks
        for block in body:
            x = block(x)
        return head(x.float(), boxes.float()).flatten(1)


def _in_type_of_weights(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """RoIAlign gives float32 to a classifier that may be of another type."""
    weight = layer.get_parameter("weight")
    return tuple(value.to(weight.dtype) for value in inputs)


class PackedPathways(nn.Module):
    """SlowFast that takes one video instead of a list of two: it picks the slow pathway's frames itself.

    It holds the network's blocks under the network's own name, so that parameter names stay.

    Args:
        blocks: of PyTorchVideo's SlowFast.
        alpha: frames of the fast pathway for each frame of the slow one.
    """

    def __init__(self, blocks: nn.ModuleList, alpha: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.alpha = alpha

    def forward(self, video: Tensor) -> Tensor:
        """Video [B, C, T, H, W] -> logits [B, num_classes]."""
        x: Any = _pathways(video, self.alpha)  # up to the block that joins them
        for block in self.blocks:
            x = block(x)
        return x


def _pathways(video: Tensor, alpha: int) -> list[Tensor]:
    """The slow and the fast pathway's frames of a video [B, C, T, H, W]."""
    slow = torch.tensor(slow_frames(int(video.shape[2]), alpha), device=video.device)
    return [video.index_select(2, slow), video]


def slow_frames(num_frames: int, alpha: int) -> list[int]:
    """Which of a clip's frames the slow pathway sees: ceil(T / alpha) of them, spread from the first to the last.

    PySlowFast's rule, a truncated linspace in float32. It takes T // alpha frames, which for a T that alpha does not divide are
    fewer than the strided convolutions from the fast pathway give; rounding up fits these for any T.
    """
    return torch.linspace(0, num_frames - 1, -(-num_frames // alpha), device="cpu").long().tolist()


def _check_numbers(
    name: str,
    baseline: Baseline,
    num_classes: int,
    num_frames: int | None,
    crop_size: int | tuple[int, int] | None,
    in_channels: int,
    dropout_rate: float,
) -> None:
    height, width = crop_size if isinstance(crop_size, tuple) else (crop_size, crop_size)
    for what, number, least in (
        ("num_classes", num_classes, 1),
        ("in_channels", in_channels, 1),
        ("num_frames", num_frames, baseline.least_frames),
        ("height", height, LEAST_SIDE),
        ("width", width, LEAST_SIDE),
    ):
        if number is not None and number < least:
            raise UserError(f"{what} is {number}; {name} takes {least} or more")
    if not 0 <= dropout_rate < 1:
        raise UserError(f"dropout_rate is {dropout_rate}; it must be at least 0 and less than 1")


def _hub_builder(name: str) -> Callable[..., Any]:
    """PyTorchVideo's function of that name. Imported here, because it takes a second and torchvision with it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.script.*", FutureWarning)  # fvcore's, at its import
        from pytorchvideo.models import hub
    return getattr(hub, name)


def _open_head(blocks: nn.ModuleList, dropout_rate: float) -> None:
    """Give the network the pool, the output and the dropout of :func:`create_baseline`; no parameter is touched."""
    head: Any = blocks[-1]
    head.activation = None  # X3D and R(2+1)D come with a softmax, in training too
    head.dropout = nn.Dropout(dropout_rate)
    # Average pools with a fixed kernel stand in the heads alone, in a place of its own in each family.
    for parent in list(blocks.modules()):
        for place, child in list(parent.named_children()):
            if isinstance(child, nn.AvgPool3d):
                setattr(parent, place, nn.AdaptiveAvgPool3d(1))
