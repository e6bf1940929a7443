"""Where an MViT looks: attention rollout (Abnar & Zuidema 2020, arXiv 2005.00928) and Grad-CAM (Selvaraju et al. 2017,
arXiv 1610.02391) on its token grids.

Rollout for pooling attention. A block maps tokens of its grid to tokens of its query grid. As a matrix with a row for each of
the latter it is A = (W S_k + S_q) / 2, whose rows sum to 1. W [queries, keys] holds the attention weights, averaged over the
heads. A pooled token stands for a tile of the grid, of as many tokens as its pool strides, of which it is the first, cut where
the grid ends; S spreads it over the tile in equal parts. S_k spreads the keys, whose tiles hold the tokens that the pool's
kernel steps over too; S_q spreads the queries of the skip path, which is the identity, pooled. The class token stands for
itself. The product over the blocks leads from the last tokens to the stem's grid. What residual pooling adds to a query is of
its own tile, as the skip path is, and has no term of its own.

Letters: B batch, N queries, M keys, P tokens of a block's input, each with the class token first where there is one; R rows.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.attention import Heads, PoolingAttention
from slowfast_mvit.models.block import MultiscaleBlock
from slowfast_mvit.models.layout import Axes, PoolSpec
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.windows import from_windows, shift_mask, to_windows, window_counts

_WEIGHTS_AT_A_TIME = 2**24  # numbers of an attention matrix that exist at once
_INTERPOLATION = {2: "bilinear", 3: "trilinear"}


class CamMap(NamedTuple):
    """Grad-CAM: maps [B, *grid] from 0 on, the classes [B] that they are of, and the logits [B, num_classes]."""

    maps: Tensor
    classes: Tensor
    logits: Tensor


@torch.no_grad()
def rollout(model: MViT, x: Tensor) -> Tensor:
    """Share of each place of the stem's grid in what the classifier reads: [B, *grid], each map summing to 1.

    It begins at the class token, or at the mean over the patches, whichever the classifier reads.

    Args:
        model: in evaluation mode.
        x: images [B, 3, H, W] or video [B, 3, T, H, W], normalised.

    Raises:
        UserError: the model has position terms that the weights alone do not tell of (see :func:`attention_weights`).
    """
    _check_evaluating(model)
    tokens, grid = model.embed(x)
    stem_grid, inputs = grid, []
    for block in model.blocks:
        inputs.append((tokens, grid))
        tokens, grid = block(tokens, grid)
    relevance = _read_by_classifier(model, tokens)
    for block, (tokens, grid) in zip(reversed(model.blocks), reversed(inputs), strict=True):
        assert isinstance(block, MultiscaleBlock)
        relevance = pull_back(block, tokens, grid, relevance)
    patches = relevance[:, int(model.arch.cls_token) :, 0]
    return (patches / patches.sum(dim=1, keepdim=True)).unflatten(1, stem_grid)


@torch.no_grad()
def pull_back(block: MultiscaleBlock, tokens: Tensor, grid: Axes, relevance: Tensor) -> Tensor:
    """Relevance [B, P, R] of a block's input from that of its output [B, N, R]: its transpose times the block's matrix.

    Every column keeps its sum. With the identity for relevance it is the matrix itself, turned round.

    Args:
        block: of the model.
        tokens: its input [B, P, dim].
        grid: their grid.
        relevance: of its output.
    """
    attn = block.attn
    heads = attn.heads(tokens, grid, block.norm1)
    by_key = relevance.new_zeros(len(tokens), heads.k.shape[1], relevance.shape[2])
    for rows, weights in _mean_weights(attn, heads):
        by_key += weights.transpose(1, 2) @ relevance[:, rows]
    prefix, (pool_q, pool_kv) = attn.num_prefix, attn.pools
    attended = spread(by_key, heads.k_grid, grid, pool_kv, prefix)
    return (attended + spread(relevance, heads.q_grid, grid, pool_q, prefix)) / 2


def spread(values: Tensor, pooled: Axes, grid: Axes, pool: PoolSpec | None, num_prefix: int) -> Tensor:
    """Values [B, prefix + prod(pooled), R] of pooled tokens in equal parts over their tiles: [B, prefix + prod(grid), R]."""
    if pool is None:
        return values
    tile = torch.zeros(1, dtype=torch.int64)
    for extent, count, stride in zip(grid, pooled, pool.stride, strict=True):
        tile = (tile[:, None] * count + torch.arange(extent) // stride).flatten()
    tile = tile.to(values.device)
    sizes = torch.bincount(tile, minlength=prod(pooled)).to(values.dtype)
    patches = (values[:, num_prefix:] / sizes[:, None])[:, tile]
    return torch.cat((values[:, :num_prefix], patches), dim=1)


@torch.no_grad()
def attention_weights(attn: PoolingAttention, heads: Heads) -> Tensor:
    """The weights [B, heads, N, M] by the plain formula; with ``heads.v`` they give what the fused kernel gives.

    Outside of a query's window they are 0. Where windows reach over the grid's edge, weights on the padding are left out.

    Raises:
        UserError: the attention has other position terms than those of the queries on each axis (paper, A.4 and Table A.6).
    """
    _check_plain(attn)
    if attn.window is None:
        return torch.cat([weights for _, weights in _weights(attn, heads)], dim=2)
    q, k, mask, counts = _in_windows(attn, heads)
    weights = _softmax(q, k, mask)
    here = to_windows(_identity(prod(heads.k_grid), q), heads.k_grid, attn.window.k_side, _shifts(attn, counts)[1])
    here = here.repeat(len(heads.q), 1, 1, 1)[:, :, 0]  # [B * W, m, M]
    rows = (weights @ here[:, None]).transpose(1, 2)  # [B * W, n, heads, M]
    whole = from_windows(rows, heads.q_grid, attn.window.q_side, _shifts(attn, counts)[0])
    return whole.transpose(1, 2)


def grad_cam(model: MViT, x: Tensor, classes: Tensor | None = None, block: int | None = None) -> CamMap:
    """Grad-CAM on the patches that leave a block: relu(sum_c a_c tokens_c), a_c the mean over places of d logit / d tokens_c.

    Args:
        model: in evaluation mode.
        x: images [B, 3, H, W] or video [B, 3, T, H, W], normalised.
        classes: int64 [B], whose logits are explained; the predicted ones by default.
        block: counted from 0; by default the last whose patches reach the classifier, which is the last but one where it
            reads the class token.

    Raises:
        UserError: there is no such block, or no patch that leaves it reaches the classifier.
    """
    _check_evaluating(model)
    depth, prefix = len(model.blocks), int(model.arch.cls_token)
    last = depth - 2 if prefix and not model.arch.mean_pooling else depth - 1
    block = last if block is None else block
    if not 0 <= block <= last:
        why = (
            "" if last == depth - 1 else ", since the classifier reads the class token, and no patch of the last block"
        )
        raise UserError(f"there is no Grad-CAM of block {block}: it must be 0 to {last}{why}")
    with torch.no_grad():
        tokens, grid = model.embed(x)
        for before in model.blocks[: block + 1]:
            tokens, grid = before(tokens, grid)
    cam_grid = grid
    with torch.enable_grad():
        tokens = tokens.detach().requires_grad_()
        after = tokens
        for behind in model.blocks[block + 1 :]:
            after, grid = behind(after, grid)
        logits = model.head(model.pool_tokens(after))
        classes = logits.detach().argmax(dim=1) if classes is None else classes
        (slopes,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), tokens)
    channels = slopes[:, prefix:].mean(dim=1, keepdim=True)
    maps = F.relu((channels * tokens.detach()[:, prefix:]).sum(dim=2))
    return CamMap(maps.unflatten(1, cam_grid), classes, logits.detach())


def to_input_size(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps [B, *grid] brought to the extents of the model's input, [B, *size], by interpolation between the tiles' centres."""
    mode = _INTERPOLATION[len(size)]
    return F.interpolate(maps[:, None], size=tuple(size), mode=mode, align_corners=False)[:, 0]


