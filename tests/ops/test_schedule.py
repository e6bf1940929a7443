"""Learning rates at fractional epochs, worked by hand."""

import math

import pytest

from slowfast_mvit.ops.schedule import cosine, make_schedule, relative_steps, with_warmup

approx = pytest.approx


def cosine_schedule(after_warmup, **changes):
    settings = {"base": 1.0, "end": 0.1, "max_epoch": 100, "warmup_start": 0.01, "warmup_epochs": 20}
    return make_schedule("cosine", cosine_after_warmup=after_warmup, **settings | changes)


@pytest.mark.parametrize(("epoch", "rate"), [(0, 1.0), (25, 0.1 + 0.45 * (math.sqrt(0.5) + 1)), (50, 0.55), (100, 0.1)])
def test_cosine(epoch, rate):
    assert cosine(epoch, base=1.0, end=0.1, max_epoch=100) == approx(rate, rel=1e-12)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        (0, 0.01),
        (0.25, 0.01 + 0.99 / 80),
        (5, 0.2575),
        (10, 0.505),
        (19.5, 0.01 + 0.99 * 0.975),
        (20, 1.0),
        (40, 0.1 + 0.45 * (math.sqrt(0.5) + 1)),  # a quarter of the way from 20 to 100
        (60, 0.55),
        (80, 0.1 + 0.45 * (1 - math.sqrt(0.5))),
        (100, 0.1),
    ],
)
def test_cosine_after_warmup(epoch, rate):
    assert cosine_schedule(True)(epoch) == approx(rate, rel=1e-12)


# Without COSINE_AFTER_WARMUP the cosine runs from epoch 0, and the warm-up ends on its value at epoch 20: 0.9140576.
AT_20 = 0.1 + 0.45 * (math.cos(math.pi / 5) + 1)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        (0, 0.01),
        (0.25, 0.01 + (AT_20 - 0.01) / 80),
        (10, (0.01 + AT_20) / 2),
        (20, AT_20),
        (50, 0.55),
        (75, 0.1 + 0.45 * (1 - math.sqrt(0.5))),
        (100, 0.1),
    ],
)
def test_cosine_through_warmup(epoch, rate):
    assert cosine_schedule(False)(epoch) == approx(rate, rel=1e-12)


def test_the_warmup_meets_the_schedule():
    for after_warmup in (True, False):
        schedule = cosine_schedule(after_warmup)
        assert schedule(20 - 1e-9) == approx(schedule(20), rel=1e-9)


def test_no_warmup():
    assert cosine_schedule(True, warmup_epochs=0)(0) == 1.0
    assert with_warmup(lambda epoch: 3.0 - epoch, start=0.5, epochs=0)(1) == 2.0


def test_a_warmup_over_all_epochs_ends_at_the_base_rate():
    schedule = cosine_schedule(True, warmup_epochs=100)
    assert [schedule(epoch) for epoch in (0, 50, 100)] == approx([0.01, 0.505, 1.0])


def test_kinetics_recipe():
    """S, 16x4: 1.6e-3 on 16 machines, 30 of 200 epochs of warm-up."""
    rates = {"base": 1.6e-3, "end": 1.6e-5, "max_epoch": 200, "warmup_start": 1.6e-4, "warmup_epochs": 30}
    schedule = make_schedule("cosine", cosine_after_warmup=True, **rates)
    assert schedule(0) == 1.6e-4
    assert schedule(15) == approx(8.8e-4)
    assert schedule(30) == approx(1.6e-3)
    assert schedule(115) == approx(8.08e-4)
    assert schedule(200) == approx(1.6e-5)


STEPS = {"steps": (0, 10, 20), "factors": (1.0, 0.1, 0.01)}


@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 0.4), (9.99, 0.4), (10, 0.04), (19.99, 0.04), (20, 0.004), (1000, 0.004)]
)
def test_relative_steps(epoch, rate):
    assert relative_steps(epoch, base=0.4, **STEPS) == approx(rate, rel=1e-12)


def test_relative_steps_with_warmup():
    schedule = make_schedule(
        "steps_with_relative_lrs", base=0.4, max_epoch=30, warmup_start=0.0, warmup_epochs=12, **STEPS
    )
    # The target of the warm-up is the schedule's value at its end, where the first drop has happened.
    assert [schedule(epoch) for epoch in (0, 6, 12, 19.5, 20)] == approx([0.0, 0.02, 0.04, 0.04, 0.004])


def test_unknown_policy():
    with pytest.raises(ValueError, match=r"SOLVER.LR_POLICY is 'linear'; it must be cosine or steps_with_relative_lrs"):
        make_schedule("linear", base=1.0, max_epoch=1)
