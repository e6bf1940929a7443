"""MViT for classification: stem, blocks, norm, head. One class for images and video, MViTv2, MViTv1 and ViT.

Parameters carry the official names (SlowFast and mvit), so that published weights load without a map.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from slowfast_mvit.models.abspos import position_rows, position_tables
from slowfast_mvit.models.block import LAYER_NORM_EPS, MultiscaleBlock
from slowfast_mvit.models.heads import ClassifierHead
from slowfast_mvit.models.layout import Architecture, Axes, plan_blocks
from slowfast_mvit.models.stem import PatchEmbed


class MViT(nn.Module):
    """Multiscale Vision Transformer (arXiv 2112.01526, section 4; version 1: arXiv 2104.11227).

    Maps images [B, C, H, W] or video [B, C, T, H, W] (float, normalised) to logits [B, num_classes]. Any extent that
    the stem takes runs; position tables are interpolated where the grid differs from the planned one.

    Args:
        arch: the architecture's numbers.
        num_classes: width of the logits.
        in_channels: channels of the input.
        drop_path_rate: rate of the last block; it grows linearly from 0 at the first.
        dropout_rate: dropout before the classifier.
        init: ``official``, or ``xavier`` for narrow models trained from scratch; see :meth:`reset_parameters`.
        head_init_scale: factor on the classifier's initial weight and bias.
        checkpoint_activations: recompute each block in the backward pass instead of keeping its activations.
    """

    def __init__(
        self,
        arch: Architecture,
        num_classes: int,
        *,
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        dropout_rate: float = 0.0,
        init: str = "official",
        head_init_scale: float = 1.0,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        self.arch = arch
        self.num_classes = num_classes
        self.checkpoint_activations = checkpoint_activations
        specs = plan_blocks(arch, drop_path_rate)
        self.patch_embed = PatchEmbed(arch, in_channels)
        self.cls_token = nn.Parameter(torch.empty(1, 1, arch.embed_dim)) if arch.cls_token else None
        self.position_names = tuple(position_tables(arch))
        for name, shape in position_tables(arch).items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        self.blocks = nn.ModuleList(MultiscaleBlock(spec, arch) for spec in specs)
        self.norm = nn.LayerNorm(specs[-1].dim_out, eps=LAYER_NORM_EPS)
        self.head = ClassifierHead(specs[-1].dim_out, num_classes, dropout_rate)
        self.reset_parameters(init, head_init_scale)

    @torch.no_grad()
    def reset_parameters(self, init: str = "official", head_init_scale: float = 1.0) -> None:
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
        self.head.projection.weight.mul_(head_init_scale)
        self.head.projection.bias.mul_(head_init_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, num_classes]."""
        tokens, _ = self.forward_tokens(x)
        return self.head(self.pool_tokens(tokens))

    def forward_tokens(self, x: Tensor) -> tuple[Tensor, Axes]:
        """Tokens [B, prefix + N, dim] after the last block, before the last norm, and their grid."""
        if x.dim() != len(self.arch.input_size) + 2:
            wanted = "video [B, C, T, H, W]" if len(self.arch.input_size) == 3 else "images [B, C, H, W]"
            raise ValueError(f"this model takes {wanted}, and not a tensor of shape {list(x.shape)}")
        tokens, grid = self.patch_embed(x)
        if self.cls_token is not None:
            tokens = torch.cat((self.cls_token.expand(tokens.shape[0], -1, -1), tokens), dim=1)
        if self.position_names:
            tables = {name: self.get_parameter(name) for name in self.position_names}
            tokens = tokens + position_rows(tables, self.arch, grid).to(tokens.dtype)
        for block in self.blocks:
            if self.checkpoint_activations and self.training:
                tokens, grid = checkpoint(block, tokens, grid, use_reentrant=False)
            else:
                tokens, grid = block(tokens, grid)
        return tokens, grid

    def pool_tokens(self, tokens: Tensor) -> Tensor:
        """Features [B, dim] for the classifier: the class token, or the mean over tokens."""
        if self.arch.mean_pooling:
            return self.norm(tokens[:, int(self.arch.cls_token) :].mean(dim=1))
        if self.arch.cls_token:
            return self.norm(tokens[:, 0])  # the norm acts on each token alone, so the others need not pass it
        return self.norm(tokens).mean(dim=1)
