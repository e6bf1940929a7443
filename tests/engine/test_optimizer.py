"""Which parameters decay and at what rate, and the optimizers' settings."""

import math
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from slowfast_mvit.engine.optimizer import (
    layer_decay_groups,
    layer_of,
    make_optimizer,
    parameter_groups,
    restore_optimizer,
    scale_layers,
    set_learning_rate,
)
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.variants import video_architecture


def small_mvit():
    return MViT(video_architecture(embed_dim=8, num_heads=1, depth=1, stage_starts=(), num_frames=4, crop_size=32), 5)


def names_of(model, groups):
    name = {id(parameter): key for key, parameter in model.named_parameters()}
    return [([name[id(parameter)] for parameter in group["params"]], group["weight_decay"]) for group in groups]


POSITIONS = ["cls_token", *(f"blocks.0.attn.rel_pos_{axis}" for axis in "thw")]
WEIGHTS = [
    "patch_embed.proj.weight",
    *(f"blocks.0.attn.{name}.weight" for name in ("qkv", "proj", "pool_q", "pool_k", "pool_v")),
    *("blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight", "head.projection.weight"),
]
ONE_DIMENSION = [
    "patch_embed.proj.bias",
    *(f"{norm}.{kind}" for norm in ("blocks.0.norm1", "blocks.0.norm2", "norm") for kind in ("weight", "bias")),
    *(f"blocks.0.attn.norm_{x}.{kind}" for x in "qkv" for kind in ("weight", "bias")),
    *(f"{layer}.bias" for layer in ("blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.0.mlp.fc1", "blocks.0.mlp.fc2")),
    "head.projection.bias",
]


def ordered(model, names):
    return [name for name, _ in model.named_parameters() if name in names]


@pytest.mark.parametrize(
    ("no_decay_1d", "words", "decaying"),
    [
        (True, (), WEIGHTS + POSITIONS),
        (True, ("cls_token", "rel_pos", "pos_embed"), WEIGHTS),
        (False, ("cls_token", "rel_pos"), WEIGHTS + ONE_DIMENSION),
    ],
)
def test_groups_in_the_official_order(no_decay_1d, words, decaying):
    model = small_mvit()
    every = WEIGHTS + ONE_DIMENSION + POSITIONS
    assert sorted(every) == sorted(name for name, _ in model.named_parameters())
    groups = parameter_groups(model, 0.05, no_decay_1d=no_decay_1d, no_decay_names=words)
    assert names_of(model, groups) == [
        (ordered(model, decaying), 0.05),
        (ordered(model, set(every) - set(decaying)), 0.0),
    ]


def test_empty_groups_are_left_out():
    model = small_mvit()
    ((names, decay),) = names_of(model, parameter_groups(model, 0.1, no_decay_1d=False))
    assert names == [name for name, _ in model.named_parameters()] and decay == 0.1
    norm = nn.LayerNorm(4)
    assert names_of(norm, parameter_groups(norm, 0.1, no_decay_1d=True)) == [(["weight", "bias"], 0.0)]


def test_batch_norms_come_first_and_never_decay():
    """The official rule: a group of their own, whatever words or dimensions say."""
    model = nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2), nn.LayerNorm(2), nn.Linear(2, 2), nn.BatchNorm1d(2))
    norms = ["1.weight", "1.bias", "4.weight", "4.bias"]
    for no_decay_1d, words, decaying, resting in (
        (True, (), ["0.weight", "3.weight"], ["0.bias", "2.weight", "2.bias", "3.bias"]),
        (True, ("1.",), ["0.weight", "3.weight"], ["0.bias", "2.weight", "2.bias", "3.bias"]),
        (False, ("3.",), ["0.weight", "0.bias", "2.weight", "2.bias"], ["3.weight", "3.bias"]),
    ):
        groups = parameter_groups(model, 0.1, no_decay_1d=no_decay_1d, no_decay_names=words)
        assert names_of(model, groups) == [(norms, 0.0), (decaying, 0.1), (resting, 0.0)]
    model[1].requires_grad_(False)
    assert names_of(model, parameter_groups(model, 0.1, no_decay_1d=False))[0] == (norms[2:], 0.0)


def test_frozen_parameters_are_in_no_group():
    model = small_mvit()
    model.patch_embed.requires_grad_(False)
    names = [n for group, _ in names_of(model, parameter_groups(model, 0.1, no_decay_1d=True)) for n in group]
    assert len(names) == 31 - 2 and not any(name.startswith("patch_embed") for name in names)


