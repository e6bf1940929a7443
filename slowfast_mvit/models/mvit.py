"""MViT for classification: stem, blocks, norm, head. One class for images and video, MViTv2, MViTv1 and ViT.

Parameters carry the official names (SlowFast and mvit), so that published weights load without a map.
"""

import torch
from torch import Tensor, nn

from slowfast_mvit.models.block import LAYER_NORM_EPS
from slowfast_mvit.models.heads import ClassifierHead
from slowfast_mvit.models.layout import Architecture, Axes
from slowfast_mvit.models.trunk import Trunk


class MViT(Trunk):
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
        super().__init__(
            arch,
            in_channels=in_channels,
            drop_path_rate=drop_path_rate,
            checkpoint_activations=checkpoint_activations,
        )
        self.num_classes = num_classes
        width = self.specs[-1].dim_out
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.head = ClassifierHead(width, num_classes, dropout_rate)
        self.reset_parameters(init)
        with torch.no_grad():
            self.head.projection.weight.mul_(head_init_scale)
            self.head.projection.bias.mul_(head_init_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, num_classes]."""
        tokens, _ = self.forward_tokens(x)
        return self.head(self.pool_tokens(tokens))

    def forward_tokens(self, x: Tensor) -> tuple[Tensor, Axes]:
        """Tokens [B, prefix + N, dim] after the last block, before the last norm, and their grid."""
        tokens, grid = self.embed(x)
        for block in self.blocks:
            tokens, grid = self.run_block(block, tokens, grid)
        return tokens, grid

    def pool_tokens(self, tokens: Tensor) -> Tensor:
        """Features [B, dim] for the classifier: the class token, or the mean over tokens."""
        if self.arch.mean_pooling:
            return self.norm(tokens[:, int(self.arch.cls_token) :].mean(dim=1))
        if self.arch.cls_token:
            return self.norm(tokens[:, 0])  # the norm acts on each token alone, so the others need not pass it
        return self.norm(tokens).mean(dim=1)
