"""One transformer block: pooling attention and MLP, each with its skip path."""

from collections.abc import Sequence

import torch
from pytorchvideo.layers.attention import Mlp
from pytorchvideo.layers.drop_path import DropPath
from torch import Tensor, nn

from slowfast_mvit.models.ablations import attention_of
from slowfast_mvit.models.kernels import samples_at_a_time
from slowfast_mvit.models.layout import Architecture, Axes, BlockSpec
from slowfast_mvit.models.mlp import mlp
from slowfast_mvit.models.pooling import pooled_skip

LAYER_NORM_EPS = 1e-6


class MultiscaleBlock(nn.Module):
    """Maps tokens [B, N, dim] on ``grid`` to tokens [B, N', dim_out] on the pooled grid.

    Where the width changes, the skip path is a linear map of the *normalised* input (official code).
    """

    def __init__(self, spec: BlockSpec, arch: Architecture) -> None:
        super().__init__()
        self.spec = spec
        self.num_prefix = int(arch.cls_token)
        self.norm1 = nn.LayerNorm(spec.dim, eps=LAYER_NORM_EPS)
        self.attn = attention_of(spec, arch)
        self.drop_path = DropPath(spec.drop_path) if spec.drop_path > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(spec.dim_att, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(spec.dim_att, int(spec.dim_att * arch.mlp_ratio), spec.dim_out)
        self.widens_in_attention = spec.dim != spec.dim_att
        self.widens_in_mlp = spec.dim_att != spec.dim_out
        if self.widens_in_attention or self.widens_in_mlp:
            self.proj = nn.Linear(spec.dim, spec.dim_out)
        # Channels of all linear maps of the block's input together.
        self.projected = 3 * spec.dim_att + spec.dim_out * self.widens_in_attention

    def forward(self, x: Tensor, grid: Sequence[int]) -> tuple[Tensor, Axes]:
        """Run the block; returns tokens and their grid."""
        if torch.compiler.is_compiling():
            return self._forward(x, grid)
        step = samples_at_a_time(x.device.type, x.shape[1], self.projected)
        if len(x) <= step:
            return self._forward(x, grid)
        parts = [self._forward(part, grid) for part in x.split(step)]
        return torch.cat([tokens for tokens, _ in parts]), parts[0][1]

    def _forward(self, x: Tensor, grid: Sequence[int]) -> tuple[Tensor, Axes]:
        attended, q_grid, skip = self.attn(x, grid, self.norm1, self.proj if self.widens_in_attention else None)
        if skip is None:
            skip = pooled_skip(x, grid, self.spec.pool_skip, self.num_prefix)
        x = skip + self.drop_path(attended)
        out, *skips = mlp(x, self.norm2, self.mlp.fc1, self.mlp.fc2, self.proj if self.widens_in_mlp else None)
        return (skips[0] if skips else x) + self.drop_path(out), q_grid
