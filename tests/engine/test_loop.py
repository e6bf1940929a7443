"""The one loop on models so small that every number can be worked out."""

import contextlib
import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from slowfast_mvit.batches import AvaBatch, ClipBatch
from slowfast_mvit.engine.log import JsonLog, ProgressBar
from slowfast_mvit.engine.loop import FitPlan, Position, evaluate, fit
from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.randomness import step_rng
from slowfast_mvit.ops.schedule import make_schedule

CPU = torch.device("cpu")


def batch(values, labels, videos=None):
    """Clips of one pixel."""
    count = len(values)
    return ClipBatch(
        video=torch.tensor(values, dtype=torch.float32).view(count, 1, 1, 1, 1).expand(count, 3, 1, 1, 1).clone(),
        labels=torch.tensor(labels),
        video_index=torch.arange(count) if videos is None else torch.tensor(videos),
        clip_index=torch.zeros(count).long(),
        crop_index=torch.zeros(count).long(),
        start_sec=torch.zeros(count).double(),
        end_sec=torch.ones(count).double(),
    )


class Squares:
    """(w x + b - label) squared, meant over the batch; remembers what the loop asks for."""

    def __init__(self):
        self.draws, self.train_modes = [], []

    def losses(self, model, batch, rng):
        self.draws.append(rng.random())
        self.train_modes.append(model.training)
        out = model(batch.video[:, :1, 0, 0, 0])[:, 0]
        return {"loss": ((out - batch.labels) ** 2).mean(), "mean_out": out.detach().mean()}


def line(weight=0.0, bias=0.0):
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(weight), layer.bias.fill_(bias)
    return layer


