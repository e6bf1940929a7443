"""Switches: what each one changes, and what is refused."""

from dataclasses import replace

import pytest
import torch

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.layout import plan_blocks
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.switches import ATTENTIONS, POSITIONS, SWITCHES, TERMS, apply_switches
from slowfast_mvit.models.variants import VARIANTS

S, IMAGE_S, VIT = (VARIANTS[name] for name in ("mvitv2_s_16x4", "mvitv2_s", "vit_b_16"))


def test_nothing_changes_without_switches():
    assert apply_switches(S) == S


@pytest.mark.parametrize(
    ("arch", "positions", "changes"),
    [
        (S, "none", {"rel_pos_space": False, "rel_pos_time": False}),
        (S, "absolute", {"rel_pos_space": False, "rel_pos_time": False, "abs_pos": "separable"}),
        (S, "relative_time", {"rel_pos_space": False}),
        (S, "relative_space", {"rel_pos_time": False}),
        (S, "decomposed", {}),
        (S, "absolute_and_decomposed", {"abs_pos": "separable"}),
        (S, "joint_space_plus_time", {"rel_pos_joint": "space"}),
        (S, "joint_spacetime", {"rel_pos_joint": "spacetime"}),
        (IMAGE_S, "decomposed", {}),
        (IMAGE_S, "joint_space_plus_time", {"rel_pos_joint": "space"}),
        (VIT, "absolute", {}),
        (VIT, "decomposed", {"abs_pos": "none", "rel_pos_space": True}),
        (VIT, "absolute_and_decomposed", {"rel_pos_space": True}),
    ],
)
def test_positions(arch, positions, changes):
    assert apply_switches(arch, positions=positions) == replace(arch, **changes)


@pytest.mark.parametrize(
    "switch",
    [
        {"rel_pos_terms": "qkv"},
        {"residual_pooling": False},
        {"pool_mode": "max"},
        {"expand_in_attention": False},
        {"cls_token": False},
        {"mean_pooling": True},
        {"pool_norm_eps": 1e-5},
    ],
    ids=str,
)
def test_switches_that_are_fields(switch):
    assert apply_switches(S, **switch) == replace(S, **switch)


@pytest.mark.parametrize(
    ("arch", "switches"),
    [(S, {"positions": "none"}), (S, {"positions": "absolute"}), (VARIANTS["mvitv1_b_16"], {}), (VIT, {})],
)
def test_terms_without_relative_positions(arch, switches):
    for terms in TERMS[1:]:
        with pytest.raises(
            UserError, match=rf"rel_pos_terms \(MVIT.REL_POS_TERMS\) is '{terms}', but this model has no relative"
        ):
            apply_switches(arch, rel_pos_terms=terms, **switches)
    assert apply_switches(arch, rel_pos_terms="q", **switches).rel_pos_terms == "q"
    assert apply_switches(arch, rel_pos_terms="qk", positions="relative_space").rel_pos_terms == "qk"


def test_full_query_pooling():
    strided = ((1, (1, 2, 2)), (3, (1, 2, 2)), (14, (1, 2, 2)))
    without = apply_switches(S, full_q_pooling=False)
    assert without == replace(S, pool_q_stride=strided)
    assert apply_switches(without, full_q_pooling=True) == S
    assert apply_switches(VIT, full_q_pooling=True).pool_q_stride == tuple((i, (1, 1)) for i in range(12))


def test_key_stride():
    assert apply_switches(S, kv_stride=4) == replace(S, pool_kv_stride=(1, 4, 4))
    assert apply_switches(VIT, kv_stride=2) == replace(VIT, pool_kv_stride=(2, 2), pool_kernel=(3, 3))
    assert apply_switches(VIT, attention="pooling") == replace(VIT, pool_kv_stride=(2, 2), pool_kernel=(3, 3))
    assert apply_switches(S, attention="pooling") == S
    assert all(spec.pool_kv is None for spec in plan_blocks(apply_switches(S, attention="full")))


def windows_of(arch):
    return [spec.window and (spec.window.q_side, spec.window.k_side, spec.window.q_shift) for spec in plan_blocks(arch)]


def test_windows_of_s():
    """Sides 28, 14, 7, 7 on the queries; keys cover the same part of the grid under strides 4, 2, 2, 1, 1."""
    fixed = windows_of(apply_switches(IMAGE_S, attention="window"))
    assert fixed == [(28, 7, 0), (14, 14, 0), (14, 7, 0), (7, 14, 0), *[(7, 7, 0)] * 10, (7, 14, 0), (7, 7, 0)]
    hybrid = windows_of(apply_switches(IMAGE_S, attention="hybrid_window"))
    assert [i for i, window in enumerate(hybrid) if window is None] == [2, 13, 15]
    assert [window for window in hybrid if window] == [fixed[i] for i in range(16) if i not in (2, 13, 15)]
    shifted = windows_of(apply_switches(IMAGE_S, attention="shifted_window"))
    # Half a window, in steps that the strides of queries and of keys both take: 7 of 14, 3 of 7; in block 3 and 14 even ones.
    assert [window[2] for window in shifted] == [0, 7, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3]


