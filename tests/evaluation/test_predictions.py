"""The files that a test leaves: exact columns, exact values, whole or not at all."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from slowfast_mvit.batches import UnreadableVideo
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation import predictions
from slowfast_mvit.evaluation.multiview import MultiViewResult
from slowfast_mvit.evaluation.predictions import (
    classes_table,
    clips_table,
    unreadable_table,
    videos_table,
    write_csv,
    write_json,
    write_probabilities,
    write_results,
)

NAMES = np.array(["a b.mp4", "never read.mp4", 'c, "d".mp4'])
LABELS = ("run", "high jump", "hop, skip and jump")


@pytest.fixture
def result():
    """Two videos (the middle one was unreadable) of 2 clips x 1 crop and three classes."""
    views = np.array([[[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]], [[0.25, 0.625, 0.125], [0.0, 0.125, 0.875]]])
    order = np.argsort(-views, axis=2, kind="stable")
    return MultiViewResult(
        videos=np.array([0, 2]),
        labels=np.array([1, 0]),
        scores=views.mean(axis=1),
        top_classes=order,
        top_scores=np.take_along_axis(views, order, axis=2).astype(np.float32),
        seconds=np.array([[[0.0, 2.1], [1.23456, 3.5]], [[0.0, 1 / 3], [3600.1004, 7321.5678]]]),
        view_probabilities=views.astype(np.float32),
        num_crops=1,
    )


def wide(num_classes, num_crops=3, clips=2):
    """One video, all views equal, the best class being the last."""
    views = clips * num_crops
    kept = min(5, num_classes)
    scores = np.arange(1, num_classes + 1)[None] / 100
    best = np.arange(num_classes)[::-1][:kept]
    return MultiViewResult(
        videos=np.array([0]),
        labels=np.array([0]),
        scores=scores,
        top_classes=np.tile(best, (1, views, 1)),
        top_scores=np.tile(scores[0, best].astype(np.float32), (1, views, 1)),
        seconds=np.zeros((1, views, 2)),
        view_probabilities=None,
        num_crops=num_crops,
    )


def test_clips_csv_to_the_letter(result, tmp_path):
    write_csv(clips_table(result, NAMES, LABELS), tmp_path / "clips.csv")
    hop = '"hop, skip and jump"'
    assert (tmp_path / "clips.csv").read_text().splitlines() == [
        "video,label,label_name,clip_index,crop_index,start_sec,end_sec,"
        "top1,top1_name,top1_score,top2,top2_name,top2_score,top3,top3_name,top3_score",
        f"a b.mp4,1,high jump,0,0,0,2.1,0,run,0.5,1,high jump,0.25,2,{hop},0.25",
        f"a b.mp4,1,high jump,1,0,1.235,3.5,1,high jump,0.75,0,run,0.125,2,{hop},0.125",
        f'"c, ""d"".mp4",0,run,0,0,0,0.333,1,high jump,0.625,0,run,0.25,2,{hop},0.125',
        f'"c, ""d"".mp4",0,run,1,0,3600.100,7321.568,2,{hop},0.875,1,high jump,0.125,0,run,0',
    ]


def test_videos_csv_to_the_letter(result, tmp_path):
    write_csv(videos_table(result, NAMES, LABELS), tmp_path / "videos.csv")
    hop = '"hop, skip and jump"'
    assert (tmp_path / "videos.csv").read_text().splitlines() == [
        "video,label,label_name,num_views,top1,top1_name,top1_score,top2,top2_name,top2_score,top3,top3_name,top3_score",
        f"a b.mp4,1,high jump,2,1,high jump,0.5,0,run,0.3125,2,{hop},0.1875",
        f'"c, ""d"".mp4",0,run,2,2,{hop},0.5,1,high jump,0.375,0,run,0.125',
    ]


def test_pandas_reads_the_names_back(result, tmp_path):
    write_csv(clips_table(result, NAMES, LABELS), tmp_path / "clips.csv")
    table = pd.read_csv(tmp_path / "clips.csv")
    assert table["video"].tolist() == ["a b.mp4"] * 2 + ['c, "d".mp4'] * 2
    assert table["top3_name"].tolist() == [LABELS[2]] * 3 + ["run"]
    assert table["end_sec"].tolist() == [2.1, 3.5, 0.333, 7321.568]
    assert table["top1_score"].tolist() == [0.5, 0.75, 0.625, 0.875]


def test_views_are_clip_major(tmp_path):
    table = clips_table(wide(3, num_crops=3, clips=2), NAMES, ())
    assert table["clip_index"].tolist() == [0, 0, 0, 1, 1, 1]
    assert table["crop_index"].tolist() == [0, 1, 2, 0, 1, 2]
    assert videos_table(wide(3, num_crops=3, clips=2), NAMES, ())["num_views"].tolist() == [6]


@pytest.mark.parametrize(("num_classes", "kept"), [(1, 1), (2, 2), (5, 5), (9, 5)])
def test_columns_up_to_five(num_classes, kept):
    best = [f"top{rank}{part}" for rank in range(1, kept + 1) for part in ("", "_name", "_score")]
    clips, videos = (table(wide(num_classes), NAMES, ()) for table in (clips_table, videos_table))
    first = ["video", "label", "label_name", "clip_index", "crop_index", "start_sec", "end_sec"]
    assert list(clips.columns) == first + best
    assert list(videos.columns) == ["video", "label", "label_name", "num_views", *best]
    assert videos.loc[0, "top1"] == num_classes - 1 and videos.loc[0, f"top{kept}"] == num_classes - kept


def test_without_names(result):
    table = videos_table(result, NAMES, ())
    assert table["label_name"].tolist() == ["", ""] == table["top1_name"].tolist()
    partly = videos_table(result, NAMES, LABELS[:1])  # a list with fewer names than there are classes
    assert partly["label_name"].tolist() == ["", "run"] and partly["top1_name"].tolist() == ["", ""]


def test_six_digits(result, tmp_path):
    table = pd.DataFrame({"score": [1 / 3, 1.23456789e-8, 1.0, np.nan], "seconds": [999.9994, 1000.0, 86399.1234, 0]})
    write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == (
        "score,seconds\n0.333333,999.999\n1.23457e-08,1000.000\n1,86399.123\n,0\n"
    )


def test_no_video(result):
    none = replace(
        result,
        **{name: getattr(result, name)[:0] for name in ("videos", "labels", "scores", "top_classes", "top_scores")},
        seconds=result.seconds[:0],
    )
    assert len(clips_table(none, NAMES, LABELS)) == len(videos_table(none, NAMES, LABELS)) == 0
    assert list(clips_table(none, NAMES, LABELS).columns) == list(clips_table(result, NAMES, LABELS).columns)


def test_unreadable_videos(tmp_path):
    bad = [UnreadableVideo(1, "/data/never read.mp4", "pyav", "the file is empty, or so")]
    write_csv(unreadable_table(bad, NAMES), tmp_path / "new" / "unreadable.csv")
    assert (tmp_path / "new" / "unreadable.csv").read_text() == (
        'video,path,backend,cause\nnever read.mp4,/data/never read.mp4,pyav,"the file is empty, or so"\n'
    )
    assert list(unreadable_table([], NAMES).columns) == ["video", "path", "backend", "cause"]


def test_metrics_json(tmp_path):
    path = tmp_path / "deep" / "metrics.json"
    write_json({"top1_acc": float("nan"), "num_videos": 3, "protocol": "2 clips x 1 crop"}, path)
    assert path.read_text() == '{\n  "top1_acc": null,\n  "num_videos": 3,\n  "protocol": "2 clips x 1 crop"\n}\n'
    assert json.loads(path.read_text())["top1_acc"] is None
    write_json({"tests": [{"map": float("nan")}, {"map": 1.5}]}, path)  # of several numbers of clips
    assert json.loads(path.read_text()) == {"tests": [{"map": None}, {"map": 1.5}]}


def test_probabilities(result, tmp_path):
    path = tmp_path / "probabilities.npz"
    write_probabilities(result, NAMES, path)
    with np.load(path) as file:  # without pickles
        assert sorted(file.files) == ["label", "video", "video_scores", "views"]
        assert file["video"].tolist() == ["a b.mp4", 'c, "d".mp4']
        assert file["label"].tolist() == [1, 0]
        assert file["video_scores"].tolist() == [[0.3125, 0.5, 0.1875], [0.125, 0.375, 0.5]]
        assert file["views"].dtype == np.float32 and file["views"].tolist() == result.view_probabilities.tolist()


@pytest.mark.parametrize("write", ["csv", "json", "npz"])
def test_a_failed_write_leaves_the_old_file(result, tmp_path, monkeypatch, write):
    path = tmp_path / f"out.{write}"

    def act(new):
        if write == "csv":
            write_csv(pd.DataFrame({"a": [2 if new else 1]}), path)
        elif write == "json":
            write_json({"a": 2 if new else 1}, path)
        else:
            write_probabilities(replace(result, labels=result.labels + new), NAMES, path)

    act(False)
    old = path.read_bytes()

    def fail(file, *args, **kwargs):
        if hasattr(file, "write"):
            file.write(b"half")
        raise OSError(28, "disk full")

    monkeypatch.setattr(*((np, "savez_compressed") if write == "npz" else (predictions.os, "fsync")), fail)
    with pytest.raises(UserError, match=rf"^{path} cannot be written: disk full$"):
        act(True)
    assert path.read_bytes() == old
    monkeypatch.undo()
    act(True)
    assert path.read_bytes() != old and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_place_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "table.csv"
    with pytest.raises(UserError, match=rf"^{path} cannot be written: "):
        write_csv(pd.DataFrame({"a": [1]}), path)


# Several labels


@pytest.fixture
def several(result):
    return replace(result, labels=np.array([[True, False, True], [False, False, False]]))


def test_columns_of_several_labels(several, tmp_path):
    for table, repeats in ((clips_table, 2), (videos_table, 1)):
        write_csv(table(several, NAMES, LABELS), tmp_path / "table.csv")
        found = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
        assert list(found.columns[:3]) == ["video", "labels", "label_names"]
        assert list(found["labels"]) == ["0;2"] * repeats + [""] * repeats
        assert list(found["label_names"]) == ["run;hop, skip and jump"] * repeats + [""] * repeats
    assert list(videos_table(several, NAMES, ())["label_names"]) == ["", ""]


def test_table_of_classes(several, tmp_path):
    write_csv(classes_table(np.array([0.5, np.nan, 1 / 3]), several, LABELS), tmp_path / "classes.csv")
    assert (tmp_path / "classes.csv").read_text() == (
        'class,name,num_videos,average_precision\n0,run,1,0.5\n1,high jump,0,\n2,"hop, skip and jump",1,0.333333\n'
    )


def test_results_file_of_several_labels(several, tmp_path):
    write_results(several.scores, several.labels, tmp_path / "results.pkl")
    scores, labels = pickle.loads((tmp_path / "results.pkl").read_bytes())
    assert labels.dtype == torch.float32 and labels.tolist() == [[1, 0, 1], [0, 0, 0]] and scores.shape == (2, 3)
