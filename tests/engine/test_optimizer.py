"""Which parameters decay, and the optimizers' settings."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from slowfast_mvit.engine.optimizer import make_optimizer, parameter_groups, set_learning_rate
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


def test_unknown_method():
    with pytest.raises(UserError, match=r"^SOLVER\.OPTIMIZING_METHOD is 'lamb'; it must be sgd, adam or adamw$"):
        make_optimizer("lamb", parameter_groups(nn.Linear(1, 1), 0.1, no_decay_1d=True))


def test_learning_rate_of_every_group():
    optimizer = make_optimizer("adamw", parameter_groups(small_mvit(), 0.05, no_decay_1d=True))
    set_learning_rate(optimizer, 3e-4)
    assert [group["lr"] for group in optimizer.param_groups] == [3e-4, 3e-4]
