"""What training by config computes beside the loop: rates, and the guard before a checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slowfast_mvit.build import train
from slowfast_mvit.build.course import check_weights
from slowfast_mvit.build.data import step_plan
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.start import changed_keys
from slowfast_mvit.build.train import (
    _announce,
    _optimizer,
    learning_rate_factor,
    schedule_of,
)
from slowfast_mvit.config.load import dump_config, load_config, load_config_text
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.data.loader import StepPlan
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.loop import Position
from slowfast_mvit.engine.optimizer import set_learning_rate
from slowfast_mvit.engine.stopping import StopRequest
from slowfast_mvit.errors import UserError

ROOT = Path(__file__).parents[2]
VIDEOS = VideoList(np.array(["a.mp4"]), np.array(["a.mp4"]), np.zeros(1, dtype=np.int64), (), "lists/val.csv")
SMALL = (ROOT / "configs" / "Toy" / "MVITV2_TOY_8x4.yaml").read_text()


@pytest.mark.parametrize("ruin", [float("nan"), float("inf")])
def test_ruined_weights_are_not_saved(ruin: float) -> None:
    model = nn.Linear(2, 2)
    check_weights(model, Position(0, 2, 2))
    with torch.no_grad():
        model.weight[0, 1] = ruin
    with pytest.raises(UserError, match="no longer finite after step 4 of epoch 3"):
        check_weights(model, Position(2, 4, 4))


def test_ruined_statistics_are_not_saved() -> None:
    """They may overflow while every weight and the loss stay finite."""
    model = nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2))
    check_weights(model, Position(0, 2, 2))
    clips = torch.full((2, 1, 1, 2, 2), 1e30)
    clips[0] = -clips[0]
    assert model(clips).isfinite().all()
    with pytest.raises(UserError, match="no longer finite after step 2 of epoch 1"):
        check_weights(model, Position(0, 2, 2))


def test_rates_are_scaled_by_the_clips_of_a_step() -> None:
    config = load_config_text(SMALL, "toy", ["SOLVER.REFERENCE_BATCH", "512", "AUG.NUM_SAMPLE", "2"])
    plan = StepPlan(num_videos=1000, batch_size=16, accumulate_steps=4)
    assert learning_rate_factor(config, plan) == 16 * 4 * 2 / 512
    schedule = schedule_of(config, plan)
    assert schedule(0) == pytest.approx(1e-5 / 4)
    assert schedule(0.5) == pytest.approx(1e-3 / 4)
    assert schedule(config.SOLVER.MAX_EPOCH) == pytest.approx(1e-5 / 4)


def test_rates_stay_as_they_are_without_a_reference() -> None:
    config = load_config_text(SMALL, "toy")
    assert learning_rate_factor(config, StepPlan(1000, 16)) == 1.0
    config = load_config_text(SMALL, "toy", ["SOLVER.BASE_LR_SCALE_NUM_SHARDS", "True", "NUM_SHARDS", "4"])
    assert learning_rate_factor(config, StepPlan(1000, 16)) == 4.0


@pytest.mark.parametrize(
    ("recipe", "machines", "rates"),
    [
        # Kinetics: 1.6e-3 per 512 clips, of which 16 machines make one step.
        ("Kinetics/MVITV2_S_16x4", 16, {0: 1.6e-5, 15: 8.08e-4, 30: 1.6e-3, 115: 8.08e-4, 199.5: 1.60338094e-5}),
        # Something-Something: warm-up from 1e-4 to 2.5e-3 in 3 epochs, half of the way to 1e-6 at 51.5; all times 4.
        ("SSv2/MVITV2_S_16x4", 4, {0: 4e-4, 1.5: 5.2e-3, 3: 1e-2, 51.5: 5.002e-3, 100: 4e-6}),
        # ImageNet: 2e-3 per 2,048 images, of which 8 machines make one step.
        ("ImageNet/MVITV2_S", 8, {0: 8e-8, 35: 1.00004e-3, 70: 2e-3, 185: 1.004e-3, 300: 8e-6}),
    ],
)
def test_rates_of_the_recipes_on_the_papers_machines(recipe: str, machines: int, rates: dict[float, float]) -> None:
    config = load_config(str(ROOT / "configs" / f"{recipe}.yaml"), ["NUM_SHARDS", str(machines)])
    schedule = schedule_of(config, StepPlan(100_000, config.TRAIN.BATCH_SIZE))
    assert {epoch: schedule(epoch) for epoch in rates} == pytest.approx(rates, rel=1e-7)


@pytest.mark.parametrize(
    ("overrides", "num_videos", "batch", "rate"),
    [
        ((), 1000, 16, "0.001"),
        (("TRAIN.ACCUMULATE_STEPS", "4", "AUG.NUM_SAMPLE", "2"), 1000, 128, "0.001"),
        (("TRAIN.ACCUMULATE_STEPS", "4", "SOLVER.REFERENCE_BATCH", "512"), 1000, 64, "0.000125"),
        (("AUG.NUM_SAMPLE", "2", "SOLVER.REFERENCE_BATCH", "16"), 1000, 32, "0.002"),
        (("SOLVER.BASE_LR_SCALE_NUM_SHARDS", "True", "NUM_SHARDS", "4"), 1000, 64, "0.004"),
        # A list shorter than a step: the step is of its clips, and so is the rate.
        (("TRAIN.ACCUMULATE_STEPS", "4", "SOLVER.REFERENCE_BATCH", "40"), 20, 20, "0.0005"),
    ],
)
def test_global_batch_and_scaled_rate_are_said(overrides, num_videos, batch, rate, caplog) -> None:
    config = load_config_text(SMALL, "toy", ["TRAIN.BATCH_SIZE", "16", "SOLVER.BASE_LR", "0.001", *overrides])
    paths = np.array(["a.mp4"] * num_videos)
    videos = VideoList(paths, paths, np.zeros(num_videos, dtype=np.int64), (), "lists/train.csv")
    plan = step_plan(config, videos)
    with caplog.at_level("INFO"):
        _announce(config, nn.Linear(2, 2), videos, plan, "float32", torch.device("cpu"), World(), Position())
    (said,) = caplog.messages
    assert f"{num_videos} videos from lists/train.csv, global batch {batch} clips, scaled LR {rate}, " in said
    assert f"epochs 1 to {config.SOLVER.MAX_EPOCH} of {max(1, num_videos // plan.videos_per_step)} steps" in said
    assert schedule_of(config, plan)(config.SOLVER.WARMUP_EPOCHS) == pytest.approx(float(rate))


def test_groups_of_the_optimizer_follow_the_config() -> None:
    def groups(*overrides: str) -> list[dict[str, Any]]:
        config = load_config_text(SMALL, "toy", ["MVIT.EMBED_DIM", "8", *overrides])
        return _optimizer(config, build_model(config)).param_groups

    assert [(group["weight_decay"], group["layer_decay"]) for group in groups()] == [(0.05, 1.0), (0.0, 1.0)]
    # The stem with decay and without, each of the blocks without and with, the last norm and the head likewise.
    layered = groups("SOLVER.LAYER_DECAY", "0.5")
    depth = load_config_text(SMALL, "toy").MVIT.DEPTH
    factors = [0.5 ** (depth + 1 - layer) for layer in range(depth + 2) for _ in range(2)]
    assert [group["layer_decay"] for group in layered] == factors
    assert {group["weight_decay"] for group in layered} == {0.05, 0.0}


def test_what_a_continuation_trains_otherwise_is_said() -> None:
    stored = dump_config(load_config_text(SMALL, "toy"))
    same = ("OUTPUT_DIR", "elsewhere", "TEST.BATCH_SIZE", "1", "TRAIN.EVAL_PERIOD", "2", "DATA_LOADER.NUM_WORKERS", "0")
    assert changed_keys(stored, load_config_text(SMALL, "toy", same)) == []
    others = {
        "TRAIN.DATASET": ("kinetics", "ssv2"),
        "AUG.ENABLE": ("False", "True"),
        "DATA.TARGET_FPS": ("30", "25"),
        "DATA.INV_UNIFORM_SAMPLE": ("False", "True"),
        "SOLVER.LAYER_DECAY": ("1.0", "0.5"),
        "SOLVER.EMA_DECAY": ("0.0", "0.9"),
        "AVA.DETECTION_SCORE_THRESH": ("0.9", "0.8"),
        "DETECTION.ALIGNED": ("True", "False"),
    }
    overrides = [text for name, (_, new) in others.items() for text in (name, new)]
    changed = changed_keys(stored, load_config_text(SMALL, "toy", [*overrides, "TEST.DATASET", "ssv2"]))
    assert sorted(changed) == sorted(f"{name} {old} -> {new}" for name, (old, new) in others.items())
    assert changed_keys("MODEL: {}\nNO_SUCH_KEY: 1\n", load_config_text(SMALL, "toy")) == []  # of another version


def optimizer_of(*overrides: str) -> torch.optim.Optimizer:
    config = load_config_text(SMALL, "toy", ["MVIT.EMBED_DIM", "8", *overrides])
    return _optimizer(config, build_model(config))


def test_settings_of_the_optimizer_follow_the_config() -> None:
    sgd = (
        "SOLVER.OPTIMIZING_METHOD",
        "sgd",
        "SOLVER.MOMENTUM",
        "0.8",
        "SOLVER.DAMPENING",
        "0.3",
        "SOLVER.NESTEROV",
        "False",
    )
    group = optimizer_of(*sgd).param_groups[0]
    assert (group["momentum"], group["dampening"], group["nesterov"]) == (0.8, 0.3, False)
    assert optimizer_of("SOLVER.OPTIMIZING_METHOD", "sgd").param_groups[0]["nesterov"]
    for method, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        found = optimizer_of("SOLVER.OPTIMIZING_METHOD", method, "SOLVER.BETAS", "(0.8, 0.95)")
        assert type(found) is kind and found.param_groups[0]["betas"] == (0.8, 0.95)


def test_positions_and_biases_decay_as_the_config_says() -> None:
    def resting(*overrides: str) -> int:
        return sum(len(group["params"]) for group in optimizer_of(*overrides).param_groups if not group["weight_decay"])

    without_1d = ("SOLVER.ZERO_WD_1D_PARAM", "False")
    assert resting(*without_1d) == 0
    # The class token, and in each of 4 blocks the tables of height, width and time.
    assert resting(*without_1d, "MVIT.ZERO_DECAY_POS_CLS", "True") == 1 + 4 * 3
    assert (
        resting(*without_1d, "MVIT.ZERO_DECAY_POS_CLS", "True", "SOLVER.LAYER_DECAY", "0.5") == 1
    )  # the official quirk
    assert resting("MVIT.ZERO_DECAY_POS_CLS", "True") == resting() + 1 + 4 * 3


@pytest.mark.parametrize(("lars", "step"), [("False", 1.0), ("True", 0.001 * 2.0)])
def test_lars_acts_where_the_config_says(lars: str, step: float) -> None:
    """A weight of norm 2 and a gradient of norm 1, without decay: LARS takes a thousandth of the weight's norm."""
    plain = (
        "SOLVER.OPTIMIZING_METHOD",
        "sgd",
        "SOLVER.NESTEROV",
        "False",
        "SOLVER.MOMENTUM",
        "0",
        "SOLVER.WEIGHT_DECAY",
        "0",
    )
    optimizer = optimizer_of(*plain, "SOLVER.LARS_ON", lars)
    weight = next(p for group in optimizer.param_groups for p in group["params"] if p.dim() == 2)
    with torch.no_grad():
        weight.fill_(2.0 / weight.numel() ** 0.5)
    before = weight.detach().clone()
    weight.grad = torch.full_like(weight, weight.numel() ** -0.5)
    set_learning_rate(optimizer, 1.0)
    optimizer.step()
    assert float((before - weight.detach()).norm()) == pytest.approx(step, rel=1e-4)


@pytest.mark.parametrize(
    ("recipe", "protocol"),
    [
        ("Kinetics/MVITV2_L_40x3", "1 clip x 1 crop, short side 356, crop 312, sum"),
        ("SSv2/MVITV2_S_16x4", "1 clip x 1 crop, short side 224, crop 224, sum"),
        ("ImageNet/MVITV2_T", "centre crop 224 of short side 256"),
    ],
)
def test_a_validation_is_one_clip_and_one_crop_of_the_training_set(
    recipe: str, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(config: Any, model: Any, videos: Any, seen: Any, *_: Any, **__: Any) -> None:
        assert config.TEST.DATASET == config.TRAIN.DATASET
        raise InterruptedError(str(seen))

    monkeypatch.setattr(train, "evaluate_videos", stop)
    # Another data set's test says nothing about the validation.
    config = load_config(ROOT / "configs" / f"{recipe}.yaml", ["TEST.ENABLE", "False", "TEST.DATASET", "coco"])
    validate = train._validation(config, VIDEOS, torch.device("cpu"), "float32", World(), StopRequest())
    assert validate is not None
    with pytest.raises(InterruptedError, match=f"^{protocol}$"):
        validate(nn.Linear(2, 2))
