"""What every MViT has before its head: stem, positions and blocks, and the rules by which parameters begin.

Parameters carry the official names (SlowFast and mvit), so that published weights load without a map.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from slowfast_mvit.models.abspos import position_rows, position_tables
from slowfast_mvit.models.block import MultiscaleBlock
from slowfast_mvit.models.layout import Architecture, Axes, plan_blocks
from slowfast_mvit.models.stem import PatchEmbed


class Trunk(nn.Module):
    """Stem, class token, absolute positions and blocks; a model adds what reads their tokens and then begins its parameters.

    Args:
        arch: the architecture's numbers.
        in_channels: channels of the input.
        drop_path_rate: rate of the last block; it grows linearly from 0 at the first.
        checkpoint_activations: recompute each block in the backward pass instead of keeping its activations.
    """

    def __init__(
        self,
        arch: Architecture,
        *,
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        self.arch = arch
        self.specs = plan_blocks(arch, drop_path_rate)
        self.checkpoint_activations = checkpoint_activations
        self.patch_embed = PatchEmbed(arch, in_channels)
        self.cls_token = nn.Parameter(torch.empty(1, 1, arch.embed_dim)) if arch.cls_token else None
        self.position_names = tuple(position_tables(arch))
        for name, shape in position_tables(arch).items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        self.blocks = nn.ModuleList(MultiscaleBlock(spec, arch) for spec in self.specs)

    @torch.no_grad()
    def reset_parameters(self, init: str = "official") -> None:
        """Give all parameters their initial values.

        ``official`` is SlowFast's rule for video and mvit's for images. Both draw weights and position tables from a
        normal of std 0.02 truncated at +-2; SlowFast's also sets the biases of linear layers and norms to 0.02 and draws
        the convolutions, which mvit leaves at the framework's default.

        ``xavier`` draws linear layers by their fan (Xavier uniform) and leaves convolutions at the framework's default:
        with a width of 32, a deviation of 0.02 is so small that training stands still for the first thousands of steps.
        """
        if init not in ("official", "xavier"):
            raise ValueError(f"init is {init!r}; it must be official or xavier")
        official, video = init == "official", len(self.arch.input_size) == 3
        bias = 0.02 if video else 0.0
        for module in self.modules():
            if isinstance(module, nn.Linear):
                if official:
                    nn.init.trunc_normal_(module.weight, std=0.02)
                else:
                    nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.constant_(module.bias, bias)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.constant_(module.bias, bias)
            elif isinstance(module, nn.Conv2d | nn.Conv3d) and video and official:
                nn.init.trunc_normal_(module.weight, std=0.02)
        for name, parameter in self.named_parameters():
            if "rel_pos" in name and self.arch.rel_pos_zero_init:
                nn.init.zeros_(parameter)
            elif "rel_pos" in name or name == "cls_token" or name in self.position_names:
                nn.init.trunc_normal_(parameter, std=0.02)

    def embed(self, x: Tensor) -> tuple[Tensor, Axes]:
        """Tokens [B, prefix + N, embed_dim] before the first block, of images [B, C, H, W] or video, and their grid."""
        if x.dim() != len(self.arch.input_size) + 2:
            wanted = "video [B, C, T, H, W]" if len(self.arch.input_size) == 3 else "images [B, C, H, W]"
            raise ValueError(f"this model takes {wanted}, and not a tensor of shape {list(x.shape)}")
        tokens, grid = self.patch_embed(x)
        if self.cls_token is not None:
            tokens = torch.cat((self.cls_token.expand(tokens.shape[0], -1, -1), tokens), dim=1)
        if self.position_names:
            tables = {name: self.get_parameter(name) for name in self.position_names}
            tokens = tokens + position_rows(tables, self.arch, grid).to(tokens.dtype)
        return tokens, grid

    def run_block(self, block: nn.Module, tokens: Tensor, grid: Axes) -> tuple[Tensor, Axes]:
        """Tokens and grid after a block; in training, one that is run again in the backward pass if so asked."""
        if self.checkpoint_activations and self.training:
            tokens, grid = checkpoint(block, tokens, grid, use_reentrant=False)
            return tokens, grid
        tokens, grid = block(tokens, grid)
        return tokens, grid
