"""People in single frames: torchvision's Faster R-CNN (fasterrcnn_resnet50_fpn_v2), with weights trained on COCO.

It is the detector of a user's own videos. AVA's published boxes, on which results are compared, are of another one.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mvit.errors import UserError

NAME = "fasterrcnn_resnet50_fpn_v2"
_NUM_CLASSES, _PERSON = 91, 1  # torchvision's numbers of COCO's categories, of which 0 is the background


def person_detector(content: Mapping[str, Any], source: str, min_score: float) -> nn.Module:
    """The network in evaluation mode, on the CPU, with given weights.

    Args:
        content: of a weight file: a state dict, or one under ``model``, where torchvision's training scripts put it.
        source: what errors call the file.
        min_score: the network drops detections that are not above it.

    Raises:
        UserError: they are another network's weights.
    """
    from torchvision.models.detection import fasterrcnn_resnet50_fpn_v2  # takes a second to import

    model: nn.Module = fasterrcnn_resnet50_fpn_v2(
        weights=None, weights_backbone=None, num_classes=_NUM_CLASSES, box_score_thresh=min_score
    )
    own = model.state_dict()
    given = content["model"] if isinstance(content.get("model"), Mapping) else content
    wrong = [name for name, tensor in own.items() if getattr(given.get(name), "shape", None) != tensor.shape]
    unknown = [name for name in given if name not in own]
    if wrong or unknown:
        problem = (
            f"{len(wrong)} of its {len(own)} tensors are missing or of another size, as {wrong[0]}"
            if wrong
            else f"there are {len(unknown)} tensors more, as {unknown[0]}"
        )
        raise UserError(
            f"{source} holds no weights of torchvision's {NAME} with COCO's {_NUM_CLASSES} classes: {problem}; take the "
            f"file {NAME}_coco-dd69338a.pth"
        )
    model.load_state_dict(given)
    return model.eval()


@torch.inference_mode()
def find_people(detector: nn.Module, frames: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The people of each frame, by falling score, on the CPU: boxes [n, 4] and scores [n], both float32.

    Args:
        detector: see :func:`person_detector`.
        frames: uint8 [B, 3, H, W], RGB, on the detector's device.

    Returns:
        x1, y1, x2, y2 in parts of the frame's width and height, and scores in 0..1.
    """
    height, width = frames.shape[-2:]
    size = torch.tensor([width, height, width, height], dtype=torch.float32)
    people = []
    for found in detector(list(frames.float() / 255)):
        chosen = found["labels"] == _PERSON
        people.append(((found["boxes"][chosen].cpu() / size).clamp(0, 1), found["scores"][chosen].cpu()))
    return people
