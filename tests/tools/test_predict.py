"""Predictions by the command: the scores of the test, windows, files of every kind, resumption, drawing, and bad input."""

import importlib.util
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import av
import numpy as np
import pandas as pd
import predict
import pytest
import torch
from PIL import Image

from slowfast_mvit.build import predict_clips
from slowfast_mvit.build.model import build_model
from slowfast_mvit.config.load import dump_config, load_config
from slowfast_mvit.data.toy import CLASSES
from slowfast_mvit.data.video import open_video
from slowfast_mvit.data.video_pyav import PyAVReader
from slowfast_mvit.data.windows import GivenClips
from tests.commands import finish_well, run_here, small_config, start
from tests.data.conftest import Sample, paint, write_video

MOVES = sorted(CLASSES)


@pytest.fixture(scope="module")
def weights(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as run_net.py writes it, of a model whose scores differ from video to video."""
    folder = tmp_path_factory.mktemp("weights")
    config = load_config(small_config(folder, toy_data), ["NUM_GPUS", "0"])
    torch.manual_seed(0)
    state = build_model(config).state_dict()
    state = {name: tensor + torch.randn(tensor.shape) * 0.1 for name, tensor in state.items()}
    torch.save({"model_state": state, "cfg": dump_config(config), "label_names": MOVES}, folder / "named.pyth")
    return folder / "named.pyth"


@pytest.fixture
def command(weights: Path, tmp_path: Path):
    """Runs the tool on one thread; ``changed`` replaces options, None takes one away, True gives none a value."""

    def run(*inputs: object, keys: tuple[str, ...] = (), **changed: object) -> int:
        options = {"weights": weights, "output": tmp_path / "out", **changed}
        flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items() if value]
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return predict.main([*map(str, inputs), *flags, *keys])
        finally:
            torch.set_num_threads(threads)

    return run


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.partition("error: ")[2].strip()


def test_the_scores_of_the_test_to_the_last_bit(command, config_file, toy_data, weights, tmp_path) -> None:
    """The list of the test, in batches that run across its videos."""
    test = ("TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", str(weights), "TEST.SAVE_PROBABILITIES", "True")
    assert run_here(config_file, *test, "NUM_GPUS", "0") == 0
    assert command(toy_data / "test.csv", probabilities=tmp_path / "all.npz") == 0
    tested, out = tmp_path / "run" / "predictions", tmp_path / "out"
    for name in ("clips.csv", "videos.csv"):
        expected = pd.read_csv(tested / name, dtype=str).drop(columns=["label", "label_name"])
        pd.testing.assert_frame_equal(pd.read_csv(out / name, dtype=str), expected)
    with np.load(tested / "probabilities.npz") as expected, np.load(tmp_path / "all.npz") as found:
        assert found["video"].tolist() == expected["video"].tolist()
        assert np.array_equal(found["views"], expected["views"].reshape(-1, 8))
        assert np.array_equal(found["video_scores"], expected["video_scores"])
        assert found["view_video"].tolist() == np.repeat(np.arange(10), 3).tolist()
    assert found_names(out / "videos.csv") <= set(MOVES)
    assert not (out / "unfinished").exists() and not (out / "unreadable.csv").exists()


def found_names(table: Path) -> set[str]:
    return set(pd.read_csv(table)["top1_name"])


def test_a_config_or_other_names(command, config_file, toy_data, weights, tmp_path) -> None:
    """With --cfg the names of the config's file stand in for those of the checkpoint; without any there are numbers."""
    video = toy_data / "videos" / "test" / "00000.mp4"
    content = torch.load(weights, weights_only=True)
    torch.save({"model_state": content["model_state"]}, tmp_path / "plain.pyth")
    names = tmp_path / "names.json"
    names.write_text(json.dumps([f"other {number}" for number in range(8)]))
    assert command(video, output=tmp_path / "checkpoint") == 0
    plain = {"cfg": config_file, "weights": tmp_path / "plain.pyth"}
    assert command(video, **plain, output=tmp_path / "plain", keys=("NUM_GPUS", "0")) == 0
    keys = ("NUM_GPUS", "0", "TENSORBOARD.CLASS_NAMES_PATH", str(names))
    assert command(video, **plain, output=tmp_path / "named", keys=keys) == 0
    tables = [pd.read_csv(tmp_path / name / "clips.csv") for name in ("checkpoint", "plain", "named")]
    assert tables[0]["top1_score"].tolist() == tables[1]["top1_score"].tolist() == tables[2]["top1_score"].tolist()
    assert tables[1]["top1_name"].isna().all()
    assert (tables[0]["top2_name"] == [MOVES[label] for label in tables[0]["top2"]]).all()
    assert (tables[2]["top2_name"] == [f"other {label}" for label in tables[2]["top2"]]).all()


def test_windows(command, toy_data, tmp_path, monkeypatch) -> None:
    """1.6 seconds at 30 frames a second: windows by hand; one over everything is the test's single centred clip."""
    video = toy_data / "videos" / "test" / "00000.mp4"
    assert command(video, window=0.9, stride=0.5) == 0
    rows = pd.read_csv(tmp_path / "out" / "clips.csv")
    assert rows["start_sec"].tolist() == [0.0, 0.5, 0.7] and rows["end_sec"].tolist() == [0.9, 1.4, 1.6]
    assert rows["clip_index"].tolist() == [0, 1, 2] and (rows["crop_index"] == 0).all()
    joined = pd.read_csv(tmp_path / "out" / "videos.csv")
    assert joined["num_views"].tolist() == [3]
    assert command(video, window=60, output=tmp_path / "one") == 0
    assert command(video, output=tmp_path / "test", keys=("TEST.NUM_ENSEMBLE_VIEWS", "1")) == 0
    one, test = (pd.read_csv(tmp_path / name / "clips.csv") for name in ("one", "test"))
    tops = [f"top{rank}_score" for rank in range(1, 6)]
    assert one[tops].to_numpy().tolist() == test[tops].to_numpy().tolist()
    # One by one from the decoder they have the same scores as at once; batches of 7 windows in both.
    assert command(video, window=0.3, stride=0.1, output=tmp_path / "held") == 0
    monkeypatch.setattr("slowfast_mvit.data.windows._HELD", 0)
    assert command(video, window=0.3, stride=0.1, output=tmp_path / "streamed") == 0
    held, streamed = ((tmp_path / name / "clips.csv").read_bytes() for name in ("held", "streamed"))
    assert held == streamed and len(pd.read_csv(tmp_path / "held" / "clips.csv")) == 14


def test_long_videos_are_seen_whole(command, toy_data, tmp_path, monkeypatch) -> None:
    """From a minute on, unless the test's views are asked for; here from 1.6 seconds on. A clip is 32 / 30 seconds."""
    monkeypatch.setattr("slowfast_mvit.build.predict_scores.LONG_SECONDS", 1.6)
    video = toy_data / "videos" / "test" / "00000.mp4"
    assert command(video) == 0
    assert pd.read_csv(tmp_path / "out" / "clips.csv")["end_sec"].tolist() == [1.067, 1.6]
    assert command(video, window="0.0") == 0
    assert len(pd.read_csv(tmp_path / "out" / "clips.csv")) == 3
    monkeypatch.setattr("slowfast_mvit.build.predict_scores.LONG_SECONDS", 1.601)
    assert command(video) == 0
    assert len(pd.read_csv(tmp_path / "out" / "clips.csv")) == 3


def test_unreadable_files_are_named_and_the_others_written(command, toy_data, tmp_path, capsys) -> None:
    folder = tmp_path / "films" / "below"
    folder.mkdir(parents=True)
    shutil.copy(toy_data / "videos" / "test" / "00001.mp4", folder / "b.MP4")
    shutil.copy(toy_data / "videos" / "test" / "00002.mp4", folder.parent / "c.mp4")
    (folder / "a.mp4").write_bytes(b"no video at all")
    (folder / "notes.md").touch()
    assert command(tmp_path / "films") == 2
    assert f"1 of 3 files could not be read and have no scores, for example {folder / 'a.mp4'} (it is" in error_of(
        capsys
    )
    out = tmp_path / "out"
    expected = [str(folder / "b.MP4"), str(folder.parent / "c.mp4")]
    assert pd.read_csv(out / "videos.csv")["video"].tolist() == expected
    assert pd.read_csv(out / "unreadable.csv")["video"].tolist() == [str(folder / "a.mp4")]
    (folder / "a.mp4").unlink()
    assert command(tmp_path / "films") == 0
    assert not (out / "unreadable.csv").exists()  # which was of the prediction before


def test_none_can_be_read(command, tmp_path, capsys) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    assert command(tmp_path / "a.mp4") == 2
    assert "1 of 1 files could not be read" in error_of(capsys)
    assert not (tmp_path / "out" / "clips.csv").exists()


def film_with_a_hole(path: Path) -> Path:
    """80 frames at 25 a second, of which 45 to 49 cannot be decoded."""
    write_video(Sample(path.name, num_frames=80, gop=10, height=96), path)
    with av.open(str(path)) as container:
        packet = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][45]
    content = bytearray(path.read_bytes())
    content[packet[0] : sum(packet)] = b"\xff" * packet[1]
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("held", [0, 128_000_000])
def test_windows_before_a_hole_are_written_and_the_video_named(
    command, toy_data, tmp_path, monkeypatch, capsys, held
) -> None:
    """A clip is 27 frames about the middle of its window: the last of four whose clips end before frame 45."""
    monkeypatch.setattr("slowfast_mvit.data.windows._HELD", held)
    broken, whole = film_with_a_hole(tmp_path / "broken.mp4"), tmp_path / "whole.mp4"
    write_video(Sample("whole.mp4", num_frames=80, gop=10, height=96), whole)
    good, out, features = toy_data / "videos" / "test" / "00000.mp4", tmp_path / "out", tmp_path / "f.npz"
    assert command(broken, good, window=0.4, draw=True, features=features) == 2
    error = error_of(capsys)
    assert error.startswith("1 of 2 files are damaged and have scores up to that place alone, for example ")
    assert "the 3 windows before that are scored, of 8" in error
    assert "1 damaged files are not drawn, for example" in error
    assert pd.read_csv(out / "unreadable.csv")["video"].tolist() == [str(broken)]
    assert [path.name for path in out.glob("*.mp4")] == ["00000_labels.mp4"] and not list(out.glob(".*"))
    assert command(whole, good, window=0.4, output=tmp_path / "undamaged") == 0
    found, expected = (pd.read_csv(folder / "clips.csv") for folder in (out, tmp_path / "undamaged"))
    assert (found["video"] == str(broken)).tolist() == [True] * 3 + [False] * 4
    expected = expected.iloc[[0, 1, 2, 8, 9, 10, 11]]
    for name in ("clip_index", "start_sec", "end_sec", "top1"):
        assert found[name].tolist() == expected[name].tolist()
    np.testing.assert_allclose(found["top1_score"], expected["top1_score"], atol=1e-5)
    assert pd.read_csv(out / "videos.csv")["num_views"].tolist() == [3, 4]
    with np.load(features) as stored:
        assert len(stored["features"]) == 7