def test_words_may_be_an_iterator():
    model = small_mvit()
    groups = parameter_groups(model, 0.1, no_decay_1d=False, no_decay_names=iter(["cls_token", "rel_pos"]))
    assert names_of(model, groups)[1][0] == POSITIONS


def test_settings_of_each_method():
    def groups():
        return parameter_groups(small_mvit(), 0.05, no_decay_1d=True)

    sgd = make_optimizer("sgd", groups(), momentum=0.8, dampening=0.0, nesterov=True)
    adam = make_optimizer("adam", groups(), betas=(0.8, 0.95))
    adamw = make_optimizer("adamw", groups(), betas=(0.9, 0.98))
    assert [type(optimizer) for optimizer in (sgd, adam, adamw)] == [SGD, Adam, AdamW]
    assert (sgd.defaults["momentum"], sgd.defaults["dampening"], sgd.defaults["nesterov"]) == (0.8, 0.0, True)
    assert adam.defaults["betas"] == (0.8, 0.95) and adamw.defaults["betas"] == (0.9, 0.98)
    assert adam.defaults["eps"] == adamw.defaults["eps"] == 1e-8
    for optimizer in (sgd, adam, adamw):
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]
        assert {group["lr"] for group in optimizer.param_groups} == {0.0}


def test_one_step_of_adamw_by_hand():
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(2.0), layer.bias.fill_(3.0)
    optimizer = make_optimizer("adamw", parameter_groups(layer, 0.1, no_decay_1d=True))
    set_learning_rate(optimizer, 0.5)
    layer(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    # The first step of Adam is the rate itself; only the weight decays: 2 * (1 - 0.5 * 0.1) - 0.5.
    assert layer.weight.item() == pytest.approx(1.4, abs=1e-6) and layer.bias.item() == pytest.approx(2.5, abs=1e-6)


def test_two_steps_of_nesterov_by_hand():
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    groups = parameter_groups(layer, 0.0, no_decay_1d=True)
    optimizer = make_optimizer("sgd", groups, momentum=0.9, nesterov=True)
    set_learning_rate(optimizer, 0.1)
    for expected in (0.81, 0.539):  # the steps are 1 + 0.9 * 1 and 1 + 0.9 * (0.9 * 1 + 1)
        layer.weight.grad = torch.ones(1, 1)
        optimizer.step()
        assert layer.weight.item() == pytest.approx(expected, abs=1e-6)


def test_unknown_method():
    with pytest.raises(UserError, match=r"^SOLVER\.OPTIMIZING_METHOD is 'lamb'; it must be sgd, adam or adamw$"):
        make_optimizer("lamb", parameter_groups(nn.Linear(1, 1), 0.1, no_decay_1d=True))


def test_learning_rate_of_every_group():
    optimizer = make_optimizer("adamw", parameter_groups(small_mvit(), 0.05, no_decay_1d=True))
    set_learning_rate(optimizer, 3e-4)
    assert [group["lr"] for group in optimizer.param_groups] == [3e-4, 3e-4]


# Layer decay


def two_blocks():
    arch = video_architecture(embed_dim=8, num_heads=1, depth=2, stage_starts=(), num_frames=4, crop_size=32)
    return MViT(arch, 5)


def decayed(model, **changed):
    settings = {"layer_decay": 0.5, "depth": 2, "no_decay_1d": True} | changed
    return layer_decay_groups(model, 0.05, **settings)


def block(number, one_dimension):
    place = f"blocks.{number}."
    names = [name for name, _ in two_blocks().named_parameters() if name.startswith(place)]
    ones = ("norm", ".bias")
    return [name for name in names if any(part in name for part in ones) == one_dimension]


def test_layer_decay_by_hand():
    """Two blocks: the head has the whole rate, block 1 half of it, block 0 a quarter, the stem an eighth."""
    model = two_blocks()
    groups = decayed(model)
    assert names_of(model, groups) == [
        (["cls_token", "patch_embed.proj.weight"], 0.05),
        (["patch_embed.proj.bias"], 0.0),
        (block(0, True), 0.0),  # norm1 comes first
        (block(0, False), 0.05),
        (block(1, True), 0.0),
        (block(1, False), 0.05),
        (["norm.weight", "norm.bias", "head.projection.bias"], 0.0),
        (["head.projection.weight"], 0.05),
    ]
    factors = [0.125, 0.125, 0.25, 0.25, 0.5, 0.5, 1.0, 1.0]
    assert [group["layer_decay"] for group in groups] == factors
    assert len(block(0, False)) == 10 and "blocks.0.attn.rel_pos_h" in block(0, False)
    optimizer = make_optimizer("adamw", groups)
    set_learning_rate(optimizer, 0.8)
    assert [group["lr"] for group in optimizer.param_groups] == [0.8 * factor for factor in factors]


def test_layer_decay_names_count_from_their_beginning():
    """Unlike without layer decay, relative positions decay whatever the names say: the official quirk."""
    model = two_blocks()
    groups = names_of(model, decayed(model, no_decay_names=iter(["cls_token", "rel_pos", "pos_embed"])))
    assert groups[0] == (["cls_token", "patch_embed.proj.bias"], 0.0)
    assert groups[1] == (["patch_embed.proj.weight"], 0.05)
    assert (block(0, False), 0.05) in groups
    assert len(names_of(model, decayed(model, no_decay_1d=False))) == 4


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("patch_embed.proj.bias", 0),
        ("cls_token", 0),
        ("pos_embed", 0),
        ("pos_embed_temporal", 0),
        ("blocks.0.attn.rel_pos_h", 1),
        ("blocks.15.proj.weight", 16),
        ("norm.weight", 17),
        ("head.projection.bias", 17),
    ],
)
def test_layers_of_16_blocks(name, layer):
    assert layer_of(name, 16) == layer