class Recorder(torch.optim.SGD):
    """Plain descent that notes the rates it steps with."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=123.0)
        self.rates = []

    def step(self, closure=None):
        self.rates.append(self.param_groups[0]["lr"])
        return super().step(closure)


class Course:
    """Remembers what the loop asks for; wants a checkpoint or a stop after the steps that it is told."""

    def __init__(self, after=lambda epoch: None, *, updated=lambda: None, save_at=(), stop_at=(), bad=()):
        self.after, self.after_update = after, updated
        self.save_at, self.stop_at, self.bad = set(save_at), set(stop_at), list(bad)
        self.asked, self.saved, self.ended, self.counted = 0, [], [], []

    def new_bad_videos(self):
        self.asked += 1
        return self.bad.pop(0) if self.bad else 0

    def count_bad_videos(self, number):
        self.counted.append(number)

    def wants_checkpoint(self):
        return self.asked in self.save_at

    def wants_stop(self):
        return self.asked in self.stop_at

    def save(self, position):
        self.saved.append(position)

    def stop(self, position):
        self.saved.append(position)
        raise InterruptedError

    def after_epoch(self, position, means):
        self.ended.append((position, means))
        self.after(position.epoch)


def run(
    tmp_path,
    model,
    batches,
    plan,
    *,
    task=None,
    schedule=lambda epoch: 0.1,
    optimizer=None,
    after=lambda epoch: None,
    name=str,
    course=None,
    **given,
):
    optimizer = optimizer or Recorder(model.parameters())
    with JsonLog(tmp_path / "log.jsonl") as log:
        fit(
            model,
            task or Squares(),
            batches,
            optimizer,
            schedule,
            plan,
            device=CPU,
            log=log,
            name_of=name,
            course=course or Course(after),
            **given,
        )
    return optimizer


def logged(tmp_path):
    return [entry for entry in all_logged(tmp_path) if entry["kind"] == "train"]


def all_logged(tmp_path):
    return [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]


def plan(**changed):
    return replace(FitPlan(num_epochs=1, steps_per_epoch=1, passes_per_step=1, clips_per_step=2), **changed)


def test_one_step_by_hand(tmp_path):
    model = line(1.0, 0.0)
    run(tmp_path, model, [batch([1.0, 3.0], [2, 2])], plan())
    # Errors -1 and 1: gradients of w (2 * -1 * 1 + 2 * 1 * 3) / 2 = 2, of b 0; rate 0.1.
    assert model.weight.item() == pytest.approx(0.8) and model.bias.item() == pytest.approx(0.0)
    (entry,) = logged(tmp_path)
    assert (entry["kind"], entry["epoch"], entry["step"], entry["steps"]) == ("train", 1, 1, 1)
    assert (entry["loss"], entry["mean_out"], entry["lr"]) == (1.0, 2.0, 0.1)
    assert entry["grad_norm"] == pytest.approx(2.0) and 0 <= entry["data_wait_share"] <= 1 and entry["seconds"] >= 0


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


@pytest.mark.parametrize("sizes", [(2, 2, 2), (4, 2), (1, 5), (6,)])
def test_accumulation_equals_the_big_batch(tmp_path, sizes):
    values, labels = [0.5, -1.0, 2.0, 3.0, -0.25, 1.5], [1, 0, 3, 2, 5, 4]
    parts, start = [], 0
    for size in sizes:
        parts.append(batch(values[start : start + size], labels[start : start + size]))
        start += size
    one, other = line(0.3, -0.2), line(0.3, -0.2)
    run(tmp_path / "a", one, [batch(values, labels)] * 2, plan(steps_per_epoch=2, clips_per_step=6))
    run(tmp_path / "b", other, parts * 2, plan(steps_per_epoch=2, passes_per_step=len(sizes), clips_per_step=6))
    torch.testing.assert_close(other.state_dict(), one.state_dict(), rtol=1e-6, atol=1e-6)
    for a, b in zip(logged(tmp_path / "a"), logged(tmp_path / "b"), strict=True):
        assert (a["loss"], a["mean_out"]) == pytest.approx((b["loss"], b["mean_out"]), rel=1e-5)


def test_gradients_do_not_outlive_their_step(tmp_path):
    model = line(1.0, 0.0)
    run(tmp_path, model, [batch([1.0], [0]), batch([0.0], [0])], plan(steps_per_epoch=2, clips_per_step=1))
    # First step: both gradients 2, so w 0.8 and b -0.2. Second: x = 0 leaves w alone; b's gradient is -0.4.
    assert model.weight.item() == pytest.approx(0.8) and model.bias.item() == pytest.approx(-0.16)
    assert model.weight.grad is None


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


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_leaves_its_step_out(tmp_path, bad):
    """Also where only one of a step's passes has it; the next step goes on from the weights before."""
    good, ruined = batch([1.0, 3.0], [2, 2]), batch([1.0, bad], [2, 2], videos=[9, 4])
    model, updates = line(1.0, 0.0), []
    steps = [good, good, good, ruined, good, good]
    course = Course(updated=lambda: updates.append(1))
    two = plan(steps_per_epoch=3, passes_per_step=2, clips_per_step=4, log_period=1)
    run(tmp_path, model, steps, two, course=course, name=lambda index: f"film {index}.mp4")
    expected = line(1.0, 0.0)
    run(tmp_path / "without", expected, [good] * 4, replace(two, steps_per_epoch=2))
    assert torch.equal(model.weight, expected.weight) and torch.equal(model.bias, expected.bias) and len(updates) == 2
    (skipped,) = [entry for entry in all_logged(tmp_path) if entry["kind"] == "skipped"]
    assert (skipped["step"], skipped["clips"]) == (2, ["film 4.mp4", "film 9.mp4"])
    (position, means) = course.ended[0]
    assert position.skipped == 0 and position.sums["clips"] == 8 and math.isfinite(means["loss"])


def test_a_gradient_that_is_not_finite_leaves_its_step_out(tmp_path):
    model = line(1.0, 0.0)
    run(
        tmp_path,
        model,
        [batch([1e-30], [0]), batch([1.0], [0])],
        plan(steps_per_epoch=2, clips_per_step=1),
        task=Steep(),
    )
    assert model.weight.item() == pytest.approx(1 - 0.1 * 2) and len(all_logged(tmp_path)) == 2


class Steep(Squares):
    """A loss that is finite and whose gradient is not, where the clip is almost nothing."""

    def losses(self, model, batch, rng):
        found = super().losses(model, batch, rng)
        if batch.video.max() < 1e-20:
            found["loss"].register_hook(lambda grad: grad * math.nan)
        return found


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


