"""Rollout and Grad-CAM: the weights against the block's own attention, maps by hand, slopes by finite differences."""

from dataclasses import replace

import pytest
import torch

from slowfast_mvit.errors import UserError
from slowfast_mvit.models import attribution
from slowfast_mvit.models.attribution import attention_weights, grad_cam, pull_back, rollout, spread, to_input_size
from slowfast_mvit.models.layout import PoolSpec
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.switches import apply_switches
from tests.models.small import CASES, IMAGE, VIDEO, randomize

SIZES = {2: (36, 52), 3: (4, 36, 44)}
WINDOWS = {
    "windows": apply_switches(CASES["image"], attention="window", window_sides=4),
    "shifted windows": apply_switches(CASES["image"], attention="shifted_window", window_sides=4),
    "windows of video": apply_switches(CASES["video, no class token"], attention="shifted_window", window_sides=4),
}
NAMES = [
    "video",
    "video, no class token",
    "video, expansion in the MLP",
    "video, no positions",
    "video, no key and value pools",
    "video, queries pooled in two blocks only",
    "video, time pooled too",
    "video, two heads at first",
    "video, mean pooling",
    "image",
    "image, class token",
]


def make(arch):
    model = MViT(arch, 5)
    randomize(model)
    x = torch.randn(2, 3, *SIZES[len(arch.input_size)], generator=torch.Generator().manual_seed(1))
    return model.eval(), x


def inputs(model, x):
    """Each block with its input."""
    tokens, grid = model.embed(x)
    for block in model.blocks:
        yield block, tokens, grid
        tokens, grid = block(tokens, grid)


