"""Baselines by name and by config, their decay groups, and their weights through the loader."""

from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast_mvit.build.model import build_model, create_model, list_models
from slowfast_mvit.build.train import _optimizer
from slowfast_mvit.config.load import load_config
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.baselines import BASELINES
from slowfast_mvit.weights.load import load_weights

S = Path(__file__).parents[2] / "configs" / "Kinetics" / "MVITV2_S_16x4.yaml"
NAMES = sorted(BASELINES)


def on_meta(make, *args, **options):
    with torch.device("meta"):
        return make(*args, **options)


def last_linear(model):
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


@pytest.mark.parametrize("name", NAMES)
def test_by_name(name):
    assert name in list_models()
    model = on_meta(create_model, name)
    assert last_linear(model).out_features == 400
    model = on_meta(create_model, name, num_classes=7, num_frames=9, crop_size=(64, 33), dropout_rate=0.25)
    assert last_linear(model).out_features == 7
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == [0.25]


@pytest.mark.parametrize("name", NAMES)
def test_by_config(name):
    """The recipe's keys of MViT, drop path among them, mean nothing here."""
    model = on_meta(build_model, load_config(S, ["MODEL.ARCH", name, "MODEL.NUM_CLASSES", "9"]))
    same = on_meta(create_model, name, num_classes=9)
    shapes = {key: tensor.shape for key, tensor in same.state_dict().items()}
    assert {key: tensor.shape for key, tensor in model.state_dict().items()} == shapes
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == [0.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_path_rate": 0.1}, "x3d_xs is PyTorchVideo's network, which has no drop_path_rate: leave it out"),
        (
            {"positions": "absolute", "cls_token": False},
            "x3d_xs is PyTorchVideo's network, which has no positions, cls_token: leave it out",
        ),
        ({"crop_size": 16}, "height is 16; x3d_xs takes 32 or more"),
    ],
)
def test_what_a_baseline_does_not_have(options, message):
    with pytest.raises(UserError) as caught:
        create_model("x3d_xs", **options)
    assert str(caught.value) == message


def test_a_name_that_is_nearly_right():
    with pytest.raises(UserError, match=r"there is no model 'x3d_xl'; did you mean x3d_"):
        create_model("x3d_xl")


@pytest.mark.parametrize("zero_1d", [True, False])
def test_decay_groups(zero_1d):
    """Batch norms first and without decay, whatever becomes of other biases."""
    config = load_config(S, ["MODEL.ARCH", "x3d_xs", "SOLVER.ZERO_WD_1D_PARAM", str(zero_1d)])
    model = on_meta(build_model, config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    norms = [
        f"{place}.{key}"
        for place, module in model.named_modules()
        if isinstance(module, nn.BatchNorm3d)
        for key in ("weight", "bias")
    ]
    rest = [name for name in names.values() if name not in norms]
    biases = [name for name in rest if name.endswith(".bias")]
    assert len(norms) == 2 * (1 + 3 * 26 + 3 + 1)  # stem, 26 blocks, the shortcuts of three stages, head
    assert "blocks.5.proj.bias" in biases and len(biases) == 1 + 2 * (2 + 3 + 6 + 4)  # squeeze-excitation
    expected = [(norms, 0.0), ([name for name in rest if name not in biases], 0.05), (biases, 0.0)]
    groups = [
        ([names[id(parameter)] for parameter in group["params"]], group["weight_decay"])
        for group in _optimizer(config, model).param_groups
    ]
    assert groups == (expected if zero_1d else [(norms, 0.0), (rest, 0.05)])


def test_weights_travel_by_the_hubs_names():
    published, model = create_model("x3d_xs", num_classes=5), create_model("x3d_xs", num_classes=5)
    with torch.no_grad():
        for tensor in published.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) * 9)
    # PyTorchVideo's container; old files have no counters of batches.
    state = {key: tensor for key, tensor in published.state_dict().items() if "num_batches" not in key}
    report = load_weights(model, {"model_state": state}, strict=True)
    assert report.share == 1 and report.is_complete and not report.unexpected
    for key, tensor in state.items():
        assert torch.equal(model.state_dict()[key], tensor), key


def test_a_head_of_other_classes_starts_fresh():
    published, model = create_model("slowfast_r50", num_classes=5), create_model("slowfast_r50", num_classes=3)
    fresh = last_linear(model).weight.clone()
    report = load_weights(model, published.state_dict())
    assert report.kept_head == ("blocks.6.proj.weight", "blocks.6.proj.bias")
    assert torch.equal(last_linear(model).weight, fresh)
    stem = "blocks.0.multipathway_blocks.0.conv.weight"
    assert torch.equal(model.state_dict()[stem], published.state_dict()[stem])


def test_another_networks_weights_are_refused():
    with pytest.raises(UserError, match="holds the weights of another model"):
        load_weights(create_model("x3d_xs"), create_model("mvitv2_t").state_dict())
