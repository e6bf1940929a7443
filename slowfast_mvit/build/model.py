"""Models by name, and models by config."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from slowfast_mvit.build.arguments import check_arguments
from slowfast_mvit.build.detector import build_detector, create_detector
from slowfast_mvit.build.pretrained import create_pretrained
from slowfast_mvit.config.schema import Config
from slowfast_mvit.config.schema_model import DETECTOR_ARCHS
from slowfast_mvit.errors import UserError, closest
from slowfast_mvit.models.action import ActionMViT
from slowfast_mvit.models.baselines import BASELINES, create_baseline, create_box_baseline
from slowfast_mvit.models.detectors import DETECTORS
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.switches import apply_switches
from slowfast_mvit.models.variants import AVA_CLASSES, VARIANTS, default_classes


def list_models(pattern: str = "*") -> list[str]:
    """Names that :func:`create_model` knows, or those that fit a pattern as for files: ``mvitv2*``."""
    return sorted(fnmatch.filter([*VARIANTS, *BASELINES, *DETECTORS], pattern))


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    num_frames: int | None = None,
    crop_size: int | tuple[int, int] | None = None,
    in_channels: int = 3,
    drop_path_rate: float | None = None,
    dropout_rate: float | None = None,
    boxes: bool | None = None,
    pretrained: bool | str | Path | None = None,
    **switches: Any,
) -> nn.Module:
    """A model, with fresh weights or with published ones.

    It maps video [B, in_channels, T, H, W] (names with a clip length, as in ``mvitv2_s_16x4``) or images
    [B, in_channels, H, W] (names without), float and normalised, to logits [B, num_classes]. PyTorchVideo's baselines
    (``slowfast_r50`` ...) take video too; see :func:`slowfast_mvit.models.baselines.create_baseline`. Detectors
    (``mask_rcnn_mvitv2_t``, ``cascade_mask_rcnn_mvitv2_t`` ...) find objects in images of any size; see
    :class:`slowfast_mvit.models.rcnn.Detector`.

    Args:
        name: one of :func:`list_models`.
        num_classes: width of the logits; by default that of the weights, or 400 for video, 1000 for images, 19168 for
            ImageNet-21K, 80 for detectors (without the background). Where it is not that of the weights, the head starts fresh.
        num_frames, crop_size: clip length (video only), and side (or height and width) in pixels, that the position tables are
            made for; the variant's own by default. Other sizes run too, by interpolation.
        in_channels: channels of the input.
        drop_path_rate, dropout_rate: regularisation in training; none by default.
        boxes: score people in boxes instead of whole clips, as for AVA: the model takes boxes [R, 5] beside the video (the
            clip's row in the batch, then x1, y1, x2, y2 in pixels of the video) and gives logits [R, num_classes], with 80
            classes by default. MViTs for video, slow_r50 and slowfast_r50 do that; weights of the model for clips load.
        pretrained: weights to start from: True for the model's own published ones, a tag of
            :func:`slowfast_mvit.list_weights` (``"ssv2"``), the path of a file, or a URL; see
            :func:`slowfast_mvit.build.pretrained.create_pretrained`. None or False for fresh ones.
        **switches: the paper's ablations, as in ``positions="absolute"``; see
            :func:`slowfast_mvit.models.switches.apply_switches`.

    Raises:
        UserError: an unknown name or switch, a value that the model cannot take, or weights that are not to be had.
    """
    if name not in VARIANTS and name not in BASELINES and name not in DETECTORS:
        raise UserError(f"there is no model {name!r}; {closest(name, list_models())}")
    arguments = {
        "num_classes": num_classes,
        "num_frames": num_frames,
        "crop_size": crop_size,
        "in_channels": in_channels,
        "drop_path_rate": drop_path_rate,
        "dropout_rate": dropout_rate,
        "boxes": boxes,
    }
    check_arguments(arguments, switches)
    if pretrained is not None and pretrained is not False:
        return create_pretrained(create_model, name, pretrained, {**arguments, **switches})
    if name in BASELINES:
        _refuse_for_baseline(name, {"drop_path_rate": drop_path_rate, **switches})
        numbers: dict[str, Any] = {"num_frames": num_frames, "crop_size": crop_size, "in_channels": in_channels}
        if boxes:
            classes = AVA_CLASSES if num_classes is None else num_classes
            return create_box_baseline(name, num_classes=classes, dropout_rate=dropout_rate or 0.0, **numbers)
        return create_baseline(name, num_classes=num_classes, dropout_rate=dropout_rate or 0.0, **numbers)
    if name in DETECTORS:
        return create_detector(name, _sized(name, None, crop_size), {**arguments, "in_channels": in_channels}, switches)
    arch = apply_switches(_sized(name, num_frames, crop_size), **switches)
    if num_classes is None:
        num_classes = AVA_CLASSES if boxes else default_classes(name)
    return (ActionMViT if boxes else MViT)(
        arch,
        num_classes,
        in_channels=in_channels,
        drop_path_rate=drop_path_rate or 0.0,
        dropout_rate=dropout_rate or 0.0,
    )


def _refuse_for_baseline(name: str, asked: Mapping[str, object]) -> None:
    """Raise UserError naming the settings of MViT, by keyword, that are not None."""
    given = [keyword for keyword, value in asked.items() if value is not None]
    if given:
        raise UserError(f"{name} is PyTorchVideo's network, which has no {', '.join(given)}: leave it out")


def _sized(name: str, num_frames: int | None, crop_size: int | tuple[int, int] | None) -> Architecture:
    """The architecture of a name, for another clip length and crop size."""
    arch = DETECTORS[name].arch if name in DETECTORS else VARIANTS[name]
    *frames, height, width = arch.input_size
    if num_frames is not None:
        if not frames:
            raise UserError(f"{name} is a model for images; it takes no num_frames")
        frames = [int(num_frames)]
    if crop_size is not None:
        height, width = map(int, crop_size if isinstance(crop_size, tuple) else (crop_size, crop_size))
    arch = replace(arch, input_size=(*frames, height, width))
    axes = ("num_frames", "height", "width")[-len(arch.input_size) :]
    for axis, size, stride in zip(axes, arch.input_size, arch.patch_stride, strict=True):
        if size < stride or size % stride:
            raise UserError(f"{axis} is {size}; it must be a positive multiple of the stem's stride {stride}")
    return arch


def build_model(config: Config) -> nn.Module:
    """The model that a config describes, with fresh weights, on the CPU.

    Raises:
        UserError: the config asks for a model that this version cannot build.
    """
    if not isinstance(config, Config):
        raise UserError(f"build_model takes a config, as of load_config(path), and not a {type(config).__name__}")
    if config.MODEL.ARCH in DETECTOR_ARCHS:
        return build_detector(config, architecture(config))
    boxes, of_boxes = config.DETECTION.ENABLE, _box_options(config)
    if config.MODEL.ARCH in BASELINES:
        baseline = (create_box_baseline if boxes else create_baseline)(
            config.MODEL.ARCH,
            num_classes=config.MODEL.NUM_CLASSES,
            num_frames=config.DATA.NUM_FRAMES,
            crop_size=config.DATA.TRAIN_CROP_SIZE,
            dropout_rate=config.MODEL.DROPOUT_RATE,
            **of_boxes,
        )
        return _of_that_scale(config, baseline)
    mvit = (ActionMViT if boxes else MViT)(
        architecture(config),
        config.MODEL.NUM_CLASSES,
        drop_path_rate=config.MVIT.DROPPATH_RATE,
        dropout_rate=config.MODEL.DROPOUT_RATE,
        init=config.MVIT.INIT,
        head_init_scale=config.MVIT.HEAD_INIT_SCALE,
        checkpoint_activations=config.MODEL.ACT_CHECKPOINT,
        **of_boxes,
    )
    return _of_that_scale(config, mvit)


def _box_options(config: Config) -> dict[str, Any]:
    """How the model takes boxes; nothing where it takes none."""
    detection = config.DETECTION
    return {"resolution": detection.ROI_XFORM_RESOLUTION, "aligned": detection.ALIGNED} if detection.ENABLE else {}


def _of_that_scale(config: Config, model: nn.Module) -> nn.Module:
    """The model, if its cells are as DETECTION.SPATIAL_SCALE_FACTOR says: at another scale boxes fall beside their people."""
    asked, has = config.DETECTION.SPATIAL_SCALE_FACTOR, getattr(model, "pixels_per_cell", 0)
    if config.DETECTION.ENABLE and asked not in (0, has):
        raise UserError(
            f"DETECTION.SPATIAL_SCALE_FACTOR is {asked}, but a cell of the last feature map of {config.MODEL.ARCH} is {has} "
            f"pixels wide, the product of its strides, and boxes would be looked for in the wrong place: set it to {has}, or "
            "to 0, which means that"
        )
    return model


def architecture(config: Config) -> Architecture:
    """The architecture's numbers under the config's keys."""
    mvit, data = config.MVIT, config.DATA
    if mvit.DROPOUT_RATE > 0:
        raise UserError(
            f"MVIT.DROPOUT_RATE is {mvit.DROPOUT_RATE}, but blocks have no dropout here, as in every released model: "
            "set it to 0 and use MVIT.DROPPATH_RATE"
        )
    num_axes = len(mvit.PATCH_KERNEL)

    def of_axes(numbers: Sequence[int]) -> tuple[int, ...]:
        """Numbers for (time, height, width) or (height, width) as the model has them; images have no time."""
        return tuple(numbers)[-num_axes:]

    arch = Architecture(
        input_size=of_axes((data.NUM_FRAMES, data.TRAIN_CROP_SIZE, data.TRAIN_CROP_SIZE)),
        patch_kernel=mvit.PATCH_KERNEL,
        patch_stride=mvit.PATCH_STRIDE,
        patch_padding=mvit.PATCH_PADDING,
        embed_dim=mvit.EMBED_DIM,
        num_heads=mvit.NUM_HEADS,
        depth=mvit.DEPTH,
        dim_mul=mvit.DIM_MUL,
        head_mul=mvit.HEAD_MUL,
        pool_q_stride=tuple((block, of_axes(stride)) for block, *stride in mvit.POOL_Q_STRIDE),
        pool_kv_stride=None if mvit.POOL_KV_STRIDE_ADAPTIVE is None else of_axes(mvit.POOL_KV_STRIDE_ADAPTIVE),
        # As in PySlowFast, the adaptive stride goes before those spelt out.
        pool_kv_strides=tuple((block, of_axes(stride)) for block, *stride in mvit.POOL_KV_STRIDE)
        if mvit.POOL_KV_STRIDE_ADAPTIVE is None
        else (),
        pool_kernel=None if mvit.POOL_KVQ_KERNEL is None else of_axes(mvit.POOL_KVQ_KERNEL),
        pool_mode=mvit.MODE,
        pool_norm_eps=mvit.POOL_NORM_EPS,
        mlp_ratio=mvit.MLP_RATIO,
        expand_in_attention=mvit.DIM_MUL_IN_ATT,
        abs_pos=("separable" if mvit.SEP_POS_EMBED else "joint") if mvit.USE_ABS_POS else "none",
        rel_pos_space=mvit.REL_POS_SPATIAL,
        rel_pos_time=mvit.REL_POS_TEMPORAL,
        rel_pos_zero_init=mvit.REL_POS_ZERO_INIT,
        residual_pooling=mvit.RESIDUAL_POOLING,
        cls_token=mvit.CLS_EMBED_ON,
        mean_pooling=mvit.USE_MEAN_POOLING,
        qkv_bias=mvit.QKV_BIAS,
    )
    switches: dict[str, Any] = {"rel_pos_terms": mvit.REL_POS_TERMS}
    if mvit.POSITIONS:
        switches["positions"] = mvit.POSITIONS
    if mvit.ATTENTION != "pooling":  # which is what the strides say
        switches["attention"] = mvit.ATTENTION
    if mvit.WINDOW_SIDES:
        switches["window_sides"] = mvit.WINDOW_SIDES
    return apply_switches(arch, **switches)
