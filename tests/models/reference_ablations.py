"""The ablations' attention by the plainest formula, one window, one pair of tokens at a time; for small grids only."""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.models.reference import index_table, layer_norm, linear

CONV = {2: F.conv2d, 3: F.conv3d}
MAX = {2: F.max_pool2d, 3: F.max_pool3d}


def attention(
    x: Tensor,
    grid: tuple[int, ...],
    state: dict[str, Tensor],
    *,
    spec,
    arch,
) -> tuple[Tensor, tuple[int, ...]]:
    """Tokens [B, N, dim] -> [B, N', dim_att] and the grid of the queries."""
    B, first = len(x), int(arch.cls_token)
    qkv = linear(x, state, "qkv").reshape(B, x.shape[1], 3, spec.num_heads, -1).permute(2, 0, 3, 1, 4)
    q, q_grid = pooled(qkv[0], grid, state, "q", spec.pool_q, arch)
    k, k_grid = pooled(qkv[1], grid, state, "k", spec.pool_kv, arch)
    v, _ = pooled(qkv[2], grid, state, "v", spec.pool_kv, arch)
    out = torch.zeros_like(q)
    if spec.window is None:
        q_places, k_places = places(q_grid), places(k_grid)
        tables = tables_of(state, spec, arch, q_grid, k_grid)
        out = attend(q, k, v, q_places, k_places, tables, arch, first)
    else:
        w = spec.window
        rows, columns = (math.ceil(side / w.q_side) for side in q_grid[-2:])
        shifts = (w.q_shift, w.k_shift) if rows * columns > 1 else (0, 0)
        inside = [(*g[:-2], side, side) for g, side in ((q_grid, w.q_side), (k_grid, w.k_side))]
        tables = tables_of(state, spec, arch, *inside)
        for row, column in itertools.product(range(rows), range(columns)):
            sources = [
                window_sources(g, side, shift, row, column, rows, columns)
                for g, side, shift in ((q_grid, w.q_side, shifts[0]), (k_grid, w.k_side, shifts[1]))
            ]
            q_in, k_in, v_in = (
                gather(tokens, source) for tokens, source in ((q, sources[0]), (k, sources[1]), (v, sources[1]))
            )
            wrapped = [[entry[1] for entry in source] for source in sources]
            apart = torch.tensor([[a != b for b in wrapped[1]] for a in wrapped[0]])
            result = attend(q_in, k_in, v_in, places(inside[0]), places(inside[1]), tables, arch, 0, apart)
            for place, (token, _) in enumerate(sources[0]):
                if token is not None:
                    out[:, :, token] = result[:, :, place]
    if arch.residual_pooling:
        out = torch.cat((out[:, :, :first], out[:, :, first:] + q[:, :, first:]), dim=2)
    return linear(out.transpose(1, 2).reshape(B, out.shape[2], -1), state, "proj"), q_grid


