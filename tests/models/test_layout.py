"""The plan of every block against the published geometry."""

from dataclasses import FrozenInstanceError, replace

import pytest

from slowfast_mvit.models.layout import PoolSpec, patch_grid, plan_blocks, round_width
from slowfast_mvit.models.variants import VARIANTS, video_architecture

S, B, L = (VARIANTS[name] for name in ("mvitv2_s_16x4", "mvitv2_b_32x3", "mvitv2_l_40x3"))
L_352 = replace(L, input_size=(40, 352, 352))


def strided(size, stride):
    """Output side of a 3-wide convolution with padding 1."""
    return (size - 1) // stride + 1


def q_stride(spec):
    return spec.pool_q.stride[-1] if spec.pool_q else 1


def geometry(arch):
    """(dim, dim_out, heads, in grid, q stride, kv stride, q grid, k grid, rows) of every block, with real grids."""
    rows, side = [], patch_grid(arch)[-1]
    for spec in plan_blocks(arch):
        q, kv = q_stride(spec), spec.pool_kv.stride[-1]
        q_side, k_side = strided(side, q), strided(side, kv)
        rows.append((spec.dim, spec.dim_out, spec.num_heads, side, q, kv, q_side, k_side, spec.table_rows[-1]))
        side = q_side
    return rows


def repeated(table):
    return [row for row, times in table for _ in range(times)]


def test_video_s_block_by_block():
    assert geometry(S) == repeated(
        [
            ((96, 96, 1, 56, 1, 8, 56, 7, 111), 1),
            ((96, 192, 2, 56, 2, 4, 28, 14, 55), 1),
            ((192, 192, 2, 28, 1, 4, 28, 7, 55), 1),
            ((192, 384, 4, 28, 2, 2, 14, 14, 27), 1),
            ((384, 384, 4, 14, 1, 2, 14, 7, 27), 10),
            ((384, 768, 8, 14, 2, 1, 7, 14, 27), 1),
            ((768, 768, 8, 7, 1, 1, 7, 7, 13), 1),
        ]
    )
    assert all(
        spec.table_rows == (15, rows[-1], rows[-1]) for spec, rows in zip(plan_blocks(S), geometry(S), strict=True)
    )


def test_video_b_block_by_block():
    assert geometry(B) == repeated(
        [
            ((96, 96, 1, 56, 1, 8, 56, 7, 111), 2),
            ((96, 192, 2, 56, 2, 4, 28, 14, 55), 1),
            ((192, 192, 2, 28, 1, 4, 28, 7, 55), 2),
            ((192, 384, 4, 28, 2, 2, 14, 14, 27), 1),
            ((384, 384, 4, 14, 1, 2, 14, 7, 27), 15),
            ((384, 768, 8, 14, 2, 1, 7, 14, 27), 1),
            ((768, 768, 8, 7, 1, 1, 7, 7, 13), 2),
        ]
    )
    assert {spec.table_rows[0] for spec in plan_blocks(B)} == {31}


def test_video_l_at_352_block_by_block():
    assert geometry(L_352) == repeated(
        [
            ((144, 144, 2, 88, 1, 8, 88, 11, 175), 2),
            ((144, 288, 4, 88, 2, 4, 44, 22, 87), 1),
            ((288, 288, 4, 44, 1, 4, 44, 11, 87), 5),
            ((288, 576, 8, 44, 2, 2, 22, 22, 43), 1),
            ((576, 576, 8, 22, 1, 2, 22, 11, 43), 35),
            ((576, 1152, 16, 22, 2, 1, 11, 22, 43), 1),
            ((1152, 1152, 16, 11, 1, 1, 11, 11, 21), 3),
        ]
    )
    assert {spec.table_rows[0] for spec in plan_blocks(L_352)} == {39}


def test_video_l_at_312_stores_short_tables():
    """Grids go up when halved, planned grids go down: 37 and 17 rows are stored where 39 and 19 are needed."""
    assert geometry(L) == repeated(
        [
            ((144, 144, 2, 78, 1, 8, 78, 10, 155), 2),
            ((144, 288, 4, 78, 2, 4, 39, 20, 77), 1),
            ((288, 288, 4, 39, 1, 4, 39, 10, 77), 5),
            ((288, 576, 8, 39, 2, 2, 20, 20, 37), 1),
            ((576, 576, 8, 20, 1, 2, 20, 10, 37), 35),
            ((576, 1152, 16, 20, 2, 1, 10, 20, 37), 1),
            ((1152, 1152, 16, 10, 1, 1, 10, 10, 17), 3),
        ]
    )
    specs = plan_blocks(L)
    assert {spec.table_rows[0] for spec in specs} == {39}
    assert [specs[i].grid for i in (0, 3, 9, 45)] == [(20, 78, 78), (20, 39, 39), (20, 19, 19), (20, 9, 9)]