def test_layer_decay_of_the_masked_feature_recipe():
    """S with 0.75: the stem has 0.75 to the 17th, 0.75 % of the head's rate."""
    arch = video_architecture(embed_dim=8, num_heads=1, depth=16, stage_starts=(), num_frames=4, crop_size=32)
    groups = layer_decay_groups(MViT(arch, 5), 0.05, layer_decay=0.75, depth=16, no_decay_1d=True)
    assert len(groups) == 2 * 18
    assert min(group["layer_decay"] for group in groups) == 0.75**17 == pytest.approx(0.00751695)
    assert sum(len(group["params"]) for group in groups) == 3 + 16 * 24 + 4


def test_one_step_with_layer_decay():
    """Adam's first step is the rate itself: every weight moves by its layer's."""
    model = two_blocks()
    before = deepcopy(model.state_dict())
    optimizer = make_optimizer("adamw", layer_decay_groups(model, 0.0, layer_decay=0.5, depth=2, no_decay_1d=True))
    set_learning_rate(optimizer, 0.8)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, factor in {
        "cls_token": 8,
        "blocks.0.mlp.fc1.bias": 4,
        "blocks.1.norm1.weight": 2,
        "norm.bias": 1,
    }.items():
        step = before[name] - model.state_dict()[name]
        torch.testing.assert_close(step, torch.full_like(step, 0.8 / factor), rtol=1e-5, atol=1e-6)


# LARS


def test_lars_by_hand():
    weight, bias = nn.Parameter(torch.tensor([[3.0, 4.0]])), nn.Parameter(torch.tensor([3.0, 4.0]))
    weight.grad, bias.grad = torch.tensor([[0.0, 2.0]]), torch.tensor([0.0, 2.0])
    scale_layers([weight, bias], 0.1)
    # Norms 5 and 2; the factor is 0.001 * 5 / (2 + 0.1 * 5) = 0.002, and the decayed gradient (0.3, 2.4).
    torch.testing.assert_close(weight.grad, torch.tensor([[0.0006, 0.0048]]), rtol=1e-6, atol=0)
    assert torch.equal(bias.grad, torch.tensor([0.0, 2.0]))


def test_lars_leaves_zeros_and_what_has_no_gradient_alone():
    zero, still, without = (nn.Parameter(torch.full((1, 2), value)) for value in (0.0, 1.0, 1.0))
    zero.grad, still.grad = torch.ones(1, 2), torch.zeros(1, 2)
    scale_layers([zero, still, without], 0.1)
    assert torch.equal(zero.grad, torch.ones(1, 2)) and torch.equal(still.grad, torch.zeros(1, 2))
    assert without.grad is None
    scale_layers([without], 0.1)