def test_a_damaged_video_is_named_again_by_the_prediction_that_goes_on(
    command, toy_data, tmp_path, monkeypatch
) -> None:
    broken, good = film_with_a_hole(tmp_path / "broken.mp4"), toy_data / "videos" / "test" / "00000.mp4"
    monkeypatch.setattr("slowfast_mvit.evaluation.score_parts.ScoreParts.remove", lambda self: None)
    for _ in range(2):
        assert command(broken, good, window=0.4) == 2
        assert pd.read_csv(tmp_path / "out" / "videos.csv")["num_views"].tolist() == [3, 4]


def test_a_hole_before_the_first_window_or_between_the_views_of_the_test(command, tmp_path, capsys) -> None:
    """Nothing of the first has scores; the second is whole for the test, and cannot be drawn."""
    broken = film_with_a_hole(tmp_path / "broken.mp4")
    assert command(broken, window=3) == 2
    assert "1 of 1 files could not be read and have no scores" in error_of(capsys)
    keys = ("TEST.NUM_ENSEMBLE_VIEWS", "2", "DATA.SAMPLING_RATE", "1")  # frames 0 to 6 and 73 to 79
    assert command(broken, draw=True, keys=keys) == 2
    assert error_of(capsys).startswith("1 damaged files are not drawn")
    assert len(pd.read_csv(tmp_path / "out" / "clips.csv")) == 2
    assert not list((tmp_path / "out").glob("*.mp4"))


