"""A model with its weights that is to score files, and how it is fed: by config, by name, or as somebody built it."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from slowfast_mvit.build.data import single_tests
from slowfast_mvit.build.evaluate import load_tested
from slowfast_mvit.build.model import build_model, create_model
from slowfast_mvit.build.precision import set_precision
from slowfast_mvit.build.pretrained import count_classes
from slowfast_mvit.build.readiness import refuse_unbuilt
from slowfast_mvit.build.run import RunFolder, choose_device
from slowfast_mvit.config.load import load_config, load_config_text
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.kinetics import read_label_names
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.errors import UserError, closest
from slowfast_mvit.models.baselines import BASELINES
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.variants import VARIANTS
from slowfast_mvit.weights.class_names import published_names
from slowfast_mvit.weights.containers import unwrap
from slowfast_mvit.weights.formats import known_format
from slowfast_mvit.weights.load import load_weights, read_source
from slowfast_mvit.weights.published import Published, Triple
from slowfast_mvit.weights.report import log_report
from slowfast_mvit.weights.zoo import find, list_weights, tags

_LOG = logging.getLogger(__name__)
_IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_RATES = {16: 4, 32: 3, 40: 3}  # sampling rate of the published MViTs by their clip lengths
_VIEWS = re.compile(r"(\d+) clips? x (\d+) crops?")  # of a published protocol


@dataclass(frozen=True)
class ReadyModel:
    """A model that scores clips or images.

    Attributes:
        model: with its weights, on its device.
        config: what its test would be: the keys of DATA, TEST and MODEL that say how clips are cut, seen and scored.
        label_names: in the order of its outputs; empty where nobody knows them.
        device, precision: of its arithmetic.
    """

    model: nn.Module
    config: Config
    label_names: tuple[str, ...]
    device: torch.device
    precision: str

    @property
    def images(self) -> bool:
        """It takes images."""
        return self.config.TEST.DATASET == "imagenet"


def model_of_config(config: Config) -> ReadyModel:
    """The model of a config, with the weights of its TEST.CHECKPOINT_FILE_PATH loaded as a test loads them.

    Raises:
        UserError: what the user can mend; among others, a config of boxes.
    """
    if config.TEST.DATASET == "ava":
        raise UserError(
            "the config is of boxes (TEST.DATASET is ava): say where people are with --boxes or --detector, or give the config "
            "of a model for whole clips"
        )
    if config.TEST.DATASET == "coco":
        raise UserError(
            "the config is of objects in pictures (TEST.DATASET is coco): give that of a model for clips or images"
        )
    config = single_tests(config)[-1]
    refuse_unbuilt(config)
    device = choose_device(min(config.NUM_GPUS, 1))
    model = build_model(config)
    names = load_tested(config, model, RunFolder(Path(config.OUTPUT_DIR)), World(), None, random_weights=False)
    if not names and config.TENSORBOARD.CLASS_NAMES_PATH:
        names = read_label_names(Path(config.TENSORBOARD.CLASS_NAMES_PATH))
    names = names or published_names(config.TEST.CHECKPOINT_FILE_PATH, config.MODEL.NUM_CLASSES)
    return ReadyModel(model.to(device), config, names, device, set_precision(config, device, training=False))


def config_of_checkpoint(weights: str, overrides: Sequence[str] = ()) -> Config:
    """The config that a checkpoint of run_net.py was trained by.

    Raises:
        UserError: the file holds none.
    """
    text = read_source(weights).get("cfg")
    if not isinstance(text, str):
        raise UserError(f"{weights} does not say which model it is of: give --cfg FILE.yaml or --model NAME")
    return load_config_text(text, f"the config in {weights}", overrides)


def config_to_predict(cfg: str | Path | None, weights: str | None, overrides: Sequence[str]) -> Config:
    """The config of a command's ``--cfg``, or that in its ``--weights``, set to test these weights.

    Raises:
        UserError: there are no weights, or they hold no config where none is given.
    """
    if weights is None:
        raise UserError("there are no weights: give --weights FILE, or --model NAME for published ones")
    test = ["TRAIN.ENABLE", "False", "TEST.ENABLE", "True", "TEST.CHECKPOINT_FILE_PATH", weights]
    if cfg is None:
        return config_of_checkpoint(weights, [*overrides, *test])
    return load_config(cfg, [*overrides, *test])


def model_of_name(
    name: str, weights: str | Path | None = None, *, overrides: Mapping[str, Any] | None = None
) -> ReadyModel:
    """A model of :func:`slowfast_mvit.create_model`, tested as its published weights were, on the GPU if there is one.

    Args:
        name: of the model.
        weights: a tag of published weights, a path or a URL; by default the model's own published ones.
        overrides: further arguments of create_model.

    Raises:
        UserError: no such model or weights.
    """
    _check_name(name)
    given = dict(overrides or {})
    source = "" if weights is None else str(weights)
    published = _published(name, source)
    names: tuple[str, ...] = ()
    if not source or source in tags(name):
        model = create_model(name, pretrained=source or True, **given)
    else:
        content = _averaged(read_source(source), source)
        state, _ = known_format(unwrap(content, source))
        asked: dict[str, Any] = (
            {"num_classes": count_classes(state)} | dict(published.switches if published else ()) | given
        )
        model = create_model(name, **asked)
        log_report(load_weights(model, content, strict=True, name=source))
        names = tuple(content.get("label_names", ()))
    return model_as_built(model, name=name, label_names=names, published=published, device=_best_device())


def model_as_built(
    model: nn.Module,
    *,
    name: str | None = None,
    label_names: Sequence[str] = (),
    sampling_rate: int | None = None,
    mean: Triple | None = None,
    std: Triple | None = None,
    published: Published | None = None,
    device: torch.device | None = None,
) -> ReadyModel:
    """A model that has its weights, fed as the published ones of its name are, unless it is said otherwise.

    Args:
        model: of :func:`slowfast_mvit.create_model`, on any device.
        name: of the model; by default that of the same architecture. Only baselines must be named.
        label_names: in the order of its outputs.
        sampling_rate: source frames, of 30 a second, per frame of a clip.
        mean, std: its normalisation, of RGB values from 0 to 1.
        published: the weights that it has, if they are published ones.
        device: where it is to run; by default where it is.

    Raises:
        UserError: nothing is known of how it is fed, or the names are not as many as its outputs.
    """
    if hasattr(model, "pixels_per_cell"):
        raise UserError(
            "the model scores people in boxes: tools/predict.py takes its config, with --boxes or --detector"
        )
    arch = getattr(model, "arch", None)
    name = name or (_name_of(arch) if isinstance(arch, Architecture) else None)
    if name is not None:
        _check_name(name)
    if not isinstance(arch, Architecture) and name not in BASELINES:
        raise UserError(f"a {type(model).__name__} does not say how it is fed: give its name, as slow_r50")
    if published is None and name is not None:
        published = next((entry for entry in list_weights(name) if entry.num_classes is not None), None)
    num_classes = _num_outputs(model)
    names = tuple(label_names) or (
        published_names(published.url or "", num_classes) if published and not label_names else ()
    )
    if label_names and len(names) != num_classes:
        raise UserError(f"label_names are {len(names)}, and the model has {num_classes} outputs: give a name for each")
    config = _fed_as(arch, name, published, num_classes, sampling_rate)
    normal = config.DATA.MEAN if mean is None else mean, config.DATA.STD if std is None else std
    config = replace(config, DATA=replace(config.DATA, MEAN=normal[0], STD=normal[1]))
    device = device or next(model.parameters()).device
    return ReadyModel(model.to(device), config, names, device, set_precision(config, device, training=False))


def _check_name(name: str) -> None:
    if name not in VARIANTS and name not in BASELINES:
        raise UserError(f"there is no classifier {name!r}; {closest(name, [*VARIANTS, *BASELINES])}")


def _fed_as(
    arch: object, name: str | None, published: Published | None, num_classes: int, sampling_rate: int | None
) -> Config:
    """The keys that a test of the model would have."""
    config = Config()
    if isinstance(arch, Architecture):
        *frames, height, width = arch.input_size
        model_arch = "mvit"
    else:
        baseline = BASELINES[str(name)]
        frames, height, width = [baseline.num_frames], baseline.crop_size, baseline.crop_size
        sampling_rate = sampling_rate or baseline.sampling_rate
        model_arch = str(name)
    if height != width:
        raise UserError(f"the model is made for pictures of {height}x{width}: files are seen in square crops")
    model = replace(config.MODEL, ARCH=model_arch, NUM_CLASSES=num_classes)
    mean, std = (published.mean, published.std) if published else (config.DATA.MEAN, config.DATA.STD)
    data = replace(config.DATA, TEST_CROP_SIZE=height, USE_OFFSET_SAMPLING=True, MEAN=mean, STD=std)
    if not frames:
        if published is None:
            data = replace(data, MEAN=_IMAGENET[0], STD=_IMAGENET[1])
        test = replace(config.TEST, DATASET="imagenet", BATCH_SIZE=32)
        return replace(config, MODEL=model, DATA=data, TEST=test, MVIT=replace(config.MVIT, PATCH_KERNEL=(7, 7)))
    rate = sampling_rate or _RATES.get(frames[0])
    if rate is None:
        raise UserError(f"nothing is known of a model for clips of {frames[0]} frames: give its sampling_rate")
    views = _VIEWS.match(published.protocol) if published else None
    clips, crops = map(int, views.groups()) if views else (5, 1)
    of_segments = published is not None and published.dataset.startswith("Something-Something")
    test = replace(
        config.TEST, DATASET="ssv2" if of_segments else "kinetics", NUM_ENSEMBLE_VIEWS=clips, NUM_SPATIAL_CROPS=crops
    )
    short = round(height * 256 / 224)  # the official share
    data = replace(data, NUM_FRAMES=frames[0], SAMPLING_RATE=rate, TRAIN_JITTER_SCALES=(short, short + 64))
    return replace(config, MODEL=model, DATA=data, TEST=test)


def _name_of(arch: Architecture) -> str | None:
    """The variant that an architecture is of, whatever the size of its input."""
    known = (name for name, variant in VARIANTS.items() if _plain(variant, arch) == arch)
    return next(known, None)


def _plain(variant: Architecture, arch: Architecture) -> Architecture:
    if len(variant.input_size) != len(arch.input_size):
        return variant
    return replace(variant, input_size=arch.input_size, pool_norm_eps=arch.pool_norm_eps)


def _num_outputs(model: nn.Module) -> int:
    """Width of the logits: that of the last linear layer."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UserError(f"a {type(model).__name__} has no linear layer: it is no classifier")
    return linear[-1].out_features


def _published(name: str, source: str) -> Published | None:
    """The entry of the table whose weights are meant; None for a file of one's own."""
    if not source or source in tags(name):
        return find(name, source or True)
    file = source.rsplit("/", 1)[-1]
    return next((entry for entry in list_weights(name) if entry.url and entry.url.endswith(f"/{file}")), None)


def _averaged(content: dict[str, Any], source: str) -> dict[str, Any]:
    """A checkpoint's content with the averaged weights, where it has some, in place of its last ones: as tests take them."""
    if not isinstance(content.get("ema_state"), Mapping):
        return content
    _LOG.info("taking the averaged weights of %s", source)
    return content | {"model_state": content["ema_state"]}


def _best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
