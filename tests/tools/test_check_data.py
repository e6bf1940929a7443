"""The check of a dataset from end to end: what is found, what is read again, and what a kill loses."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import check_data
import pandas as pd
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path, toy_data: Path) -> Path:
    """A dataset of two splits with every kind of trouble."""
    root = tmp_path / "data"
    root.mkdir()
    videos = sorted((toy_data / "videos" / "train").iterdir())
    for name, video in zip("abcdef", videos, strict=False):
        shutil.copy(video, root / f"{name}.mp4")
    (root / "empty.mp4").touch()
    (root / "text.mp4").write_text("this is no video\n" * 40)
    (root / "cut.mp4").write_bytes((root / "a.mp4").read_bytes()[:-500])
    (root / "train.csv").write_text(
        "a.mp4 grow\nb.mp4 grow\nb.mp4 grow\nempty.mp4 shrink\ntext.mp4 move_up\ncut.mp4 grow\ngone.mp4 grow\n"
    )
    (root / "val.csv").write_text("c.mp4 move_left\na.mp4 grow\n")
    return root


def config(tmp_path: Path, root: Path, extra: str = "") -> list[str]:
    path = tmp_path / "check.yaml"
    path.write_text(
        f"_BASE_: {ROOT}/configs/Toy/MVITV2_TOY_8x4.yaml\nDATA:\n  PATH_TO_DATA_DIR: {root}\n"
        f"MODEL:\n  NUM_CLASSES: 4\nOUTPUT_DIR: {tmp_path}/run\n{extra}"
    )
    return ["--cfg", str(path), "--workers", "1"]


def tables(tmp_path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = tmp_path / "run" / "data_check"
    return pd.read_csv(folder / "videos.csv"), pd.read_csv(folder / "unreadable.csv")


def test_tables_report_and_status(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_data.main(config(tmp_path, data)) == 1
    videos, bad = tables(tmp_path)
    expected = ["a", "b", "b", "empty", "text", "cut", "gone", "c", "a"]
    assert [Path(path).stem for path in videos["path"]] == expected  # in the order of the lists
    assert list(videos["status"]) == ["ok"] * 3 + ["unreadable"] * 3 + ["missing", "ok", "ok"]
    assert list(videos["split"]) == ["train"] * 7 + ["val"] * 2 and videos["label"][7] == "move_left"
    facts = ["width", "height", "frames", "fps", "codec", "rotation", "duration"]
    assert list(videos.loc[0, facts]) == [96, 80, 48, 30.0, "h264", 0, 1.6]
    assert list(bad["cause"][:1]) == ["the file is empty"] and list(bad["cause"][3:]) == ["No such file or directory"]
    assert list(bad["path"]) == [f"{data}/{name}.mp4" for name in ("empty", "text", "cut", "gone")]

    said = capsys.readouterr().out.splitlines()
    assert said[0] == "train: 6 of 7 found, 3 ok, 3 unreadable, 1 missing"
    assert said[1] == "  short side  all 80 pixels" and said[2] == "  codecs      h264: 3"
    assert said[3] == "  frame rate  30 fps: 3"
    assert said[4] == "  duration    all 1.6 s; 0 shorter than a clip"
    assert said[5] == "  labels      1 of 4 have files; fewest: grow (3)"
    assert said[6] == "              without: move_left, move_up, shrink"
    assert said[7] == f"  duplicates  1 file listed more than once: {data}/b.mp4"
    assert said[8] == "val: 2 of 2 found, 2 ok"
    assert said[-2] == f"train and val share 1 file: {data}/a.mp4"
    assert said[-1].endswith("unreadable.csv: the 4 bad ones")


def test_all_good(tmp_path: Path, toy_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["DATA.NUM_FRAMES", "16", "DATA.TRAIN_CROP_SIZE", "96", "DATA.TEST_CROP_SIZE", "96"]
    sides = ["DATA.TRAIN_JITTER_SCALES", "(96, 96)", "MODEL.NUM_CLASSES", "8"]
    assert check_data.main([*config(tmp_path, toy_data), "--splits", "test", "--decode", *overrides, *sides]) == 0
    videos, bad = tables(tmp_path)
    assert len(videos) == 10 and len(bad) == 0 and set(videos["full"]) == {1}
    said = capsys.readouterr().out
    assert "10 shorter than a clip" in said  # 16 frames, 4 apart, of 48
    assert "all 80 pixels; 10 below TRAIN_CROP_SIZE 96" in said and "unreadable" not in said


def mark(folder: Path) -> None:
    """Change the times that reading took, so that a row which is written again is known."""
    table = pd.read_csv(folder / "videos.csv", dtype=str, keep_default_na=False)
    table["seconds"] = "77.0"
    table.to_csv(folder / "videos.csv", index=False)


def test_only_what_changed_is_read_again(tmp_path: Path, data: Path) -> None:
    command = config(tmp_path, data)
    assert check_data.main([*command, "--splits", "train"]) == 1
    mark(tmp_path / "run" / "data_check")
    shutil.copy(data / "c.mp4", data / "text.mp4")
    (data / "train.csv").write_text((data / "train.csv").read_text() + "d.mp4 grow\n")
    assert check_data.main(command) == 1
    videos, _ = tables(tmp_path)
    kept = videos[videos["seconds"] == 77.0]
    # a.mp4 of the new split val was read for train, and is not read for val.
    assert [Path(path).stem for path in kept["path"]] == ["a", "b", "b", "empty", "cut", "a"]
    fresh = videos[(videos["seconds"] != 77.0) & (videos["status"] != "missing")]
    assert [Path(path).stem for path in fresh["path"]] == ["text", "d", "c"]
    assert set(fresh["status"]) == {"ok"}


def test_bad_files_are_read_again_on_demand_and_so_is_everything_for_more(tmp_path: Path, data: Path) -> None:
    command = config(tmp_path, data)
    folder = tmp_path / "run" / "data_check"
    assert check_data.main(command) == 1
    mark(folder)
    assert check_data.main([*command, "--retry"]) == 1
    videos, _ = tables(tmp_path)
    assert set(videos[videos["seconds"] == 77.0]["status"]) == {"ok"} and len(videos) == 9
    assert check_data.main([*command, "--decode"]) == 1
    videos, _ = tables(tmp_path)
    assert not (videos["seconds"] == 77.0).any() and set(videos["full"]) == {1}
    mark(folder)
    assert check_data.main(command) == 1  # a full check is also a quick one
    assert (tables(tmp_path)[0]["seconds"].fillna(77.0) == 77.0).all()


def test_files_are_read_again_by_another_backend(tmp_path: Path, toy_data: Path) -> None:
    def check(backend: str) -> int:
        overrides = ["MODEL.NUM_CLASSES", "8", "DATA.DECODING_BACKEND", backend]
        return check_data.main([*config(tmp_path, toy_data), "--splits", "val,test", *overrides])

    assert check("pyav") == 0
    assert check("frames") == 1  # these are no folders of images
    videos, _ = tables(tmp_path)
    assert set(videos["split"]) == {"val", "test"} and set(videos["status"]) == {"unreadable"}
    assert set(videos["kind"]) == {"frames"}
    assert check("pyav") == 0


def test_a_hanging_file_is_named(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "frames"
    for name in ("good", "stuck"):
        (root / "train" / "grow" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(root / "train" / "grow" / name / "0.png")
    os.mkfifo(root / "train" / "grow" / "stuck" / "1.png")
    command = config(tmp_path, root)
    assert check_data.main([*command, "--timeout", "1.5", "DATA.DECODING_BACKEND", "frames"]) == 1
    videos, bad = tables(tmp_path)
    assert list(videos["status"]) == ["ok", "unreadable"]
    assert bad["path"][0].endswith("stuck") and bad["cause"][0].startswith("no answer after 1.5 s")


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_a_stopped_run_goes_on_where_it_stood(tmp_path: Path, toy_data: Path, blow: signal.Signals) -> None:
    root = tmp_path / "many"
    root.mkdir()
    source = sorted((toy_data / "videos" / "train").iterdir())
    for number in range(960):
        os.link(source[number % len(source)], root / f"{number:03d}.mp4")
    (root / "train.csv").write_text("".join(f"{number:03d}.mp4 {number % 4}\n" for number in range(960)))
    command = [sys.executable, str(ROOT / "tools" / "check_data.py"), *config(tmp_path, root)]
    table = tmp_path / "run" / "data_check" / "videos.csv"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (table.exists() and table.read_bytes().count(b"\n") > 30):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(blow)
    said = process.communicate()[1]
    assert process.returncode == (-signal.SIGKILL if blow == signal.SIGKILL else 130)
    assert blow == signal.SIGKILL or "stopped: the same command goes on from here" in said
    before = table.read_text().splitlines()[1:]
    assert 30 <= len(before) < 960
    with table.open("a") as file:
        file.write("train,/half/a")  # what a kill in the middle of a line leaves
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    after = table.read_text().splitlines()[1:]
    assert len(after) == 960 and set(before) <= set(after)  # with the times that the first run measured
    assert [line.split(",")[1][-7:-4] for line in after] == [f"{number:03d}" for number in range(960)]


def test_mistakes_are_told_in_a_sentence(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(*arguments: str) -> str:
        assert check_data.main([*config(tmp_path, data), *arguments]) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "has no train, val or test split" in refusal("DATA.PATH_TO_DATA_DIR", str(tmp_path))
    assert "--workers 0 and --timeout 300 must be more than 0" in refusal("--workers", "0")
    assert "label" in refusal("MODEL.NUM_CLASSES", "2")
    with pytest.raises(SystemExit):
        refusal("--splits", "train,tests")
    assert "--splits: 'train,tests' must be of train, val, test, joined by commas" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "videos.csv").write_text("id,label\n1,2\n")
    assert "is not a table of this check" in refusal("--out", str(tmp_path / "other"))
    assert (tmp_path / "other" / "videos.csv").read_text() == "id,label\n1,2\n"