def test_the_mean_is_over_the_clips_that_could_be_read(tmp_path):
    """Two of four clips are missing, half of the second pass and all of the third."""
    parts = [batch([1.0, 3.0], [2, 2]), batch([2.0], [1]), None]
    model, expected, course = line(1.0, 0.5), line(1.0, 0.5), Course(bad=[3])
    run(tmp_path / "a", model, parts, plan(passes_per_step=3, clips_per_step=6), course=course)
    run(tmp_path / "b", expected, [batch([1.0, 3.0, 2.0], [2, 2, 1])], plan(clips_per_step=3))
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=1e-6, atol=1e-6)
    assert logged(tmp_path / "a")[0]["loss"] == pytest.approx(logged(tmp_path / "b")[0]["loss"], rel=1e-6)
    assert course.counted == [3] and course.ended[0][0].sums["clips"] == 3


def boxes_of(values, labels):
    """Clips of one pixel with as many boxes as each clip has labels."""
    rows = [row for row, of_clip in enumerate(labels) for _ in of_clip]
    return AvaBatch(
        video=batch(values, [0] * len(values)).video,
        boxes=torch.tensor([[row, 0.0, 0, 1, 1] for row in rows]).reshape(-1, 5),
        labels=torch.tensor([[bool(label)] for of_clip in labels for label in of_clip]).reshape(-1, 1),
        video_index=torch.arange(len(values)),
        box_index=torch.zeros(len(rows), dtype=torch.int64),
    )


class BoxSquares:
    """(w x + b - label) squared of each box's clip, meant over the boxes."""

    def losses(self, model, batch, rng):
        out = model(batch.video[batch.boxes[:, 0].long(), :1, 0, 0, 0])
        return {"loss": ((out - batch.labels.float()) ** 2).sum() / max(len(out), 1)}


def test_the_mean_of_a_step_is_over_the_boxes_of_its_passes(tmp_path):
    """Three clips with 3, 1 and no boxes, in one pass and in three."""
    values, labels = [1.0, 3.0, 5.0], [[0, 1, 1], [0], []]
    one, other = line(1.0, 0.0), line(1.0, 0.0)
    run(tmp_path / "a", one, [boxes_of(values, labels)], plan(clips_per_step=3), task=BoxSquares())
    alone = [boxes_of([value], [of_clip]) for value, of_clip in zip(values, labels, strict=True)]
    run(tmp_path / "b", other, alone, plan(passes_per_step=3, clips_per_step=3), task=BoxSquares())
    # Errors 1, 0, 0 and 3: gradients of w (2 * 1 * 1 + 2 * 3 * 3) / 4 = 5, of b 2 * 4 / 4 = 2.
    for model in (one, other):
        assert (model.weight.item(), model.bias.item()) == pytest.approx((0.5, -0.2))
    assert [entry["loss"] for part in "ab" for entry in logged(tmp_path / part)] == pytest.approx([2.5, 2.5])


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


def test_a_step_without_any_box_is_left_out(tmp_path):
    model = line(1.0, 0.0)
    run(tmp_path, model, [boxes_of([2.0], [[]])], plan(clips_per_step=1), task=BoxSquares())
    assert model.weight.item() == 1
    reasons = [entry["reason"] for entry in all_logged(tmp_path) if entry["kind"] == "skipped"]
    assert reasons == ["there is no box in its clips"]


@pytest.mark.parametrize("scaled", [False, True])
def test_a_step_without_any_clip_is_left_out(tmp_path, scaled):
    model = line(1.0, 0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0, enabled=scaled)
    run(tmp_path, model, [None, batch([1.0], [0])], plan(steps_per_epoch=2, clips_per_step=1), scaler=scaler)
    assert model.weight.item() == pytest.approx(0.8)
    assert [entry["reason"] for entry in all_logged(tmp_path) if entry["kind"] == "skipped"] == [
        "none of its videos could be read"
    ]


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


def gradient_step(tmp_path, **clipping):
    """What one step subtracts, at a rate of 1, where the gradients of w and b are -8 and -6."""
    model = line()
    run(tmp_path, model, [batch([4 / 3], [3])], plan(clips_per_step=1, **clipping), schedule=lambda epoch: 1.0)
    return (model.weight.item(), model.bias.item()), logged(tmp_path)[0]["grad_norm"]


def test_gradient_clipping(tmp_path):
    assert gradient_step(tmp_path / "none") == (pytest.approx((8, 6)), pytest.approx(10))
    assert gradient_step(tmp_path / "norm", clip_grad_norm=5.0) == (pytest.approx((4, 3), rel=1e-5), pytest.approx(10))
    assert gradient_step(tmp_path / "wide", clip_grad_norm=50.0) == (pytest.approx((8, 6)), pytest.approx(10))
    assert gradient_step(tmp_path / "value", clip_grad_value=7.0) == (pytest.approx((7, 6)), pytest.approx(10))
    assert gradient_step(tmp_path / "both", clip_grad_value=7.0, clip_grad_norm=5.0) == (
        pytest.approx((7, 6)),
        pytest.approx(10),
    )