@pytest.mark.parametrize("arch", [*map(CASES.get, NAMES), *WINDOWS.values()], ids=[*NAMES, *WINDOWS])
@torch.no_grad()
def test_the_weights_are_those_of_the_block(arch, monkeypatch):
    monkeypatch.setattr(attribution, "_WEIGHTS_AT_A_TIME", 5000)
    model, x = make(arch)
    for block, tokens, grid in inputs(model, x):
        attn = block.attn
        heads = attn.heads(tokens, grid, block.norm1)
        weights = attention_weights(attn, heads)
        assert weights.shape == (2, attn.num_heads, heads.q.shape[1], heads.k.shape[1])
        run = attn._attend if attn.window is None else attn._attend_locally
        expected = run(heads.q, heads.k, heads.v, heads.q_grid, heads.k_grid)
        found = (weights @ heads.v.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("arch", [*map(CASES.get, NAMES), *WINDOWS.values()], ids=[*NAMES, *WINDOWS])
@torch.no_grad()
def test_rows_of_a_block_sum_to_one(arch):
    model, x = make(arch)
    prefix = int(arch.cls_token)
    for block, tokens, grid in inputs(model, x):
        out, out_grid = block(tokens, grid)
        rows = torch.eye(out.shape[1]).expand(2, -1, -1)
        matrix = pull_back(block, tokens, grid, rows).transpose(1, 2)
        assert matrix.shape == (2, prefix + torch.Size(out_grid).numel(), tokens.shape[1])
        assert matrix.min() >= 0
        torch.testing.assert_close(matrix.sum(dim=2), torch.ones(2, out.shape[1]), rtol=1e-5, atol=1e-5)
    maps = rollout(model, x)
    assert maps.shape == (2, *model.embed(x)[1]) and maps.min() > 0
    torch.testing.assert_close(maps.flatten(1).sum(dim=1), torch.ones(2))


@torch.no_grad()
def test_the_rollout_is_the_product_of_the_blocks():
    for name in ("image, class token", "video, no class token"):
        model, x = make(CASES[name])
        product = None
        for block, tokens, grid in inputs(model, x):
            out, _ = block(tokens, grid)
            matrix = pull_back(block, tokens, grid, torch.eye(out.shape[1]).expand(2, -1, -1)).transpose(1, 2)
            product = matrix if product is None else matrix @ product
        row = product[:, 0, 1:] if model.arch.cls_token else product.mean(dim=1)
        expected = row / row.sum(dim=1, keepdim=True)
        torch.testing.assert_close(rollout(model, x).flatten(1), expected, rtol=1e-4, atol=1e-7)


def test_tiles_by_hand():
    # Five tokens by a stride of 2 are three tiles: 0 1, 2 3, 4; with a class token before them.
    values = torch.tensor([[[7.0], [1.0], [2.0], [3.0]]])
    found = spread(values, (3,), (5,), PoolSpec((3,), (2,)), 1)
    assert found[0, :, 0].tolist() == [7.0, 0.5, 0.5, 1.0, 1.0, 3.0]
    # Two axes: 2 x 4 by (1, 2) and the kernel steps over nothing; by (2, 4) one tile of eight.
    values = torch.tensor([[[4.0], [8.0], [2.0], [6.0]]])
    found = spread(values, (2, 2), (2, 4), PoolSpec((1, 1), (1, 2)), 0)
    assert found[0, :, 0].tolist() == [2.0, 2.0, 4.0, 4.0, 1.0, 1.0, 3.0, 3.0]
    assert spread(values[:, :1], (1, 1), (2, 4), PoolSpec((3, 3), (2, 4)), 0)[0, :, 0].tolist() == [0.5] * 8
    assert spread(values, (2, 2), (2, 2), None, 0) is values


@pytest.mark.parametrize(
    "name", ["video", "video, no class token", "image", "image, class token", "video, mean pooling"]
)
@torch.no_grad()
def test_uniform_attention_gives_a_uniform_map(name):
    model, _ = make(CASES[name])
    for block in model.blocks:
        heads = block.attn.qkv.weight.shape[0] // 3
        block.attn.qkv.weight[heads : 2 * heads] = 0  # every key is the same
        block.attn.qkv.bias[heads : 2 * heads] = 0
        block.attn.pool_k.weight.zero_()
        block.attn.norm_k.weight.zero_()
        block.attn.norm_k.bias.zero_()
        for table in block.attn.table_names:
            if getattr(block.attn, table) is not None:
                getattr(block.attn, table).zero_()
    x = torch.randn(1, 3, *model.arch.input_size)  # which all strides divide
    maps = rollout(model, x)
    torch.testing.assert_close(maps, torch.full_like(maps, 1 / maps.numel()))


@torch.no_grad()
def test_one_block_by_hand():
    # Two tokens, one head, no pools: W from two weights, A = (W + 1) / 2, and the mean of its rows.
    arch = replace(
        IMAGE,
        input_size=(4, 8),
        depth=1,
        dim_mul=(),
        head_mul=(),
        pool_q_stride=(),
        pool_kv_stride=None,
        cls_token=False,
    )
    model, _ = make(arch)
    x = torch.randn(1, 3, 4, 8)
    (block, tokens, grid) = next(inputs(model, x))
    assert grid == (1, 2)
    attn, C = block.attn, 8
    q, k, _ = attn.qkv(block.norm1(tokens))[0].split(C, dim=-1)
    # Row 1 is distance 0, of a query and the key of its own place; row 2 the second token looking at the first.
    bias = torch.stack([q[0] @ attn.rel_pos_w[[1, 0]].T, q[1] @ attn.rel_pos_w[[2, 1]].T])
    bias += (q @ attn.rel_pos_h[0])[:, None]
    weights = (q @ k.T / C**0.5 + bias).softmax(dim=1)
    expected = ((weights + torch.eye(2)) / 2).mean(dim=0)
    torch.testing.assert_close(rollout(model, x).flatten(), expected, rtol=1e-5, atol=1e-5)


def test_grad_cam_by_finite_differences():
    for name, block in (("image", 1), ("image, class token", 2), ("image", None)):
        model, x = make(CASES[name])
        model, x = model.double(), x[:1].double()
        found = grad_cam(model, x, torch.tensor([3]), block)
        at = 3 if block is None else block
        tokens, grid = model.embed(x)
        for before in model.blocks[: at + 1]:
            tokens, grid = before(tokens, grid)

        @torch.no_grad()
        def logit(tokens, grid=grid, at=at, model=model):
            for behind in model.blocks[at + 1 :]:
                tokens, grid = behind(tokens, grid)
            return model.head(model.pool_tokens(tokens))[0, 3]

        prefix, step = int(model.arch.cls_token), 1e-5
        patches = tokens.detach()[0, prefix:]
        channels = []
        for channel in range(tokens.shape[2]):  # the mean slope is that of moving all places together
            moved = torch.zeros_like(tokens)
            moved[:, prefix:, channel] = step
            channels.append((logit(tokens + moved) - logit(tokens - moved)) / (2 * step) / len(patches))
        expected = (patches @ torch.stack(channels)).clamp(min=0).reshape(grid)
        torch.testing.assert_close(found.maps[0], expected, rtol=1e-5, atol=1e-8)
        assert found.maps.max() > 0
        torch.testing.assert_close(found.logits, model(x))
        assert all(parameter.grad is None for parameter in model.parameters())


def test_grad_cam_explains_the_predicted_class():
    model, x = make(VIDEO)
    found = grad_cam(model, x)
    assert found.classes.tolist() == model(x).argmax(dim=1).tolist()
    torch.testing.assert_close(
        found.maps, grad_cam(model, x, found.classes, 2).maps
    )  # the last but one, by the class token
    alone = grad_cam(model, x[1:], found.classes[1:])
    torch.testing.assert_close(found.maps[1:], alone.maps, rtol=1e-4, atol=1e-5)


def test_refusals():
    model, x = make(VIDEO)
    with pytest.raises(
        UserError, match=r"no Grad-CAM of block 3: it must be 0 to 2, since the classifier reads the class token"
    ):
        grad_cam(model, x, block=3)
    with pytest.raises(UserError, match=r"no Grad-CAM of block -1: it must be 0 to 3$"):
        grad_cam(make(IMAGE)[0], make(IMAGE)[1], block=-1)
    other, x = make(apply_switches(IMAGE, rel_pos_terms="qv"))
    with pytest.raises(UserError, match="attention rollout is for position terms of the queries"):
        rollout(other, x)
    assert grad_cam(other, x).maps.shape == (2, 3, 4)
    with pytest.raises(ValueError, match="evaluation mode"):
        rollout(other.train(), x)


def test_maps_are_brought_to_the_input():
    maps = torch.tensor([[[0.0, 1.0]]])
    # Centres of the tiles are at 0.5 and 2.5 of four pixels: 0, 1/4, 3/4, 1.
    assert to_input_size(maps, (1, 4)).tolist() == [[[0.0, 0.25, 0.75, 1.0]]]
    assert to_input_size(torch.ones(2, 2, 3, 3), (4, 9, 9)).shape == (2, 4, 9, 9)
