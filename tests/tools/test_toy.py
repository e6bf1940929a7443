"""run_net.py --toy: the config's own model and weights, in a folder of its own that nobody else's files are lost from."""

import json
from pathlib import Path

import pandas as pd
import pytest
import run_net
import torch

from slowfast_mvit.build.job import TOY_MARK
from slowfast_mvit.build.model import build_model
from slowfast_mvit.config.load import load_config


@pytest.fixture
def toy(config_file: Path):
    """Run the config on toy videos with overrides; gives the exit status."""

    def run(*overrides: str) -> int:
        given = ("DATA.PATH_TO_DATA_DIR", "/nowhere", "MODEL.NUM_CLASSES", "12")
        return run_net.main(["--cfg", str(config_file), "--toy", *given, *overrides])

    return run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run" / "toy-small"


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model_state"]


def test_a_recipe_that_has_no_data(toy, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy("MODEL.NUM_CLASSES", "400") == 0
    said = capsys.readouterr()
    assert "means nothing" in said.out.splitlines()[-1]
    assert sum(f"toy run in {out}, which is emptied first" in line for line in said.err.splitlines()) == 1
    steps = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if line["kind"] == "train"] == [1, 2]
    assert len(pd.read_csv(out / "predictions" / "videos.csv")) == 4
    # What a list of one's own needs is not asked of the toy's: all four videos are trained on.
    assert toy("DATA.SKIP_ROWS", "2", "DATA.PATH_PREFIX", "/nowhere", "TEST.ENABLE", "False") == 0
    assert "4 videos" in capsys.readouterr().err
    # Again, with fewer classes than kinds of motion, and without training: the folder is its own, and random weights will do.
    assert toy("MODEL.NUM_CLASSES", "3", "TRAIN.ENABLE", "False") == 0
    assert not (out / "checkpoints").exists()


def test_it_starts_from_the_weights_of_the_config(
    toy, config_file: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "start.pyth"
    state = build_model(load_config(config_file)).state_dict()  # of 8 classes
    torch.save({"model_state": state}, path)
    # Without a learning rate, the weights stay what they were but for the head, which starts fresh.
    still = ("SOLVER.BASE_LR", "0", "SOLVER.COSINE_END_LR", "0", "SOLVER.WEIGHT_DECAY", "0", "TEST.ENABLE", "False")
    assert toy("TRAIN.CHECKPOINT_FILE_PATH", str(path), *still) == 0
    assert f"starting from the weights of {path}" in capsys.readouterr().err
    trained = weights_of(out / "checkpoints" / "checkpoint_epoch_00001.pyth")
    assert trained["head.projection.weight"].shape[0] == 12
    assert all(torch.equal(trained[key], state[key]) for key in state if not key.startswith("head."))


def test_it_starts_afresh(toy, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert toy("TEST.ENABLE", "False") == 0
        assert "epochs 1 to 1" in capsys.readouterr().err
    (out / "old.txt").write_text("of the run before")
    assert toy("TEST.ENABLE", "False") == 0
    assert not (out / "old.txt").exists() and (out / TOY_MARK).exists()


def test_a_baseline_has_a_folder_of_its_own(toy, out: Path) -> None:
    assert toy("TEST.ENABLE", "False") == 0
    baseline = ("MODEL.ARCH", "x3d_xs", "DATA.NUM_FRAMES", "4", "TRAIN.ENABLE", "False")
    assert toy(*baseline) == 0
    assert (out / "checkpoints").is_dir() and (out.with_name("toy-small-x3d_xs") / "metrics.json").is_file()


def test_a_folder_of_somebody_else_is_left_alone(toy, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("years of work")
    assert toy() == 2
    assert f"error: {out} holds files, and no toy run made it: move them, or set another OUTPUT_DIR" in (
        capsys.readouterr().err
    )
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    (out / "thesis.txt").unlink()
    assert toy("TRAIN.ENABLE", "False") == 0  # an empty folder will do


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("NUM_GPUS", "1"), "no CUDA device"),
        (("NUM_SHARDS", "2"), "--init_method tcp://HOST:PORT"),
        (("TRAIN.CHECKPOINT_FILE_PATH", "/nowhere.pyth"), "TRAIN.CHECKPOINT_FILE_PATH: the checkpoint /nowhere.pyth"),
        (("TEST.CHECKPOINT_FILE_PATH", "/nowhere.pyth"), "TEST.CHECKPOINT_FILE_PATH: the checkpoint /nowhere.pyth"),
        (("MVIT.DEPTH", "banana"), "MVIT.DEPTH"),
    ],
)
def test_what_is_refused_empties_nothing(
    toy, out: Path, overrides, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out.mkdir(parents=True)
    (out / TOY_MARK).touch()
    (out / "metrics.json").write_text("{}")
    assert toy(*overrides) == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == [TOY_MARK, "metrics.json"]


def test_weights_inside_the_folder_are_not_lost(toy, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy("TEST.ENABLE", "False") == 0
    path = out / "checkpoints" / "checkpoint_epoch_00001.pyth"
    assert toy("TRAIN.CHECKPOINT_FILE_PATH", str(path)) == 2
    assert f"{path} lies in {out}, which a toy run empties: move it" in capsys.readouterr().err
    assert path.is_file()
