"""MViTv2 by the plain formula, for the tests: slow, explicit, and independent of the package's way of computing it.

Everything runs from an architecture and a state dict. Strides and heads are derived here once more, widths are read off the
weights. Letters: B batch, n heads, N tokens, D channels of a head. Tokens are t-major, then h, then w; a class token is row 0.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-6
CONV = {2: F.conv2d, 3: F.conv3d}
MAX_POOL = {2: F.max_pool2d, 3: F.max_pool3d}


def layer_norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + EPS) * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    out = x @ state[f"{name}.weight"].transpose(0, 1)
    return out + state[f"{name}.bias"] if f"{name}.bias" in state else out


def below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


# Relative positions.


def index_table(num_queries: int, num_keys: int) -> np.ndarray:
    """The official float rule: positions in float32, the constant in double until it is added, truncated."""
    ratio_q, ratio_k = max(num_keys / num_queries, 1.0), max(num_queries / num_keys, 1.0)
    constant = np.float32((num_keys - 1) * ratio_k)
    index = np.empty((num_queries, num_keys), dtype=np.int64)
    for i in range(num_queries):
        for j in range(num_keys):
            distance = np.float32(np.float32(i) * np.float32(ratio_q)) - np.float32(np.float32(j) * np.float32(ratio_k))
            index[i, j] = int(np.float32(distance + constant))
    return index


def resized_rows(table: Tensor, num_rows: int) -> Tensor:
    """Linear interpolation of rows, half-pixel centres."""
    rows = []
    for r in range(num_rows):
        x = max((r + 0.5) * len(table) / num_rows - 0.5, 0.0)
        low = math.floor(x)
        high = min(low + 1, len(table) - 1)
        rows.append(table[low] * (1 - (x - low)) + table[high] * (x - low))
    return torch.stack(rows)


def position_terms(q: Tensor, tables: list[Tensor | None], q_grid: tuple[int, ...], k_grid: tuple[int, ...]) -> Tensor:
    """Sum of the axes' terms [B, n, *q_grid, *k_grid] of unscaled queries [B, n, N, D]."""
    volume = q.reshape(*q.shape[:2], *q_grid, q.shape[-1])
    letters = "thw"[-len(q_grid) :]
    total = torch.zeros(*q.shape[:2], *q_grid, *k_grid, dtype=q.dtype)
    for axis, table in enumerate(tables):
        if table is None:
            continue
        Q, K = q_grid[axis], k_grid[axis]
        vectors = resized_rows(table, 2 * max(Q, K) - 1)[torch.from_numpy(index_table(Q, K))]
        term = torch.einsum(f"bn{letters}d,{letters[axis]}kd->bn{letters}k", volume, vectors)
        shape = [1] * len(k_grid)
        shape[axis] = K
        total = total + term.reshape(*q.shape[:2], *q_grid, *shape)
    return total


# One block.


