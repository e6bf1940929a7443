"""Which parameters of a detector decay with detectron2's AdamW: all but norms, relative and absolute positions."""

import re

import pytest

from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.train import _optimizer
from slowfast_mvit.config.load import load_config

DETECTRON2 = ["SOLVER.ZERO_WD_1D_PARAM", "False", "SOLVER.ZERO_WD_NORM", "True", "MVIT.ZERO_DECAY_POS_CLS", "True"]
NORM = re.compile(r"norm|\.rel_pos|pos_embed")


@pytest.mark.parametrize("name", ["MVITV2_TOY_COCO", "MVITV2_TOY_COCO_CASCADE"])
def test_groups(name):
    config = load_config(f"configs/Toy/{name}.yaml", [*DETECTRON2, "SOLVER.WEIGHT_DECAY", "0.1"])
    model = build_model(config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = _optimizer(config, model).param_groups
    decays = {names[id(parameter)]: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert decays.keys() == dict(model.named_parameters()).keys()
    resting = {name for name, decay in decays.items() if decay == 0}
    assert resting == {name for name in decays if NORM.search(name)}
    assert {decay for name, decay in decays.items() if name not in resting} == {0.1}
    # Biases of linear layers and convolutions decay, as they do there.
    assert decays["backbone.bottom_up.blocks.0.attn.proj.bias"] == 0.1
    assert decays["proposal_generator.rpn_head.objectness_logits.bias"] == 0.1
    assert (
        "backbone.bottom_up.blocks.0.attn.rel_pos_h" in resting and "backbone.bottom_up.blocks.0.norm1.bias" in resting
    )
