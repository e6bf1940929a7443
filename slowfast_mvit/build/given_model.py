"""A model that a command names, by its name or by a config, with its weights and with what it wants to be fed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from slowfast_mvit.build.data import sampling_of
from slowfast_mvit.build.model import build_model, create_model, list_models
from slowfast_mvit.build.pretrained import count_classes
from slowfast_mvit.build.readiness import refuse_unbuilt
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.clips import ClipSampling, Sampling
from slowfast_mvit.data.kinetics import read_label_names
from slowfast_mvit.errors import UserError, closest
from slowfast_mvit.models.action import ActionMViT
from slowfast_mvit.models.baselines import BASELINES
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.variants import VARIANTS
from slowfast_mvit.weights.class_names import class_names
from slowfast_mvit.weights.containers import unwrap
from slowfast_mvit.weights.formats import known_format
from slowfast_mvit.weights.load import load_weights, read_source
from slowfast_mvit.weights.report import log_report
from slowfast_mvit.weights.table import PUBLISHED

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_KINETICS = ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
_FPS = 30.0


@dataclass(frozen=True)
class GivenModel:
    """A classifier of clips or images in evaluation mode, with fitting input and output.

    Attributes:
        model: maps video [B, 3, T, H, W] or images [B, 3, H, W] to logits [B, classes].
        name: of the architecture.
        size: extents that it is fed with, (H, W) or (T, H, W).
        mean, std: of its normalisation, RGB from 0 to 1.
        sampling: which frames of a video it takes; None for images.
        activation: ``softmax``, or ``sigmoid`` for several labels.
        labels: names of the classes in the order of the logits; empty where they are not known.
        weights: where they came from.
    """

    model: nn.Module
    name: str
    size: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sampling: Sampling | None
    activation: str
    labels: tuple[str, ...]
    weights: str

    @property
    def is_video(self) -> bool:
        """Whether it takes clips."""
        return len(self.size) == 3


def model_by_name(
    name: str, weights: str, *, labels: str = "", size: Sequence[int | None] = (None, None, None)
) -> GivenModel:
    """The model of a name with the weights of a file or URL; its classes are as many as those of the weights.

    The normalisation is that of the model's published weights, and of Kinetics or ImageNet where there are none.

    Args:
        name: one of :func:`slowfast_mvit.list_models`.
        weights: a file or URL, of any publisher.
        labels: see :func:`_labels`.
        size: frames, height and width of the input; None for the model's own.

    Raises:
        UserError: there is no such model, the weights are not its own, or the size does not fit.
    """
    if name not in list_models():
        raise UserError(f"there is no model {name!r}; {closest(name, list_models())}")
    content = read_source(weights)
    model = create_model(name, num_classes=count_classes(known_format(unwrap(content, weights))[0]))
    log_report(load_weights(model, content, new_head=False, name=weights))
    own = _own_size(name)
    published = [entry for entry in PUBLISHED if entry.model == name]
    mean, std = (published[0].mean, published[0].std) if published else _KINETICS if len(own) == 3 else _IMAGENET
    extents = _sized(own, size, f"{name} is a model for images")
    sampling = ClipSampling(extents[0], _rate(name), _FPS, use_offset=True) if len(own) == 3 else None
    names = _labels(labels, content, _num_classes(model))
    return GivenModel(model.eval(), name, extents, mean, std, sampling, "softmax", names, weights)


def model_of_config(
    config: Config, weights: str, *, labels: str = "", size: Sequence[int | None] = (None, None, None)
) -> GivenModel:
    """The model that a config describes, as its test feeds it: TEST_CROP_SIZE, NUM_FRAMES; see :func:`model_by_name`.

    Raises:
        UserError: the model takes boxes or finds objects, or the weights are not its own.
    """
    refuse_unbuilt(config)
    if config.DETECTION.ENABLE or config.TEST.DATASET in ("ava", "coco"):
        raise UserError(
            "the config is of a model for boxes or objects (DETECTION.ENABLE, TEST.DATASET ava or coco): give one that scores "
            "whole clips or images"
        )
    content = read_source(weights)
    model = build_model(config)
    log_report(load_weights(model, content, strict=True, name=weights))
    images = config.MODEL.ARCH == "mvit" and len(config.MVIT.PATCH_KERNEL) == 2
    side = config.DATA.TEST_CROP_SIZE
    own = (side, side) if images else (config.DATA.NUM_FRAMES, side, side)
    sampling = None if images else sampling_of(config, "test")
    extents = _sized(own, size, "the config is of a model for images")
    if isinstance(sampling, ClipSampling):
        sampling = ClipSampling(extents[0], sampling.sampling_rate, sampling.target_fps, sampling.use_offset)
    multi_label = config.DATA.MULTI_LABEL or config.MODEL.HEAD_ACT == "sigmoid"
    return GivenModel(
        model.eval(),
        config.MODEL.ARCH,
        extents,
        config.DATA.MEAN,
        config.DATA.STD,
        sampling,
        "sigmoid" if multi_label else "softmax",
        _labels(labels, content, config.MODEL.NUM_CLASSES),
        weights,
    )


def check_mvit(given: GivenModel, what: str) -> MViT:
    """The model as an MViT that scores whole inputs; UserError where it is another network."""
    if not isinstance(given.model, MViT) or isinstance(given.model, ActionMViT):
        raise UserError(
            f"{what} is for MViTs that score whole clips or images, and {given.name} is none: give another model"
        )
    return given.model


def _own_size(name: str) -> tuple[int, ...]:
    if name in VARIANTS:
        return VARIANTS[name].input_size
    baseline = BASELINES[name]
    return baseline.num_frames, baseline.crop_size, baseline.crop_size


def _sized(own: tuple[int, ...], asked: Sequence[int | None], images: str) -> tuple[int, ...]:
    """The extents with those that were asked for."""
    frames, height, width = asked
    for option, value in (("--frames", frames), ("--height", height), ("--width", width)):
        if value is not None and value < 1:
            raise UserError(f"{option} is {value}; it must be at least 1")
    if frames is not None and len(own) == 2:
        raise UserError(f"{images}, which has no frames: leave --frames out")
    return tuple(value if value is not None else size for value, size in zip(asked[-len(own) :], own, strict=True))


def _rate(name: str) -> int:
    """Source frames per frame of a clip: T x tau of the name, or the baseline's."""
    named = re.search(r"_\d+x(\d+)$", name)
    return int(named[1]) if named else BASELINES[name].sampling_rate


def _num_classes(model: nn.Module) -> int:
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1].out_features


def _labels(given: str, content: dict[str, object], num_classes: int) -> tuple[str, ...]:
    """Names of the classes: of ``given``, a file as labels.json or a dataset of :func:`class_names`; else the weights'."""
    if given:
        names = read_label_names(Path(given)) if Path(given).suffix or Path(given).exists() else class_names(given)
    else:
        names = tuple(content.get("label_names", ()))  # type: ignore[arg-type]
    if names and len(names) != num_classes:
        raise UserError(
            f"{given or 'the weights file'} names {len(names)} classes, and the model scores {num_classes}: give the names of "
            "its own classes (--labels)"
        )
    return names
