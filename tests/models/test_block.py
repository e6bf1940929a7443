"""Blocks against the plain formula: skip paths, widening in the attention and in the MLP, drop path."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from slowfast_mvit.models import attention, kernels
from slowfast_mvit.models.block import MultiscaleBlock
from slowfast_mvit.models.layout import plan_blocks
from tests.models import reference
from tests.models.small import CASES, VIDEO, assert_same_gradients, leaves, randomize

GRID = {2: (9, 7), 3: (3, 9, 7)}


def make_block(arch, index, drop_path_rate=0.0, batch=2):
    spec = plan_blocks(arch, drop_path_rate)[index]
    block = MultiscaleBlock(spec, arch)
    randomize(block)
    grid = GRID[len(arch.input_size)]
    num_tokens = int(arch.cls_token) + torch.Size(grid).numel()
    x = torch.randn(batch, num_tokens, spec.dim, generator=torch.Generator().manual_seed(1))
    return block, x.requires_grad_(), grid


def plain(arch, index, x, grid, state, keep=(1.0, 1.0)):
    return reference.block(
        x,
        grid,
        state,
        keep=keep,
        cls=arch.cls_token,
        residual=arch.residual_pooling,
        expand_in_attention=arch.expand_in_attention,
        **reference.block_settings(arch)[index],
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_equals_the_plain_formula(name, index):
    arch = CASES[name]
    block, x, grid = make_block(arch, index)
    state = leaves(block)
    actual, actual_grid = block(x, grid)
    expected, expected_grid = plain(arch, index, x, grid, state)
    assert actual_grid == expected_grid
    # Widening sums more and larger terms: the figures are of the order of 10.
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    assert_same_gradients(block, actual, expected, x, state)


def test_projection_exists_only_where_the_width_changes():
    in_attention = [hasattr(make_block(VIDEO, i)[0], "proj") for i in range(4)]
    in_mlp = [hasattr(make_block(CASES["video, expansion in the MLP"], i)[0], "proj") for i in range(4)]
    assert in_attention == [False, True, False, True]
    assert in_mlp == [True, False, True, False]


def test_the_plain_skip_is_the_input_itself():
    """With both branches silent a block that does not widen is the identity: its skip is not normalised."""
    block, x, grid = make_block(VIDEO, 0)
    silence(block)
    torch.testing.assert_close(block(x, grid)[0], x, rtol=0, atol=0)


def test_the_widening_skip_is_a_map_of_the_normalised_input():
    arch = replace(VIDEO, pool_q_stride=())
    block, x, grid = make_block(arch, 1)
    silence(block)
    torch.testing.assert_close(block(x, grid)[0], block.proj(block.norm1(x)))
    block, x, grid = make_block(replace(arch, expand_in_attention=False), 0)
    silence(block)
    torch.testing.assert_close(block(x, grid)[0], block.proj(block.norm2(x)))


def test_the_skip_is_max_pooled_and_the_class_token_passes():
    arch = replace(VIDEO, dim_mul=(), head_mul=())
    block, _, _ = make_block(arch, 1)
    silence(block)
    ramp = torch.arange(1.0, 26.0).view(1, 25, 1).expand(1, 25, 8)  # 1 x 5 x 5, rows of five
    out, grid = block(torch.cat((torch.full((1, 1, 8), -50.0), -ramp), dim=1), (1, 5, 5))
    assert grid == (1, 3, 3)
    # The largest of -ramp is the first of each window: rows 0, 1, 3 by columns 0, 1, 3.
    assert (-out[0, :, 0]).tolist() == [50, 1, 2, 4, 6, 7, 9, 16, 17, 19]


def silence(block):
    with torch.no_grad():
        for module in (block.attn.proj, block.mlp.fc2):
            module.weight.zero_()
            module.bias.zero_()


def test_mlp_is_as_wide_as_its_ratio_says():
    block, _, _ = make_block(VIDEO, 1)
    assert tuple(block.mlp.fc1.weight.shape) == (64, 16)
    block, _, _ = make_block(CASES["video, two heads at first"], 1)
    assert tuple(block.mlp.fc1.weight.shape) == (72, 24)


def test_drop_path_drops_whole_branches_of_single_samples():
    batch = 32
    block, x, grid = make_block(VIDEO, 3, drop_path_rate=0.5, batch=batch)
    assert block.drop_path.drop_prob == 0.5
    state = leaves(block)
    torch.manual_seed(0)
    with torch.no_grad():
        actual = block.train()(x, grid)[0]
        # A branch is dropped, or kept and doubled.
        cases = [plain(VIDEO, 3, x, grid, state, (a, b))[0] for a in (0.0, 2.0) for b in (0.0, 2.0)]
        errors = torch.stack([(actual - case).abs().amax(dim=(1, 2)) for case in cases])
        assert (errors.min(dim=0).values < 1e-4).all()
        assert len(errors.argmin(dim=0).unique()) == 4
        evaluated = block.eval()(x, grid)[0]
        torch.testing.assert_close(evaluated, plain(VIDEO, 3, x, grid, state)[0], rtol=1e-5, atol=1e-4)


def test_the_first_block_drops_nothing():
    assert isinstance(make_block(VIDEO, 0, drop_path_rate=0.5)[0].drop_path, nn.Identity)


@pytest.mark.parametrize("name", ["video", "video, expansion in the MLP", "image"])
@pytest.mark.parametrize("index", [0, 1, 3])
@pytest.mark.parametrize("numbers", [1, 10**9])
def test_a_block_takes_few_samples_or_all_together(monkeypatch, name, index, numbers):
    """And so keys and values. The pools of block 0 step over tokens."""
    arch = CASES[name]
    calls, pooled = [], []
    block, x, grid = make_block(arch, index, batch=3)
    state = leaves(block)
    forward = block._forward
    monkeypatch.setattr(kernels, "PROJECTED_AT_ONCE", numbers)
    pool = block.attn._pool
    monkeypatch.setattr(block, "_forward", lambda part, grid: calls.append(len(part)) or forward(part, grid))
    monkeypatch.setattr(
        block.attn, "_pool", lambda x, grid, names, pools: pooled.append(names) or pool(x, grid, names, pools)
    )
    actual, actual_grid = block(x, grid)
    assert calls == ([1, 1, 1] if numbers == 1 else [3])
    assert pooled == (["q", "k", "v"] * 3 if numbers == 1 else ["q", "kv"])
    expected, expected_grid = plain(arch, index, x, grid, state)
    assert actual_grid == expected_grid
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    assert_same_gradients(block, actual, expected, x, state)


@pytest.mark.parametrize("name", ["video", "image", "video, positions in space"])
def test_widths_for_gpus_change_nothing(monkeypatch, name):
    arch = CASES[name]
    block, x, grid = make_block(arch, 1)
    state = leaves(block)
    widths = []
    attend = attention.attend
    monkeypatch.setattr(attention, "aligned_width", lambda _, width: kernels.aligned_width("cuda", width))
    monkeypatch.setattr(attention, "attend", lambda q, k, v, mask: widths.append(q.shape[-1]) or attend(q, k, v, mask))
    actual, _ = block(x, grid)
    assert widths[0] % 8 == 0
    expected, _ = plain(arch, 1, x, grid, state)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    assert_same_gradients(block, actual, expected, x, state)


@pytest.mark.parametrize("layer", ["norm1", "attn.qkv", "attn.proj", "proj", "norm2", "mlp.fc1", "mlp.fc2"])
@pytest.mark.parametrize("training", [True, False])
def test_layers_with_hooks_are_called(layer, training):
    block, x, grid = make_block(VIDEO, 1)
    block.train(training)
    expected, _ = block(x, grid)
    heard = []
    block.get_submodule(layer).register_forward_hook(lambda module, inputs, out: heard.append(layer))
    actual, _ = block(x, grid)
    assert heard == [layer]
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("index", [0, 1])
def test_keys_and_values_apart_of_a_layer_with_a_hook(monkeypatch, index):
    block, x, grid = make_block(VIDEO, index, batch=1)
    expected, _ = block(x, grid)
    monkeypatch.setattr(kernels, "PROJECTED_AT_ONCE", 1)
    heard = []
    block.attn.qkv.register_forward_hook(lambda module, inputs, out: heard.append(out.shape))
    actual, _ = block(x, grid)
    assert len(heard) == 1
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_a_norm_of_pooled_heads_that_is_replaced(monkeypatch):
    """An adapter meets heads in its own precision, with autocast on."""

    class Adapted(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.norm, self.more, self.weight = norm, nn.Linear(norm.weight.numel(), norm.weight.numel()), norm.weight

        def forward(self, heads):
            seen.append((heads.dtype, torch.is_autocast_enabled("cpu")))
            return self.norm(heads) + 0 * self.more(heads)

    block, x, grid = make_block(VIDEO, 1)
    seen = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, _ = block(x, grid)
        block.attn.norm_q = Adapted(block.attn.norm_q)
        actual, _ = block(x, grid)
    assert seen == [(torch.float32, True)]
    assert actual.dtype == expected.dtype
    torch.testing.assert_close(actual, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "trained", ["norm1", "attn.qkv", "attn.proj", "attn.pool_q", "attn.rel_pos_h", "proj", "mlp.fc2"]
)
def test_a_frozen_block_trains_the_rest_alone(trained):
    block, x, grid = make_block(VIDEO, 1)
    state = leaves(block)
    expected, _ = plain(VIDEO, 1, x, grid, state)
    names = [name for name, _ in block.named_parameters() if name.startswith(trained)]
    wanted = torch.autograd.grad(expected.square().sum(), [state[name] for name in names])
    for name, parameter in block.named_parameters():
        parameter.requires_grad_(name in names)
    block(x.detach(), grid)[0].square().sum().backward()
    assert {name for name, parameter in block.named_parameters() if parameter.grad is not None} == set(names)
    for name, want in zip(names, wanted, strict=True):
        torch.testing.assert_close(block.get_parameter(name).grad, want, rtol=1e-4, atol=1e-4 * float(want.abs().max()))
