"""The plan of a backbone of detectors, against detectron2's numbers."""

from dataclasses import replace

import pytest

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.layout import Architecture, plan_blocks
from slowfast_mvit.models.levels import Level, detection_architecture, plan_levels
from slowfast_mvit.models.switches import apply_switches
from slowfast_mvit.models.variants import VARIANTS


def detector(name: str, attention: str = "hybrid_window", **options: object) -> Architecture:
    return detection_architecture(apply_switches(VARIANTS[name], attention=attention), **options)


def strides(arch: Architecture) -> list[int]:
    return [spec.pool_kv.stride[0] for spec in plan_blocks(arch) if spec.pool_kv]


KEY_STRIDES = {
    "mvitv2_t": [4, 2, 4, 1, 1, 1, 1, 2, 1, 1],
    "mvitv2_s": [4, 2, 4, *[1] * 10, 2, 1, 1],
    "mvitv2_b": [4, 4, 2, 2, 4, *[1] * 15, 2, 1, 1, 1],
    "mvitv2_l": [4, 4, *[2] * 5, 4, *[1] * 35, 2, *[1] * 4],
    "mvitv2_h": [*[4] * 4, *[2] * 7, 4, *[1] * 59, 2, *[1] * 8],
}
LAST_BLOCKS = {
    "mvitv2_t": (0, 2, 7, 9),
    "mvitv2_s": (0, 2, 13, 15),
    "mvitv2_b": (1, 4, 20, 23),
    "mvitv2_l": (1, 7, 43, 47),
    "mvitv2_h": (3, 11, 71, 79),
}


@pytest.mark.parametrize("name", KEY_STRIDES)
def test_key_strides_double_in_the_global_blocks_before_a_stage(name):
    assert strides(detector(name)) == KEY_STRIDES[name]


@pytest.mark.parametrize("name", LAST_BLOCKS)
def test_windows_are_in_all_but_the_last_blocks_of_the_last_stages(name):
    specs, ends = plan_blocks(detector(name)), LAST_BLOCKS[name]
    assert [spec.index for spec in specs if spec.window is None] == list(ends[1:])
    side = 56  # of the input grid; halves after the first block of a later stage
    for spec in specs:
        starts = spec.index - 1 in ends
        if spec.window is not None:
            q, k = spec.pool_q.stride[0], spec.pool_kv.stride[0]
            assert spec.window.q_side == side // q and spec.window.k_side == side // k
            assert (spec.window.q_shift, spec.window.k_shift) == (0, 0)
        side = side // 2 if starts else side


def test_tables_are_sized_for_224_pixels():
    rows = [spec.table_rows for spec in plan_blocks(detector("mvitv2_t"))]
    assert rows == [(r, r) for r in (111, 55, 55, 55, 27, 27, 27, 27, 27, 13)]
    # and so those of the classifier that a detector begins with
    for name in LAST_BLOCKS:
        classifier = plan_blocks(VARIANTS[name])
        assert [s.table_rows for s in plan_blocks(detector(name))] == [s.table_rows for s in classifier]


@pytest.mark.parametrize(
    ("name", "widths"), [("mvitv2_t", 96), ("mvitv2_b", 96), ("mvitv2_l_in21k", 144), ("mvitv2_h", 192)]
)
def test_levels(name, widths):
    ends = LAST_BLOCKS[name.removesuffix("_in21k")]
    assert plan_levels(detector(name)) == tuple(
        Level(f"scale{n + 2}", ends[n], widths * 2**n, 4 * 2**n) for n in range(4)
    )


def test_a_stage_that_widens_in_its_last_mlp_gives_the_wider_map():
    arch = detection_architecture(VARIANTS["mvitv1_b_16"])
    assert [level.channels for level in plan_levels(arch)] == [192, 384, 768, 768]


def test_levels_of_vit_are_quarters_of_its_blocks():
    arch = detector("vit_b_16")
    assert plan_levels(arch) == tuple(Level(f"scale{n + 2}", 3 * n + 2, 768, 16) for n in range(4))
    assert arch.window_sides == (14,) and arch.pool_kv_mul == () and not arch.cls_token
    assert [spec.index for spec in plan_blocks(arch) if spec.window is None] == [5, 8, 11]


def test_pooling_fixed_and_shifted_windows_keep_their_strides():
    usual = [4, 2, 2, 1, 1, 1, 1, 1, 1, 1]
    for attention in ("pooling", "window", "shifted_window"):
        arch = detector("mvitv2_t", attention)
        assert strides(arch) == usual
        windows = [spec.window is None for spec in plan_blocks(arch)]
        assert windows == [attention == "pooling"] * 10
    shifted = [spec.window.q_shift for spec in plan_blocks(arch)]
    assert shifted == [0, 14, 0, 7, 0, 7, 0, 7, 0, 3]


def test_pooling_by_8():
    arch = detection_architecture(apply_switches(VARIANTS["mvitv2_s"], attention="pooling", kv_stride=8))
    assert strides(arch) == [8, 4, 4, *[2] * 11, 1, 1]


def test_window_sides_of_one_s_own():
    assert detector("mvitv2_t", window_sides=(28, 14, 7, 7)).window_sides == (28, 14, 7, 7)
    assert detector("mvitv2_t", window_sides=[8]).window_sides == (8,)


def test_the_class_token_goes():
    assert not detector("mvitv2_h").cls_token


def test_what_is_no_backbone_of_detectors():
    with pytest.raises(UserError, match="detectors take images: choose a model for images"):
        detection_architecture(VARIANTS["mvitv2_s_16x4"])
    with pytest.raises(UserError, match="needs windows: set MVIT"):
        detection_architecture(VARIANTS["mvitv2_t"], window_sides=(7,))
    flat = replace(VARIANTS["mvitv2_t"], patch_stride=(4, 8))
    with pytest.raises(UserError, match=r"the cells after block 0 are \[4, 8\] pixels, and detectors need square ones"):
        plan_levels(flat)
