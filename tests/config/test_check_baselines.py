"""Rules about MODEL.ARCH and the baselines."""

import pytest

from slowfast_mvit.config.check_baselines import LEAST_FRAMES, LEAST_SIDE
from slowfast_mvit.config.load import ConfigError, load_config_text
from slowfast_mvit.config.schema_model import BASELINE_ARCHS, DETECTOR_ARCHS
from slowfast_mvit.models import baselines

NAMES = ", ".join(f"'{name}'" for name in ("mvit", *BASELINE_ARCHS, *DETECTOR_ARCHS))


def found(*overrides):
    """The problems of PySlowFast's defaults with overrides, without their origin."""
    try:
        load_config_text("DATA:\n  TEST_CROP_SIZE: 256\n", "text", overrides)
    except ConfigError as error:
        return [problem.split(": ", 1)[1] for problem in error.problems]
    return []


def test_names_and_limits_are_those_of_the_models():
    assert set(BASELINE_ARCHS) == set(baselines.BASELINES) and len(set(BASELINE_ARCHS)) == len(BASELINE_ARCHS)
    assert {name: baseline.least_frames for name, baseline in baselines.BASELINES.items()} == LEAST_FRAMES
    assert LEAST_SIDE == baselines.LEAST_SIDE


@pytest.mark.parametrize("name", BASELINE_ARCHS)
def test_training_and_test_crops_may_differ(name):
    assert found("MODEL.ARCH", name, "DATA.TRAIN_CROP_SIZE", "97", "DATA.NUM_FRAMES", "5") == []


@pytest.mark.parametrize(
    ("arch", "hint"),
    [
        ("x3d_x", "; did you mean 'x3d_xs'?"),
        ("slowfast_r5", "; did you mean 'slowfast_r50'?"),
        ("c2d_r101", "; did you mean 'c2d_r50'?"),
        ("mvitv2", "; did you mean 'mvit'?"),
        ("resnet", ""),
    ],
)
def test_unknown_networks(arch, hint):
    assert found("MODEL.ARCH", arch) == [f"MODEL.ARCH: {arch!r} is not one of {NAMES}{hint}"]


@pytest.mark.parametrize(
    ("arch", "name"),
    [("slowfast", "slowfast_r50 or slowfast_r101"), ("r2plus1d", "r2plus1d_r50"), ("csn", "csn_r101")],
)
def test_pyslowfasts_names_are_explained(arch, name):
    assert found("MODEL.ARCH", arch)[0] == (
        f"MODEL.ARCH: {arch!r} is refused: PySlowFast builds this network itself; here set MODEL.ARCH to {name} "
        "(PyTorchVideo's hub model)"
    )


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["MODEL.ARCH", "i3d_r50", "DATA.NUM_FRAMES", "1"],
            "DATA.NUM_FRAMES: 1 is too short for i3d_r50, which joins each 2 frames; set 2 or more",
        ),
        (
            ["MODEL.ARCH", "x3d_m", "DATA.TRAIN_CROP_SIZE", "31"],
            "DATA.TRAIN_CROP_SIZE: 31 is less than a cell of x3d_m's last feature map; set 32 or more",
        ),
        (
            ["MODEL.ARCH", "slow_r50", "DATA.TEST_CROP_SIZE", "16"],
            "DATA.TEST_CROP_SIZE: 16 is less than a cell of slow_r50's last feature map; set 32 or more",
        ),
        (
            ["MODEL.ARCH", "csn_r101", "MODEL.ACT_CHECKPOINT", "True"],
            "MODEL.ACT_CHECKPOINT: csn_r101 is PyTorchVideo's network, which always keeps its activations (a second "
            "forward pass would also count each batch twice in its batch normalisation); set it to False",
        ),
        (
            ["MODEL.ARCH", "c2d_r50", "TRAIN.DATASET", "imagenet", "TEST.ENABLE", "False"],
            "TRAIN.DATASET: imagenet has images, and c2d_r50 takes video; set a data set of videos",
        ),
        (
            ["MODEL.ARCH", "c2d_r50", "TEST.DATASET", "imagenet"],
            "TEST.DATASET: imagenet has images, and c2d_r50 takes video; set a data set of videos",
        ),
        (
            ["MODEL.ARCH", "slow_r50", "SOLVER.LAYER_DECAY", "0.75"],
            "SOLVER.LAYER_DECAY: 0.75 is for the blocks of MViT, and not for slow_r50; set it to 1.0",
        ),
        (
            ["MODEL.ARCH", "slow_r50", "DISTRIBUTED.STRATEGY", "fsdp"],
            "DISTRIBUTED.STRATEGY: fsdp shares out the blocks of MViT, which slow_r50 has not; set it to ddp",
        ),
    ],
)
def test_each_rule(overrides, problem):
    assert found(*overrides) == [problem]


@pytest.mark.parametrize(
    "overrides",
    [
        ["MODEL.ARCH", "i3d_r50", "DATA.NUM_FRAMES", "2"],
        ["MODEL.ARCH", "slow_r50", "DATA.NUM_FRAMES", "1", "DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32"],
        ["MODEL.ARCH", "c2d_r50", "TEST.DATASET", "imagenet", "TEST.ENABLE", "False"],
        ["MODEL.ARCH", "mvit", "MODEL.ACT_CHECKPOINT", "True", "DATA.TEST_CROP_SIZE", "224"],
        ["MODEL.ARCH", "slow_r50", "SOLVER.LAYER_DECAY", "0.75", "TRAIN.ENABLE", "False"],
        ["MODEL.ARCH", "slow_r50", "DISTRIBUTED.STRATEGY", "fsdp", "TRAIN.ENABLE", "False"],
        ["MODEL.ARCH", "mvit", "DISTRIBUTED.STRATEGY", "fsdp", "DATA.TEST_CROP_SIZE", "224"],
        ["MODEL.ARCH", "mvit", "SOLVER.LAYER_DECAY", "0.75", "DATA.TEST_CROP_SIZE", "224"],
        # Keys of MViT mean nothing for a baseline.
        ["MODEL.ARCH", "x3d_s", "MVIT.NUM_HEADS", "5", "MVIT.PATCH_KERNEL", "[3]", "DATA.NUM_FRAMES", "7"],
    ],
)
def test_what_is_fine(overrides):
    assert found(*overrides) == []
