"""A classifier that a command names, by its name or by a config, with its weights, as it is fed outside of a test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from slowfast_mvit.build.data import sampling_of
from slowfast_mvit.build.predict_model import ReadyModel, model_of_config, model_of_name
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.clips import ClipSampling, Sampling
from slowfast_mvit.data.kinetics import read_label_names
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.action import ActionMViT
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.weights.class_names import class_names

Extents = Sequence[int | None]
OWN_SIZE: Extents = (None, None, None)


@dataclass(frozen=True)
class GivenModel:
    """A classifier of clips or images in evaluation mode, on the CPU, with fitting input and output.

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


def given_by_name(name: str, weights: str, *, labels: str = "", size: Extents = OWN_SIZE) -> GivenModel:
    """The model of a name, fed as its published weights are.

    Args:
        name: one of :func:`slowfast_mvit.list_models`.
        weights: a file or URL, of any publisher, or a tag of :func:`slowfast_mvit.list_weights`.
        labels: a file as a run's labels.json, or a dataset of :func:`slowfast_mvit.class_names`; by default the
            names that go with the weights.
        size: frames, height and width of the input; None for the model's own.

    Raises:
        UserError: there is no such model, the weights are not its own, or the size or the labels do not fit.
    """
    return _given(model_of_name(name, weights), name, weights, labels, size)


def given_by_config(
    path: str | Path, weights: str, overrides: Sequence[str] = (), *, labels: str = "", size: Extents = OWN_SIZE
) -> GivenModel:
    """The model that a config file describes, fed as by its test (NUM_FRAMES, TEST_CROP_SIZE); see :func:`given_by_name`.

    Raises:
        UserError: the same, and a config of boxes or objects.
    """
    test = ["TRAIN.ENABLE", "False", "TEST.ENABLE", "True", "TEST.CHECKPOINT_FILE_PATH", weights]
    config = load_config(path, [*overrides, *test])
    if config.TEST.DATASET in ("ava", "coco"):
        raise UserError(
            f"{path} is of a model for boxes or objects (TEST.DATASET is {config.TEST.DATASET}): give the config of one that "
            "scores whole clips or images"
        )
    return _given(model_of_config(config), config.MODEL.ARCH, weights, labels, size)


def refuse_keys(overrides: Sequence[str]) -> None:
    """Keys of a config beside the name of a model, which has none, are a UserError."""
    if overrides:
        raise UserError(f"{overrides[0]} is a key of a config, and --model has none: give --cfg, or leave it out")


def check_mvit(given: GivenModel, what: str) -> MViT:
    """The model as an MViT that scores whole inputs; UserError where it is another network."""
    if not isinstance(given.model, MViT) or isinstance(given.model, ActionMViT):
        raise UserError(f"{what} is for MViTs that score whole clips or images, and {given.name} is none: give another")
    return given.model


def _given(ready: ReadyModel, name: str, weights: str, labels: str, size: Extents) -> GivenModel:
    config = ready.config
    data, side = config.DATA, config.DATA.TEST_CROP_SIZE
    own = (side, side) if ready.images else (data.NUM_FRAMES, side, side)
    extents = _sized(own, size, name)
    sampling = None if ready.images else sampling_of(config, "test")
    if isinstance(sampling, ClipSampling):
        sampling = ClipSampling(extents[0], sampling.sampling_rate, sampling.target_fps, sampling.use_offset)
    multi_label = data.MULTI_LABEL or config.MODEL.HEAD_ACT == "sigmoid"
    return GivenModel(
        ready.model.cpu().float().eval(),
        name,
        extents,
        data.MEAN,
        data.STD,
        sampling,
        "sigmoid" if multi_label else "softmax",
        _labels(labels, ready.label_names, config.MODEL.NUM_CLASSES),
        weights,
    )


def _sized(own: tuple[int, ...], asked: Extents, name: str) -> tuple[int, ...]:
    """The extents with those that were asked for."""
    for option, value in zip(("--frames", "--height", "--width"), asked, strict=True):
        if value is not None and value < 1:
            raise UserError(f"{option} is {value}; it must be at least 1")
    if asked[0] is not None and len(own) == 2:
        raise UserError(f"{name} is a model for images, which has no frames: leave --frames out")
    return tuple(extent if value is None else value for value, extent in zip(asked[-len(own) :], own, strict=True))


def _labels(asked: str, known: tuple[str, ...], num_classes: int) -> tuple[str, ...]:
    if not asked:
        return known
    path = Path(asked)
    names = read_label_names(path) if path.suffix or path.exists() else class_names(asked)
    if len(names) != num_classes:
        raise UserError(
            f"{asked} names {len(names)} classes, and the model scores {num_classes}: give the names of its own (--labels)"
        )
    return names
