"""A run's folder as it may be: whole, cut off, damaged, or of something else."""

import json
import os
from pathlib import Path

import pytest

from slowfast_mvit.errors import UserError
from slowfast_mvit.report.files import read_run

STEP = '{{"kind": "train", "time": {0}, "epoch": 1, "step": {0}, "lr": 0.1, "loss": {1}}}\n'


def test_a_whole_run(finished_run: Path) -> None:
    run = read_run(finished_run)
    assert run.notes == [] and run.has_something and run.config is not None
    assert run.steps is not None and run.steps["step"].tolist() == [1, 2, 3, 4, 5, 6]  # 24 videos, 8 a step, 2 epochs
    assert run.epochs is not None and run.epochs["epoch"].tolist() == [1, 2]
    assert run.videos is not None and len(run.videos) == 10 == run.test["num_videos"]
    assert len(run.label_names) == 8 and run.label_names[0] == "grow"
    assert run.unreadable is None and run.boxes is None


def test_steps_that_were_made_again_count_once(tmp_path: Path) -> None:
    log = STEP.format(1, 3) + STEP.format(2, 9) + STEP.format(3, 9) + '{"kind": "val", "step": 2}\n{"kind": "tr\n'
    (tmp_path / "log.jsonl").write_text(log + STEP.format(2, 2) + STEP.format(3, "null") + "[1]\n")
    run = read_run(tmp_path)
    assert run.steps is not None and run.steps["step"].tolist() == [1, 2, 3]
    assert run.steps["loss"].tolist()[:2] == [3, 2] and run.steps["loss"].isna().tolist() == [False, False, True]
    assert len(run.notes) == 1 and "has 2 damaged lines" in run.notes[0]


def test_names_stay_as_they_are_written(run_copy: Path) -> None:
    (run_copy / "predictions" / "videos.csv").write_text(
        "video,label,label_name,num_views,top1,top1_name,top1_score\nNA,0,null,1,,007,0.5\n"
    )
    run = read_run(run_copy)
    assert run.videos is not None
    row = run.videos.iloc[0]
    assert (row["video"], row["label_name"], row["top1_name"], row["label"]) == ("NA", "null", "007", 0)
    assert run.videos["top1"].isna().all()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("metrics.json", b"{", "is no JSON file"),
        ("metrics.json", b"[1]", "is not an object"),
        ("epochs.csv", b"a,b\n1,2\n", "has no column epoch"),
        ("epochs.csv", b"epoch,loss\n1,2\ninf,1\nword,1\n", "2 rows of"),
        ("epochs.csv", b'epoch\n"\n', "is no CSV file"),
        ("epochs.csv", b"\xff\xfe\x00\x01", "is no CSV file"),
        ("config.yaml", b"NUM_GPUS: [", "config.yaml"),
        ("config.yaml", b"NO_SUCH: 1", "NO_SUCH"),
        ("labels.json", b"\xff", "is no JSON file"),
        ("predictions/videos.csv", b"", ""),
    ],
)
def test_damaged_files_are_named_and_the_rest_is_read(run_copy: Path, name: str, content: bytes, says: str) -> None:
    (run_copy / name).write_bytes(content)
    run = read_run(run_copy)
    assert run.steps is not None and len(run.steps) == 6
    if says:
        assert len(run.notes) == 1 and says in run.notes[0] and name in run.notes[0]


def test_labels_of_absurd_numbers_are_left_out(run_copy: Path) -> None:
    (run_copy / "labels.json").write_text(json.dumps({"a": 1, "b": 10**15, "c": -1, "d": "x"}))
    assert read_run(run_copy).label_names == ("", "a")


def test_the_newer_config_is_taken(run_copy: Path) -> None:
    test = run_copy / "test_config.yaml"
    test.write_text((run_copy / "config.yaml").read_text().replace("RNG_SEED: 0", "RNG_SEED: 77"))
    for newer, seed in ((test, 77), (run_copy / "config.yaml", 0)):
        stamp = max(path.stat().st_mtime_ns for path in run_copy.glob("*.yaml")) + 10**9
        os.utime(newer, ns=(stamp, stamp))
        config = read_run(run_copy).config
        assert config is not None and seed == config.RNG_SEED


def test_of_several_tests_the_last_is_shown(run_copy: Path) -> None:
    tests = [{"top1_acc": 1.0, "protocol": "1 clip x 1 crop"}, {"top1_acc": 2.0, "protocol": "5 clips x 1 crop"}]
    (run_copy / "metrics.json").write_text(json.dumps({"tests": tests}))
    own = run_copy / "predictions" / "5_clips"
    own.mkdir()
    (own / "videos.csv").write_text("video,num_views\nx,5\n")
    run = read_run(run_copy)
    assert run.test["top1_acc"] == 2 and run.videos is not None and run.videos["video"].tolist() == ["x"]


def test_no_folder_and_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder .*gone"):
        read_run(tmp_path / "gone")
    run = read_run(tmp_path)
    assert not run.has_something and run.notes == []
