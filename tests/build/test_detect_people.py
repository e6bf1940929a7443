"""Box lists by a detector: which frames it is shown, what the list holds, and a detector from a file."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from slowfast_mvit.build import detect_people as module
from slowfast_mvit.build.detect_people import detect_people, whole_seconds
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.ava_csv import read_boxes
from slowfast_mvit.data.toy import write_video
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.person_detector import person_detector
from tests.build.test_ava import CPU, RECIPE
from tests.models.detector_weights import detector_state, made_small


def config_of(*overrides):
    return load_config(RECIPE, ["AVA.DETECTION_SCORE_THRESH", "0.6", *overrides])


@pytest.fixture
def film(tmp_path):
    """5.2 seconds at 5 frames a second; frame i is grey, 9 i bright."""
    frames = np.broadcast_to(np.arange(26, dtype=np.uint8)[:, None, None, None] * 9, (26, 64, 96, 3))
    write_video(tmp_path / "film.mp4", np.ascontiguousarray(frames), Fraction(5))
    return tmp_path / "film.mp4"


def test_whole_seconds():
    assert whole_seconds(2.96, 0).tolist() == [0, 1, 2]
    assert whole_seconds(3.0, 900).tolist() == [900, 901, 902, 903]
    assert whole_seconds(1.0, 0.5).tolist() == [1]


@pytest.mark.parametrize("first_second", [None, 900])
def test_the_frame_of_every_second_is_looked_at(film, tmp_path, monkeypatch, first_second):
    """A stand-in for the network finds as many people as seconds have passed, by the brightness of the frame."""
    shown = []

    def find(detector, frames):
        shown.append(len(frames))
        counts = (frames.float().mean(dim=(1, 2, 3)) / 45).round().int().tolist()
        return [(torch.tensor([[0.1, 0.2, 1 / 3, 1.0]] * n).reshape(-1, 4), torch.tensor([0.7] * n)) for n in counts]

    monkeypatch.setattr(module, "find_people", find)
    monkeypatch.setattr(module, "person_detector", lambda content, source, min_score: torch.nn.Identity())
    monkeypatch.setattr(module, "read_weights", lambda path: {})
    out = tmp_path / "new" / "boxes.csv"
    config = config_of(*([] if first_second is None else ["AVA.FIRST_SECOND", str(first_second)]))
    assert detect_people(config, [film], tmp_path / "d.pth", out, CPU) == 1 + 2 + 3 + 4 + 5
    assert shown == [4, 2]
    start = first_second or 0
    assert out.read_text().splitlines()[:2] == [
        "video,second,x1,y1,x2,y2,action,score", f"film,{start + 1},0.100000001,0.200000003,0.333333343,1,,0.699999988",
    ]  # fmt: skip
    assert pd.read_csv(out)["second"].tolist() == [start + s for s in range(1, 6) for _ in range(s)]
    rows = read_boxes(out, detected=True)
    assert rows.boxes[0].astype(np.float32).tolist() == torch.tensor([0.1, 0.2, 1 / 3, 1.0]).tolist()


def test_a_detector_from_its_file(film, tmp_path, monkeypatch):
    """Random weights by which every region is a person with 0.62."""
    torch.save(detector_state(), tmp_path / "detector.pth")
    monkeypatch.setattr(module, "person_detector", lambda *given: made_small(person_detector(*given)))
    monkeypatch.setattr(module, "whole_seconds", lambda last, start: np.arange(2))
    out = tmp_path / "boxes.csv"
    count = detect_people(config_of(), [film], tmp_path / "detector.pth", out, CPU)
    rows = read_boxes(out, detected=True)
    assert len(rows) == count > 0 and set(rows.seconds.tolist()) <= {0, 1}
    assert rows.scores.tolist() == pytest.approx([0.6225] * count, abs=1e-4)
    out.unlink()
    with pytest.raises(UserError, match=r"found nobody with a score above 0.9 in .*film.mp4: lower AVA.DETECTION"):
        detect_people(config_of("AVA.DETECTION_SCORE_THRESH", "0.9"), [film], tmp_path / "detector.pth", out, CPU)
    assert not out.exists()


def test_bad_videos_and_weights_are_said_before_the_work(film, tmp_path):
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other.pth holds no weights of torchvision's fasterrcnn_resnet50_fpn_v2"):
        detect_people(config_of(), [film], tmp_path / "other.pth", tmp_path / "boxes.csv", CPU)
    with pytest.raises(UserError, match=r"none.pth"):
        detect_people(config_of(), [film], tmp_path / "none.pth", tmp_path / "boxes.csv", CPU)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"text.mp4"):
        detect_people(config_of(), [film, tmp_path / "text.mp4"], tmp_path / "none.pth", tmp_path / "boxes.csv", CPU)
