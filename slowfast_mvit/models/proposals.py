"""Region proposals: the network that scores anchors, and what is kept of them (arXiv 1506.01497, as detectron2 has it).

Letters: B images, A anchors in a cell, N anchors of all maps, n objects of an image.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast_mvit.models.anchors import grid_anchors
from slowfast_mvit.models.rcnn_options import RcnnOptions
from slowfast_mvit.models.region_layers import RegionConv, start_normal
from slowfast_mvit.models.region_targets import clip, decode, encode, has_area, match, sample

_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
_BELOW, _FROM = 0.3, 0.7  # IoU of background, and of matches
_SAMPLED, _POSITIVE = 256, 0.5

Sizes = Sequence[tuple[int, int]]


class ProposalHead(nn.Module):
    """Scores and shifts of the anchors of every cell, by the same layers on every map.

    Args:
        channels: of the maps.
        num_anchors: in a cell.
        num_convs: 3 x 3 convolutions before the predictions: 1 for Mask R-CNN, 2 for its cascade.
    """

    def __init__(self, channels: int, num_anchors: int, num_convs: int) -> None:
        super().__init__()
        convs = {f"conv{i}": RegionConv(channels, channels, norm=False) for i in range(num_convs)}
        self.conv = convs["conv0"] if num_convs == 1 else nn.Sequential()
        if isinstance(self.conv, nn.Sequential):
            for name, conv in convs.items():
                self.conv.add_module(name, conv)
        self.objectness_logits = nn.Conv2d(channels, num_anchors, 1)
        self.anchor_deltas = nn.Conv2d(channels, num_anchors * 4, 1)
        for layer in (*convs.values(), self.objectness_logits, self.anchor_deltas):
            start_normal(layer, 0.01)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Logits [B, h x w x A] and shifts [B, h x w x A, 4] of each map [B, C, h, w], float32, in the anchors' order."""
        logits, deltas = [], []
        for x in maps:
            hidden = self.conv(x)
            logits.append(self.objectness_logits(hidden).permute(0, 2, 3, 1).flatten(1).float())
            shifts = self.anchor_deltas(hidden).unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2)
            deltas.append(shifts.flatten(1, 3).float())
        return logits, deltas


class ProposalNetwork(nn.Module):
    """Boxes that may hold an object, from maps of an image.

    Args:
        channels: of the maps.
        strides: of the maps, in pixels.
        num_convs: see :class:`ProposalHead`.
        options: of the detector.
    """

    def __init__(self, channels: int, strides: Sequence[int], num_convs: int, options: RcnnOptions) -> None:
        super().__init__()
        self.strides, self.options = tuple(strides), options
        self.sizes = options.sizes_of_maps(len(self.strides))
        num_anchors = len(self.sizes[0]) * len(options.anchor_ratios)
        self.rpn_head = ProposalHead(channels, num_anchors, num_convs)

    def forward(
        self, maps: Sequence[Tensor], sizes: Sizes, objects: Sequence[Tensor] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals [n, 4] of each image, best first, without gradients; and the losses if there are ``objects``.

        Args:
            maps: [B, C, h, w], finest first.
            sizes: height and width of each image.
            objects: boxes [n, 4] of the annotated objects of each image, each of some area.
        """
        logits, deltas = self.rpn_head(maps)
        anchors = [self._anchors(level, of_map) for level, of_map in enumerate(maps)]
        losses = {}
        if objects is not None:
            losses = proposal_losses(torch.cat(logits, 1), torch.cat(deltas, 1), torch.cat(anchors), objects)
        options = self.options
        before_nms = options.proposals_before_nms_train if self.training else options.proposals_before_nms_test
        with torch.no_grad():
            return choose_proposals(logits, deltas, anchors, sizes, before_nms, options), losses

    def _anchors(self, level: int, of_map: Tensor) -> Tensor:
        height, width = of_map.shape[-2:]
        sizes, ratios = self.sizes[level], self.options.anchor_ratios
        return grid_anchors(height, width, self.strides[level], sizes, ratios, device=of_map.device)


def proposal_losses(logits: Tensor, deltas: Tensor, anchors: Tensor, objects: Sequence[Tensor]) -> dict[str, Tensor]:
    """Losses of scores and shifts over the sampled anchors, divided by how many an image samples.

    An anchor is an object's from IoU 0.7 on, or where no other covers the object better, and background below 0.3.

    Args:
        logits: [B, N].
        deltas: [B, N, 4].
        anchors: [N, 4].
        objects: boxes [n, 4] of each image.
    """
    score_loss, box_loss = logits.new_zeros(()), logits.new_zeros(())
    for of_image, shifts, boxes in zip(logits, deltas, objects, strict=True):
        matches = match(anchors, boxes, _BELOW, _FROM, keep_best=True)
        positive, negative = sample(matches, _SAMPLED, _POSITIVE)
        scores, truth = of_image[torch.cat((positive, negative))], torch.zeros_like(of_image)
        truth = truth.index_fill(0, positive, 1.0)[torch.cat((positive, negative))]
        score_loss = score_loss + F.binary_cross_entropy_with_logits(scores, truth, reduction="sum")
        wanted = encode(boxes[matches[positive]], anchors[positive], _WEIGHTS)
        box_loss = box_loss + F.l1_loss(shifts[positive], wanted, reduction="sum")
    number = _SAMPLED * len(objects)
    return {"loss_rpn_cls": score_loss / number, "loss_rpn_loc": box_loss / number}


def choose_proposals(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    sizes: Sizes,
    before_nms: int,
    options: RcnnOptions,
) -> list[Tensor]:
    """Proposals [n, 4] of each image, best first.

    Of each map the best ``before_nms`` by score are taken, cut at the image's edges, freed of empty ones and thinned by NMS
    map by map; then the best of all maps are kept.
    """
    from torchvision.ops import batched_nms  # takes a second to import

    chosen: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in sizes]
    for level, (scores, shifts, boxes) in enumerate(zip(logits, deltas, anchors, strict=True)):
        best, rows = scores.topk(min(before_nms, scores.shape[1]), dim=1)
        for image, parts in enumerate(chosen):
            row = rows[image]
            decoded = decode(shifts[image, row], boxes[row], _WEIGHTS)[:, 0]
            parts.append((decoded, best[image], torch.full_like(row, level)))
    proposals = []
    for size, parts in zip(sizes, chosen, strict=True):
        boxes, scores, levels = (torch.cat(part) for part in zip(*parts, strict=True))
        finite = boxes.isfinite().all(1) & scores.isfinite()
        boxes = clip(boxes, size)
        kept = finite & has_area(boxes)
        boxes, scores, levels = boxes[kept], scores[kept], levels[kept]
        proposals.append(boxes[batched_nms(boxes, scores, levels, options.proposal_nms_thresh)[: options.proposals]])
    return proposals
