"""Pooling attention against the plain formula, and by hand where the formula is small enough."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from slowfast_mvit.models.attention import PoolingAttention, attend
from slowfast_mvit.models.layout import BlockSpec, PoolSpec, plan_blocks
from tests.models import reference
from tests.models.small import CASES, IMAGE, VIDEO, assert_same_gradients, leaves, randomize

GRIDS = {3: [(4, 16, 16), (5, 13, 11), (2, 9, 7), (1, 4, 3)], 2: [(16, 16), (9, 7), (13, 20)]}


def make_attention(arch, index, seed=0):
    spec = plan_blocks(arch)[index]
    attention = PoolingAttention(spec, arch)
    randomize(attention, seed)
    return spec, attention


def with_norm(attention, dim):
    """The attention with the block's norm before it, as one module."""
    both = nn.Module()
    both.norm1, both.attn = nn.LayerNorm(dim, eps=1e-6), attention
    randomize(both)
    return both


def make_tokens(arch, spec, grid, batch=2, seed=1):
    tokens = torch.randn(batch, int(arch.cls_token) + torch.Size(grid).numel(), spec.dim, generator=_generator(seed))
    return tokens.requires_grad_()


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def assert_equals_reference(arch, index, grid):
    spec, attention = make_attention(arch, index)
    both = with_norm(attention, spec.dim)
    x, state = make_tokens(arch, spec, grid), leaves(both)
    actual, actual_grid, _ = attention(x, grid, both.norm1)
    expected, expected_grid = reference.attention(
        reference.layer_norm(x, state, "norm1"),
        grid,
        reference.below(state, "attn."),
        cls=arch.cls_token,
        residual=arch.residual_pooling,
        **reference.block_settings(arch)[index],
    )
    assert actual_grid == expected_grid
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    assert_same_gradients(both, actual, expected, x, state)
    with torch.no_grad():  # another path: there is nothing to keep
        torch.testing.assert_close(attention(x, grid, both.norm1).tokens, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_equals_the_plain_formula(name, index):
    arch = CASES[name]
    assert_equals_reference(arch, index, GRIDS[len(arch.input_size)][1])


@pytest.mark.parametrize("grid", GRIDS[3], ids=str)
@pytest.mark.parametrize("name", ["video", "video, no class token"])
def test_equals_the_plain_formula_on_any_volume(name, grid):
    assert_equals_reference(CASES[name], 1, grid)


@pytest.mark.parametrize("grid", GRIDS[2], ids=str)
@pytest.mark.parametrize("name", ["image", "image, class token"])
def test_equals_the_plain_formula_on_any_image(name, grid):
    assert_equals_reference(CASES[name], 1, grid)


def test_parameter_names_and_shapes():
    spec, attention = make_attention(VIDEO, 1)
    assert spec.num_heads == 2
    shapes = {name: tuple(parameter.shape) for name, parameter in attention.state_dict().items()}
    assert shapes == {
        "rel_pos_t": (7, 8),
        "rel_pos_h": (15, 8),
        "rel_pos_w": (15, 8),
        "qkv.weight": (48, 8),
        "qkv.bias": (48,),
        "proj.weight": (16, 16),
        "proj.bias": (16,),
        **{f"pool_{name}.weight": (8, 1, 3, 3, 3) for name in "qkv"},
        **{f"norm_{name}.{kind}": (8,) for name in "qkv" for kind in ("weight", "bias")},
    }


def test_no_pool_no_norm_no_table():
    arch = CASES["video, no key and value pools"]
    _, attention = make_attention(arch, 0)
    names = set(attention.state_dict())
    assert "norm_q.weight" in names
    assert not {"norm_k.weight", "norm_v.weight", "pool_k.weight", "pool_v.weight"} & names
    _, attention = make_attention(CASES["video, positions in space"], 0)
    assert attention.rel_pos_t is None and "rel_pos_t" not in attention.state_dict()
    assert "qkv.bias" not in make_attention(CASES["video, no query, key and value bias"], 0)[1].state_dict()


def one_head(rows, **changes):
    """Attention of width 1 over a row of tokens, without pools: numbers that fit on a page."""
    settings = {
        "index": 0,
        "dim": 1,
        "dim_att": 1,
        "dim_out": 1,
        "num_heads": 1,
        "grid": (1, 2),
        "pool_q": None,
        "pool_kv": None,
        "pool_skip": None,
        "table_rows": rows,
        "drop_path": 0.0,
    }
    return BlockSpec(**settings | changes)


def set_weights(attention, q, k, v):
    with torch.no_grad():
        attention.qkv.weight.copy_(torch.tensor([[q], [k], [v]]))
        attention.qkv.bias.zero_()
        attention.proj.weight.fill_(1.0)
        attention.proj.bias.zero_()


def unnormed(attention, x, grid):
    """The attention without the norm before it, whose numbers would not fit on a page."""
    with torch.no_grad():
        return attention(x, grid, nn.Identity())


def test_two_tokens_by_hand():
    attention = PoolingAttention(
        one_head((0, 3)), replace(IMAGE, qkv_bias=True, residual_pooling=True, cls_token=False)
    )
    set_weights(attention, 1.0, 0.0, 10.0)
    with torch.no_grad():
        attention.rel_pos_w.copy_(torch.tensor([[1.0], [0.0], [-2.0]]))
    out, grid, _ = unnormed(attention, torch.tensor([[[1.0], [2.0]]]), (1, 2))
    assert grid == (1, 2)
    # Query 0 (q = 1): the terms of keys 0 and 1 are rows 1 and 0: 0 and 1. Query 1 (q = 2): rows 2 and 1: -4 and 0.
    first, second = torch.softmax(torch.tensor([[0.0, 1.0], [-4.0, 0.0]]), dim=1) @ torch.tensor([10.0, 20.0])
    torch.testing.assert_close(out, torch.stack([first + 1, second + 2]).view(1, 2, 1))


def test_class_token_has_no_position_and_gets_no_residual_query():
    attention = PoolingAttention(one_head((0, 3)), replace(IMAGE, qkv_bias=True, residual_pooling=True, cls_token=True))
    set_weights(attention, 1.0, 0.0, 10.0)
    with torch.no_grad():
        attention.rel_pos_w.copy_(torch.tensor([[1.0], [0.0], [-2.0]]))
    out = unnormed(attention, torch.tensor([[[5.0], [1.0], [2.0]]]), (1, 2)).tokens
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -4.0, 0.0]])
    expected = torch.softmax(logits, dim=1) @ torch.tensor([50.0, 10.0, 20.0]) + torch.tensor([0.0, 1.0, 2.0])
    torch.testing.assert_close(out, expected.view(1, 3, 1))


