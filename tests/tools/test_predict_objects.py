"""The command on images, with a detector."""

import json
from pathlib import Path

import predict
import pytest
import torch

from slowfast_mvit.build.model import build_model
from slowfast_mvit.config.load import dump_config
from tests.build.coco_config import coco_config, small_coco


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A checkpoint as run_net.py writes it, which holds its config."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(3)
    config = coco_config(folder, folder)
    state = build_model(config).state_dict()
    torch.save({"model_state": state, "cfg": dump_config(config), "label_names": ["a", "b"]}, folder / "named.pyth")
    return folder / "named.pyth"


@pytest.fixture
def data(tmp_path) -> Path:
    return small_coco(tmp_path / "data") / "images"


def test_a_folder(weights, data, tmp_path, capsys) -> None:
    output = tmp_path / "out"
    assert predict.main([str(data), "--weights", str(weights), "--output", str(output), "--min-score", "0.2"]) == 0
    entries = json.loads((output / "coco_results.json").read_text())
    assert [Path(entry["file_name"]).name for entry in entries][::20] == [f"{30 + i}.png" for i in range(6)]
    assert (output / "objects.csv").read_text().startswith("image,label,score,x1,y1,x2,y2\n")
    assert len(list((output / "pictures").iterdir())) == 6
    assert f"{output / 'coco_results.json'}: 120 objects in COCO's format" in capsys.readouterr().out


def test_a_pattern_with_keys_and_no_pictures(weights, data, tmp_path) -> None:
    words = [str(data / "3[01].png"), "--no-draw", "--weights", str(weights), "--output", str(tmp_path / "out")]
    assert predict.main([*words, "RCNN.MAX_DETECTIONS", "7"]) == 0
    assert len(json.loads((tmp_path / "out" / "coco_results.json").read_text())) == 14
    assert not (tmp_path / "out" / "pictures").exists()


def test_unreadable_images_are_named_and_the_others_done(weights, data, tmp_path, capsys) -> None:
    (data / "31.png").write_bytes(b"no image")
    assert predict.main([str(data), "--weights", str(weights), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert f"error: 1 of 6 images could not be read, for example {data / '31.png'}" in error
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--window", "2"], "--window is not for a detector: leave it out"),
        (["--features", "f.npz"], "--features is not for a detector"),
        (["--boxes", "b.csv"], "--min-score is not for boxes"),
    ],
)
def test_options_of_other_models(options, said, weights, data, tmp_path, capsys) -> None:
    words = [str(data), "--weights", str(weights), "--output", str(tmp_path / "out"), "--min-score", "0.3"]
    assert predict.main([*words, *options]) == 2
    assert f"error: {said}" in capsys.readouterr().err