@pytest.mark.parametrize("clipping", [{}, {"clip_grad_norm": 1.0}, {"clip_grad_value": 0.5}])
def test_four_batches_of_two_equal_eight_at_once(tmp_path, clipping):
    """Bitwise, where the numbers are such that no sum rounds; what is clipped is the gradient of the whole step."""
    values, labels = [0.5, -1.0, 2.0, 3.0, -0.25, 1.5, 1.0, -2.0], [1, 0, 3, 2, 5, 4, 1, 2]
    parts = [batch(values[i : i + 2], labels[i : i + 2]) for i in range(0, 8, 2)]
    whole, accumulated = line(0.5, -0.25), line(0.5, -0.25)
    run(tmp_path / "a", whole, [batch(values, labels)], plan(clips_per_step=8, **clipping))
    run(tmp_path / "b", accumulated, parts, plan(passes_per_step=4, clips_per_step=8, **clipping))
    assert torch.equal(whole.weight, accumulated.weight) and torch.equal(whole.bias, accumulated.bias)
    a, b = logged(tmp_path / "a"), logged(tmp_path / "b")
    assert (a[0]["loss"], a[0]["grad_norm"]) == (b[0]["loss"], b[0]["grad_norm"])


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


def test_draws_of_a_step(tmp_path):
    task = Squares()
    run(
        tmp_path,
        line(),
        [batch([1.0], [1])] * 4,
        plan(num_epochs=3, steps_per_epoch=2, clips_per_step=1, seed=5),
        task=task,
        start=Position(epoch=1),
    )
    assert task.draws == [step_rng(5, step).random() for step in (2, 3, 4, 5)]


def test_passes_of_a_step_draw_one_after_the_other(tmp_path):
    task = Squares()
    run(tmp_path, line(), [batch([1.0], [1])] * 2, plan(passes_per_step=2, clips_per_step=2, seed=5), task=task)
    rng = step_rng(5, 0)
    assert task.draws == [rng.random(), rng.random()] and task.draws[0] != task.draws[1]


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


# Scaled losses


class Large(Squares):
    """A loss whose gradient overflows once it is scaled by more than the factor says."""

    def losses(self, model, batch, rng):
        found = super().losses(model, batch, rng)
        found["loss"].register_hook(lambda grad: grad * float("inf") if grad > 600 else grad)
        return found


def fit_scaled(tmp_path, scaler, num_steps):
    model = line(1.0)
    plan = FitPlan(num_epochs=1, steps_per_epoch=num_steps, passes_per_step=1, clips_per_step=1, log_period=1)
    optimizer = run(tmp_path, model, [batch([1.0], [0])] * num_steps, plan, task=Large(), scaler=scaler)
    return model, optimizer, logged(tmp_path)


def test_a_step_that_overflows_is_left_out_and_the_scale_halved(tmp_path):
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    model, optimizer, lines = fit_scaled(tmp_path, scaler, 2)
    assert scaler.get_scale() == 512 and len(optimizer.rates) == 1
    # One step of descent on (w + b)^2 at w = 1, b = 0: both gradients are 2.
    assert model.weight.item() == pytest.approx(0.8) and model.bias.item() == pytest.approx(-0.2)
    assert [entry["grad_norm"] for entry in lines] == [None, pytest.approx(8**0.5)]


def test_gradients_that_never_are_finite_stop_the_training(tmp_path):
    with pytest.raises(
        UserError,
        match=r"20 steps in a row were left out, the last is 20, where the gradient is inf.*bfloat16 or float32",
    ):
        fit_scaled(tmp_path, torch.amp.GradScaler("cpu", init_scale=2.0**60), 30)


def test_the_scale_changes_no_step(tmp_path):
    scaled = fit_scaled(tmp_path / "a", torch.amp.GradScaler("cpu", init_scale=256.0), 3)[0]
    plain = fit_scaled(tmp_path / "b", None, 3)[0]
    assert torch.equal(scaled.weight, plain.weight) and torch.equal(scaled.bias, plain.bias)


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