def places(grid: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Coordinates of every token, in order."""
    return list(itertools.product(*(range(extent) for extent in grid)))


def window_sources(grid, side, shift, row, column, rows, columns):
    """For each place of a window: the token that stands there (None: padding), and whether the roll carried it over an edge."""
    height, width = grid[-2:]
    found = []
    for t, y, x in itertools.product(range(math.prod(grid[:-2])), range(side), range(side)):
        source_y, source_x = row * side + y + shift, column * side + x + shift
        over = (source_y >= rows * side, source_x >= columns * side)
        source_y, source_x = source_y % (rows * side), source_x % (columns * side)
        real = source_y < height and source_x < width
        found.append(((t * height + source_y) * width + source_x if real else None, over))
    return found


def gather(tokens, source):
    empty = torch.zeros_like(tokens[:, :, 0])
    return torch.stack([empty if token is None else tokens[:, :, token] for token, _ in source], dim=2)


def attend(q, k, v, q_places, k_places, tables, arch, first, apart=None):
    """Heads [B, n, N, D] -> [B, n, N, D] with the vector of every pair looked up on its own."""
    content = (q / math.sqrt(q.shape[-1])) @ k.transpose(2, 3)
    logits = content.clone()
    vectors = {
        term: torch.stack([torch.stack([pair_vector(tables[term], a, b) for b in k_places]) for a in q_places])
        for term in arch.rel_pos_terms
        if tables[term]
    }
    patches = content[:, :, first:, first:]
    if "q" in vectors:
        patches = patches + (q[:, :, first:, None] * vectors["q"]).sum(dim=-1)
    if "k" in vectors:
        patches = patches + (k[:, :, None, first:] * vectors["k"]).sum(dim=-1)
    logits[:, :, first:, first:] = patches
    if apart is not None:
        logits = logits.masked_fill(apart, float("-inf"))
    weights = torch.softmax(logits, dim=-1)
    out = weights @ v
    if "v" in vectors:
        added = (weights[:, :, first:, first:, None] * vectors["v"]).sum(dim=3)
        out = torch.cat((out[:, :, :first], out[:, :, first:] + added), dim=2)
    return out


def tables_of(state, spec, arch, q_grid, k_grid):
    """For each term a list of (axes, extents of the table, rows, index per axis)."""
    names = "thw"[-len(q_grid) :]
    axes = [axis for axis, rows in enumerate(spec.table_rows) if rows]
    space = [axis for axis in axes if axis >= len(q_grid) - 2]
    if arch.rel_pos_joint == "spacetime":
        groups = [axes]
    elif arch.rel_pos_joint == "space":
        groups = [[axis] for axis in axes if axis not in space] + [space]
    else:
        groups = [[axis] for axis in axes]
    index = [index_table(q, k) for q, k in zip(q_grid, k_grid, strict=True)]
    tables = {}
    for term in arch.rel_pos_terms:
        tables[term] = []
        for group in groups:
            name = "rel_pos_" + ("" if term == "q" else f"{term}_") + "".join(names[axis] for axis in group)
            needed = [2 * max(q_grid[axis], k_grid[axis]) - 1 for axis in group]
            planned = [spec.table_rows[axis] for axis in group]
            table = state[name].reshape(*planned, -1)
            for dim, rows in enumerate(needed):  # linear interpolation along each axis in turn is the multilinear one
                table = resized_axis(table, dim, rows)
            tables[term].append((group, table, index))
    return tables


def resized_axis(table, dim, rows):
    old, moved = table.shape[dim], table.movedim(dim, 0)
    picked = []
    for r in range(rows):
        place = max((r + 0.5) * old / rows - 0.5, 0.0)
        low = math.floor(place)
        high = min(low + 1, old - 1)
        picked.append(moved[low] * (1 - (place - low)) + moved[high] * (place - low))
    return torch.stack(picked).movedim(0, dim)


def pair_vector(tables, query, key):
    return sum(table[tuple(index[axis][query[axis], key[axis]] for axis in group)] for group, table, index in tables)


def pooled(x, grid, state, name, pool, arch):
    """Heads [B, n, N, D] after the pool of ``name``, with its norm where the pool is learned."""
    if pool is None:
        return x, grid
    B, n, _, D = x.shape
    first = int(arch.cls_token)
    volume = x[:, :, first:].reshape(B * n, *grid, D).movedim(-1, 1)
    padding = [kernel // 2 for kernel in pool.kernel]
    kernel = torch.full((D, 1, *pool.kernel), 1 / math.prod(pool.kernel)) if arch.pool_mode == "avg" else None
    if arch.pool_mode == "max":
        volume = MAX[len(grid)](volume, pool.kernel, stride=pool.stride, padding=padding)
    else:  # an average is a convolution with equal weights: padding counts
        weight = state[f"pool_{name}.weight"] if kernel is None else kernel
        volume = CONV[len(grid)](volume, weight, stride=pool.stride, padding=padding, groups=D)
    tokens = torch.cat((x[:, :, :first], volume.movedim(1, -1).reshape(B, n, -1, D)), dim=2)
    return layer_norm(tokens, state, f"norm_{name}") if arch.pool_mode == "conv" else tokens, tuple(volume.shape[2:])
