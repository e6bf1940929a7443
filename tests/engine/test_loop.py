"""The one loop on models so small that every number can be worked out."""

import contextlib
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from slowfast_mvit.engine.log import ProgressBar
from slowfast_mvit.engine.loop import Position, evaluate
from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.schedule import make_schedule
from tests.engine.training import (
    BoxSquares,
    Course,
    Recorder,
    Squares,
    all_logged,
    batch,
    boxes_of,
    line,
    logged,
    plan,
    run,
)


def test_the_loss_falls(tmp_path):
    model, epochs = line(), []
    data = batch([0.0, 1.0, 2.0, 3.0], [1, 3, 5, 7])
    run(
        tmp_path,
        model,
        (data for _ in range(120)),
        plan(num_epochs=3, steps_per_epoch=40, clips_per_step=4),
        after=epochs.append,
    )
    losses = [entry["loss"] for entry in logged(tmp_path)]
    assert losses[0] > 10 * losses[-1] and losses == sorted(losses, reverse=True)
    assert (model.weight.item(), model.bias.item()) == pytest.approx((2, 1), abs=0.1)
    assert epochs == [0, 1, 2]


def test_learning_rates_are_the_schedules_at_fractional_epochs(tmp_path):
    schedule = make_schedule("cosine", base=0.1, max_epoch=3, end=0.01, warmup_start=0.001, warmup_epochs=1.0)
    optimizer = run(
        tmp_path,
        line(),
        [batch([1.0, 0.0], [1, 0])] * 8,
        plan(num_epochs=3, steps_per_epoch=4, log_period=3),
        schedule=schedule,
        start=Position(epoch=1),
    )
    expected = [1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 2.75]
    assert optimizer.rates == [schedule(epoch) for epoch in expected]
    assert optimizer.rates[2] == pytest.approx(0.01 + 0.09 * 0.5 * (math.cos(math.pi / 2) + 1))
    entries = logged(tmp_path)  # every third step of an epoch, and its last
    assert [(entry["epoch"], entry["step"]) for entry in entries] == [(2, 7), (2, 8), (3, 11), (3, 12)]
    assert [entry["lr"] for entry in entries] == [schedule(epoch) for epoch in (1.5, 1.75, 2.5, 2.75)]
    assert {entry["steps"] for entry in entries} == {12}


def test_too_many_steps_left_out_in_a_row_stop_the_run(tmp_path):
    good, ruined = batch([1.0], [2]), batch([math.nan], [2], videos=[7])
    three = plan(steps_per_epoch=9, clips_per_step=1, max_skipped=3)
    model, optimizer = line(1.0, 0.0), None
    optimizer = Recorder(model.parameters())
    with pytest.raises(UserError) as caught:
        run(tmp_path, model, [ruined, ruined, good, ruined, ruined, ruined], three, optimizer=optimizer)
    assert str(caught.value) == (
        "3 steps in a row were left out, the last is 6, where the loss is not finite on the clips 7: lower SOLVER.BASE_LR, "
        "clip gradients (SOLVER.CLIP_GRAD_L2NORM), or look at these videos; the weights are those of the step before, and if "
        "the run has just been resumed, its newest checkpoint may be at fault"
    )
    assert len(optimizer.rates) == 1
    start = Position(0, 2, 9, skipped=2)  # the count goes on after a restart
    with pytest.raises(UserError, match="3 steps in a row were left out, the last is 3"):
        run(tmp_path, model, [ruined], three, start=start)
    with pytest.raises(UserError, match="1 step was left out, it is 1, where"):
        run(tmp_path, model, [ruined], replace(three, max_skipped=0))


@pytest.mark.parametrize("done", [0, 1])
def test_the_mean_of_an_epoch_is_over_its_boxes(tmp_path, done):
    """Steps of one clip with three boxes and of two clips with one, also where the epoch goes on after the first of them."""
    steps = [boxes_of([1.0], [[0, 1, 1]]), boxes_of([3.0, 5.0], [[0], []])]
    model, course = line(1.0, 0.0), Course()
    two = plan(steps_per_epoch=2, clips_per_step=1)
    still = {"task": BoxSquares(), "course": course, "schedule": lambda epoch: 0.0}
    sums = {"clips": 1.0, "scored": 3.0, "seconds": 1.0, "loss": 1.0} if done else {}
    run(tmp_path, model, steps[done:], two, start=Position(0, done, 2, sums=sums), **still)
    ((position, means),) = course.ended
    assert means["loss"] == pytest.approx((1 + 9) / 4)  # errors 1, 0, 0 and 3
    assert (position.sums["clips"], position.sums["scored"]) == (3, 4)
    assert means["clips_per_second"] * means["seconds"] == pytest.approx(3)
    assert "scored" not in means