@pytest.mark.parametrize(("arch", "head_dim"), [(S, 96), (B, 96), (L, 72)])
def test_head_dim_is_constant(arch, head_dim):
    assert {spec.head_dim for spec in plan_blocks(arch)} == {head_dim}


def test_pools_of_video_s():
    specs = plan_blocks(S)
    assert [spec.index for spec in specs] == list(range(16))
    for spec in specs:
        halves = spec.index in (1, 3, 14)
        assert spec.pool_q == PoolSpec((3, 3, 3), (1, 2, 2) if halves else (1, 1, 1))
        assert spec.pool_skip == (PoolSpec((1, 3, 3), (1, 2, 2)) if halves else None)
        assert spec.pool_kv.kernel == (3, 3, 3) and spec.pool_kv.stride[0] == 1


def test_expansion_in_attention_widens_the_attention():
    assert all(spec.dim_att == spec.dim_out for spec in plan_blocks(S))


def test_expansion_in_mlp_widens_one_block_earlier():
    specs = plan_blocks(replace(S, expand_in_attention=False))
    assert [spec.dim for spec in specs] == [96] + [192] * 2 + [384] * 11 + [768] * 2
    assert [spec.dim_out for spec in specs] == [192] * 2 + [384] * 11 + [768] * 3
    assert all(spec.dim_att == spec.dim for spec in specs)
    assert [spec.num_heads for spec in specs] == [1] + [2] * 2 + [4] * 11 + [8] * 2
    assert {spec.head_dim for spec in specs} == {96}
    # Tables and pools stay where they are.
    assert [spec.table_rows for spec in specs] == [spec.table_rows for spec in plan_blocks(S)]
    assert [spec.pool_q for spec in specs] == [spec.pool_q for spec in plan_blocks(S)]


def test_image_s_has_finer_keys():
    arch = image(S)
    specs = plan_blocks(arch)
    sides = geometry(arch)
    assert [row[5] for row in sides] == [4] + [2] * 2 + [1] * 13
    assert [row[8] for row in sides] == [111, 55, 55, 55] + [27] * 11 + [13]  # block 3: 55, in the video model 27
    assert all(len(spec.table_rows) == len(spec.grid) == 2 for spec in specs)


def test_image_b_at_384():
    arch = replace(image(B), input_size=(384, 384))
    rows = [191] * 2 + [95] * 3 + [95] + [47] * 15 + [47] + [23] * 2
    assert [spec.table_rows for spec in plan_blocks(arch)] == [(r, r) for r in rows]


def image(arch):
    """The image model of a video variant: no time axis, keys and values pooled by 4 at first."""
    return replace(
        arch,
        input_size=arch.input_size[1:],
        patch_kernel=(7, 7),
        patch_stride=(4, 4),
        patch_padding=(3, 3),
        pool_q_stride=tuple((block, stride[1:]) for block, stride in arch.pool_q_stride),
        pool_kv_stride=(4, 4),
        pool_kernel=(3, 3),
        rel_pos_time=False,
        cls_token=False,
    )


# Single rules.


def test_tables_that_are_off_have_no_rows():
    assert plan_blocks(replace(S, rel_pos_space=False))[0].table_rows == (15, 0, 0)
    assert plan_blocks(replace(S, rel_pos_time=False))[0].table_rows == (0, 111, 111)
    assert plan_blocks(replace(S, rel_pos_space=False, rel_pos_time=False))[0].table_rows == (0, 0, 0)


def test_tables_of_a_frame_that_is_not_square():
    specs = plan_blocks(replace(S, input_size=(8, 96, 160)))
    assert [specs[i].table_rows for i in (0, 1, 3, 15)] == [(7, 47, 79), (7, 23, 39), (7, 11, 19), (7, 5, 9)]


def test_kernel_from_stride():
    specs = plan_blocks(replace(S, pool_kernel=None))
    assert specs[0].pool_q is None  # stride 1 makes kernel 1, which does nothing
    assert specs[1].pool_q == PoolSpec((1, 3, 3), (1, 2, 2))
    assert specs[0].pool_kv == PoolSpec((1, 9, 9), (1, 8, 8))
    assert specs[4].pool_kv == PoolSpec((1, 3, 3), (1, 2, 2))
    assert specs[14].pool_kv is None