def pool(
    x: Tensor, grid: tuple[int, ...], state: dict[str, Tensor], name: str, stride: tuple[int, ...], cls: bool
) -> tuple[Tensor, tuple[int, ...]]:
    """Heads [B, n, N, D] through the depthwise pool and norm ``name``, which may be missing."""
    if f"pool_{name}.weight" not in state:
        return x, grid
    B, n, _, D = x.shape
    prefix, patches = x[:, :, :1] if cls else x[:, :, :0], x[:, :, 1:] if cls else x
    weight = state[f"pool_{name}.weight"]
    volume = patches.reshape(B * n, *grid, D)
    volume = volume.permute(0, len(grid) + 1, *range(1, len(grid) + 1))
    padding = [kernel // 2 for kernel in weight.shape[2:]]
    volume = CONV[len(grid)](volume, weight, stride=stride, padding=padding, groups=D)
    grid = tuple(volume.shape[2:])
    patches = volume.flatten(2).transpose(1, 2).reshape(B, n, -1, D)
    return layer_norm(torch.cat((prefix, patches), dim=2), state, f"norm_{name}"), grid


def attention(
    x: Tensor,
    grid: tuple[int, ...],
    state: dict[str, Tensor],
    *,
    heads: int,
    q_stride: tuple[int, ...],
    kv_stride: tuple[int, ...],
    cls: bool,
    residual: bool,
) -> tuple[Tensor, tuple[int, ...]]:
    B, N, _ = x.shape
    qkv = linear(x, state, "qkv").reshape(B, N, 3, heads, -1).permute(2, 0, 3, 1, 4)
    q, q_grid = pool(qkv[0], grid, state, "q", q_stride, cls)
    k, k_grid = pool(qkv[1], grid, state, "k", kv_stride, cls)
    v, _ = pool(qkv[2], grid, state, "v", kv_stride, cls)
    D, first = q.shape[-1], int(cls)
    logits = (q / math.sqrt(D)) @ k.transpose(2, 3)
    tables = [state.get(f"rel_pos_{axis}") for axis in "thw"[-len(grid) :]]
    terms = position_terms(q[:, :, first:], tables, q_grid, k_grid).reshape(B, heads, math.prod(q_grid), -1)
    logits = logits + F.pad(terms, (first, 0, first, 0))
    exponentials = torch.exp(logits - logits.amax(dim=-1, keepdim=True))
    out = exponentials / exponentials.sum(dim=-1, keepdim=True) @ v
    if residual:
        out = torch.cat((out[:, :, :first], out[:, :, first:] + q[:, :, first:]), dim=2)
    return linear(out.transpose(1, 2).reshape(B, out.shape[2], -1), state, "proj"), q_grid


def pooled_skip(x: Tensor, grid: tuple[int, ...], stride: tuple[int, ...], cls: bool) -> Tensor:
    if math.prod(stride) == 1:
        return x
    prefix, patches = x[:, : int(cls)], x[:, int(cls) :]
    kernel = [s + 1 if s > 1 else 1 for s in stride]
    volume = patches.transpose(1, 2).reshape(len(x), -1, *grid)
    volume = MAX_POOL[len(grid)](volume, kernel, stride=stride, padding=[k // 2 for k in kernel])
    return torch.cat((prefix, volume.flatten(2).transpose(1, 2)), dim=1)


def block(
    x: Tensor, grid: tuple[int, ...], state: dict[str, Tensor], *, expand_in_attention: bool, keep=(1.0, 1.0), **attn
) -> tuple[Tensor, tuple[int, ...]]:
    """One block; ``keep`` are the factors that drop path puts on its two branches."""
    n1 = layer_norm(x, state, "norm1")
    out, q_grid = attention(n1, grid, below(state, "attn."), **attn)
    widens = "proj.weight" in state
    skip = linear(n1, state, "proj") if widens and expand_in_attention else x
    x = pooled_skip(skip, grid, attn["q_stride"], attn["cls"]) + keep[0] * out
    n2 = layer_norm(x, state, "norm2")
    hidden = linear(n2, state, "mlp.fc1")
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    skip = linear(n2, state, "proj") if widens and not expand_in_attention else x
    return skip + keep[1] * linear(hidden, state, "mlp.fc2"), q_grid


# The whole model.


def block_settings(arch) -> list[dict]:
    """Heads and strides of every block."""
    ones = (1,) * len(arch.input_size)
    heads, kv = arch.num_heads, arch.pool_kv_stride or ones
    q_strides, factors = dict(arch.pool_q_stride), dict(arch.head_mul)
    settings = []
    for i in range(arch.depth):
        heads = int(heads * factors.get(i, 1))
        if i in q_strides:
            kv = tuple(max(a // b, 1) for a, b in zip(kv, q_strides[i], strict=True))
        settings.append({"heads": heads, "q_stride": q_strides.get(i, ones), "kv_stride": kv})
    return settings


def mvit(x: Tensor, arch, state: dict[str, Tensor]) -> Tensor:
    """Logits of an input [B, C, ...]."""
    stem = CONV[len(arch.input_size)](
        x,
        state["patch_embed.proj.weight"],
        state["patch_embed.proj.bias"],
        stride=arch.patch_stride,
        padding=arch.patch_padding,
    )
    grid = tuple(stem.shape[2:])
    tokens = stem.flatten(2).transpose(1, 2)
    if arch.cls_token:
        tokens = torch.cat((state["cls_token"].repeat(len(x), 1, 1), tokens), dim=1)
    for i, settings in enumerate(block_settings(arch)):
        tokens, grid = block(
            tokens,
            grid,
            below(state, f"blocks.{i}."),
            cls=arch.cls_token,
            residual=arch.residual_pooling,
            expand_in_attention=arch.expand_in_attention,
            **settings,
        )
    if arch.mean_pooling:
        features = layer_norm(tokens[:, int(arch.cls_token) :].mean(dim=1), state, "norm")
    elif arch.cls_token:
        features = layer_norm(tokens, state, "norm")[:, 0]
    else:
        features = layer_norm(tokens, state, "norm").mean(dim=1)
    return linear(features, state, "head.projection")
