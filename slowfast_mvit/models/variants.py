"""Names of models and the architectures behind them (paper, Table 1; MViTv1: arXiv 2104.11227, Table 3)."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from types import MappingProxyType

from slowfast_mvit.models.layout import Architecture, Axes

VIDEO_CLASSES, IMAGE_CLASSES, IN21K_CLASSES = 400, 1000, 19168
AVA_CLASSES = 80  # of boxes

# Width and heads of the first block, depth, and the first blocks of stages 2, 3 and 4, counted from 0.
_SIZES: Mapping[str, tuple[int, int, int, Axes]] = MappingProxyType(
    {
        "t": (96, 1, 10, (1, 3, 8)),
        "s": (96, 1, 16, (1, 3, 14)),
        "b": (96, 1, 24, (2, 5, 21)),
        "l": (144, 2, 48, (2, 8, 44)),
        "h": (192, 3, 80, (4, 12, 72)),
    }
)


def video_architecture(
    *,
    embed_dim: int,
    num_heads: int,
    depth: int,
    stage_starts: Axes,
    num_frames: int,
    crop_size: int,
    expand_in_attention: bool = True,
) -> Architecture:
    """An MViTv2 for video; ``stage_starts`` are the first blocks of stages 2, 3 and 4, counted from 0."""
    doubling = tuple((block, 2.0) for block in stage_starts)
    return Architecture(
        input_size=(num_frames, crop_size, crop_size),
        patch_kernel=(3, 7, 7),
        patch_stride=(2, 4, 4),
        patch_padding=(1, 3, 3),
        embed_dim=embed_dim,
        num_heads=num_heads,
        depth=depth,
        dim_mul=doubling,
        head_mul=doubling,
        pool_q_stride=tuple((i, (1, 2, 2) if i in stage_starts else (1, 1, 1)) for i in range(depth)),
        pool_kv_stride=(1, 8, 8),
        pool_kernel=(3, 3, 3),
        expand_in_attention=expand_in_attention,
    )


def image_architecture(
    *,
    embed_dim: int,
    num_heads: int,
    depth: int,
    stage_starts: Axes,
    crop_size: int = 224,
    expand_in_attention: bool = True,
    cls_token: bool = False,
) -> Architecture:
    """An MViTv2 for images: the same blocks on two axes, keys and values pooled by half as much."""
    doubling = tuple((block, 2.0) for block in stage_starts)
    return Architecture(
        input_size=(crop_size, crop_size),
        patch_kernel=(7, 7),
        patch_stride=(4, 4),
        patch_padding=(3, 3),
        embed_dim=embed_dim,
        num_heads=num_heads,
        depth=depth,
        dim_mul=doubling,
        head_mul=doubling,
        pool_q_stride=tuple((i, (2, 2) if i in stage_starts else (1, 1)) for i in range(depth)),
        pool_kv_stride=(4, 4),
        pool_kernel=(3, 3),
        rel_pos_time=False,
        expand_in_attention=expand_in_attention,
        cls_token=cls_token,
    )


def _video(size: str, num_frames: int, crop_size: int) -> Architecture:
    embed_dim, num_heads, depth, stage_starts = _SIZES[size]
    return video_architecture(
        embed_dim=embed_dim,
        num_heads=num_heads,
        depth=depth,
        stage_starts=stage_starts,
        num_frames=num_frames,
        crop_size=crop_size,
    )


def _image(size: str, *, cls_token: bool = False, expand_in_attention: bool = True) -> Architecture:
    embed_dim, num_heads, depth, stage_starts = _SIZES[size]
    return image_architecture(
        embed_dim=embed_dim,
        num_heads=num_heads,
        depth=depth,
        stage_starts=stage_starts,
        cls_token=cls_token,
        expand_in_attention=expand_in_attention,
    )


def _version_1(arch: Architecture) -> Architecture:
    """The MViTv1 of the same sizes: absolute positions, queries pooled where a stage begins and nowhere else, widening in the
    MLP before, a class token. Its B-16 has the sizes of MViTv2-S, its B-24 those of MViTv2-B."""
    return replace(
        arch,
        pool_q_stride=strided_only(arch.pool_q_stride),
        abs_pos="separable",
        rel_pos_space=False,
        rel_pos_time=False,
        residual_pooling=False,
        expand_in_attention=False,
        cls_token=True,
    )


def strided_only(pool_q_stride: tuple[tuple[int, Axes], ...]) -> tuple[tuple[int, Axes], ...]:
    """Query pools without those of stride 1."""
    return tuple((block, stride) for block, stride in pool_q_stride if prod(stride) > 1)


VIT_B = Architecture(
    input_size=(224, 224),
    patch_kernel=(16, 16),
    patch_stride=(16, 16),
    patch_padding=(0, 0),
    embed_dim=768,
    num_heads=12,
    depth=12,
    abs_pos="joint",
    rel_pos_space=False,
    rel_pos_time=False,
    residual_pooling=False,
)

VARIANTS: Mapping[str, Architecture] = MappingProxyType(
    {
        "mvitv2_s_16x4": _video("s", 16, 224),
        "mvitv2_b_32x3": _video("b", 32, 224),
        "mvitv2_l_40x3": _video("l", 40, 312),
        "mvitv2_t": _image("t"),
        "mvitv2_s": _image("s"),
        "mvitv2_b": _image("b"),
        "mvitv2_l": _image("l", expand_in_attention=False),  # the released file; the paper's 42.1 G are the other form
        "mvitv2_h": _image("h", cls_token=True),
        "mvitv2_b_in21k": _image("b", cls_token=True),
        "mvitv2_l_in21k": _image("l", cls_token=True),
        "mvitv2_h_in21k": _image("h", cls_token=True),
        "mvitv1_b_16x4": _version_1(_video("s", 16, 224)),
        "mvitv1_b_32x3": _version_1(_video("s", 32, 224)),
        "mvitv1_b_24_32x3": _version_1(_video("b", 32, 224)),
        "mvitv1_b_16": _version_1(_image("s")),
        "mvitv1_b_24": _version_1(_image("b")),
        "vit_b_16": VIT_B,
    }
)


def default_classes(name: str) -> int:
    """Classes that a model of this name has unless told otherwise: Kinetics-400, ImageNet-1K, or ImageNet-21K + 1K."""
    if name.endswith("_in21k"):
        return IN21K_CLASSES
    return VIDEO_CLASSES if len(VARIANTS[name].input_size) == 3 else IMAGE_CLASSES
