"""Several labels per video from end to end: the command, real videos, and every file that it leaves."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import run_net
import torch

from tests.commands import run_here

ROOT = Path(__file__).parents[2]
KINDS = {"move": "moves", "turn": "turns", "grow": "scales", "shrink": "scales"}
NAMES = sorted(
    {"move_left", "move_right", "move_up", "move_down", "turn_clockwise", "turn_counterclockwise", "grow", "shrink"}
    | {"moves", "turns", "scales", "left_or_right"}
)


@pytest.fixture
def lists(tmp_path: Path, toy_data: Path) -> Path:
    """The toy videos, each with its class and what kinds of motion that is; the last test video has no label."""
    folder = tmp_path / "lists"
    folder.mkdir()
    for split in ("train", "val", "test"):
        lines = []
        for line in (toy_data / f"{split}.csv").read_text().splitlines():
            path, name = line.split(" ")
            more = ",left_or_right" if name in ("move_left", "move_right") else ""
            lines.append(f"{path} {name},{KINDS[name.split('_')[0]]}{more}\n")
        if split == "test":
            lines[-1] = lines[-1].split(" ")[0] + ' ""\n'
        (folder / f"{split}.csv").write_text("".join(lines))
    return folder


@pytest.fixture
def settings(lists: Path, toy_data: Path) -> list[str]:
    return [
        *("DATA.PATH_TO_DATA_DIR", str(lists), "DATA.PATH_PREFIX", str(toy_data), "DATA.MULTI_LABEL", "True"),
        *("MODEL.NUM_CLASSES", "12", "MODEL.LOSS_FUNC", "bce_logit", "MODEL.HEAD_ACT", "sigmoid"),
    ]


def average_precision(scores: list[float], labels: list[bool]) -> float:
    total = found = 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = [label for score, label in zip(scores, labels, strict=True) if score >= threshold]
        total += (sum(taken) - found) / sum(labels) * sum(taken) / len(taken)
        found = sum(taken)
    return total


def test_training_and_test(
    config_file: Path, tmp_path: Path, settings: list[str], lists: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = ("DATA.ENSEMBLE_METHOD", "max", "TEST.SAVE_PROBABILITIES", "True", "LOG_PERIOD", "1")
    assert run_here(config_file, *settings, *wanted) == 0
    out = tmp_path / "run"

    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    assert 0.5 < train[0]["loss"] < 1.0 and "top1_acc" not in train[0]  # at first every class is as likely as not
    (val,) = [line for line in lines if line["kind"] == "val"]
    assert 0 < val["map"] <= 100 and "top1_acc" not in val
    assert json.loads((out / "labels.json").read_text()) == {name: number for number, name in enumerate(NAMES)}

    stored = np.load(out / "predictions" / "probabilities.npz")
    truth = [line.split(" ", 1)[1].replace('"', "") for line in (lists / "test.csv").read_text().splitlines()]
    expected = np.array([[name in labels.split(",") for name in NAMES] for labels in truth])
    assert (stored["label"] == expected).all()
    assert stored["views"].max(axis=1) == pytest.approx(stored["video_scores"], abs=1e-6)
    assert not np.allclose(stored["views"].sum(axis=2), 1)  # sigmoids, not a softmax

    scores = stored["views"].astype(np.float64).max(axis=1)
    each = [
        average_precision(scores[:, k].tolist(), expected[:, k].tolist()) for k in range(12) if expected[:, k].any()
    ]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["map"] == pytest.approx(np.mean(each) * 100) and "top1_acc" not in metrics
    assert metrics["protocol"].endswith(", max") and metrics["num_videos"] == 10
    assert f"mAP {metrics['map']:.2f} % of 10 videos" in capfd.readouterr().err

    videos = pd.read_csv(out / "predictions" / "videos.csv", keep_default_na=False)
    assert list(videos.columns[:4]) == ["video", "labels", "label_names", "num_views"]
    assert [set(filter(None, names.split(";"))) for names in videos["label_names"]] == [
        set(filter(None, labels.split(","))) for labels in truth
    ]
    assert videos["labels"].tolist()[-1] == ""
    clips = pd.read_csv(out / "predictions" / "clips.csv", keep_default_na=False)
    assert len(clips) == 30 and list(clips["labels"][::3]) == list(videos["labels"])
    classes = pd.read_csv(out / "predictions" / "classes.csv")
    assert list(classes["name"]) == NAMES and list(classes["num_videos"]) == expected.sum(axis=0).tolist()
    assert classes["average_precision"].dropna().to_numpy() == pytest.approx(each, rel=1e-5)


def test_mixed_labels_and_several_passes(config_file: Path, tmp_path: Path, settings: list[str]) -> None:
    more = ["MIXUP.ENABLE", "True", "TRAIN.ACCUMULATE_STEPS", "2", "AUG.NUM_SAMPLE", "2", "SOLVER.MAX_EPOCH", "1"]
    assert run_net.main(["--cfg", str(config_file), *settings, *more, "TEST.NUM_SPATIAL_CROPS", "3"]) == 0
    assert 0 < json.loads((tmp_path / "run" / "metrics.json").read_text())["map"] <= 100
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "checkpoint_epoch_00001.pyth", weights_only=True)
    assert checkpoint["label_names"] == NAMES


def test_a_list_of_the_other_kind(
    config_file: Path, settings: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "lists" / "train.csv").write_text("a.mp4 1,2\n")
    assert run_net.main(["--cfg", str(config_file), *settings, "DATA.MULTI_LABEL", "False"]) == 2
    assert "a.mp4 has several labels, 1,2: set DATA.MULTI_LABEL True" in capsys.readouterr().err
