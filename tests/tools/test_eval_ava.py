"""The command that scores AVA's files: numbers worked by hand, files that it writes, and bad input."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import eval_ava
import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
# A person who stands and holds something, one who sits, and a second that nobody agreed on.
TRUTH = """\
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,12,0
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,17,0
-5KQ66BBWC4,0902,0.500,0.200,0.900,1.000,11,1
-5KQ66BBWC4,0903,0.077,0.151,0.283,0.811,12,0
-5KQ66BBWC4,0904,0.077,0.151,0.283,0.811,12,0
"""
# Standing: right, wrong (a duplicate), excluded, right: precision 1 and 2/3. Sitting: an IoU of 0.6. Holding: nothing.
FOUND = """\
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,12,0.9
-5KQ66BBWC4,0902,0.078,0.151,0.283,0.811,12,0.8
-5KQ66BBWC4,0902,0.500,0.200,0.900,0.680,11,0.7
-5KQ66BBWC4,0902,0.500,0.200,0.900,0.680,99,0.7
-5KQ66BBWC4,904,0.077,0.151,0.283,0.811,12,0.7
-5KQ66BBWC4,903.0,0.077,0.151,0.283,0.811,12,0.6
"""
LABELS = """\
item {
  name: "sit"
  id: 11
}
item {
  name: "stand"
  id: 12
}
item {
  name: "carry/hold (an object)"
  id: 17
}
item {
  name: "swim"
  id: 71
}
"""
STAND = (1 + 2 / 3) / 2
FILES = ["--groundtruth", "g.csv", "--detections", "d.csv", "--labelmap", "l.pbtxt", "--exclusions", "e.csv"]
OFFICIAL = "PascalBoxes_Precision/mAP@{}IOU"


@pytest.fixture
def files(tmp_path):
    for name, text in (("g.csv", TRUTH), ("d.csv", FOUND), ("l.pbtxt", LABELS), ("e.csv", "-5KQ66BBWC4,0904\n")):
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def run(files, capsys, monkeypatch):
    """Exit status, output and errors of the command beside the files, which are its arguments unless others are given."""
    monkeypatch.chdir(files)

    def run_there(*arguments):
        status = eval_ava.main([*FILES, *arguments])
        return status, *capsys.readouterr()

    return run_there


def test_as_a_command(files):
    command = [sys.executable, str(ROOT / "tools/eval_ava.py"), *FILES]
    done = subprocess.run(command, cwd=files, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "" and "mAP@0.5IOU 61.11 %" in done.stdout
    (files / "d.csv").unlink()
    done = subprocess.run(command, cwd=files, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: there is no file d.csv: check its name and folder\n"


def test_scores_and_files(files, run):
    status, out, err = run("--iou", "0.5", "0.75", "--output", "out/ava", "--curves", "out/curves.csv")
    assert status == 0 and err == ""
    assert out.splitlines() == [
        "  id class                     truth  detections   AP@0.5  AP@0.75",
        "  11 sit                           1           1   100.00     0.00",
        "  12 stand                         2           3    83.33    83.33",
        "  17 carry/hold (an object)        1           0     0.00     0.00",
        "  71 swim                          0           0     none     none",
        "mAP@0.5IOU 61.11 %, the mean over the 3 of 4 classes with truth",
        "mAP@0.75IOU 27.78 %, the mean over the 3 of 4 classes with truth",
        "note: 1 of the 6 detections are left out, as the label map lacks their actions 99",
        "note: 1 of the 4 classes have no truth, so no precision, and are not in the mean: swim",
        "note: 1 of the 4 classes have truth but no detection, and count as 0: carry/hold (an object)",
    ]
    said = json.loads((files / "out/ava/metrics.json").read_text())
    assert said[OFFICIAL.format(0.5)] == pytest.approx((1 + STAND) / 3, abs=1e-15)
    assert said[OFFICIAL.format(0.75)] == pytest.approx(STAND / 3, abs=1e-15)
    assert said["map"] == pytest.approx(100 * (1 + STAND) / 3) and said["iou"] == 0.5
    assert (said["num_classes"], said["num_classes_with_truth"], said["num_truth"], said["num_detections"]) == (
        4,
        3,
        4,
        4,
    )
    assert (said["seconds_with_truth"], said["seconds_with_detections"], said["seconds_with_both"]) == (2, 2, 2)
    assert said["left_out"] == {
        "truth_of_unknown_actions": 0,
        "truth_at_excluded_seconds": 1,
        "detections_of_unknown_actions": 1,
        "detections_at_excluded_seconds": 1,
        "detections_without_area": 0,
    }
    assert [f"note: {reason}" for reason in said["reasons"]] == out.splitlines()[-3:]
    classes = pd.read_csv(files / "out/ava/classes.csv")
    assert classes["action_id"].tolist() == [11, 12, 17, 71] and classes["name"].tolist()[1] == "stand"
    assert classes["num_truth"].tolist() == [1, 2, 1, 0] and classes["num_detections"].tolist() == [1, 3, 0, 0]
    assert classes["AP@0.5IOU"].tolist() == pytest.approx([1, STAND, 0, float("nan")], abs=1e-6, nan_ok=True)
    assert classes["AP@0.75IOU"].tolist() == pytest.approx([0, STAND, 0, float("nan")], abs=1e-6, nan_ok=True)
    curves = pd.read_csv(files / "out/curves.csv")
    assert curves.columns.tolist() == ["iou", "action_id", "name", "score", "recall", "precision"]
    stand = curves[(curves["iou"] == 0.5) & (curves["action_id"] == 12)]
    assert stand[["score", "recall"]].to_numpy().tolist() == [[0.9, 0.5], [0.6, 1.0]]
    assert stand["precision"].tolist() == pytest.approx([1, 2 / 3], abs=1e-6)
    assert len(curves) == 5


def test_files_of_other_names_and_no_files(files, run):
    before = set(files.iterdir())
    assert run()[0] == 0 and set(files.iterdir()) == before
    assert run("--classes", "c.csv", "--json", "m.json")[0] == 0
    assert {path.name for path in set(files.iterdir()) - before} == {"c.csv", "m.json"}


def test_empty_detections_score_0_with_a_reason(files, run):
    (files / "d.csv").write_text("")
    status, out, _ = run("--json", "m.json")
    assert status == 0 and "mAP@0.5IOU 0.00 %" in out and "note: there are no detections" in out
    assert json.loads((files / "m.json").read_text())[OFFICIAL.format(0.5)] == 0


def test_no_truth_is_no_number(files, run):
    for text, reason in (
        ("", "there are no annotated boxes"),
        (
            TRUTH.splitlines()[-1],
            "none of the 1 annotated boxes can be scored: 0 have actions that the label map lacks, 1 are at excluded seconds",
        ),
    ):
        (files / "g.csv").write_text(text)
        said = f"g.csv leaves nothing to score against: {reason}; check --groundtruth, --labelmap and --exclusions"
        assert run("--json", "m.json") == (2, "", f"error: {said}\n")
    assert not (files / "m.json").exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("d.csv", FOUND.replace("0.8\n", "nan\n"), "d.csv, line 2: score is nan, which is not a finite number"),
        ("d.csv", FOUND.replace("903.0", "903.5"), "d.csv, line 6: second is 903.5, which is not a whole number"),
        (
            "g.csv",
            "a,902,0,0,1,1\n",
            "g.csv, line 1: 6 fields where video,second,x1,y1,x2,y2,action_id[,person_id] are expected",
        ),
        ("e.csv", TRUTH, "e.csv, line 1: 8 fields where video,second are expected"),
        ("l.pbtxt", TRUTH, "l.pbtxt, line 1: '-5KQ66BBWC4' where an entry like item { name: ... id: ... } is expected"),
        ("l.pbtxt", "", "l.pbtxt: no entry like item { name: ... id: ... }"),
    ],
)
def test_bad_files(files, run, name, text, said):
    (files / name).write_text(text)
    assert run() == (2, "", f"error: {said}\n")


def test_bad_arguments(files, run):
    (files / "folder").mkdir()
    for arguments, said in (
        (("--iou", "50"), "thresholds of IoU must be more than 0 and at most 1, not 50.0"),
        (("--groundtruth", "none.csv"), "there is no file none.csv: check its name and folder"),
        *((([option, "folder"]), "folder is a folder: give the file that is meant") for option in FILES[::2]),
        (("--output", "g.csv"), "g.csv cannot be written: g.csv is not a folder; give --output another place"),
        (
            ("--json", "g.csv/m.json"),
            "g.csv/m.json cannot be written: g.csv is not a folder; give --json another place",
        ),
        (("--curves", "d.csv"), "d.csv is read, and would be overwritten: give --curves another name"),
        (("--classes", "folder"), "folder cannot be written: it is a folder; give --classes the name of a file"),
    ):
        status, out, err = run(*arguments)
        assert (status, out) == (2, "") and err.startswith("error: ") and said in err and len(err.splitlines()) == 1


@pytest.mark.slow
def test_all_of_ava(tmp_path):
    """57,000 key seconds with 2.5 people and 60 classes each, through the command: the right number, in bounded memory.

    Of the people who do an action, most are found with a score of 0.90..., and the others missed beside a wrong box of 0.95...;
    whoever does not do it has 0.10... So precision rises up to the last right one, and AP is the square of the part found.
    """
    num_actions, names = 60, [f"video{number:06d}" for number in range(64)]
    num_truth, num_right = np.zeros(num_actions), np.zeros(num_actions)
    person = 0
    with (tmp_path / "g.csv").open("w") as truth, (tmp_path / "d.csv").open("w") as found:
        for image in range(57_000):
            key = f"{names[image % 64]},{902 + image // 64:04d}"
            for place in range(2 + image % 2):
                does = {person % num_actions, 7 * person % num_actions, person % 11}
                missed = person % 13 == 0
                x1, x2 = f"{0.3 * place:.1f}{person:08d}", f"{0.3 * place + 0.2:.1f}{person:08d}"
                rows = "".join(f"{key},{x1},0.1,{x2},0.5,{action + 1},{person}\n" for action in does)
                truth.write(rows)
                box = f"{key},{x1},{0.6 if missed else 0.1},{x2},{0.9 if missed else 0.5}"
                found.write(
                    "".join(
                        f"{box},{action + 1},0.{(95 if missed else 90) if action in does else 10}{person:07d}\n"
                        for action in range(num_actions)
                    )
                )
                for action in does:
                    num_truth[action] += 1
                    num_right[action] += not missed
                person += 1
    assert person == 57_000 * 2.5
    (tmp_path / "l.pbtxt").write_text(
        "".join(f'item {{\n  name: "action {number + 1}"\n  id: {number + 1}\n}}\n' for number in range(num_actions))
    )
    (tmp_path / "e.csv").write_text("none,0902\n")
    command = [sys.executable, str(ROOT / "tools/eval_ava.py"), *FILES, "--json", "m.json", "--classes", "c.csv"]
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    size = (tmp_path / "d.csv").stat().st_size / 1e6
    print(
        f"{person * num_actions:,} detections in {size:.0f} MB: {seconds:.1f} s with the start of Python, {peak:.2f} GB"
    )
    (tmp_path / "d.csv").unlink()
    assert process.returncode == 0
    said = json.loads((tmp_path / "m.json").read_text())
    assert said["num_detections"] == person * num_actions and said["num_truth"] == num_truth.sum()
    assert said[OFFICIAL.format(0.5)] == pytest.approx(np.mean((num_right / num_truth) ** 2), abs=1e-9)
    assert pd.read_csv(tmp_path / "c.csv")["num_truth"].tolist() == num_truth.tolist()
    assert peak < 2
