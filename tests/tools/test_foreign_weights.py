"""The main command with weights of other publishers, from files and from the net."""

import json
from pathlib import Path

import pandas as pd
import pytest
import run_net
import torch

from slowfast_mvit.build.model import build_model
from slowfast_mvit.config.load import load_config
from slowfast_mvit.weights.formats import FORMATS, from_official
from tests.weights.server import file_server

TEST_ONLY = ("TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH")


def run(config: Path, *overrides: str) -> int:
    return run_net.main(["--cfg", str(config), *overrides])


@pytest.fixture
def trained(config_file: Path, tmp_path: Path) -> dict[str, torch.Tensor]:
    """State dict of a run in tmp_path/run that has trained and tested."""
    assert run(config_file, "SOLVER.MAX_EPOCH", "1") == 0
    content = torch.load(tmp_path / "run" / "checkpoints" / "checkpoint_epoch_00001.pyth", weights_only=True)
    return content["model_state"]


def scores(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions" / "videos.csv").drop(columns=["label_name"])


def test_every_publishers_file_tests_alike(config_file: Path, tmp_path: Path, trained: dict[str, torch.Tensor]) -> None:
    expected = scores(tmp_path / "run")
    for form in FORMATS:
        path, out = tmp_path / f"{form}.pth", tmp_path / form
        torch.save({"state_dict": from_official(trained, form)}, path)
        assert run(config_file, *TEST_ONLY, str(path), "OUTPUT_DIR", str(out)) == 0
        pd.testing.assert_frame_equal(scores(out), expected)


def test_a_test_demands_the_head(config_file: Path, tmp_path: Path, trained: dict[str, torch.Tensor], capsys) -> None:
    path = tmp_path / "headless.pth"
    torch.save({name: tensor for name, tensor in trained.items() if "head" not in name}, path)
    assert run(config_file, *TEST_ONLY, str(path), "OUTPUT_DIR", str(tmp_path / "out")) == 2
    assert (
        "2 tensors missing, 0 unexpected, 0 of another shape (head.projection.weight is missing"
        in capsys.readouterr().err
    )


def test_a_test_wants_no_image_weights(config_file: Path, tmp_path: Path, capsys) -> None:
    config = load_config(config_file)
    state = {
        name: tensor[:, :, 1] if tensor.dim() == 5 else tensor
        for name, tensor in build_model(config).state_dict().items()
        if not name.endswith("rel_pos_t")
    }
    path = tmp_path / "image.pth"
    torch.save(state, path)
    assert run(config_file, *TEST_ONLY, str(path)) == 2
    assert f"error: {path} holds image weights: a test, or a run that goes on, needs this model's own" in (
        capsys.readouterr().err
    )
    start = ("TRAIN.CHECKPOINT_FILE_PATH", str(path), "SOLVER.MAX_EPOCH", "1", "TEST.ENABLE", "False")
    assert run(config_file, *start) == 0


def test_weights_from_the_net(
    config_file: Path, tmp_path: Path, trained: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("SLOWFAST_MVIT_CACHE", str(tmp_path / "cache"))
    path, out = tmp_path / "x.pth", tmp_path / "out"
    torch.save(from_official(trained, "torchvision"), path)
    with file_server() as server:
        server.files["/models/x.pth"] = path.read_bytes()
        url = f"{server.url}/models/x.pth"
        started = ("TRAIN.CHECKPOINT_FILE_PATH", url, "SOLVER.MAX_EPOCH", "1", "TEST.ENABLE", "False")
        assert run(config_file, *started, "OUTPUT_DIR", str(tmp_path / "more")) == 0
        assert run(config_file, *TEST_ONLY, url, "OUTPUT_DIR", str(out)) == 0
        assert server.asked == ["/models/x.pth"]
        # A wrong address is said before anything is trained.
        wrong = ("TEST.CHECKPOINT_FILE_PATH", f"{server.url}/models/y.pth")
        capsys.readouterr()
        assert run(config_file, *wrong, "OUTPUT_DIR", str(tmp_path / "never")) == 2
        assert "y.pth" in capsys.readouterr().err and not (tmp_path / "never").exists()
    pd.testing.assert_frame_equal(scores(out), scores(tmp_path / "run"))
    assert (tmp_path / "more" / "checkpoints").is_dir()
    assert json.loads((out / "metrics.json").read_text())["num_videos"] == 10
