"""Something-Something v2 from end to end: the command on small .webm files, fine-tuned from weights of other classes."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import run_net
import torch

from slowfast_mvit.data.toy_ssv2 import TEMPLATES, ToySsv2, make_toy_ssv2
from tests.commands import run_here

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 training and 8 validation videos of 20 frames."""
    return make_toy_ssv2(tmp_path_factory.mktemp("ssv2"), ToySsv2(16, 8, num_frames=20), processes=1)


@pytest.fixture
def ssv2_file(tmp_path: Path, data: Path) -> Path:
    """The toy recipe at its smallest, writing to tmp_path/ssv2."""
    path = tmp_path / "ssv2.yaml"
    path.write_text(
        f"""_BASE_: {ROOT}/configs/Toy/MVITV2_TOY_SSV2_8x4.yaml
DATA:
  PATH_TO_DATA_DIR: {data}
MVIT:
  EMBED_DIM: 8
TRAIN:
  BATCH_SIZE: 8
SOLVER:
  MAX_EPOCH: 1
DATA_LOADER:
  NUM_WORKERS: 1
OUTPUT_DIR: {tmp_path}/ssv2
"""
    )
    return path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]):
    """What the command says while it runs a config."""

    def said(config: Path, *overrides: str) -> str:
        capfd.readouterr()
        status, told = run_here(config, *overrides), capfd.readouterr().err
        assert status == 0, told
        return told

    return said


def test_fine_tuning_from_weights_of_another_data_set(config_file: Path, ssv2_file: Path, tmp_path: Path, run) -> None:
    run(config_file, "SOLVER.MAX_EPOCH", "1", "TEST.ENABLE", "False", "MODEL.NUM_CLASSES", "11")
    weights = tmp_path / "run" / "checkpoints" / "checkpoint_epoch_00001.pyth"
    # Without a learning rate, the weights stay what they were but for the head, which starts fresh.
    rates = ("BASE_LR", "COSINE_END_LR", "WARMUP_START_LR", "WEIGHT_DECAY")
    still = [text for rate in rates for text in (f"SOLVER.{rate}", "0")]
    said = run(ssv2_file, "TRAIN.CHECKPOINT_FILE_PATH", str(weights), *still)
    assert re.search(r"kept: other classes +2  head\.projection\.weight, head\.projection\.bias\n", said)
    assert f"starting from the weights of {weights}" in said

    out = tmp_path / "ssv2"
    start = torch.load(weights, weights_only=True)
    tuned = torch.load(out / "checkpoints" / "checkpoint_epoch_00001.pyth", weights_only=True)
    assert start["model_state"]["head.projection.weight"].shape[0] == 11
    assert tuned["model_state"]["head.projection.weight"].shape[0] == 8
    backbone = [name for name in start["model_state"] if not name.startswith("head.")]
    assert all(torch.equal(tuned["model_state"][name], start["model_state"][name]) for name in backbone)
    assert tuned["label_names"] == [template.replace("[", "").replace("]", "") for template in TEMPLATES]
    path = str(out / "checkpoints" / "checkpoint_epoch_00001.pyth")
    again = ("TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", path, "OUTPUT_DIR", str(tmp_path / "again"))
    run(ssv2_file, *again)
    metrics = [(tmp_path / name / "metrics.json").read_text() for name in ("ssv2", "again")]
    assert metrics[0] == metrics[1]


def test_a_run_leaves_complete_files(ssv2_file: Path, tmp_path: Path, data: Path, run) -> None:
    said = run(ssv2_file, "TEST.NUM_ENSEMBLE_VIEWS", "2")
    line = f"{data} has no labelled test split: testing on the validation videos, as published results do"
    assert said.count(line) == 1
    out = tmp_path / "ssv2"
    videos = pd.read_csv(out / "predictions" / "videos.csv", dtype={"video": str})
    records = json.loads((data / "something-something-v2-validation.json").read_text())
    assert list(videos["video"]) == [record["id"] for record in records]
    assert list(videos["label_name"]) == [record["template"].replace("[", "").replace("]", "") for record in records]
    clips = pd.read_csv(out / "predictions" / "clips.csv")
    assert len(clips) == 8 * 2 * 3
    # 20 frames at 12 a second, 8 segments of 19 / 8: the first 0 to 2, the last 17 to 19; three frames for two clips.
    assert sorted(set(clips["start_sec"].round(2))) == [0, round(2 / 12, 2)]
    assert sorted(set(clips["end_sec"].round(2))) == [round(17 / 12, 2), round(19 / 12, 2)]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["protocol"] == "2 clips x 3 crops, short side 64, crop 64, sum"
    kinds = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in kinds].count("val") == 1


def test_a_toy_run_needs_no_data(ssv2_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ("DATA.PATH_TO_DATA_DIR", "/nowhere", "MODEL.NUM_CLASSES", "174", "DATA.NUM_FRAMES", "16")
    assert run_net.main(["--cfg", str(ssv2_file), "--toy", *overrides]) == 0
    assert "means nothing" in capsys.readouterr().out.splitlines()[-1]
    out = tmp_path / "ssv2" / "toy-ssv2"
    assert len(json.loads((out / "data" / "something-something-v2-labels.json").read_text())) == 174
    assert len(pd.read_csv(out / "predictions" / "videos.csv")) == 4
    assert len(list((out / "data").rglob("*.webm"))) == 8
