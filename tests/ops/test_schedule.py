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


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        (0, 1.6e-5),
        (0.25, 1.6e-5 + 1.584e-3 / 120),
        (15, 8.08e-4),
        (29.75, 1.6e-3 - 1.584e-3 / 120),
        (30, 1.6e-3),
        (115, 8.08e-4),  # half of the way from 30 to 200
        (199.5, 1.6e-5 + 1.584e-3 * (1 - math.cos(math.pi / 340)) / 2),  # a 340th of half a turn before its end
        (200, 1.6e-5),
    ],
)
def test_kinetics_recipe(epoch, rate):
    """S and B from scratch on 16 machines: 1.6e-3, to 1.6e-5, in 200 epochs, the first 30 of warm-up from 1.6e-5."""
    rates = {"base": 1.6e-3, "end": 1.6e-5, "max_epoch": 200, "warmup_start": 1.6e-5, "warmup_epochs": 30}
    assert make_schedule("cosine", cosine_after_warmup=True, **rates)(epoch) == approx(rate, rel=1e-12)


@pytest.mark.parametrize("epoch", [0, 15, 30, 115, 199.5])
def test_kinetics_recipe_without_its_switch(epoch):
    """COSINE_AFTER_WARMUP False: the cosine has run 30 of its 200 epochs when the warm-up ends on it."""
    rates = {"base": 1.6e-3, "end": 1.6e-5, "max_epoch": 200, "warmup_start": 1.6e-5, "warmup_epochs": 30}
    at_30 = 1.6e-5 + 1.584e-3 * (math.cos(0.15 * math.pi) + 1) / 2
    expected = {
        0: 1.6e-5,
        15: (1.6e-5 + at_30) / 2,
        30: at_30,
        115: 1.6e-5 + 1.584e-3 * (1 - math.sin(0.075 * math.pi)) / 2,  # 0.075 of a half turn beyond its middle
        199.5: 1.6e-5 + 1.584e-3 * (1 - math.cos(math.pi / 400)) / 2,
    }
    assert make_schedule("cosine", **rates)(epoch) == approx(expected[epoch], rel=1e-9)


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
