"""MViT as the backbone of detectors: a map after every stage (paper, section 4.2 and Figure 3).

Parameters carry detectron2's names below its ``backbone.bottom_up.``, which are the official ones and ``scale2_norm`` ..
``scale5_norm``. A detector that holds this module as ``backbone.bottom_up`` has detectron2's names throughout.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.block import LAYER_NORM_EPS
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.levels import plan_levels
from slowfast_mvit.models.trunk import Trunk


class PyramidBackbone(Trunk):
    """Maps images [B, C, H, W] (float, normalised) of any size to one map a stage.

    The maps are [B, channels, h, w] with h = ceil(H / stride), laid out channels last, each after a norm of its own. ViT, whose
    stem does not pad, gives floor(H / 16); as a model of one stage it has a map after each quarter of its blocks.

    Args:
        arch: for images, as :func:`slowfast_mvit.models.levels.detection_architecture` gives it.
        out_stages: which maps are given, counted from 1 as in the paper; by default all.
        in_channels, drop_path_rate, checkpoint_activations: see :class:`~slowfast_mvit.models.trunk.Trunk`.
        init: see :meth:`reset_parameters`.

    Attributes:
        levels: of the maps that are given, in order.
        channels, strides: of every map, by its name.

    Raises:
        UserError: there is no such stage, or the architecture is not one of a detector's backbone.
    """

    def __init__(
        self,
        arch: Architecture,
        *,
        out_stages: Sequence[int] | None = None,
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        init: str = "official",
        checkpoint_activations: bool = False,
    ) -> None:
        if len(arch.input_size) != 2 or arch.cls_token:
            raise UserError(
                "the backbone of a detector takes images and has no class token: pass the architecture through "
                "detection_architecture"
            )
        super().__init__(
            arch,
            in_channels=in_channels,
            drop_path_rate=drop_path_rate,
            checkpoint_activations=checkpoint_activations,
        )
        levels = plan_levels(arch)
        stages = sorted(set(range(1, len(levels) + 1) if out_stages is None else out_stages))
        if not stages or not set(stages) <= set(range(1, len(levels) + 1)):
            raise UserError(f"out_stages is {out_stages}; this model has the stages 1 to {len(levels)}")
        self.levels = tuple(levels[stage - 1] for stage in stages)
        self.channels = {level.name: level.channels for level in self.levels}
        self.strides = {level.name: level.stride for level in self.levels}
        for level in self.levels:
            self.add_module(f"{level.name}_norm", nn.LayerNorm(level.channels, eps=LAYER_NORM_EPS))
        self.reset_parameters(init)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The maps by name, the finest first."""
        tokens, grid = self.embed(images)
        wanted, maps = {level.block: level.name for level in self.levels}, {}
        for index, block in enumerate(self.blocks):
            tokens, grid = self.run_block(block, tokens, grid)
            if index in wanted:
                name = wanted[index]
                normed = self.get_submodule(f"{name}_norm")(tokens)
                maps[name] = normed.transpose(1, 2).unflatten(2, grid)
        return maps
