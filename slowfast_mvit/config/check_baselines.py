"""Rules about the baselines, PyTorchVideo's networks; they say nothing where MODEL.ARCH is mvit."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from slowfast_mvit.config.check_mvit import Rule
from slowfast_mvit.config.schema import Config
from slowfast_mvit.config.schema_model import BASELINE_ARCHS

LEAST_SIDE = 32  # pixels of one cell of the last feature map
LEAST_FRAMES: Mapping[str, int] = MappingProxyType(
    {name: 2 if name in ("c2d_r50", "i3d_r50") else 1 for name in BASELINE_ARCHS}
)


def _clip_length(config: Config) -> Iterator[str]:
    arch, frames = config.MODEL.ARCH, config.DATA.NUM_FRAMES
    least = LEAST_FRAMES.get(arch, 1)
    if frames < least:
        yield f"DATA.NUM_FRAMES: {frames} is too short for {arch}, which joins each {least} frames; set {least} or more"


def _crop_size(config: Config) -> Iterator[str]:
    if config.MODEL.ARCH not in BASELINE_ARCHS:
        return
    sides = {
        "DATA.TRAIN_CROP_SIZE": config.DATA.TRAIN_CROP_SIZE,
        "DATA.TEST_CROP_SIZE": config.DATA.TEST_CROP_SIZE,
    }
    for name, side in sides.items():
        if side < LEAST_SIDE:
            yield f"{name}: {side} is less than a cell of {config.MODEL.ARCH}'s last feature map; set {LEAST_SIDE} or more"


def _video_only(config: Config) -> Iterator[str]:
    if config.MODEL.ARCH not in BASELINE_ARCHS:
        return
    jobs = {
        "TRAIN.DATASET": config.TRAIN.ENABLE and config.TRAIN.DATASET == "imagenet",
        "TEST.DATASET": config.TEST.ENABLE and config.TEST.DATASET == "imagenet",
    }
    for name, has_images in jobs.items():
        if has_images:
            yield f"{name}: imagenet has images, and {config.MODEL.ARCH} takes video; set a data set of videos"


def _activations(config: Config) -> Iterator[str]:
    if config.MODEL.ARCH in BASELINE_ARCHS and config.MODEL.ACT_CHECKPOINT:
        yield (
            f"MODEL.ACT_CHECKPOINT: {config.MODEL.ARCH} is PyTorchVideo's network, which always keeps its activations "
            "(a second forward pass would also count each batch twice in its batch normalisation); set it to False"
        )


def _layer_decay(config: Config) -> Iterator[str]:
    arch, decay = config.MODEL.ARCH, config.SOLVER.LAYER_DECAY
    if config.TRAIN.ENABLE and arch in BASELINE_ARCHS and decay < 1:
        yield f"SOLVER.LAYER_DECAY: {decay:g} is for the blocks of MViT, and not for {arch}; set it to 1.0"


def _sharding(config: Config) -> Iterator[str]:
    arch = config.MODEL.ARCH
    if config.TRAIN.ENABLE and arch in BASELINE_ARCHS and config.DISTRIBUTED.STRATEGY == "fsdp":
        yield f"DISTRIBUTED.STRATEGY: fsdp shares out the blocks of MViT, which {arch} has not; set it to ddp"


# Each rule with the keys that it reads.
BASELINE_RULES: Mapping[Rule, tuple[str, ...]] = MappingProxyType(
    {
        _clip_length: (
            "MODEL.ARCH",
            "DATA.NUM_FRAMES",
        ),
        _crop_size: (
            "MODEL.ARCH",
            "DATA.TRAIN_CROP_SIZE",
            "DATA.TEST_CROP_SIZE",
        ),
        _video_only: (
            "MODEL.ARCH",
            "TRAIN.ENABLE",
            "TRAIN.DATASET",
            "TEST.ENABLE",
            "TEST.DATASET",
        ),
        _activations: (
            "MODEL.ARCH",
            "MODEL.ACT_CHECKPOINT",
        ),
        _layer_decay: (
            "TRAIN.ENABLE",
            "MODEL.ARCH",
            "SOLVER.LAYER_DECAY",
        ),
        _sharding: (
            "TRAIN.ENABLE",
            "MODEL.ARCH",
            "DISTRIBUTED.STRATEGY",
        ),
    }
)
