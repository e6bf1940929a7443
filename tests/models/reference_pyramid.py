"""MViT as a backbone of detectors by the plain formula: detectron2's rules walked block by block, attention window by window.

Strides, windows and heads are derived here once more from the last blocks of the stages; widths are read off the weights.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.models.reference import below, layer_norm, linear, pool, pooled_skip, position_terms


def block_settings(ends: tuple[int, ...], *, heads: int, side: int, windows: str, kv_stride: int = 4) -> list[dict]:
    """Per block: heads, strides, sides of its windows of queries and keys (None: global).

    ``ends`` are the last blocks of the four stages, ``side`` that of the first stage's windows in tokens of its grid.
    """
    settings = []
    for i in range(ends[-1] + 1):
        starts = i - 1 in ends
        if starts:  # a stage's first block has the next stage's keys and heads, and the last one's windows
            kv_stride, heads = max(kv_stride // 2, 1), heads * 2
        q, kv = (2 if starts else 1), kv_stride
        local = windows != "none" and not (windows == "hybrid" and i in ends[1:])
        if windows == "hybrid" and i in ends[1:3]:
            kv *= 2
        window = (side // q, side // kv) if local else None
        settings.append({"heads": heads, "q_stride": q, "kv_stride": kv, "window": window})
        if starts:
            side //= 2
    return settings


def attention(x: Tensor, grid: tuple[int, int], state: dict[str, Tensor], settings: dict) -> tuple[Tensor, tuple]:
    B, N, _ = x.shape
    qkv = linear(x, state, "qkv").reshape(B, N, 3, settings["heads"], -1).permute(2, 0, 3, 1, 4)
    q, q_grid = pool(qkv[0], grid, state, "q", (settings["q_stride"],) * 2, False)
    k, k_grid = pool(qkv[1], grid, state, "k", (settings["kv_stride"],) * 2, False)
    v, _ = pool(qkv[2], grid, state, "v", (settings["kv_stride"],) * 2, False)
    tables = [state.get("rel_pos_h"), state.get("rel_pos_w")]
    q, k, v = (part.unflatten(2, size) for part, size in ((q, q_grid), (k, k_grid), (v, k_grid)))
    out = in_windows(q, k, v, tables, *settings["window"]) if settings["window"] else attend(q, k, v, tables)
    out = (out + q).flatten(2, 3)
    return linear(out.transpose(1, 2).reshape(B, out.shape[2], -1), state, "proj"), q_grid


def in_windows(q: Tensor, k: Tensor, v: Tensor, tables: list[Tensor | None], q_side: int, k_side: int) -> Tensor:
    """One window after the other; zeros stand where a window goes beyond the grid, and are attended to."""
    out = torch.zeros_like(q)
    rows, columns = (math.ceil(size / q_side) for size in q.shape[2:4])
    for row in range(rows):
        for column in range(columns):
            q_in, k_in, v_in = (
                filled(part[:, :, row * side : (row + 1) * side, column * side : (column + 1) * side], side)
                for part, side in ((q, q_side), (k, k_side), (v, k_side))
            )
            place = out[:, :, row * q_side : (row + 1) * q_side, column * q_side : (column + 1) * q_side]
            place.copy_(attend(q_in, k_in, v_in, tables)[:, :, : place.shape[2], : place.shape[3]])
    return out


def filled(part: Tensor, side: int) -> Tensor:
    return F.pad(part, (0, 0, 0, side - part.shape[3], 0, side - part.shape[2]))


def attend(q: Tensor, k: Tensor, v: Tensor, tables: list[Tensor | None]) -> Tensor:
    """Heads [B, n, h, w, D] by all weights at once, with an explicit softmax."""
    (q_grid, k_grid), D = (part.shape[2:4] for part in (q, k)), q.shape[-1]
    logits = (q.flatten(2, 3) / math.sqrt(D)) @ k.flatten(2, 3).transpose(2, 3)
    terms = position_terms(q.flatten(2, 3), tables, tuple(q_grid), tuple(k_grid))
    logits = logits + terms.reshape(logits.shape)
    exponentials = torch.exp(logits - logits.amax(dim=-1, keepdim=True))
    out = exponentials / exponentials.sum(dim=-1, keepdim=True) @ v.flatten(2, 3)
    return out.unflatten(2, tuple(q_grid))


def pyramid(images: Tensor, state: dict[str, Tensor], ends: tuple[int, ...], **rules) -> dict[str, Tensor]:
    """The maps of images [B, 3, H, W] by name; ``rules`` as :func:`block_settings` has them."""
    stem = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=4, padding=3)
    grid, x, maps = tuple(stem.shape[2:]), stem.flatten(2).transpose(1, 2), {}
    for i, settings in enumerate(block_settings(ends, **rules)):
        weights = below(state, f"blocks.{i}.")
        n1 = layer_norm(x, weights, "norm1")
        attended, q_grid = attention(n1, grid, below(weights, "attn."), settings)
        skip = linear(n1, weights, "proj") if "proj.weight" in weights else x
        x, grid = pooled_skip(skip, grid, (settings["q_stride"],) * 2, False) + attended, q_grid
        hidden = linear(layer_norm(x, weights, "norm2"), weights, "mlp.fc1")
        x = x + linear(0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2))), weights, "mlp.fc2")
        if i in ends:
            name = f"scale{ends.index(i) + 2}"
            maps[name] = layer_norm(x, state, f"{name}_norm").transpose(1, 2).unflatten(2, grid)
    return maps
