"""Where bfloat16 training on a CPU is kept from wrong gradients."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.precision import has_short_convolution, trusted_precision
from slowfast_mvit.config.load import load_config
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.baselines import create_baseline

TOY = Path(__file__).parents[2] / "configs" / "Toy" / "MVITV2_TOY_8x4.yaml"
CPU = torch.device("cpu")


def toy(frames, *changes):
    return load_config(TOY, ["DATA.NUM_FRAMES", str(frames), "MVIT.EMBED_DIM", "8", *changes])


@pytest.mark.parametrize(
    ("kernel", "stride", "frames", "short"),
    [
        (3, 1, 1, False),
        (3, 1, 2, True),
        (3, 1, 3, False),
        (5, 1, 4, True),
        (5, 1, 5, False),
        (5, 4, 4, False),
        (1, 1, 2, False),
    ],
)
def test_what_is_short(kernel, stride, frames, short):
    layer = nn.Conv3d(3, 2, (kernel, 1, 1), stride=(stride, 1, 1), padding=(kernel // 2, 0, 0))
    assert has_short_convolution(layer, torch.zeros(1, 3, frames, 4, 4)) == short


def test_images_have_no_frames():
    assert not has_short_convolution(nn.Conv2d(3, 2, 3, padding=1), torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize(
    ("name", "frames", "short"),
    [
        # The slow pathway has ceil(T / 4) frames; R(2+1)D's last stage as many, CSN's ceil(T / 8); kernels are 3 long.
        ("slowfast_r50", 8, True),
        ("slowfast_r50", 9, False),
        ("r2plus1d_r50", 8, True),
        ("r2plus1d_r50", 9, False),
        ("csn_r101", 16, True),
        ("csn_r101", 17, False),
        ("slow_r50", 2, True),
        ("slow_r50", 3, False),
        ("c2d_r50", 2, False),
        ("x3d_xs", 4, True),  # its stem has 5
    ],
)
def test_baselines(name, frames, short):
    with torch.device("meta"):
        model = create_baseline(name, num_classes=2)
        assert has_short_convolution(model, torch.zeros(1, 3, frames, 32, 32)) == short


def test_short_clips_train_in_float32(caplog):
    config = toy(4)
    model = build_model(config)
    with caplog.at_level(logging.INFO):
        assert trusted_precision(config, model, CPU, "bfloat16") == "float32"
    assert caplog.messages == [
        "training in float32: clips of DATA.NUM_FRAMES 4 leave this model's kernels longer than their input in time, "
        "and CPUs compute wrong bfloat16 gradients of such convolutions"
    ]


def test_what_is_demanded_and_wrong_is_refused():
    config = toy(4, "MODEL.PRECISION", "bfloat16")
    with pytest.raises(
        UserError, match=r"^clips of DATA.NUM_FRAMES 4 .*: set MODEL.PRECISION float32, or more frames$"
    ):
        trusted_precision(config, build_model(config), CPU, "bfloat16")


def test_everything_else_stays():
    config = toy(8, "MODEL.PRECISION", "bfloat16")
    assert trusted_precision(config, build_model(config), CPU, "bfloat16") == "bfloat16"
    short = toy(4, "MODEL.PRECISION", "bfloat16")
    unused = nn.Identity()
    assert trusted_precision(short, unused, torch.device("cuda"), "bfloat16") == "bfloat16"
    assert trusted_precision(short, unused, CPU, "float32") == "float32"
    images = replace(short, TRAIN=replace(short.TRAIN, DATASET="imagenet"))
    assert trusted_precision(images, unused, CPU, "bfloat16") == "bfloat16"


def test_the_model_is_left_as_it_was():
    config = toy(8)
    model = create_baseline("x3d_xs", num_classes=2).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trusted_precision(config, model, CPU, "bfloat16")
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
