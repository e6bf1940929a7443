"""The paper's other attentions against the plainest formula, and their sizes against Table A.6."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from slowfast_mvit.models.ablations import PairwiseAttention, attention_of, pair_index
from slowfast_mvit.models.attention import PoolingAttention
from slowfast_mvit.models.layout import plan_blocks
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.variants import VARIANTS
from tests.models import reference_ablations
from tests.models.small import IMAGE, VIDEO, assert_same_gradients, leaves, randomize

LOCAL = replace(IMAGE, windows="fixed", window_sides=(8, 4, 2))
LOCAL_VIDEO = replace(VIDEO, cls_token=False, windows="fixed", window_sides=(8, 4, 2))
CASES = {
    "joint in space": replace(IMAGE, rel_pos_joint="space"),
    "joint in space, a term on keys": replace(IMAGE, rel_pos_joint="space", rel_pos_terms="qk", cls_token=True),
    "joint in space, plus time": replace(VIDEO, rel_pos_joint="space"),
    "joint in space and time": replace(VIDEO, rel_pos_joint="spacetime"),
    "terms on keys": replace(IMAGE, rel_pos_terms="k", cls_token=True),
    "terms on queries and keys": replace(VIDEO, rel_pos_terms="qk"),
    "terms on values": replace(IMAGE, rel_pos_terms="v"),
    "terms on queries and values": replace(VIDEO, rel_pos_terms="qv"),
    "terms on all": replace(VIDEO, rel_pos_terms="qkv", cls_token=False),
    "average pools": replace(VIDEO, pool_mode="avg"),
    "max pools": replace(IMAGE, pool_mode="max"),
    "windows": LOCAL,
    "windows over frames": LOCAL_VIDEO,
    "shifted windows": replace(LOCAL, windows="shifted"),
    "shifted windows over frames": replace(LOCAL_VIDEO, windows="shifted"),
    "shifted windows, a joint table": replace(LOCAL, windows="shifted", rel_pos_joint="space"),
    "windows, average pools": replace(LOCAL, pool_mode="avg"),
}
GRIDS = {3: [(2, 8, 8), (2, 9, 5), (1, 3, 2)], 2: [(16, 8), (9, 17), (3, 2)]}


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_plain_formula(name, index, which):
    arch = CASES[name]
    spec, grid = plan_blocks(arch)[index], GRIDS[len(arch.input_size)][which]
    attention = attention_of(spec, arch)
    randomize(attention)
    num_tokens = int(arch.cls_token) + torch.Size(grid).numel()
    x = torch.randn(2, num_tokens, spec.dim, generator=torch.Generator().manual_seed(1)).requires_grad_()
    norm, state = nn.LayerNorm(spec.dim, eps=1e-6), leaves(attention)
    actual, actual_grid, _ = attention(x, grid, norm)
    expected, expected_grid = reference_ablations.attention(norm(x), grid, state, spec=spec, arch=arch)
    assert actual_grid == expected_grid
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():  # where a row of windows is done at a time
        torch.testing.assert_close(attention(x, grid, norm)[0], expected, rtol=1e-5, atol=1e-5)
    assert_same_gradients(attention, actual, expected, x, state)


def test_the_plain_formula_also_agrees_on_what_the_fast_path_does():
    """So the pairwise formula and the decomposed one are the same thing written twice."""
    for arch in (VIDEO, IMAGE):
        spec = plan_blocks(arch)[1]
        fast, plain = PoolingAttention(spec, arch), PairwiseAttention(spec, arch)
        randomize(fast)
        plain.load_state_dict(fast.state_dict(), strict=True)
        grid = GRIDS[len(arch.input_size)][1]
        x = torch.randn(2, int(arch.cls_token) + torch.Size(grid).numel(), spec.dim)
        norm = nn.LayerNorm(spec.dim)
        torch.testing.assert_close(fast(x, grid, norm)[0], plain(x, grid, norm)[0], rtol=1e-5, atol=1e-5)


def test_the_fast_attention_is_used_where_it_can_be():
    assert type(attention_of(plan_blocks(VIDEO)[0], VIDEO)) is PoolingAttention
    assert type(attention_of(plan_blocks(LOCAL)[0], LOCAL)) is PoolingAttention
    joint = CASES["joint in space"]
    assert type(attention_of(plan_blocks(joint)[0], joint)) is PairwiseAttention


def test_names_of_tables():
    arch = replace(VIDEO, rel_pos_joint="space", rel_pos_terms="qv")
    attention = attention_of(plan_blocks(arch)[1], arch)
    tables = {name: tuple(p.shape) for name, p in attention.named_parameters() if "rel_pos" in name}
    # 16 -> 8 queries, keys 16 / 2 = 8 along height and width; 4 frames.
    assert tables == {
        "rel_pos_t": (7, 8),
        "rel_pos_hw": (15 * 15, 8),
        "rel_pos_v_t": (7, 8),
        "rel_pos_v_hw": (225, 8),
    }


def test_pair_index_by_hand():
    # Two by one queries and keys: height distances 0..2 with 1 in the middle; width has a single distance.
    assert pair_index((0, 1), (2, 1), (2, 1)).tolist() == [[1, 0], [2, 1]]
    # One axis of two: the width is free.
    assert pair_index((0,), (2, 2), (2, 2)).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [2, 2, 1, 1], [2, 2, 1, 1]]
    # 3 distances along the width, so a row of height counts 3.
    assert pair_index((0, 1), (1, 2), (1, 2)).tolist() == [[1, 0], [2, 1]]
    assert pair_index((0, 1), (2, 2), (2, 2))[3].tolist() == [8, 7, 5, 4]


S = VARIANTS["mvitv2_s_16x4"]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        pytest.param({"rel_pos_space": False, "rel_pos_time": False}, 34_407_568, id="(1) none"),
        pytest.param(
            {"rel_pos_space": False, "rel_pos_time": False, "abs_pos": "separable"}, 34_709_488, id="(2) absolute"
        ),
        pytest.param({"rel_pos_space": False}, 34_430_608, id="(3) time"),
        pytest.param({"rel_pos_time": False}, 34_514_704, id="(4) space"),
        pytest.param({}, 34_537_744, id="(5) decomposed"),
        pytest.param({"rel_pos_joint": "space"}, 37_050_256, id="(6) joint space + time"),
        pytest.param({"rel_pos_joint": "spacetime"}, 73_702_288, id="(7) joint space-time"),
    ],
)
def test_parameters_of_table_a6(changes, count):
    with torch.device("meta"):
        model = MViT(replace(S, **changes), 400)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("name", CASES)
def test_a_whole_model_trains(name):
    model = MViT(CASES[name], 3)
    size = (4, 36, 28) if len(CASES[name].input_size) == 3 else (36, 28)
    model(torch.randn(2, 3, *size)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    # In the last block only the class token is read, where there is one, and it has no position.
    meets = {n: p for n, p in model.named_parameters() if "rel_pos" in n}
    if CASES[name].cls_token:
        meets = {n: p for n, p in meets.items() if not n.startswith("blocks.3.")}
    assert all((p.grad != 0).any() for p in meets.values())
