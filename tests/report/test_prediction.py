"""report.html of real predictions, by what a parser finds in it, and what becomes of it where files are missing."""

import json
import os
import shutil
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
import pandas as pd
import predict
import pytest
import report as tool
from PIL import Image

from slowfast_mvit.report.predicted_videos import MOST_FULL, MOST_ROWS
from slowfast_mvit.report.prediction_page import write_prediction
from slowfast_mvit.report.templates import NAME
from tests.report.conftest import EVIL_VIDEO
from tests.report.test_page import Found, read

ALL = ["predicted_clips", "predicted_people", "predicted_objects"]


@pytest.fixture(params=ALL)
def predicted(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture
def copied(predicted_clips: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(predicted_clips, tmp_path / "copy"))


def links(page: Found) -> list[str]:
    """Addresses outside of the page."""
    found = [attrs["href"] or "" for tag, attrs in page.elements if tag == "a"]
    return [href for href in found if not href.startswith("#")]


def test_whole_videos(predicted_clips: Path) -> None:
    page, videos = read(predicted_clips), pd.read_csv(predicted_clips / "videos.csv")
    clips = pd.read_csv(predicted_clips / "clips.csv")
    assert list(page.texts) == ["", "made", "seen", "unreadable"]
    assert f"3 videos, {len(clips)} views, 1 unreadable" in page.texts[""]
    made = page.texts["made"]
    assert "weights.pyth" in made and "windows of 0.5 s, one every 0.2 s" in made and "cpu, float32" in made
    assert "8 frames, 4 apart at 30 fps" in made and "python tools/predict.py " in made and "--stride 0.2" in made
    shares = [attrs["style"] for tag, attrs in page.elements if tag == "span" and attrs.get("class") == "fill"]
    tops = videos[[f"top{rank}_score" for rank in range(1, 6)]].to_numpy().ravel()
    assert shares == [f"--share: {score:.4f}" for score in tops]
    for row in videos.itertuples():
        assert Path(row.video).name in page.texts["seen"]
        assert f"{row.top1_name}{100 * row.top1_score:.1f} %" in page.texts["seen"]
    assert page.count("svg") == page.count("polyline") == 9  # three labels of each
    assert page.count("img", **{"class": "moving"}) == page.count("img", **{"class": "still"}) == 9
    assert (
        f"Files of{predicted_clips.parent}/films/" in made.replace("\n", "") and "films/b.mp4" not in page.texts["seen"]
    )
    assert "d.mp4" in page.texts["unreadable"] and "1 could not be read, and has no scores" in page.texts["unreadable"]


def test_people(predicted_people: Path) -> None:
    page, actions = read(predicted_people), pd.read_csv(predicted_people / "actions.csv")
    assert list(page.texts) == ["", "made", "seen"]
    assert f"2 videos, {len(actions)} boxes" in page.texts[""]
    assert "ava_val_predicted_boxes.csv" in page.texts["made"]
    seen = page.texts["seen"]
    for (video, second), rows in actions.groupby(["video", "second"]):
        assert f"{video}, second {second}" in seen
        best = rows.sort_values("score_1").iloc[-1]
        assert f"{best['action_1']} {100 * best['score_1']:.1f} %" in seen
    assert page.count("img") == actions.groupby(["video", "second"]).ngroups and page.count("svg") == 6


def test_objects(predicted_objects: Path) -> None:
    page, objects = read(predicted_objects), pd.read_csv(predicted_objects / "objects.csv")
    assert list(page.texts) == ["", "made", "objects"] and page.count("img") == 6
    assert f"6 images, {len(objects)} objects" in page.texts[""]
    sure = objects[objects["score"] >= 0.2]  # as the command has drawn them
    assert len(sure) and "Objects with a score of 20 % or more" in page.texts["objects"]
    for row in sure.groupby("image").head(1).itertuples():
        assert f"{row.label} {100 * row.score:.1f} %" in page.texts["objects"]
    assert "The picture in full" in page.texts["objects"] and not page.count("dish")


def test_links_lead_to_the_drawn_files(predicted: Path) -> None:
    found = links(read(predicted))
    drawn = {path for end in ("_labels.mp4", "_boxes.mp4", "_objects.jpg") for path in predicted.rglob(f"*{end}")}
    assert drawn and all(link.startswith("./") for link in found)
    assert {predicted / unquote(link) for link in found} == drawn


def test_the_page_needs_nothing_else_and_every_reference_meets_an_id(predicted: Path) -> None:
    page = read(predicted)
    assert not page.count("script") and not page.count("b") and (predicted / NAME).stat().st_size < 1_000_000
    sources = [
        value for _, attrs in page.elements for name, value in attrs.items() if name in ("src", "srcset") and value
    ]
    assert sources and all(value.startswith("data:image/webp;base64,") for value in sources)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = ("aria-labelledby", "aria-describedby")
    wanted = {word for _, attrs in page.elements for name in named for word in (attrs.get(name) or "").split()}
    wanted |= {
        (attrs["href"] or "")[1:] for tag, attrs in page.elements if tag == "a" and (attrs["href"] or "")[0] == "#"
    }
    assert wanted <= set(ids) and all(attrs.get("alt") for tag, attrs in page.elements if tag == "img")


def test_it_is_made_again(predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (predicted / NAME).read_bytes()
    assert tool.main([str(predicted)]) == 0
    assert capsys.readouterr().out == f"{predicted / NAME}\n" and (predicted / NAME).read_bytes() == before


def test_the_record(predicted_clips: Path) -> None:
    record = json.loads((predicted_clips / "predictions.json").read_text())
    assert record["kind"] == "clips" and record["classes"] == 8 and record["model"] == "mvit" and not record["images"]
    assert [Path(file["path"]).name for file in record["files"]] == [EVIL_VIDEO, "b.mp4", "c.mp4"]
    assert all(Path(file["path"]).is_file() and (predicted_clips / file["drawn"]).is_file() for file in record["files"])


def test_without_the_record_there_are_no_pictures(copied: Path) -> None:
    (copied / "predictions.json").unlink()
    assert write_prediction(copied) == copied / NAME
    page = read(copied)
    assert page.count("img") == 0 and page.count("svg") == 9 and not links(page)
    assert "does not say which model" in page.texts["made"] and "predictions.json" in page.texts["notes"]


def test_videos_that_are_gone(copied: Path) -> None:
    record = json.loads((copied / "predictions.json").read_text())
    record["files"][1]["path"] = str(copied / "gone.mp4")
    (copied / "predictions.json").write_text(json.dumps(record))
    write_prediction(copied)
    page = read(copied)
    assert page.count("img", **{"class": "moving"}) == 6
    assert "gone.mp4" in page.texts["notes"] and "no picture: " in page.texts["seen"]


@pytest.mark.parametrize(
    "content", ["[1]", "{", json.dumps({"kind": 3, "files": [1, {"name": 2}], "first_second": "x"})]
)
def test_a_damaged_record(copied: Path, content: str) -> None:
    (copied / "predictions.json").write_text(content)
    write_prediction(copied)
    assert "b.mp4" in read(copied).texts["seen"]


def test_clips_of_another_prediction(copied: Path) -> None:
    table = pd.read_csv(copied / "clips.csv")
    table.iloc[1:].to_csv(copied / "clips.csv", index=False)
    write_prediction(copied)
    page = read(copied)
    assert page.count("svg") == 0 and "clips.csv does not fit to videos.csv" in page.texts["notes"]


def test_names_are_anybodys(copied: Path) -> None:
    evil = "<script>alert(1)</script>&\"'"
    for name in ("videos.csv", "clips.csv"):
        table = pd.read_csv(copied / name)
        table.assign(top1_name=evil).to_csv(copied / name, index=False)
    record = json.loads((copied / "predictions.json").read_text())
    record |= {"model": evil, "weights": evil, "command": evil}
    record["files"][0]["drawn"] = f"javascript:alert(1)//{evil}"
    (copied / "predictions.json").write_text(json.dumps(record))
    write_prediction(copied)
    page = read(copied)
    assert not page.count("script") and evil in page.texts["seen"] and evil in page.texts["made"]
    assert all(link.startswith("./") for link in links(page))


def test_thousands_of_videos(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise is what takes most bytes."""
    rows = pd.read_csv(copied / "videos.csv").iloc[[0] * 3000].assign(video=[f"v{n}" for n in range(3000)], num_views=1)
    rows.to_csv(copied / "videos.csv", index=False)
    clips = pd.read_csv(copied / "clips.csv").iloc[[0] * 3000].assign(video=rows["video"].to_numpy())
    clips.to_csv(copied / "clips.csv", index=False)
    picture = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (640, 640, 3), dtype=np.uint8)).save(picture)
    record = {"kind": "clips", "images": True, "files": [{"name": f"v{n}", "path": str(picture)} for n in range(3000)]}
    (copied / "predictions.json").write_text(json.dumps(record))
    write_prediction(copied)
    assert read(copied).count("article") == MOST_FULL and (copied / NAME).stat().st_size < 5_000_000
    monkeypatch.setattr("slowfast_mvit.report.prediction_page._PICTURES", 500_000)  # it ends before they do
    write_prediction(copied)
    page = read(copied)
    full = page.count("article")
    assert 5 < full < MOST_FULL
    assert page.count("img") == full and page.count("tr") == 6 * full + MOST_ROWS + 1 + 2  # heads; d.mp4 with its own
    assert f"{3000 - full - MOST_ROWS} more are in videos.csv alone" in page.texts["seen"]
    assert (copied / NAME).stat().st_size < 5_000_000


def test_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = {"kind": "clips", "images": True, "files": [{"name": "x.png", "path": str(tmp_path / "x.png")}]}
    (tmp_path / "predictions.json").write_text(json.dumps(record))
    Image.fromarray(np.zeros((40, 60, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    head = "video,num_views,top1,top1_name,top1_score\n"
    (tmp_path / "videos.csv").write_text(f"{head}x.png,1,3,,0.25\n")
    assert tool.main([str(tmp_path)]) == 0
    page = read(tmp_path)
    assert page.count("img", width="60", height="40") == 1 and "class 3" in page.texts["seen"]
    assert (
        "1 image" in page.texts[""] and "svg" not in dict(page.elements) and "notes" in page.texts
    )  # clips.csv is gone


def test_a_name_that_is_no_utf8(predicted_clips: Path, tmp_path: Path) -> None:
    video = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    shutil.copy(predicted_clips.parent / "films" / "b.mp4", video)
    words = ["--weights", str(predicted_clips.parent / "weights.pyth"), "--draw", "--output", str(tmp_path / "out")]
    assert predict.main([video, *words]) == 0
    page = read(tmp_path / "out")
    (link,) = links(page)
    drawn = Path(os.fsdecode(os.fsencode(tmp_path / "out") + b"/" + unquote_to_bytes(link)))
    assert drawn.is_file() and page.count("img", **{"class": "moving"})
    assert "caf\\udce9.mp4" in page.texts["seen"]


def test_a_run_in_the_same_folder_keeps_its_report(
    run_copy: Path, predicted_clips: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = (run_copy / NAME).read_bytes()
    video = predicted_clips.parent / "films" / "b.mp4"
    weights = predicted_clips.parent / "weights.pyth"
    assert predict.main([str(video), "--weights", str(weights), "--output", str(run_copy)]) == 0
    assert (run_copy / NAME).read_bytes() == before and "holds a run" in capfd.readouterr().err
    assert (run_copy / "videos.csv").exists() and (run_copy / "predictions.json").exists()


def test_a_report_that_cannot_be_made_is_a_warning(
    predicted_clips: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / NAME).mkdir(parents=True)
    video, weights = predicted_clips.parent / "films" / "b.mp4", predicted_clips.parent / "weights.pyth"
    assert predict.main([str(video), "--weights", str(weights), "--output", str(tmp_path / "out")]) == 0
    shown = capfd.readouterr()
    assert "the report could not be made: " in shown.err and "videos.csv" in shown.out