def test_only_the_content_is_scaled():
    spec = one_head((0, 3), dim=4, dim_att=4)
    attention = PoolingAttention(spec, replace(IMAGE, qkv_bias=False, residual_pooling=False, cls_token=False))
    with torch.no_grad():
        attention.qkv.weight.copy_(torch.cat((torch.eye(4), torch.eye(4), torch.eye(4))))
        attention.proj.weight.copy_(torch.eye(4))
        attention.proj.bias.zero_()
        attention.rel_pos_w.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
    x = torch.tensor([[[2.0, 0, 0, 0], [0, 2.0, 0, 0]]])
    # Query 0: content 4 and 0 times 4 ** -0.5, positions 0 and 2 as they are.
    weights = torch.softmax(torch.tensor([[2.0, 2.0], [0.0, 2.0]]), dim=1)
    torch.testing.assert_close(unnormed(attention, x, (1, 2)).tokens, (weights @ x[0])[None])


def test_the_class_token_is_normalised_but_not_pooled():
    arch = IMAGE
    spec = plan_blocks(arch)[0]
    attention = PoolingAttention(spec, replace(IMAGE, qkv_bias=False, residual_pooling=False, cls_token=True))
    randomize(attention)
    x = make_tokens(arch, spec, (3, 3)).detach()
    cls = torch.randn(2, 1, spec.dim, generator=_generator(2))
    (heads,), grid = attention._pool(torch.cat((cls, x), dim=1), (3, 3), "k", PoolSpec((3, 3), (2, 2)))
    assert grid == (2, 2) and heads.shape == (2, 5, 1, 8)
    state = leaves(attention)
    torch.testing.assert_close(heads[:, 0, 0], reference.layer_norm(cls[:, 0], state, "norm_k"))
    (without,), _ = attention._pool(torch.cat((cls + 7, x), dim=1), (3, 3), "k", PoolSpec((3, 3), (2, 2)))
    torch.testing.assert_close(without[:, 1:], heads[:, 1:])


def test_tokens_that_do_not_fill_the_grid_are_refused():
    spec, attention = make_attention(IMAGE, 1)
    with pytest.raises(RuntimeError):
        attention(make_tokens(IMAGE, spec, (9, 7)), (9, 8), nn.LayerNorm(spec.dim))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_batch_by_vmap(dtype):
    """Kernels that write into a given tensor have no rule for it."""
    q, k, v = (torch.randn(3, 2, 4, rows, 8, generator=_generator(rows)).to(dtype) for rows in (6, 5, 5))
    expected = torch.stack([attend(*one) for one in zip(q, k, v, strict=True)])
    torch.testing.assert_close(
        torch.vmap(attend)(q, k, v), expected, rtol=2e-2, atol=2e-2 if dtype != torch.float32 else 1e-5
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("mode", ["avg", "max", "conv"])
def test_half_precision_reaches_the_attention(monkeypatch, mode, dtype, training):
    """Pools without weights give float32 under autocast."""
    seen = []

    def spy(q, k, v, mask=None, real=attend):
        seen.append(real(q, k, v, mask).dtype)
        return real(q, k, v, mask)

    monkeypatch.setattr("slowfast_mvit.models.attention.attend", spy)
    arch = replace(VIDEO, pool_mode=mode)
    spec, attention = make_attention(arch, 0)
    both = with_norm(attention, spec.dim)
    with torch.set_grad_enabled(training), torch.autocast("cpu", dtype=dtype):
        both.attn(make_tokens(arch, spec, (4, 16, 16)), (4, 16, 16), both.norm1)
    assert seen == [dtype]
