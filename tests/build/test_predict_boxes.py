"""Predictions of one's own videos, by the command: the scores of the test, files, names, drawing, and bad input."""

import shutil

import numpy as np
import pandas as pd
import predict
import pytest
import torch

from slowfast_mvit.build import detect_people
from slowfast_mvit.build.evaluate import run_test
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.predict_boxes import split_words
from slowfast_mvit.data.toy_ava import ToyAva, make_toy_ava
from slowfast_mvit.data.video import open_video
from tests.build.test_ava import CPU, RECIPE, SMALL, config_of, table

NAMES = [f"name {number}" for number in range(1, 9)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two videos to test, of three key frames each, from second 900."""
    root = tmp_path_factory.mktemp("toy_ava")
    return make_toy_ava(root, ToyAva(1, 2, num_seconds=3, height=64, width=128), processes=1)


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory):
    """A checkpoint without names, and one with."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    state = build_model(config_of(data, folder)).state_dict()
    state = {name: tensor + torch.randn(tensor.shape) * 0.05 for name, tensor in state.items()}
    torch.save({"model_state": state}, folder / "plain.pyth")
    torch.save({"model_state": state, "label_names": NAMES}, folder / "named.pyth")
    return folder


@pytest.fixture
def command(data, weights, tmp_path):
    """Runs the tool on the two videos; ``changed`` replaces options, None takes one away."""

    def run(*words, videos=("val_0001.mp4", "val_0002.mp4"), **changed):
        options = {
            "cfg": RECIPE, "weights": weights / "named.pyth", "output": tmp_path / "out",
            "boxes": data / "annotations" / "ava_val_predicted_boxes.csv", **changed,
        }  # fmt: skip
        flags = [str(part) for name, value in options.items() if value is not None for part in (f"--{name}", value)]
        return predict.main([*(str(data / "videos" / video) for video in videos), *flags, *SMALL, *words])

    return run


def error_of(capsys):
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.partition("error: ")[2].strip()


def test_a_clip_has_the_scores_of_the_test(data, weights, command, tmp_path, capsys):
    test = config_of(data, tmp_path / "test", "TEST.CHECKPOINT_FILE_PATH", str(weights / "plain.pyth"))
    run_test(test, CPU)
    annotations = ["AVA.ANNOTATION_DIR", str(data / "annotations")]
    assert command(*annotations, weights=weights / "plain.pyth") == 0
    tested, out = tmp_path / "test" / "predictions", tmp_path / "out"
    assert (out / "detections.csv").read_bytes() == (tested / "detections.csv").read_bytes()
    assert (out / "actions.csv").read_bytes() == (tested / "boxes.csv").read_bytes()
    assert str(out / "detections.csv") in capsys.readouterr().out
    # One video alone, with the names of a checkpoint and no folder of annotations.
    assert command(videos=["val_0002.mp4"], output=tmp_path / "alone") == 0
    whole, alone = table(out / "detections.csv"), table(tmp_path / "alone" / "detections.csv")
    mine = whole[whole["video"] == "val_0002"]
    assert alone.drop(columns="score").to_numpy().tolist() == mine.drop(columns="score").to_numpy().tolist()
    np.testing.assert_allclose(alone["score"], mine["score"], atol=1e-6)
    actions = pd.read_csv(tmp_path / "alone" / "actions.csv")
    best = mine["score"].to_numpy().reshape(-1, 8).argmax(axis=1)
    assert actions["action_1"].tolist() == [NAMES[number] for number in best]


def test_own_list_drawn(data, command, tmp_path, capsys):
    """Seconds from the file's beginning, a name with its ending, an annotated box with two actions, one below the threshold."""
    boxes = tmp_path / "own.csv"
    boxes.write_text(
        "video,second,x1,y1,x2,y2,action,score\n"
        "val_0001.mp4,1,0.1,0.2,0.5,0.9,wave,\nval_0001.mp4,1,0.1,0.2,0.5,0.9,sit,\n"
        "val_0001.mp4,2,0.5,0.2,0.9,0.9,,0.95\nval_0001.mp4,2,0.6,0.2,0.9,0.9,,0.3\nelsewhere,2,0,0,1,1,,1\n"
    )
    assert command("--draw", boxes=boxes) == 0
    captured = capsys.readouterr()
    assert "own.csv has no boxes of" in captured.err + captured.out
    rows = table(tmp_path / "out" / "detections.csv")
    assert rows["video"].unique().tolist() == ["val_0001.mp4"] and rows["second"].tolist() == [1] * 8 + [2] * 8
    assert rows[["x1", "x2"]].to_numpy()[::8].tolist() == [[0.1, 0.5], [0.5, 0.9]]
    drawn = tmp_path / "out" / "val_0001_boxes.mp4"
    with open_video(data / "videos" / "val_0001.mp4") as before, open_video(drawn) as after:
        assert after.num_frames == before.num_frames
        assert np.abs(after.frames_at([15]).astype(int) - before.frames_at([15])).max() > 100
    assert f"{drawn}: " in captured.out and not (tmp_path / "out" / "val_0002_boxes.mp4").exists()


def test_avas_seconds_are_drawn_where_they_are(data, command, tmp_path):
    """Second 900 is the first frame, as for the scores; by seconds from 0 nothing could be drawn, which is an error."""
    assert command("--draw") == 0
    for name in ("val_0001", "val_0002"):
        drawn = tmp_path / "out" / f"{name}_boxes.mp4"
        with open_video(data / "videos" / f"{name}.mp4") as before, open_video(drawn) as after:
            assert after.num_frames == before.num_frames


def test_the_detector_s_boxes_can_be_used_again(data, command, tmp_path, monkeypatch, capsys):
    """Two people in every frame, one of them less certain than the list is read with."""
    found = torch.tensor([[0.1, 0.2, 1 / 3, 0.9], [0.5, 0.2, 0.9, 0.9]]), torch.tensor([0.95, 0.85])
    monkeypatch.setattr(detect_people, "find_people", lambda detector, frames: [found] * len(frames))
    monkeypatch.setattr(detect_people, "person_detector", lambda *given: torch.nn.Identity())
    torch.save({}, tmp_path / "detector.pth")
    assert command(boxes=None, detector=tmp_path / "detector.pth") == 0
    out = tmp_path / "out"
    assert f"{out / 'boxes.csv'}: " in capsys.readouterr().out
    assert command(boxes=out / "boxes.csv", output=tmp_path / "again") == 0
    assert (tmp_path / "again" / "detections.csv").read_bytes() == (out / "detections.csv").read_bytes()
    rows = table(out / "detections.csv")
    assert set(rows["video"]) == {"val_0001", "val_0002"} and rows["second"].min() == 0
    assert command("AVA.DETECTION_SCORE_THRESH", "0.9", boxes=out / "boxes.csv", output=tmp_path / "sure") == 0
    assert len(table(tmp_path / "sure" / "detections.csv")) == len(rows) // 2


def test_some_actions_without_a_name_are_left_out(weights, command, tmp_path):
    content = torch.load(weights / "named.pyth", weights_only=True)
    torch.save(content | {"label_names": ["", *NAMES[1:7], ""]}, tmp_path / "some.pyth")
    assert command(weights=tmp_path / "some.pyth") == 0
    assert sorted(set(table(tmp_path / "out" / "detections.csv")["action"])) == list(range(2, 8))


def test_key_frames_that_cannot_be_read(data, command, tmp_path, capsys):
    boxes = tmp_path / "own.csv"
    boxes.write_text("val_0001,1,0.1,0.2,0.5,0.9,,0.9\nval_0001,70,0.1,0.2,0.5,0.9,,0.9\n")
    assert command(boxes=boxes, videos=["val_0001.mp4"]) == 2
    assert "1 of 2 key frames could not be read" in error_of(capsys)
    assert table(tmp_path / "out" / "detections.csv")["second"].unique().tolist() == [1]
    assert pd.read_csv(tmp_path / "out" / "unreadable.csv")["video"].tolist() == ["val_0001,0070"]
    boxes.write_text("val_0001,70,0.1,0.2,0.5,0.9,,0.9\n")
    assert command(boxes=boxes, videos=["val_0001.mp4"], output=tmp_path / "none") == 2
    assert "1 of 1 key frames could not be read" in error_of(capsys)
    assert not (tmp_path / "none" / "detections.csv").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("other,1,0.1,0.2,0.5,0.9,,0.9\n", "own.csv has boxes of other, and none of val_0001.mp4, val_0002.mp4"),
        ("video,second,x1,y1,x2,y2\n", "own.csv holds no boxes, but a header alone"),
        ("", "own.csv is empty"),
        ("val_0001,1,0.1,0.2,0.5,0.9,,0.5\n", "has a score of at least 0.8, the best has 0.5: lower AVA.DETECTION"),
        ("val_0001,1,12,40,80,60,,0.9\n", "corners outside 0..1"),
        ("val_0001,1,0.5,0.2,0.5,0.9,,0.9\n", "none of its boxes can be used"),
        ("val_0001,1.5,0.1,0.2,0.5,0.9,,0.9\n", "own.csv:1: second is '1.5' and should be a whole number"),
    ],
)
def test_bad_box_lists(command, tmp_path, capsys, text, said):
    (tmp_path / "own.csv").write_text(text)
    assert command(boxes=tmp_path / "own.csv") == 2
    assert said in error_of(capsys)
    assert not (tmp_path / "out").exists()