def test_names_that_are_not_utf8(command, toy_data, tmp_path, capsys) -> None:
    """In a folder and in a list; tables and arrays have the byte as text."""
    folder = tmp_path / "films"
    folder.mkdir()
    path = os.fsencode(folder) + b"/caf\xe9.mp4"
    try:
        shutil.copy(toy_data / "videos" / "test" / "00000.mp4", path)
    except OSError:
        pytest.skip("the file system takes names in UTF-8 alone")
    (folder / "list.csv").write_bytes(b"caf\xe9.mp4\n")
    arrays = {"probabilities": tmp_path / "p.npz", "features": tmp_path / "f.npz"}
    assert command(folder, draw=True, **arrays) == 0
    assert pd.read_csv(tmp_path / "out" / "clips.csv")["video"].tolist() == [f"{folder}/caf\\udce9.mp4"] * 3
    for file in arrays.values():
        with np.load(file) as stored:
            assert set(stored["video"]) == {f"{folder}/caf\\udce9.mp4"}
    assert "caf\\udce9" in capsys.readouterr().out or (tmp_path / "out" / "caf\ufffd_labels.mp4").exists()
    assert command(folder / "list.csv", output=tmp_path / "list") == 0
    assert pd.read_csv(tmp_path / "list" / "videos.csv")["video"].tolist() == ["caf\\udce9.mp4"]


