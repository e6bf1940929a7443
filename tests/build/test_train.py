"""What training by config computes beside the loop: rates, and the guard before a checkpoint."""

from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast_mvit.build.train import _check_weights, learning_rate_factor, schedule_of
from slowfast_mvit.config.load import load_config_text
from slowfast_mvit.data.loader import StepPlan
from slowfast_mvit.errors import UserError

ROOT = Path(__file__).parents[2]
SMALL = (ROOT / "configs" / "Toy" / "MVITV2_TOY_8x4.yaml").read_text()


@pytest.mark.parametrize("ruin", [float("nan"), float("inf")])
def test_ruined_weights_are_not_saved(ruin: float) -> None:
    model = nn.Linear(2, 2)
    _check_weights(model, 0)
    with torch.no_grad():
        model.weight[0, 1] = ruin
    with pytest.raises(UserError, match="no longer finite after epoch 3"):
        _check_weights(model, 2)


def test_ruined_statistics_are_not_saved() -> None:
    """They may overflow while every weight and the loss stay finite."""
    model = nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2))
    _check_weights(model, 0)
    clips = torch.full((2, 1, 1, 2, 2), 1e30)
    clips[0] = -clips[0]
    assert model(clips).isfinite().all()
    with pytest.raises(UserError, match="no longer finite after epoch 1"):
        _check_weights(model, 0)


def test_rates_are_scaled_by_the_clips_of_a_step() -> None:
    config = load_config_text(SMALL, "toy", ["SOLVER.REFERENCE_BATCH", "512", "AUG.NUM_SAMPLE", "2"])
    plan = StepPlan(num_videos=1000, batch_size=16, accumulate_steps=4)
    assert learning_rate_factor(config, plan) == 16 * 4 * 2 / 512
    schedule = schedule_of(config, plan)
    assert schedule(0) == pytest.approx(1e-5 / 4)
    assert schedule(0.5) == pytest.approx(1e-3 / 4)
    assert schedule(12) == pytest.approx(1e-5 / 4)


def test_rates_stay_as_they_are_without_a_reference() -> None:
    config = load_config_text(SMALL, "toy")
    assert learning_rate_factor(config, StepPlan(1000, 16)) == 1.0
    config = load_config_text(SMALL, "toy", ["SOLVER.BASE_LR_SCALE_NUM_SHARDS", "True", "NUM_SHARDS", "4"])
    assert learning_rate_factor(config, StepPlan(1000, 16)) == 4.0
