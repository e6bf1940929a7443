"""What create_model is given is checked before anything is built, for every kind of model."""

import numpy as np
import pytest
import torch

from slowfast_mvit.build.model import create_model
from slowfast_mvit.errors import UserError

COUNT, RATE = "a whole number from 1 on", "at least 0 and less than 1"
SIZE = "a whole number of pixels, or a pair of them (height, width)"


@pytest.mark.parametrize("name", ["mvitv2_s_16x4", "x3d_xs"])
@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"num_classes": "400"}, COUNT),
        ({"num_classes": 10.0}, COUNT),
        ({"num_classes": 0}, COUNT),
        ({"num_classes": True}, COUNT),
        ({"in_channels": 0}, COUNT),
        ({"num_frames": "16"}, "a whole number"),
        ({"num_frames": 16.0}, "a whole number"),
        ({"crop_size": (224,)}, SIZE),
        ({"crop_size": (224, "224")}, SIZE),
        ({"crop_size": "224"}, SIZE),
        ({"crop_size": 224.0}, SIZE),
        ({"drop_path_rate": 1.5}, RATE),
        ({"drop_path_rate": -1}, RATE),
        ({"drop_path_rate": "0.1"}, RATE),
        ({"dropout_rate": 2}, RATE),
        ({"dropout_rate": 1.0}, RATE),
        ({"dropout_rate": float("nan")}, RATE),
    ],
    ids=str,
)
@pytest.mark.parametrize("pretrained", [None, "nowhere.pth"])
def test_values_that_no_model_takes(name: str, given: dict, kind: str, pretrained: str | None) -> None:
    ((keyword, value),) = given.items()
    with pytest.raises(UserError) as error:
        create_model(name, pretrained=pretrained, **given)
    assert str(error.value) == f"{keyword} is {value!r}; it must be {kind}"


def test_numbers_of_numpy_are_numbers() -> None:
    with torch.device("meta"):
        model = create_model(
            "mvitv2_t",
            num_classes=np.int64(7),
            crop_size=np.int32(64),
            drop_path_rate=np.float32(0.5),
            dropout_rate=0,
        )
    assert model.num_classes == 7 and model.arch.input_size == (64, 64)
    assert model.blocks[-1].drop_path.drop_prob == 0.5


@pytest.mark.parametrize("name", ["mvitv2_s", "x3d_xs"])
@pytest.mark.parametrize(
    ("keyword", "meant"),
    [
        ("num_class", "num_classes"),
        ("in_chans", "in_channels"),
        ("img_size", "crop_size"),
        ("crop", "crop_size"),
        ("position", "positions"),
        ("Drop-Path-Rate", "drop_path_rate"),
    ],
)
def test_keywords_that_are_nearly_right(name: str, keyword: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"^create_model takes no '{keyword}'; did you mean {meant}\?$"):
        create_model(name, **{keyword: 10})