def test_drawn_files_of_the_same_and_of_long_names(command, toy_data, tmp_path) -> None:
    names = ["x/a.mp4", "y/a.mp4", "y/A.mp4", "y/a_2.mp4", f"{'l' * 250}.mp4"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(toy_data / "videos" / "test" / "00000.mp4", tmp_path / name)
    assert command(*(tmp_path / name for name in names), draw=True, window=1) == 0
    drawn = sorted(path.name for path in (tmp_path / "out").glob("*.mp4"))
    assert drawn == sorted(f"{name}_labels.mp4" for name in ("a", "a_2", "A_3", "a_2_2", "l" * 200))


def test_a_film_of_one_pixel_is_drawn(command, tmp_path) -> None:
    write_video(Sample("thin.mkv", num_frames=3, height=41, width=1, pix_fmt="yuv444p"), tmp_path / "thin.mkv")
    assert command(tmp_path / "thin.mkv", draw=True) == 0
    with open_video(tmp_path / "out" / "thin_labels.mp4") as drawn:
        assert (drawn.num_frames, drawn.height, drawn.width) == (3, 40, 2)


def test_turned_videos_are_upright(command, tmp_path) -> None:
    """A phone's video that is stored lying has the scores of the one that is stored as it is shown."""
    for name, rotation in (("plain.mp4", 0), ("turned.mp4", 90)):
        write_video(Sample(name, num_frames=40, height=160, width=128, rotation=rotation), tmp_path / name)
    assert command(tmp_path / "plain.mp4", tmp_path / "turned.mp4") == 0
    plain, turned = (rows for _, rows in pd.read_csv(tmp_path / "out" / "clips.csv").groupby("video"))
    np.testing.assert_allclose(turned["top1_score"], plain["top1_score"], atol=0.02)  # the codec's noise
    assert turned["top1"].tolist() == plain["top1"].tolist()


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_features(command, toy_data, weights, tmp_path, suffix) -> None:
    """The input of the head gives the logits again; another layer by name keeps its shape in the NPZ."""
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    file, videos = tmp_path / f"features.{suffix}", toy_data / "videos" / "test" / "*.mp4"
    assert command(videos, features=file, probabilities=tmp_path / "all.npz") == 0
    clips = pd.read_csv(tmp_path / "out" / "clips.csv")
    if suffix == "npz":
        with np.load(file) as stored:
            table = {name: stored[name] for name in stored.files}
    else:
        frame = pd.read_parquet(file)
        table = {name: frame[name].to_numpy() for name in frame.columns} | {"features": np.stack(frame["features"])}
    for name in ("video", "clip_index", "crop_index"):
        assert table[name].tolist() == clips[name].tolist()
    np.testing.assert_allclose(table["start_sec"], clips["start_sec"])
    state = torch.load(weights, weights_only=True)["model_state"]
    logits = torch.from_numpy(table["features"]) @ state["head.projection.weight"].T + state["head.projection.bias"]
    with np.load(tmp_path / "all.npz") as stored:
        np.testing.assert_allclose(logits.softmax(dim=1).numpy(), stored["views"], atol=1e-5)


def test_features_of_a_layer_by_its_name(command, toy_data, weights, tmp_path, capsys) -> None:
    video = toy_data / "videos" / "test" / "00000.mp4"
    assert command(video, features=tmp_path / "f.npz", layer="patch_embed", window=1) == 0
    with np.load(tmp_path / "f.npz") as stored:
        assert stored["features"].shape[0] == 2 and stored["features"].shape[-1] == 8  # EMBED_DIM
        assert stored["features"].ndim == 3
    assert command(video, features=tmp_path / "f.npz", layer="patch_embd") == 2
    assert "the model has no layer 'patch_embd'; did you mean patch_embed?" in error_of(capsys)


def test_a_prediction_that_was_cut_off_goes_on(command, toy_data, tmp_path, monkeypatch) -> None:
    """Finished videos are not decoded again; all files are those of an undisturbed prediction."""
    plain, decoded = GivenClips.__getitem__, []

    def noted(self: GivenClips, index: int):
        decoded.append(index)
        if len(decoded) == 6:
            raise KeyboardInterrupt
        return plain(self, index)

    monkeypatch.setattr(GivenClips, "__getitem__", noted)
    given = (toy_data / "test.csv",)
    assert command(*given, features=tmp_path / "f.npz") == 130
    out = tmp_path / "out"
    assert not (out / "clips.csv").exists() and len(list((out / "unfinished").iterdir())) == 1
    decoded.clear()
    decoded.extend([-1] * 6)
    assert command(*given, features=tmp_path / "f.npz") == 0
    assert decoded[6:] == list(range(4, 10))  # 12 views of 5 videos were in flight: batches of 7 finish 4 videos
    assert not (out / "unfinished").exists()
    assert command(*given, features=tmp_path / "g.npz", output=tmp_path / "whole") == 0
    for name in ("clips.csv", "videos.csv"):
        found, expected = (pd.read_csv(folder / name) for folder in (out, tmp_path / "whole"))
        pd.testing.assert_frame_equal(found, expected, rtol=1e-4)
    with np.load(tmp_path / "f.npz") as found, np.load(tmp_path / "g.npz") as expected:
        np.testing.assert_allclose(found["features"], expected["features"], atol=1e-5)


def test_what_is_kept_is_of_the_same_work_alone(command, toy_data, tmp_path, monkeypatch) -> None:
    """Another window, another file under the same name: everything is scored anew."""
    video = tmp_path / "a.mp4"
    shutil.copy(toy_data / "videos" / "test" / "00000.mp4", video)
    kept = tmp_path / "kept"
    monkeypatch.setattr("slowfast_mvit.evaluation.score_parts.ScoreParts.remove", lambda self: None)
    assert command(video, output=kept) == 0
    count, plain = [], GivenClips.__getitem__
    monkeypatch.setattr(GivenClips, "__getitem__", lambda self, index: count.append(index) or plain(self, index))
    assert command(video, output=kept) == 0 and count == []
    assert command(video, output=kept, window=1) == 0 and count == [0]
    shutil.copy(toy_data / "videos" / "test" / "00001.mp4", video)
    assert command(video, output=kept) == 0 and count == [0, 0]


def test_drawing(command, toy_data, tmp_path) -> None:
    """Every frame is there, with words in its corner, and nothing else changed."""
    video = toy_data / "videos" / "test" / "00000.mp4"
    assert command(video, window=1, draw=True) == 0
    with open_video(video) as before, open_video(tmp_path / "out" / "00000_labels.mp4") as after:
        assert after.num_frames == before.num_frames
        np.testing.assert_allclose(after.timestamps(), before.timestamps(), atol=1e-4)
        changed = np.abs(after.frames_at([3, 20, 40]).astype(int) - before.frames_at([3, 20, 40])).max(axis=-1)
    height = changed.shape[1]
    assert (changed[:, : height // 4].max(axis=(1, 2)) > 100).all() and np.median(changed) < 20


def test_the_labels_of_a_frame_are_those_of_the_nearest_window(command, toy_data, tmp_path, monkeypatch) -> None:
    lines, plain = [], predict_clips.draw_lines
    monkeypatch.setattr(predict_clips, "draw_lines", lambda frame, said: lines.append(said) or plain(frame, said))
    assert command(toy_data / "videos" / "test" / "00000.mp4", window=1, draw=True) == 0
    rows = pd.read_csv(tmp_path / "out" / "clips.csv")
    assert rows["start_sec"].tolist() == [0.0, 0.6]
    said = [
        [f"{row[f'top{rank}_name']} {row[f'top{rank}_score']:.2f}" for rank in (1, 2, 3)] for _, row in rows.iterrows()
    ]
    assert lines == [said[0]] * 25 + [said[1]] * 23  # middles are 0.5 and 1.1; frame 24, at 0.8, is as near to both


def test_one_video_is_decoded_once(command, toy_data, monkeypatch) -> None:
    """Also by windows that overlap, one by one. The pictures of the report are read afterwards."""
    monkeypatch.setattr(predict, "leave_report", lambda root, made, files: files)
    monkeypatch.setattr("slowfast_mvit.data.windows._HELD", 0)
    readers, plain = [], PyAVReader.__init__
    monkeypatch.setattr(PyAVReader, "__init__", lambda self, *given: readers.append(self) or plain(self, *given))
    assert command(toy_data / "videos" / "test" / "00000.mp4", window=0.5, stride=0.1) == 0
    assert max(reader.num_converted for reader in readers) <= 48
    assert sum(reader.num_decoded for reader in readers) <= 48 + len(readers) * 4  # each open decodes the first frame


@pytest.fixture
def image_model(tmp_path: Path) -> dict[str, object]:
    """A small model for images, by its config, with weights."""
    config = tmp_path / "image.yaml"
    root = Path(__file__).parents[2]
    config.write_text(f"_BASE_: {root}/configs/Toy/MVITV2_TOY_IMAGENET.yaml\nMVIT:\n  EMBED_DIM: 8\n")
    made = load_config(config, ["NUM_GPUS", "0"])
    torch.manual_seed(0)
    state = {name: tensor + torch.randn(tensor.shape) * 0.1 for name, tensor in build_model(made).state_dict().items()}
    torch.save({"model_state": state, "cfg": dump_config(made)}, tmp_path / "image.pyth")
    return {"weights": tmp_path / "image.pyth"}


def test_images(command, image_model, tmp_path, capsys) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(paint(number * 99, 80, 120)).save(folder / f"{number}.png")
    (folder / "3.jpg").write_bytes(b"no image")
    assert command(folder, draw=True, **image_model) == 2
    assert "1 of 4 files could not be read" in error_of(capsys)
    out = tmp_path / "out"
    assert len(pd.read_csv(out / "clips.csv")) == len(pd.read_csv(out / "videos.csv")) == 3
    drawn = np.asarray(Image.open(out / "1_labels.png")).astype(int)
    assert drawn.shape == (80, 120, 3) and np.abs(drawn - np.asarray(Image.open(folder / "1.png"))).max() > 100
    (tmp_path / "a.mp4").touch()
    assert command(tmp_path / "a.mp4", **image_model) == 2
    assert "a.mp4 is a video, and the model is one for images" in error_of(capsys)
    for name in ("window", "stride"):
        assert command(folder, **image_model, **{name: 2}) == 2
        assert "a window or stride is of videos" in error_of(capsys)


@pytest.mark.parametrize(
    ("given", "changed", "said"),
    [
        (["none.mp4"], {}, "there is no file or folder none.mp4"),
        (["no*.mp4"], {}, "no file fits the pattern no*.mp4"),
        (["{tmp}"], {}, "holds no videos"),
        (["{tmp}/a.png"], {}, "a.png is an image, and the model is one for video"),
        (["{tmp}/empty.csv"], {}, "empty.csv is empty"),
        (["{video}"], {"weights": None}, "there are no weights"),
        (["{video}"], {"weights": "nowhere.pyth"}, "nowhere.pyth"),
        (["{video}"], {"weights": "{tmp}/bare.pyth"}, "does not say which model it is of: give --cfg FILE.yaml or --model"),
        (["{video}"], {"model": "mvitv2_x"}, "there is no classifier 'mvitv2_x'"),
        (["{video}"], {"model": "mvitv2_t", "cfg": "a.yaml"}, "give one of them"),
        (["{video}"], {"model": "mvitv2_t", "keys": ("NUM_GPUS", "0")}, "NUM_GPUS is a key of a config"),
        (["{video}"], {"window": -1}, "the window is -1 seconds"),
        (["{video}"], {"window": "0.0", "stride": 1}, "a stride is of windows"),
        (["{video}"], {"stride": "0.0"}, "the stride is 0 seconds"),
        (["{video}"], {"layer": "norm"}, "--layer norm is of features"),
        (["{video}"], {"features": "f.csv"}, "must end in .npz or .parquet"),
        (["{video}"], {"probabilities": "p.csv"}, "must end in .npz"),
        (["{tmp}/clips.csv"], {"output": "{tmp}"}, "clips.csv is read, and would be overwritten"),
        (["{tmp}/b_labels.mp4", "{tmp}/b.mp4"], {"output": "{tmp}", "draw": True}, "b_labels.mp4 is read, and would be"),
        (["{video}"], {"output": "{tmp}/a.png"}, "is not a folder; give --output another place"),
        (["{video}"], {"window": 1e-6}, "the window is 1e-06 seconds, which is less than a frame"),
        (["{video}"], {"window": 1, "stride": 1e-6}, "the stride is 1e-06 seconds, which is less than a frame"),
        (["{video}"], {"features": "f.npz", "probabilities": "./f.npz"}, "are both f.npz"),
        (["{video}"], {"features": "{tmp}/unfinished/f.npz", "output": "{tmp}"}, "is among the parts"),
        (["{video}", "NONE.MP4", "IMG_2.JPG"], {"keys": ("NUM_GPUS", "0")}, "there is no file or folder NONE.MP4"),
        (["{video}", "IMG_2.JPG"], {"keys": ("NUM_GPUS", "0")}, "there is no file or folder IMG_2.JPG"),
        (["{video}"], {"boxes": "b.csv", "window": 1}, "--window is for whole clips, and not for boxes"),
    ],
)  # fmt: skip
def test_bad_commands(command, toy_data, tmp_path, capsys, given, changed, said) -> None:
    tmp = tmp_path / "given"
    tmp.mkdir()
    for name in ("a.png", "empty.csv"):
        (tmp / name).touch()
    video = toy_data / "videos" / "test" / "00000.mp4"
    if given[0] != "{tmp}":
        for name in ("b.mp4", "b_labels.mp4"):
            shutil.copy(video, tmp / name)
    (tmp / "clips.csv").write_text("b.mp4\n")
    torch.save({"model_state": {"a": torch.zeros(1)}}, tmp / "bare.pyth")
    before = {path: path.read_bytes() for path in tmp.iterdir()}

    def filled(value: object) -> object:
        return value.format(tmp=tmp, video=video) if isinstance(value, str) else value

    assert command(*map(filled, given), **{name: filled(value) for name, value in changed.items()}) == 2
    assert said in error_of(capsys)
    assert {path: path.read_bytes() for path in tmp.iterdir()} == before
    assert not (tmp_path / "out").exists()


def test_parquet_without_pyarrow(command, toy_data, tmp_path, capsys, monkeypatch) -> None:
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pyarrow" else plain(name, *rest)
    )
    assert command(toy_data / "videos" / "test" / "00000.mp4", features=tmp_path / "f.parquet") == 2
    assert "needs pyarrow, which is not installed: pip install pyarrow" in error_of(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_killed_process_loses_a_few_seconds(weights, toy_data, tmp_path) -> None:
    """SIGKILL when the first part is on the disk: the same command does the rest, and nothing twice."""
    videos = sorted((toy_data / "videos" / "test").iterdir())
    (tmp_path / "films").mkdir()
    for number in range(600):
        shutil.copy(videos[number % len(videos)], tmp_path / "films" / f"{number:03d}.mp4")
    tool, out = str(Path(predict.__file__)), tmp_path / "out"
    command = (tool, str(tmp_path / "films"), "--weights", str(weights), "--output", str(out))
    command += ("--features", str(tmp_path / "f.npz"), "--window", "0.5", "--stride", "0.05")
    first = start(sys.executable, *command)
    deadline = time.monotonic() + 120
    while not list(out.glob("unfinished/*.npz")):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.kill()
    first.communicate()
    assert not (out / "clips.csv").exists()
    said = finish_well(start(sys.executable, *command))
    done = re.search(r"(\d+) of 600 files are finished already", said)
    assert done is not None and 0 < int(done[1]) < 600
    assert len(pd.read_csv(out / "videos.csv")) == 600 and not (out / "unfinished").exists()
    with np.load(tmp_path / "f.npz") as stored:
        assert len(stored["features"]) == len(pd.read_csv(out / "clips.csv"))
