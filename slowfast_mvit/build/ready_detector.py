"""A detector with its weights, and what its labels are called: by config, or by name."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from slowfast_mvit.build.evaluate import load_tested
from slowfast_mvit.build.model import build_model, create_model
from slowfast_mvit.build.pretrained import count_objects
from slowfast_mvit.build.readiness import refuse_unbuilt
from slowfast_mvit.build.run import RunFolder, choose_device
from slowfast_mvit.config.schema import Config
from slowfast_mvit.config.schema_model import DETECTOR_ARCHS
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.errors import UserError, closest
from slowfast_mvit.models.detectors import DETECTORS
from slowfast_mvit.weights.coco_categories import coco_categories
from slowfast_mvit.weights.containers import unwrap
from slowfast_mvit.weights.formats import known_format
from slowfast_mvit.weights.load import load_weights, read_source
from slowfast_mvit.weights.report import log_report
from slowfast_mvit.weights.zoo import tags

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of every published detector


@dataclass(frozen=True)
class ReadyDetector:
    """A detector that is to look at images.

    Attributes:
        model: with its weights, on its device.
        config: what its test would be.
        label_names: of labels 1, 2 ...
        category_ids: what COCO's files call them: COCO's own ids for COCO's categories, else the labels.
        device: where it is.
    """

    model: nn.Module
    config: Config
    label_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    device: torch.device


def detector_of_config(config: Config) -> ReadyDetector:
    """The detector of a config, with the weights of its TEST.CHECKPOINT_FILE_PATH loaded as a test loads them.

    Raises:
        UserError: what the user can mend; among others, a config of something else.
    """
    if config.MODEL.ARCH not in DETECTOR_ARCHS:
        raise UserError(
            f"the config is of no detector (MODEL.ARCH is {config.MODEL.ARCH}): give one of {' or '.join(DETECTOR_ARCHS)}"
        )
    refuse_unbuilt(config)
    device = choose_device(min(config.NUM_GPUS, 1))
    model = build_model(config)
    names = load_tested(config, model, RunFolder(Path(config.OUTPUT_DIR)), World(), None, random_weights=False)
    return _ready(model, config, names, device)


def is_detector(name: str | None) -> bool:
    """Whether a name of create_model, or MODEL.ARCH of a config, is that of a detector."""
    return name in DETECTORS or name in DETECTOR_ARCHS


def detector_of_name(name: str, weights: str | Path | None = None) -> ReadyDetector:
    """A detector of :func:`slowfast_mvit.create_model`, on the GPU if there is one.

    Args:
        name: of the model, as mask_rcnn_mvitv2_t.
        weights: a tag of published weights, or a path or URL of some, ours or detectron2's; by default its published ones.

    Raises:
        UserError: no such model or weights.
    """
    if name not in DETECTORS:
        raise UserError(f"there is no detector {name!r}; {closest(name, DETECTORS)}")
    source, names = "" if weights is None else str(weights), ()
    if not source or source in tags(name):
        model = create_model(name, pretrained=source or True)
        num_classes = len(coco_categories())
    else:
        content = read_source(source)
        state, _ = known_format(unwrap(content, source))
        counted = count_objects(state)
        if counted is None:
            raise UserError(f"{source} holds no detector: give weights of {name}")
        num_classes = counted
        model = create_model(name, num_classes=num_classes)
        log_report(load_weights(model, content, strict=True, name=source))
        names = tuple(content.get("label_names", ()))
    config = Config()
    arch = "cascade_mask_rcnn" if DETECTORS[name].cascade else "mask_rcnn"
    config = replace(
        config,
        MODEL=replace(config.MODEL, ARCH=arch, NUM_CLASSES=num_classes),
        DATA=replace(config.DATA, MEAN=_MEAN, STD=_STD),
        TEST=replace(config.TEST, DATASET="coco", BATCH_SIZE=4),
        DATA_LOADER=replace(config.DATA_LOADER, NUM_WORKERS=min(4, os.cpu_count() or 1)),
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return _ready(model, config, names, device)


def _ready(model: nn.Module, config: Config, label_names: Sequence[str], device: torch.device) -> ReadyDetector:
    count, categories = config.MODEL.NUM_CLASSES, coco_categories()
    of_coco = tuple(categories.values())
    names = tuple(label_names) or (
        of_coco if count == len(of_coco) else tuple(str(label + 1) for label in range(count))
    )
    ids = tuple(categories) if names == of_coco else tuple(range(1, count + 1))
    return ReadyDetector(model.eval().to(device), config, names, ids, device)