def test_checkpoints_and_stops_inside_epochs(tmp_path):
    stream = [batch([1.0, 0.0], [1, 0])] * 8
    course = Course(save_at=(1, 4), stop_at=(6,))
    with pytest.raises(InterruptedError):
        run(tmp_path, line(), stream, plan(num_epochs=2, steps_per_epoch=4), course=course)
    # A wish at an epoch's last step is what the end of the epoch sees to.
    assert [(position.epoch, position.step) for position in course.saved] == [(0, 1), (1, 2)]
    assert [(position.epoch, position.step) for position, _ in course.ended] == [(0, 4)]
    assert course.asked == 6
    course = Course(stop_at=(4,))
    with pytest.raises(InterruptedError):
        run(tmp_path, line(), stream, plan(num_epochs=2, steps_per_epoch=4), course=course)
    assert [(position.epoch, position.step) for position in course.saved] == [(0, 4)] and not course.ended


def test_a_training_that_starts_at_the_end_of_an_epoch_ends_it_first(tmp_path):
    course, start = Course(), Position(0, 4, 4, sums={"clips": 8.0, "loss": 4.0, "seconds": 2.0})
    optimizer = run(
        tmp_path, line(), [batch([1.0, 0.0], [1, 0])] * 4, plan(num_epochs=2, steps_per_epoch=4), course=course, start=start,
        schedule=lambda epoch: 0.1 + epoch,
    )  # fmt: skip
    (first, means), (second, _) = course.ended
    assert first == start and (second.epoch, second.step) == (1, 4) and len(optimizer.rates) == 4
    assert means == {"loss": 0.5, "lr": 0.85, "seconds": 2.0, "clips_per_second": 4.0}


def test_an_exploding_loss_stops_the_run_before_its_step(tmp_path):
    model, seen = line(0.0, 0.0), []
    batches = [batch([0.0], [1])] * 6 + [batch([0.0], [3])]
    with pytest.raises(UserError, match=r"explodes at step 7: 9 after 1, 1, 1, 1, 1, which is over"):
        run(
            tmp_path,
            model,
            batches,
            plan(steps_per_epoch=7, clips_per_step=1, explosion_factor=8.9),
            schedule=lambda epoch: 0.0,
            optimizer=(optimizer := Recorder(model.parameters())),
            after=seen.append,
        )
    assert len(optimizer.rates) == 6 and seen == []
    run(
        tmp_path,
        model,
        batches,
        plan(steps_per_epoch=7, clips_per_step=1, explosion_factor=9.0),
        schedule=lambda epoch: 0.0,
    )


def test_what_follows_each_step_sees_its_weights(tmp_path):
    model, seen = line(1.0, 0.0), []
    course = Course(lambda epoch: seen.append("epoch"), updated=lambda: seen.append(round(model.weight.item(), 6)))
    run(tmp_path, model, [batch([1.0, 3.0], [2, 2])] * 2, plan(steps_per_epoch=2), course=course)
    assert seen[0] == 0.8 and len(seen) == 3 and seen[1] == round(model.weight.item(), 6) and seen[2] == "epoch"


