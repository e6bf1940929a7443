"""The same training and the same test on one process and on two, whole and in parts: real processes over gloo."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from slowfast_mvit.build.evaluate import run_test
from slowfast_mvit.build.train import run_training
from slowfast_mvit.config.load import load_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.engine.distributed import World
from tests.engine.ranks import run_ranks

NUM_STEPS = 52
# Steps of 6 videos in passes of 3: the ranks have two and one.
TRAINING = [
    "TRAIN.BATCH_SIZE", "3", "TRAIN.ACCUMULATE_STEPS", "2", "SOLVER.MAX_EPOCH", "13", "LOG_PERIOD", "1", "AUG.ENABLE", "True",
    "AUG.NUM_SAMPLE", "2", "SOLVER.EMA_DECAY", "0.9", "TRAIN.EVAL_PERIOD", "7", "SOLVER.BASE_LR", "2e-4",
    "TEST.NUM_SPATIAL_CROPS", "3", "TEST.BATCH_SIZE", "4", "DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32",
]  # fmt: skip


def job(world: World, configs: list[Config]) -> list[Any]:
    """A training and a test of each, in the same processes."""
    cpu = torch.device("cpu")
    return [run_test(config, cpu, world=world, trained=run_training(config, cpu, world)) for config in configs]


def curve(folder: Path, kind: str = "train") -> pd.DataFrame:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return pd.DataFrame([line for line in lines if line["kind"] == kind])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, toy_data: Path) -> Path:
    """Folders ``one``, ``ddp`` and ``fsdp``, each a training and a test, and whether all ranks gave what they should."""
    root = tmp_path_factory.mktemp("same")
    recipe = Path(__file__).parents[2] / "configs" / "Toy" / "MVITV2_TOY_8x4.yaml"
    small = ["MVIT.EMBED_DIM", "8", "DATA_LOADER.NUM_WORKERS", "0", "DATA.PATH_TO_DATA_DIR", str(toy_data), *TRAINING]
    config = load_config(str(recipe), small)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    job(World(), [replace(config, OUTPUT_DIR=str(root / "one"))])
    torch.set_num_threads(threads)
    shared = [
        replace(config, OUTPUT_DIR=str(root / strategy), DISTRIBUTED=replace(config.DISTRIBUTED, STRATEGY=strategy))
        for strategy in ("ddp", "fsdp")
    ]
    main, other = run_ranks(job, 2, root / "ranks", shared)
    assert [metrics["num_videos"] for metrics in main] == [10, 10] and other == [None, None]
    return root


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_the_same_curve(runs: Path, strategy: str) -> None:
    one, two = curve(runs / "one"), curve(runs / strategy)
    assert list(one["step"]) == list(two["step"]) == list(range(1, NUM_STEPS + 1))
    for name in ("loss", "grad_norm"):
        assert two[name].to_numpy() == pytest.approx(one[name].to_numpy(), rel=1e-4), name
    assert list(two["lr"]) == list(one["lr"]) and list(two["top1_acc"]) == pytest.approx(list(one["top1_acc"]))
    assert one["loss"].std() > 0.01  # it is a curve
    for name in ("top1_acc", "top5_acc"):
        assert list(curve(runs / strategy, "val")[name]) == list(curve(runs / "one", "val")[name])


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_the_same_test(runs: Path, strategy: str) -> None:
    """Every video once, in the order of the list."""
    one, two = ((runs / name / "metrics.json").read_text() for name in ("one", strategy))
    assert one == two
    for name in ("clips.csv", "videos.csv"):
        ours, theirs = (pd.read_csv(runs / folder / "predictions" / name) for folder in ("one", strategy))
        assert list(ours["video"]) == list(theirs["video"]) and list(ours.columns) == list(theirs.columns)
        assert theirs["top1_score"].to_numpy() == pytest.approx(ours["top1_score"].to_numpy(), rel=1e-3)
