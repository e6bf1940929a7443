"""Names of models and the architectures behind them (paper, Table 1)."""

from collections.abc import Mapping
from types import MappingProxyType

from slowfast_mvit.models.layout import Architecture


def video_architecture(
    *, embed_dim: int, num_heads: int, depth: int, stage_starts: tuple[int, ...], num_frames: int, crop_size: int
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
    )


VARIANTS: Mapping[str, Architecture] = MappingProxyType(
    {
        "mvitv2_s_16x4": video_architecture(
            embed_dim=96, num_heads=1, depth=16, stage_starts=(1, 3, 14), num_frames=16, crop_size=224
        ),
        "mvitv2_b_32x3": video_architecture(
            embed_dim=96, num_heads=1, depth=24, stage_starts=(2, 5, 21), num_frames=32, crop_size=224
        ),
        "mvitv2_l_40x3": video_architecture(
            embed_dim=144, num_heads=2, depth=48, stage_starts=(2, 8, 44), num_frames=40, crop_size=312
        ),
    }
)