def test_bad_commands(data, weights, command, tmp_path, capsys):
    assert command(videos=["val_0001.mp4", "none.mp4"]) == 2
    assert "none.mp4 with pyav: there is no such file" in error_of(capsys)
    assert command(boxes=tmp_path / "none.csv") == 2
    assert f"there is no box list {tmp_path / 'none.csv'}" in error_of(capsys)
    assert command(cfg=RECIPE.with_name("MVITV2_TOY_8x4.yaml")) == 2
    assert "the config is not of boxes (TEST.DATASET is kinetics)" in error_of(capsys)
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "out"):
        assert command(output=output, weights=tmp_path / "none.pyth") == 2  # before the weights are looked for
        assert f"{output} cannot be written: {tmp_path / 'file'} is not a folder; give --output" in error_of(capsys)
    assert command(weights=tmp_path / "none.pyth") == 2
    assert "none.pyth" in error_of(capsys)
    assert command(weights=weights / "plain.pyth") == 2
    assert "AVA.LABEL_MAP_FILE" in error_of(capsys)
    assert command(boxes=None, detector=weights / "plain.pyth") == 2
    assert "plain.pyth holds no weights of torchvision's" in error_of(capsys)
    shutil.copy(data / "videos" / "val_0001.mp4", tmp_path / "val_0001.mp4")
    assert command(videos=["val_0001.mp4", tmp_path / "val_0001.mp4"]) == 2
    assert "are both called val_0001" in error_of(capsys)
    assert not (tmp_path / "out").exists()
    assert command(boxes=None) == 2
    assert "the config is of boxes (TEST.DATASET is ava): say where people are with --boxes or" in error_of(capsys)
    for missing in ({"detector": "d.pth"},):  # both
        with pytest.raises(SystemExit):
            command(**missing)
    with pytest.raises(SystemExit):
        command(videos=[])
    assert "no input is given" in capsys.readouterr().err


def test_words():
    videos, keys = split_words(["a.mp4", "dir/B.MKV", "IMG_1.MP4", "NUM_GPUS", "0", "AVA.TEST_FLIP", "True"])
    assert videos == ["a.mp4", "dir/B.MKV", "IMG_1.MP4"]
    assert keys == ["NUM_GPUS", "0", "AVA.TEST_FLIP", "True"]
    assert split_words(["a.mp4"])[1] == []
