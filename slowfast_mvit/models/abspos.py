"""Absolute position embeddings: learned rows that are added to the tokens after the stem.

Separable ones (MViTv1) have a table over space, one over time and a row for the class token; joint ones (ViT) a row per token.
Images keep a table over time of one row where the embedding is separable: the official image models are videos of one frame.
"""

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from slowfast_mvit.models.layout import Architecture, patch_grid
from slowfast_mvit.ops.tables import resize_absolute, resize_space, resize_time

SPATIAL, TEMPORAL, CLASS, JOINT = "pos_embed_spatial", "pos_embed_temporal", "pos_embed_class", "pos_embed"


def position_tables(arch: Architecture) -> dict[str, tuple[int, int, int]]:
    """Shape [1, rows, embed_dim] of each table under its official name; empty without absolute positions."""
    grid, prefix = patch_grid(arch), int(arch.cls_token)
    rows: dict[str, int] = {}
    if arch.abs_pos == "separable":
        rows = {SPATIAL: prod(grid[-2:]), TEMPORAL: prod(grid[:-2]), CLASS: prefix}
    elif arch.abs_pos == "joint":
        rows = {JOINT: prefix + prod(grid)}
    return {name: (1, count, arch.embed_dim) for name, count in rows.items() if count}


def position_rows(tables: Mapping[str, Tensor], arch: Architecture, grid: Sequence[int]) -> Tensor:
    """What is added to the tokens of ``grid``, [1, prefix + N, embed_dim]; interpolated where it is not the planned grid."""
    planned = patch_grid(arch)
    if JOINT in tables:
        return resize_absolute(tables[JOINT], grid, planned, int(arch.cls_token))
    space = resize_space(tables[SPATIAL], grid[-2:], planned[-2:])
    time = resize_time(tables[TEMPORAL], prod(grid[:-2]))
    rows = (time[:, :, None] + space[:, None]).flatten(1, 2)
    return torch.cat((tables[CLASS], rows), dim=1) if CLASS in tables else rows