def test_lars_acts_before_every_step_and_takes_the_decay_over():
    """Steps of plain descent from w = (3, 4), against the formula in float64; batch norms move as ever."""
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.BatchNorm1d(1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 4.0]]))
    groups = parameter_groups(model, 0.1, no_decay_1d=True)
    optimizer = make_optimizer("sgd", groups, momentum=0.0, nesterov=False, lars=True)
    set_learning_rate(optimizer, 100.0)
    expected = [3.0, 4.0]
    for _ in range(3):
        model[0].weight.grad = torch.tensor([[1.0, 2.0]])
        model[1].weight.grad, model[1].bias.grad = torch.tensor([0.01]), torch.tensor([0.02])
        optimizer.step()
        norm = math.hypot(*expected)
        factor = 100 * 0.001 * norm / (math.sqrt(5) + 0.1 * norm + 1e-8)
        expected = [w - factor * (g + 0.1 * w) for w, g in zip(expected, (1.0, 2.0), strict=True)]
        assert model[0].weight.flatten().tolist() == pytest.approx(expected, rel=1e-5)
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.1]
    assert (model[1].weight.item(), model[1].bias.item()) == pytest.approx((1 - 3, -6))


# Going on


def stepped(lars=False, layer_decay=None):
    model = two_blocks()
    groups = (
        parameter_groups(model, 0.05, no_decay_1d=True)
        if layer_decay is None
        else decayed(model, layer_decay=layer_decay)
    )
    optimizer = make_optimizer("adamw", groups, lars=lars)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def test_a_state_goes_on_with_the_rates_of_the_config():
    old, new = stepped(layer_decay=0.5), stepped(layer_decay=0.75)
    restore_optimizer(new, old.state_dict())
    assert {group["layer_decay"] for group in new.param_groups} == {1.0, 0.75, 0.75**2, 0.75**3}


def test_a_state_of_another_version_goes_on():
    """Of torch, or of ours: one with other settings beside those that tell the kind of optimizer."""
    state = stepped().state_dict()
    for group in state["param_groups"]:
        del group["layer_decay"], group["apply_LARS"], group["fused"]
        group["initial_lr"] = 1.0
    optimizer = stepped(lars=True)
    restore_optimizer(optimizer, state)
    assert {group["layer_decay"] for group in optimizer.param_groups} == {1.0}
    optimizer.step()


@pytest.mark.parametrize("fused", [True, False])
def test_a_state_of_an_optimizer_that_is_not_fused_goes_on_alike(fused):
    """Its count of steps goes to where a fused one wants it, with the weights: the settings are ours before it is loaded."""
    state, optimizer, before = stepped().state_dict(), stepped(), []
    for group in state["param_groups"]:
        group["fused"] = fused
    optimizer.register_load_state_dict_pre_hook(lambda _, loaded: before.extend(loaded["param_groups"]))
    restore_optimizer(optimizer, state)
    assert all(group["fused"] for group in (*before, *optimizer.param_groups))
    optimizer.step()
    steps = {entry["step"].item() for entry in optimizer.state.values()}
    assert steps == {2.0}


def test_moments_of_another_memory_layout_go_on_alike():
    """A fused step would add numbers that belong to other weights, and say nothing."""

    def went_on(change):
        torch.manual_seed(0)
        state, optimizer = stepped().state_dict(), stepped()
        for entry in state["state"].values():
            entry["exp_avg"] = change(torch.arange(float(entry["exp_avg"].numel())).reshape(entry["exp_avg"].shape))
        restore_optimizer(optimizer, state)
        set_learning_rate(optimizer, 0.1)
        optimizer.step()
        return [p.detach().clone() for group in optimizer.param_groups for p in group["params"]]

    def across(moment):
        return moment.t().contiguous().t() if moment.dim() == 2 else moment

    for got, want in zip(went_on(across), went_on(lambda moment: moment), strict=True):
        assert torch.equal(got, want)


def test_a_state_of_other_groups_is_refused():
    descent = make_optimizer("sgd", parameter_groups(two_blocks(), 0.05, no_decay_1d=True))
    for optimizer, state in (
        (stepped(layer_decay=0.5), stepped().state_dict()),
        (stepped(), descent.state_dict()),
        (descent, stepped().state_dict()),
    ):
        with pytest.raises(UserError, match=r"written with another SOLVER.OPTIMIZING_METHOD or other decay groups"):
            restore_optimizer(optimizer, state)
