"""When a loss explodes, by hand."""

import pytest

from slowfast_mvit.engine.explosion import LossWatch
from slowfast_mvit.errors import UserError


def test_the_mean_of_five_before_counts():
    watch = LossWatch(2.0)
    for step, loss in enumerate((100.0, 3.0, 4.0, 5.0, 6.0, 7.0, 10.0), 1):  # 10 is 2 * 5, and not over it
        watch.add(loss, step)
    with pytest.raises(UserError) as caught:
        watch.add(12.81, 8)  # the mean of 4, 5, 6, 7, 10 is 6.4
    assert str(caught.value) == (
        "the loss explodes at step 8: 12.81 after 4, 5, 6, 7, 10, which is over TRAIN.KILL_LOSS_EXPLOSION_FACTOR 2 times their "
        "mean: lower SOLVER.BASE_LR, clip gradients (SOLVER.CLIP_GRAD_L2NORM), or raise the factor; the weights are those of "
        "the step before"
    )


def test_it_looks_from_the_seventh_step_of_an_epoch_on():
    watch = LossWatch(1.5)
    for _ in range(2):
        watch.start_epoch()
        for loss in (1.0, 1.0, 1.0, 1.0, 1.0, 9.0):
            watch.add(loss, 1)
    with pytest.raises(UserError, match="at step 7: 9 after 1, 1, 1, 1, 9"):
        watch.add(9.0, 7)


def test_zero_is_off():
    watch = LossWatch(0.0)
    for step in range(20):
        watch.add(10.0**step, step)