def test_shifts_of_queries_and_keys_cover_the_same_distance():
    for spec in plan_blocks(apply_switches(IMAGE_S, attention="shifted_window")):
        q, k = (pool.stride[0] for pool in (spec.pool_q, spec.pool_kv))
        assert spec.window.q_shift * q == spec.window.k_shift * k


def test_windows_of_vit():
    vit = apply_switches(VIT, cls_token=False, attention="hybrid_window")
    assert [i for i, window in enumerate(windows_of(vit)) if window is None] == [5, 8, 11]
    assert windows_of(vit)[0] == (7, 7, 0)


def test_tables_fit_the_windows():
    rows = [spec.table_rows for spec in plan_blocks(apply_switches(IMAGE_S, attention="hybrid_window"))]
    assert rows[:4] == [(55, 55), (27, 27), (55, 55), (27, 27)]  # block 2 is global: a grid of 28


def test_windows_of_video_by_default():
    assert windows_of(apply_switches(S, cls_token=False, attention="window"))[:4] == [
        (56, 7, 0), (28, 14, 0), (28, 7, 0), (14, 14, 0)
    ]  # fmt: skip


def test_tables_fit_a_grid_that_is_smaller_than_the_window():
    small = replace(IMAGE_S, input_size=(64, 96))  # a grid of 16 x 24
    assert plan_blocks(apply_switches(small, attention="window"))[0].table_rows == (31, 47)


def test_detection_windows_at_224_keep_the_tables_of_the_classifier():
    local = apply_switches(IMAGE_S, attention="hybrid_window", window_sides=(56, 28, 14, 7))
    assert [s.table_rows for s in plan_blocks(local)] == [s.table_rows for s in plan_blocks(IMAGE_S)]


@pytest.mark.parametrize(
    ("arch", "switches", "message"),
    [
        (S, {"atention": "full"}, "there is no switch 'atention'; did you mean attention?"),
        (S, {"attention": "swin"}, "attention is 'swin'; it must be one of pooling, window, shifted_window, "),
        (S, {"positions": "joint"}, "positions is 'joint'; it must be one of none, absolute, "),
        (S, {"rel_pos_terms": "kq"}, "rel_pos_terms is 'kq'; it must be one of q, k, qk, v, qv, qkv"),
        (S, {"pool_mode": "min"}, "pool_mode is 'min'; it must be one of conv, avg, max"),
        (S, {"cls_token": 1}, "cls_token is 1; it must be True or False"),
        (S, {"kv_stride": 0}, "kv_stride is 0; it must be a stride from 1 on"),
        (S, {"pool_norm_eps": 0}, "pool_norm_eps is 0; it must be a number above 0"),
        (S, {"window_sides": 7}, "window_sides needs attention=window, shifted_window or hybrid_window"),
        (S, {"attention": "window", "window_sides": ()}, "window_sides is (); it must be a side in tokens, or one per"),
        (S, {"attention": "full", "kv_stride": 2}, "attention 'full' does not pool keys: leave kv_stride out"),
        (IMAGE_S, {"positions": "relative_time"}, "positions is 'relative_time', but images have no time axis"),
        (IMAGE_S, {"positions": "joint_spacetime"}, "images have no time axis; for a joint table use joint_space_plus"),
    ],
)
def test_what_is_refused(arch, switches, message):
    with pytest.raises(UserError) as caught:
        apply_switches(arch, **switches)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"attention": "window"}, "local attention has no place for a class token: set cls_token"),
        (
            {"attention": "window", "cls_token": False, "window_sides": (28, 14)},
            "window_sides (MVIT.WINDOW_SIDES) [28, 14] must have one side per stage, 4, or a single one",
        ),
        (
            {"attention": "window", "cls_token": False, "window_sides": 7},
            "block 0: a window of 7 queries covers 7 input tokens, which the key stride 8 must divide",
        ),
    ],
)
def test_windows_that_do_not_fit_are_refused(switches, message):
    with pytest.raises(UserError) as caught:
        plan_blocks(apply_switches(S, **switches))
    assert message in str(caught.value)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("positions", POSITIONS)
def test_every_combination_builds(attention, positions):
    arch = apply_switches(S, attention=attention, positions=positions, cls_token=False)
    with torch.device("meta"):
        MViT(arch, 5)


def test_the_terms_are_all_there():
    assert SWITCHES["rel_pos_terms"] == TERMS and len(TERMS) == 6