class Dropped(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.first, self.drop, self.last = nn.Linear(1, 16), nn.Dropout(0.5), nn.Linear(16, 1)

    def forward(self, x):
        return self.last(self.drop(self.first(x)))


def drawing(batches):
    """A stream that draws from torch's own generator when it starts, as a loader does."""
    torch.rand(3)
    for each in batches:
        torch.rand(1)
        yield each


def train_dropped(tmp_path, start=None, until=None, seed=0, state=None, disturb=0):
    """Four epochs of two steps of two passes from a position, to the end or to a step; gives weights, optimizer, position."""
    model, start = Dropped(), start or Position(steps_per_epoch=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    if state is not None:
        model.load_state_dict(state[0])
        optimizer.load_state_dict(state[1])
    done = start.epoch * 2 + start.step
    data = [batch([0.1 * i, -0.2 * i, 0.5], [1, 0, 2]) for i in range(16)][done * 2 :]
    course = Course(
        lambda epoch: torch.rand(epoch + 1 + disturb),  # a validation that draws
        stop_at=() if until is None else (until - done,),
    )
    torch.manual_seed(disturb)
    with contextlib.suppress(InterruptedError):
        run(
            tmp_path,
            model,
            drawing(data),
            plan(num_epochs=4, steps_per_epoch=2, passes_per_step=2, clips_per_step=6, seed=seed),
            schedule=make_schedule("cosine", base=0.05, max_epoch=4),
            optimizer=optimizer,
            course=course,
            start=start,
        )
    return model.state_dict(), optimizer.state_dict(), course


def test_a_resumed_run_equals_the_whole_one_bitwise(tmp_path):
    """Stopped inside an epoch, or at its end."""
    whole, _, course = train_dropped(tmp_path / "whole")
    rows = [(position, without_time(means)) for position, means in course.ended]
    for stop in (1, 2, 5, 7):
        *half, first = train_dropped(tmp_path / f"half{stop}", until=stop, disturb=stop)
        position = first.saved[-1]
        assert position.epoch * 2 + position.step == stop
        resumed, _, second = train_dropped(tmp_path / f"rest{stop}", start=position, state=half, disturb=55)
        for name, tensor in whole.items():
            assert torch.equal(tensor, resumed[name]), name
        both = [(position, without_time(means)) for position, means in first.ended + second.ended]
        assert [means for _, means in both] == [means for _, means in rows]
        assert [(position.epoch, position.recent_losses) for position, _ in both] == [
            (position.epoch, position.recent_losses) for position, _ in rows
        ]
    other, _, _ = train_dropped(tmp_path / "other", seed=1)
    assert not torch.equal(whole["first.weight"], other["first.weight"])


def without_time(means):
    return {name: value for name, value in means.items() if "second" not in name}


def test_training_mode_comes_back_after_a_validation(tmp_path):
    model, task = line(), Squares()
    run(
        tmp_path,
        model,
        [batch([1.0, 0.0], [1, 0])] * 4,
        plan(num_epochs=2, steps_per_epoch=2),
        task=task,
        after=lambda epoch: model.eval(),
    )
    assert task.train_modes == [True] * 4


def test_no_batch_is_taken_too_many(tmp_path):
    stream = iter([batch([1.0, 0.0], [1, 0])] * 5)
    run(tmp_path, line(), stream, plan(num_epochs=2, steps_per_epoch=2))
    assert len(list(stream)) == 1


def test_evaluate():
    model, taken = nn.Linear(1, 2), []

    class Collector:
        def add(self, batch, scores):
            assert scores.is_inference() and not scores.requires_grad
            taken.append((batch, scores))

    batches = [batch([1.0, 2.0], [0, 1]), batch([3.0], [1])]
    bar = ProgressBar("test", 2)
    evaluate(lambda b: model(b.video[:, :1, 0, 0, 0]), iter(batches), Collector(), bar)
    bar.close()
    assert [b for b, _ in taken] == batches and [len(scores) for _, scores in taken] == [2, 1]
    torch.testing.assert_close(taken[1][1].clone(), model(torch.tensor([[3.0]])).detach())
    assert torch.is_grad_enabled()


def test_an_epoch_does_not_end_in_ruins(tmp_path):
    """One step may be left out at its end, two are a reason to stop before anything is saved."""
    good, ruined = batch([1.0], [2]), batch([math.nan], [2])
    three, course = plan(steps_per_epoch=3, clips_per_step=1), Course(save_at=(1, 2))
    run(tmp_path, line(), [good, good, ruined], three, course=course)
    assert len(course.ended) == 1 and len(course.saved) == 2
    course = Course(save_at=(1, 2))
    with pytest.raises(UserError, match="the last 2 steps, up to the end of epoch 1, were left out"):
        run(tmp_path, line(), [good, ruined, ruined], three, course=course)
    assert not course.ended and [position.step for position in course.saved] == [1]
    stopped = Position(0, 3, 3, skipped=2, sums={"clips": 1.0, "seconds": 1.0, "loss": 0.5})
    course = Course()
    run(tmp_path, line(), [], three, course=course, start=stopped)
    assert len(course.ended) == 1  # by a signal at that moment: it goes on


def test_steps_without_clips_are_not_counted_among_those_that_fail(tmp_path):
    """A passage of the list that cannot be read is no reason to stop: DATA.MAX_BAD_VIDEOS is its limit."""
    course = Course()
    run(
        tmp_path,
        line(),
        [batch([1.0], [2]), None, None, None],
        plan(steps_per_epoch=4, clips_per_step=1, max_skipped=2),
        course=course,
    )
    ((position, means),) = course.ended
    assert position.skipped == 0 and means["clips_per_second"] > 0


def test_too_many_bad_videos_cost_no_step_that_was_made(tmp_path):
    class Strict(Course):
        def count_bad_videos(self, number):
            if number:
                raise UserError("too many")

    good = batch([1.0], [2])
    for bad_at, saved in ((0, []), (2, [(0, 2)]), (3, [(0, 3)])):
        course = Strict(bad=[0] * bad_at + [1])
        with pytest.raises(UserError, match="too many"):
            run(tmp_path, line(), [good] * 9, plan(num_epochs=3, steps_per_epoch=3, clips_per_step=1), course=course)
        assert [(position.epoch, position.step) for position in course.saved] == saved


def test_steps_without_boxes_are_not_counted_among_those_that_fail(tmp_path):
    course, nobody = Course(), boxes_of([1.0], [[]])
    two = plan(steps_per_epoch=4, clips_per_step=1, max_skipped=2)
    run(tmp_path, line(), [boxes_of([1.0], [[2]]), nobody, nobody, nobody], two, task=BoxSquares(), course=course)
    assert course.ended[0][0].skipped == 0
    assert [entry["reason"] for entry in all_logged(tmp_path) if entry["kind"] == "skipped"] == [
        "there is no box in its clips"
    ] * 3