def test_a_block_that_is_not_listed_pools_no_queries_and_keeps_the_running_stride():
    specs = plan_blocks(replace(S, pool_q_stride=((1, (1, 2, 2)), (3, (1, 2, 2)), (14, (1, 2, 2)))))
    assert [spec.index for spec in specs if spec.pool_q] == [1, 3, 14]
    assert [spec.pool_kv.stride for spec in specs] == [spec.pool_kv.stride for spec in plan_blocks(S)]


def test_no_key_and_value_stride_means_no_pool():
    specs = plan_blocks(replace(S, pool_kv_stride=None))
    assert all(spec.pool_kv is None for spec in specs)
    assert [specs[i].table_rows[1] for i in (0, 1, 15)] == [111, 111, 13]


def test_key_and_value_stride_never_falls_under_1():
    specs = plan_blocks(replace(S, pool_kv_stride=(1, 2, 2)))
    assert [spec.pool_kv.stride[-1] for spec in specs] == [2] + [1] * 15


def test_time_pooled_too():
    arch = replace(S, pool_q_stride=((1, (2, 2, 2)),), pool_kv_stride=(4, 8, 8))
    specs = plan_blocks(arch)
    assert [spec.grid for spec in specs[:3]] == [(8, 56, 56), (8, 56, 56), (4, 28, 28)]
    assert specs[1].pool_kv.stride == (2, 4, 4)


@pytest.mark.parametrize(
    ("width", "multiplier", "options", "expected"),
    [
        (96, 2.0, {}, 192),
        (96, 2.0, {"divisor": 4}, 192),
        (96, 0, {"divisor": 7}, 96),  # no multiplier: as it is
        (96, None, {}, 96),
        (10, 1.0, {"divisor": 8}, 16),  # 8 is more than 10 % below 10
        (17, 1.0, {"divisor": 8}, 16),  # 16 is not
        (20, 1.0, {"divisor": 8}, 24),  # a half goes up
        (19, 1.0, {"divisor": 8}, 24),  # 16 is 16 % below
        (3, 1.5, {}, 5),  # 4.5 + 0.5
        (3, 1.4, {}, 4),  # 4.2
        (1, 0.1, {}, 1),
        (4, 0.5, {"min_width": 8}, 8),
    ],
)
def test_round_width(width, multiplier, options, expected):
    result = round_width(width, multiplier, **options)
    assert result == expected and type(result) is int


def test_drop_path_grows_linearly_from_0():
    rates = [spec.drop_path for spec in plan_blocks(S, 0.3)]
    assert rates == pytest.approx([0.02 * i for i in range(16)], abs=1e-12)
    assert rates[0] == 0.0
    assert {spec.drop_path for spec in plan_blocks(S)} == {0.0}
    assert plan_blocks(replace(S, depth=1, dim_mul=(), head_mul=()), 0.3)[0].drop_path == 0.0


def test_patch_grid():
    assert patch_grid(S) == (8, 56, 56)
    assert patch_grid(L) == (20, 78, 78)
    assert patch_grid(replace(S, input_size=(8, 96, 160))) == (4, 24, 40)


def test_plans_are_frozen():
    with pytest.raises(FrozenInstanceError):
        plan_blocks(S)[0].dim = 3
    with pytest.raises(FrozenInstanceError):
        S.depth = 3


def test_extents_of_another_number_of_axes_are_refused():
    with pytest.raises(ValueError, match="zip"):
        plan_blocks(replace(S, input_size=(224, 224)))


@pytest.mark.parametrize(
    ("arch", "embed_dim", "num_heads", "depth", "starts", "size"),
    [
        (S, 96, 1, 16, (1, 3, 14), (16, 224, 224)),
        (B, 96, 1, 24, (2, 5, 21), (32, 224, 224)),
        (L, 144, 2, 48, (2, 8, 44), (40, 312, 312)),
    ],
)
def test_variants(arch, embed_dim, num_heads, depth, starts, size):
    assert (arch.embed_dim, arch.num_heads, arch.depth, arch.input_size) == (embed_dim, num_heads, depth, size)
    assert arch.dim_mul == arch.head_mul == tuple((block, 2.0) for block in starts)
    assert (arch.patch_kernel, arch.patch_stride, arch.patch_padding) == ((3, 7, 7), (2, 4, 4), (1, 3, 3))
    same = video_architecture(
        embed_dim=embed_dim,
        num_heads=num_heads,
        depth=depth,
        stage_starts=starts,
        num_frames=size[0],
        crop_size=size[1],
    )
    assert same == arch
