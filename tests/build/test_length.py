"""Trainings measured in optimizer steps: length, learning rate, and going on inside the last, shortened epoch."""

import pytest

from slowfast_mvit.build.length import ends_epoch, is_over, num_epochs
from slowfast_mvit.build.train import schedule_of
from slowfast_mvit.config.load import load_config_text
from slowfast_mvit.data.loader import StepPlan, StepSampler
from slowfast_mvit.engine.loop import Position
from slowfast_mvit.engine.step import FitPlan

# detectron2's 3x schedule of MViTv2: batch 64, warm-up of 250 steps from a thousandth, a tenth from 52,500 and 62,500 on.
RECIPE = """
SOLVER:
  BASE_LR: 1.6e-4
  LR_POLICY: steps_with_relative_lrs
  STEPS: [0, 52500, 62500]
  LRS: [1, 0.1, 0.01]
  MAX_STEPS: 67500
  WARMUP_EPOCHS: 0
  WARMUP_STEPS: 250
  WARMUP_START_LR: 1.6e-7
TRAIN: {BATCH_SIZE: 64}
"""
COCO_IMAGES = 117266


def config_of(text=RECIPE):
    return load_config_text(text, "recipe", ["DATA.TEST_CROP_SIZE", "224"])


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 1.6e-7),
        (125, (1.6e-7 + 1.6e-4) / 2),
        (249, 1.6e-7 + (1.6e-4 - 1.6e-7) * 249 / 250),
        (250, 1.6e-4),
        (52_499, 1.6e-4),
        (52_500, 1.6e-5),
        (62_499, 1.6e-5),
        (62_500, 1.6e-6),
        (67_499, 1.6e-6),
    ],
)
def test_the_rates_of_the_3x_schedule(step, rate):
    plan = StepPlan(COCO_IMAGES, 64)
    fit = FitPlan(
        num_epochs(config_of(), plan.steps_per_epoch), plan.steps_per_epoch, 1, plan.videos_per_step, num_steps=67_500
    )
    epoch, inside = divmod(step, plan.steps_per_epoch)
    assert schedule_of(config_of(), plan)(fit.moment(epoch, inside)) == pytest.approx(rate, rel=1e-12)


def test_the_length_of_the_3x_schedule():
    plan = StepPlan(COCO_IMAGES, 64)
    assert plan.steps_per_epoch == 1832
    assert num_epochs(config_of(), 1832) == 37
    fit = FitPlan(37, 1832, 1, 64, num_steps=67_500)
    assert fit.total_steps == 67_500
    assert [fit.steps_in(epoch) for epoch in (0, 35, 36, 37)] == [1832, 1832, 67_500 - 36 * 1832, 0]
    assert sum(fit.steps_in(epoch) for epoch in range(37)) == 67_500


def test_epochs_are_as_before_without_steps():
    config = config_of("SOLVER: {MAX_EPOCH: 5, WARMUP_EPOCHS: 0}")
    assert num_epochs(config, 10) == 5
    fit = FitPlan(5, 10, 1, 64)
    assert fit.total_steps == 50 and fit.steps_in(4) == 10
    assert fit.moment(3, 7) == 3 + 7 / 10
    assert not ends_epoch(config, Position(4, 9, 10)) and ends_epoch(config, Position(4, 10, 10))
    assert not is_over(config, Position(3, 10, 10)) and is_over(config, Position(4, 10, 10))


@pytest.mark.parametrize(
    ("position", "ends", "over"),
    [
        (Position(0, 10, 10), True, False),
        (Position(2, 4, 10), False, False),
        (Position(2, 5, 10), True, True),
        (Position(2, 7, 10), True, True),  # MAX_STEPS was more when it was written
        (Position(3, 0, 10), True, True),
    ],
)
def test_where_a_shortened_epoch_ends(position, ends, over):
    config = config_of("SOLVER: {MAX_STEPS: 25, WARMUP_EPOCHS: 0}")
    assert num_epochs(config, 10) == 3
    assert ends_epoch(config, position) is ends
    assert is_over(config, position) is over


def test_steps_that_fill_their_epochs():
    config = config_of("SOLVER: {MAX_STEPS: 30, WARMUP_EPOCHS: 0}")
    assert num_epochs(config, 10) == 3
    assert is_over(config, Position(2, 10, 10)) and not is_over(config, Position(1, 10, 10))


@pytest.mark.parametrize("first", [0, 7, 20, 23])
def test_passes_of_a_shortened_epoch(first):
    """The passes from any step on are the last ones of all passes, and as many as there are steps left."""

    def passes(epoch, step):
        plan = StepPlan(45, 4)  # 11 steps an epoch
        return list(StepSampler(plan, seed=0, first_epoch=epoch, first_step=step, num_epochs=3, num_steps=25))

    everything = passes(0, 0)
    assert len(everything) == 25
    assert {key.epoch for given in everything[22:] for key in given} == {2}
    assert passes(*divmod(first, 11)) == everything[first:]