def _read_by_classifier(model: MViT, tokens: Tensor) -> Tensor:
    """Relevance [B, N, 1] of the last tokens."""
    relevance, prefix = tokens.new_zeros(*tokens.shape[:2], 1), int(model.arch.cls_token)
    if prefix and not model.arch.mean_pooling:
        relevance[:, 0] = 1
    else:
        relevance[:, prefix:] = 1 / (tokens.shape[1] - prefix)
    return relevance


def _mean_weights(attn: PoolingAttention, heads: Heads) -> Iterator[tuple[slice, Tensor]]:
    """The weights [B, n, M] of some queries after others, averaged over the heads, every row of sum 1."""
    if attn.window is None:
        _check_plain(attn)
        for rows, weights in _weights(attn, heads):
            yield rows, weights.mean(dim=1)
        return
    weights = attention_weights(attn, heads)
    weights = weights / weights.sum(dim=-1, keepdim=True)  # without what went to the padding
    yield slice(0, weights.shape[2]), weights.mean(dim=1)


def _weights(attn: PoolingAttention, heads: Heads) -> Iterator[tuple[slice, Tensor]]:
    """The weights [B, heads, n, M] of global attention, some queries after others."""
    q, k = attn.with_positions(heads.q, heads.k, heads.q_grid, heads.k_grid)
    B, N, n, _ = q.shape
    step = max(1, _WEIGHTS_AT_A_TIME // (B * n * k.shape[1]))
    for start in range(0, N, step):
        rows = slice(start, min(start + step, N))
        yield rows, _softmax(q[:, rows], k, None)


def _softmax(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    logits = q.transpose(1, 2) @ k.permute(0, 2, 3, 1)
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    return logits.softmax(dim=-1)


def _in_windows(attn: PoolingAttention, heads: Heads) -> tuple[Tensor, Tensor, Tensor | None, tuple[int, int]]:
    """Queries and keys of each window with their positions, which of them may meet, and how many windows there are."""
    window = attn.window
    assert window is not None
    counts = window_counts(heads.q_grid, window.q_side)
    shifts, mask = _shifts(attn, counts), None
    if shifts[0]:
        frames = prod(heads.q_grid[:-2]), prod(heads.k_grid[:-2])
        mask = shift_mask(counts, (window.q_side, window.k_side), shifts, frames, device=heads.q.device)
        mask = mask.repeat(len(heads.q), 1, 1)[:, None]
    q, k = attn.with_positions(
        to_windows(heads.q, heads.q_grid, window.q_side, shifts[0]),
        to_windows(heads.k, heads.k_grid, window.k_side, shifts[1]),
        (*heads.q_grid[:-2], window.q_side, window.q_side),
        (*heads.k_grid[:-2], window.k_side, window.k_side),
    )
    return q, k, mask, counts


def _shifts(attn: PoolingAttention, counts: tuple[int, int]) -> tuple[int, int]:
    """How far queries and keys are rolled; a single window is not."""
    window = attn.window
    assert window is not None
    return (window.q_shift, window.k_shift) if prod(counts) > 1 else (0, 0)


def _identity(count: int, like: Tensor) -> Tensor:
    return torch.eye(count, dtype=like.dtype, device=like.device)[None, :, None]


def _check_plain(attn: nn.Module) -> None:
    if type(attn) is not PoolingAttention:
        raise UserError(
            "attention rollout is for position terms of the queries on each axis: a model with rel_pos_terms other than q or "
            "with joint tables (MVIT.REL_POS_TERMS, MVIT.POSITIONS) has none; Grad-CAM works for it"
        )


def _check_evaluating(model: MViT) -> None:
    if model.training:
        raise ValueError("attribution is for a model in evaluation mode: call model.eval() first")
