"""Single steps on models so small that every number can be worked out."""

import math
from dataclasses import replace

import pytest
import torch

from slowfast_mvit.engine.loop import Position
from slowfast_mvit.engine.step import FitPlan
from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.randomness import step_rng
from tests.engine.training import BoxSquares, Course, Squares, all_logged, batch, boxes_of, line, logged, plan, run


def test_one_step_by_hand(tmp_path):
    model = line(1.0, 0.0)
    run(tmp_path, model, [batch([1.0, 3.0], [2, 2])], plan())
    # Errors -1 and 1: gradients of w (2 * -1 * 1 + 2 * 1 * 3) / 2 = 2, of b 0; rate 0.1.
    assert model.weight.item() == pytest.approx(0.8) and model.bias.item() == pytest.approx(0.0)
    (entry,) = logged(tmp_path)
    assert (entry["kind"], entry["epoch"], entry["step"], entry["steps"]) == ("train", 1, 1, 1)
    assert (entry["loss"], entry["mean_out"], entry["lr"]) == (1.0, 2.0, 0.1)
    assert entry["grad_norm"] == pytest.approx(2.0) and 0 <= entry["data_wait_share"] <= 1 and entry["seconds"] >= 0


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


def test_the_mean_is_over_the_clips_that_could_be_read(tmp_path):
    """Two of four clips are missing, half of the second pass and all of the third."""
    parts = [batch([1.0, 3.0], [2, 2]), batch([2.0], [1]), None]
    model, expected, course = line(1.0, 0.5), line(1.0, 0.5), Course(bad=[3])
    run(tmp_path / "a", model, parts, plan(passes_per_step=3, clips_per_step=6), course=course)
    run(tmp_path / "b", expected, [batch([1.0, 3.0, 2.0], [2, 2, 1])], plan(clips_per_step=3))
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=1e-6, atol=1e-6)
    assert logged(tmp_path / "a")[0]["loss"] == pytest.approx(logged(tmp_path / "b")[0]["loss"], rel=1e-6)
    assert course.counted == [3] and course.ended[0][0].sums["clips"] == 3


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
