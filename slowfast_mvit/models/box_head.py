"""The head that says what is in a box, and moves it there: layers, losses, and the choice of detections.

Letters: R boxes of all images, K classes, C boxes predicted per box: one for each class, or one for all.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast_mvit.models.rcnn_options import RcnnOptions
from slowfast_mvit.models.region_layers import RegionConv, start_normal
from slowfast_mvit.models.region_targets import Weights, clip, decode, encode, has_area
from slowfast_mvit.ops.soft_nms import soft_nms_by_class


class BoxHead(nn.Module):
    """Features [R, fc_dim] of pooled boxes [R, channels, side, side].

    Args:
        channels: of the maps.
        side: cells a side of a pooled box.
        num_convs: convolutions with norm: 0 for Mask R-CNN, 4 for its cascade.
        num_fcs: linear layers after them: 2 for Mask R-CNN, 1 for its cascade.
        conv_dim, fc_dim: their widths.
    """

    def __init__(self, channels: int, side: int, num_convs: int, num_fcs: int, conv_dim: int, fc_dim: int) -> None:
        super().__init__()
        self.layers: list[str] = []
        width = channels
        for i in range(num_convs):
            self._add(f"conv{i + 1}", RegionConv(width, conv_dim, norm=True))
            width = conv_dim
        width *= side * side
        for i in range(num_fcs):
            layer = nn.Linear(width, fc_dim)
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
            self._add(f"fc{i + 1}", layer)
            width = fc_dim

    def _add(self, name: str, layer: nn.Module) -> None:
        self.add_module(name, layer)
        self.layers.append(name)

    def forward(self, x: Tensor) -> Tensor:
        """Features [R, fc_dim] of pooled boxes [R, channels, side, side]."""
        for name in self.layers:
            layer = getattr(self, name)
            x = layer(x) if isinstance(layer, RegionConv) else F.relu(layer(x.flatten(1)))
        return x


class BoxPredictor(nn.Module):
    """Logits and shifts from the features of boxes.

    The background has the last row, as in detectron2's files, and not the first, as torchvision has it: so these load as they
    are. Labels 1..K of objects are rows 0..K-1.

    Args:
        features: width of the input.
        num_classes: K, without the background.
        weights: of the shifts, see :func:`slowfast_mvit.models.region_targets.encode`.
        class_agnostic: predict one box for all classes.
    """

    def __init__(self, features: int, num_classes: int, weights: Weights, *, class_agnostic: bool) -> None:
        super().__init__()
        self.num_classes, self.weights = num_classes, weights
        self.cls_score = nn.Linear(features, num_classes + 1)
        self.bbox_pred = nn.Linear(features, 4 if class_agnostic else 4 * num_classes)
        start_normal(self.cls_score, 0.01)
        start_normal(self.bbox_pred, 0.001)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [R, K + 1] and shifts [R, C x 4] of features [R, features], float32."""
        return self.cls_score(x).float(), self.bbox_pred(x).float()

    def boxes(self, deltas: Tensor, proposals: Tensor) -> Tensor:
        """Predicted boxes [R, C, 4] of shifts [R, C x 4] and proposals [R, 4]."""
        return decode(deltas, proposals, self.weights)

    def losses(
        self, logits: Tensor, deltas: Tensor, proposals: Tensor, labels: Tensor, objects: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cross entropy, and L1 of the shifts of boxes that have an object; both are means over all boxes.

        Args:
            logits, deltas: of :meth:`forward`.
            proposals: [R, 4].
            labels: int64 [R] in 0..K; 0 is the background.
            objects: boxes [R, 4] of what the proposals are held against; any where there is nothing.
        """
        if not len(labels):
            return logits.sum() * 0, deltas.sum() * 0
        rows = torch.where(labels == 0, self.num_classes, labels - 1)
        chosen = (labels > 0).nonzero()[:, 0]
        wanted = encode(objects[chosen], proposals[chosen], self.weights)
        of_boxes = deltas.unflatten(1, (-1, 4))
        of_class = of_boxes[chosen, 0 if of_boxes.shape[1] == 1 else rows[chosen]]
        return F.cross_entropy(logits, rows), F.l1_loss(of_class, wanted, reduction="sum") / len(labels)


def choose_detections(
    boxes: Tensor, probabilities: Tensor, size: tuple[int, int], options: RcnnOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes [n, 4], scores [n] and labels [n] in 1..K of one image, best first.

    What scores high enough is thinned by NMS class by class, and the best of all classes are kept.

    Args:
        boxes: [R, C, 4].
        probabilities: [R, K + 1], the background last.
        size: height and width of the image, at whose edges boxes are cut; what has no area there is dropped.
    """
    finite = boxes.isfinite().flatten(1).all(1) & probabilities.isfinite().all(1)
    scores, boxes = probabilities[finite, :-1], clip(boxes[finite], size)
    rows, classes = (scores > options.score_thresh).nonzero(as_tuple=True)
    scores = scores[rows, classes]
    boxes = boxes[rows, 0 if boxes.shape[1] == 1 else classes]
    kept, scores = _thin(boxes, scores, classes, options)
    boxes, labels = boxes[kept], classes[kept] + 1
    there = has_area(boxes)
    return boxes[there], scores[there], labels[there]


def _thin(boxes: Tensor, scores: Tensor, classes: Tensor, options: RcnnOptions) -> tuple[Tensor, Tensor]:
    """Rows of the best detections after NMS, and their scores, best first."""
    from torchvision.ops import batched_nms  # takes a second to import

    limit = options.max_detections
    if options.soft_nms == "none":
        kept = batched_nms(boxes, scores, classes, options.nms_thresh)[:limit]
        return kept, scores[kept]
    return soft_nms_by_class(
        boxes,
        scores,
        classes,
        options.soft_nms,
        options.soft_nms_sigma,
        options.nms_thresh,
        options.soft_nms_min_score,
        limit,
    )


def split_by_image(values: Tensor, boxes: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Values [R, ...] of all boxes, image by image."""
    return values.split([len(of_image) for of_image in boxes])
