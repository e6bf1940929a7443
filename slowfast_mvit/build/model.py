"""Models by name, and models by config."""

import difflib
from dataclasses import replace

from torch import nn

from slowfast_mvit.config.schema import Config
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.variants import VARIANTS, default_classes


def list_models() -> list[str]:
    """Names that :func:`create_model` knows."""
    return sorted(VARIANTS)


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    num_frames: int | None = None,
    crop_size: int | tuple[int, int] | None = None,
    in_channels: int = 3,
    drop_path_rate: float | None = None,
    dropout_rate: float | None = None,
) -> nn.Module:
    """A model with fresh weights.

    It maps video [B, in_channels, T, H, W] (names with a clip length, as in ``mvitv2_s_16x4``) or images
    [B, in_channels, H, W] (names without), float and normalised, to logits [B, num_classes].

    Args:
        name: one of :func:`list_models`.
        num_classes: width of the logits; by default 400 for video, 1000 for images, 19168 for ImageNet-21K.
        num_frames, crop_size: clip length (video only), and side (or height and width) in pixels, that the position tables are
            made for; the variant's own by default. Other sizes run too, by interpolation.
        in_channels: channels of the input.
        drop_path_rate, dropout_rate: regularisation in training; none by default.

    Raises:
        UserError: an unknown name, or a number that the model cannot take.
    """
    if name not in VARIANTS:
        close = difflib.get_close_matches(name, VARIANTS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(list_models())}"
        raise UserError(f"there is no model {name!r}; {hint}")
    arch = VARIANTS[name]
    *frames, height, width = arch.input_size
    if num_frames is not None:
        if not frames:
            raise UserError(f"{name} is a model for images; it takes no num_frames")
        frames = [num_frames]
    if crop_size is not None:
        height, width = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
    arch = replace(arch, input_size=(*frames, height, width))
    axes = ("num_frames", "height", "width")[-len(arch.input_size) :]
    for axis, size, stride in zip(axes, arch.input_size, arch.patch_stride, strict=True):
        if size < stride or size % stride:
            raise UserError(f"{axis} is {size}; it must be a positive multiple of the stem's stride {stride}")
    if num_classes is not None and num_classes < 1:
        raise UserError(f"num_classes is {num_classes}; it must be at least 1")
    return MViT(
        arch,
        default_classes(name) if num_classes is None else num_classes,
        in_channels=in_channels,
        drop_path_rate=drop_path_rate or 0.0,
        dropout_rate=dropout_rate or 0.0,
    )


def build_model(config: Config) -> nn.Module:
    """The model that a config describes, with fresh weights, on the CPU.

    Raises:
        UserError: the config asks for a model that this version cannot build.
    """
    if config.MODEL.ARCH != "mvit":
        raise UserError(f"MODEL.ARCH is {config.MODEL.ARCH!r}; this version builds mvit only")
    return MViT(
        architecture(config),
        config.MODEL.NUM_CLASSES,
        drop_path_rate=config.MVIT.DROPPATH_RATE,
        dropout_rate=config.MODEL.DROPOUT_RATE,
        init=config.MVIT.INIT,
        head_init_scale=config.MVIT.HEAD_INIT_SCALE,
        checkpoint_activations=config.MODEL.ACT_CHECKPOINT,
    )


def architecture(config: Config) -> Architecture:
    """The architecture's numbers under the config's keys."""
    mvit = config.MVIT
    unbuilt = {
        "MVIT.PATCH_2D": mvit.PATCH_2D,
        "MVIT.USE_ABS_POS": mvit.USE_ABS_POS,
        "MVIT.MODE": mvit.MODE != "conv",
        "MVIT.POOL_KV_STRIDE": bool(mvit.POOL_KV_STRIDE) and mvit.POOL_KV_STRIDE_ADAPTIVE is None,
        "MVIT.DROPOUT_RATE": mvit.DROPOUT_RATE > 0,
    }
    refused = [name for name, on in unbuilt.items() if on]
    if refused:
        raise UserError(
            f"this version builds MViTv2 for video only; it has no {', '.join(refused)} as set "
            "(an MViTv2 recipe has USE_ABS_POS False, MODE conv, POOL_KV_STRIDE_ADAPTIVE and DROPOUT_RATE 0)"
        )
    return Architecture(
        input_size=(config.DATA.NUM_FRAMES, config.DATA.TRAIN_CROP_SIZE, config.DATA.TRAIN_CROP_SIZE),
        patch_kernel=mvit.PATCH_KERNEL,
        patch_stride=mvit.PATCH_STRIDE,
        patch_padding=mvit.PATCH_PADDING,
        embed_dim=mvit.EMBED_DIM,
        num_heads=mvit.NUM_HEADS,
        depth=mvit.DEPTH,
        dim_mul=mvit.DIM_MUL,
        head_mul=mvit.HEAD_MUL,
        pool_q_stride=tuple((block, tuple(stride)) for block, *stride in mvit.POOL_Q_STRIDE),
        pool_kv_stride=mvit.POOL_KV_STRIDE_ADAPTIVE,
        pool_kernel=mvit.POOL_KVQ_KERNEL,
        mlp_ratio=mvit.MLP_RATIO,
        expand_in_attention=mvit.DIM_MUL_IN_ATT,
        rel_pos_space=mvit.REL_POS_SPATIAL,
        rel_pos_time=mvit.REL_POS_TEMPORAL,
        rel_pos_zero_init=mvit.REL_POS_ZERO_INIT,
        residual_pooling=mvit.RESIDUAL_POOLING,
        cls_token=mvit.CLS_EMBED_ON,
        mean_pooling=mvit.USE_MEAN_POOLING,
        qkv_bias=mvit.QKV_BIAS,
    )
