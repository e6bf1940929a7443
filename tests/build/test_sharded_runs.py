"""Whole trainings in parts: gone on from by the same ranks, by other numbers of them and whole, tested and converted."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from slowfast_mvit.build.convert import convert_weights
from slowfast_mvit.build.run import RunFolder, weights_to_test
from slowfast_mvit.build.train import run_training
from slowfast_mvit.config.load import load_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.engine.checkpoint import list_checkpoints
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.weights.files import read_weights
from tests.engine.ranks import run_ranks

CPU = torch.device("cpu")
EARLY = "checkpoint_epoch_00001_step_00000001"  # one step inside the second epoch
PARTS, PLAIN = f"{EARLY}.sharded", f"{EARLY}.pyth"
SETTINGS = [
    "MVIT.EMBED_DIM", "8", "DATA_LOADER.NUM_WORKERS", "0", "TRAIN.BATCH_SIZE", "4", "TRAIN.ACCUMULATE_STEPS", "2",
    "SOLVER.MAX_EPOCH", "2", "SOLVER.EMA_DECAY", "0.9", "SOLVER.BASE_LR", "2e-4", "TRAIN.CHECKPOINT_SECONDS", "1e-6",
    "TRAIN.KEEP_CHECKPOINTS", "0", "MODEL.ACT_CHECKPOINT", "True", "DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32",
]  # fmt: skip


def of(config: Config, folder: Path, strategy: str, early: Path | None = None) -> Config:
    """A run in a folder, which begins with a copy of ``early``."""
    if early is not None:
        copy = shutil.copytree if early.is_dir() else shutil.copy
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        copy(early, folder / "checkpoints" / early.name)
    return replace(config, OUTPUT_DIR=str(folder), DISTRIBUTED=replace(config.DISTRIBUTED, STRATEGY=strategy))


def trainings(world: World, config: Config, root: Path) -> None:
    """On two ranks: whole and in parts; then gone on with in parts, from either."""
    runs: list[tuple[str, str, str]] = [
        ("ddp", "ddp", ""),
        ("fsdp", "fsdp", ""),
        ("parts from parts", "fsdp", f"fsdp/checkpoints/{PARTS}"),
        ("parts from plain", "fsdp", f"ddp/checkpoints/{PLAIN}"),
    ]
    for name, strategy, early in runs:
        changed = of(config, root / name, strategy, root / early if early and world.is_main else None)
        world.sum([0])
        run_training(changed, CPU, world)
    for strategy in ("ddp", "fsdp"):
        run_training(of(with_one_video(config, root), root / f"one video, {strategy}", strategy), CPU, world)


def with_one_video(config: Config, root: Path) -> Config:
    return replace(config, DATA=replace(config.DATA, PATH_TO_DATA_DIR=str(root / "few")))


@pytest.fixture(scope="module")
def config(toy_data: Path) -> Config:
    recipe = Path(__file__).parents[2] / "configs" / "Toy" / "MVITV2_TOY_8x4.yaml"
    return load_config(str(recipe), ["DATA.PATH_TO_DATA_DIR", str(toy_data), *SETTINGS])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Path:
    root = tmp_path_factory.mktemp("runs")
    (root / "few").mkdir()
    data = Path(config.DATA.PATH_TO_DATA_DIR)
    (root / "few" / "videos").symlink_to(data / "videos")
    (root / "few" / "train.csv").write_text((data / "train.csv").read_text().splitlines()[0] + "\n")
    run_ranks(trainings, 2, root / "ranks", config, root)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = of(config, root / "one from parts", "fsdp", root / "fsdp" / "checkpoints" / PARTS)
    run_training(alone, CPU)
    torch.set_num_threads(threads)
    return root


def last(folder: Path) -> dict[str, Any]:
    return read_weights(list_checkpoints(folder / "checkpoints")[-1])


def tensors(content: dict[str, Any]) -> dict[str, Tensor]:
    """All numbers that training goes on with."""
    moments = {
        f"{index} {name}": value
        for index, entries in content["optimizer_state"]["state"].items()
        for name, value in entries.items()
    }
    return {**content["model_state"], **{f"ema {key}": t for key, t in content["ema_state"].items()}, **moments}


def test_parts_are_written_and_plain_files_by_ddp_and_alone(root: Path) -> None:
    names = {name: [path.name for path in list_checkpoints(root / name / "checkpoints")] for name in ("ddp", "fsdp")}
    stems = ["checkpoint_epoch_00000_step_00000001", "checkpoint_epoch_00000_step_00000002", "checkpoint_epoch_00001"]
    stems += [EARLY, "checkpoint_epoch_00001_step_00000002", "checkpoint_epoch_00002"]
    assert names == {"ddp": [f"{stem}.pyth" for stem in stems], "fsdp": [f"{stem}.sharded" for stem in stems]}
    assert [path.name for path in list_checkpoints(root / "one from parts" / "checkpoints")] == [
        PARTS,
        *(f"{stem}.pyth" for stem in stems[4:]),
    ]


def test_going_on_in_parts_is_exact(root: Path) -> None:
    """Bitwise: as if the training had not been cut off."""
    straight, again = tensors(last(root / "fsdp")), tensors(last(root / "parts from parts"))
    assert list(straight) == list(again) and all(torch.equal(straight[key], again[key]) for key in straight)
    assert last(root / "fsdp")["position"] == last(root / "parts from parts")["position"] | {
        "sums": last(root / "fsdp")["position"]["sums"]  # seconds are among them
    }


@pytest.mark.parametrize("name", ["fsdp", "parts from plain", "one from parts"])
def test_all_ways_lead_to_the_same_weights(root: Path, name: str) -> None:
    """Up to rounding, which Adam makes larger."""
    straight, ours = last(root / "ddp"), last(root / name)
    for part in ("model_state", "ema_state"):
        assert list(ours[part]) == list(straight[part])
        furthest = max((ours[part][key] - tensor).abs().max().item() for key, tensor in straight[part].items())
        assert furthest < 1e-4
    assert ours["history"][-1]["loss"] == pytest.approx(straight["history"][-1]["loss"], rel=1e-4)
    assert (root / name / "epochs.csv").read_text().count("\n") == 3


def test_parts_are_tested_and_converted(root: Path, config: Config, tmp_path: Path) -> None:
    folder = root / "fsdp"
    found = weights_to_test(replace(config, OUTPUT_DIR=str(folder)), RunFolder(folder), None)
    assert found is not None and found[0].endswith("checkpoint_epoch_00002.sharded")
    averages = last(folder)["ema_state"]
    assert all(torch.equal(found[1]["model_state"][key], tensor) for key, tensor in averages.items())
    out = tmp_path / "out.safetensors"
    done = convert_weights(folder / "checkpoints" / "checkpoint_epoch_00002.sharded", out)
    state = last(folder)["model_state"]
    written = read_weights(out)
    assert done.num_tensors == len(state) and written["label_names"] == last(folder)["label_names"]
    assert all(torch.equal(written["model_state"][key], tensor) for key, tensor in state.items())


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_fewer_videos_than_ranks(root: Path, strategy: str) -> None:
    """One video in a step of two passes of two clips a rank: rank 1 has none, and all finish."""
    ended = last(root / f"one video, {strategy}")
    losses = [entry["loss"] for entry in ended["history"]]
    assert len(losses) == 2 and all(0 < loss < 3 for loss in losses)
    assert all(tensor.isfinite().all() for tensor in ended["model_state"].values())
