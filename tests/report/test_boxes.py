"""People of a real AVA test and objects of hand-written files: which pictures are chosen, what stands beside them."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from slowfast_mvit.report.boxes import EACH, MOST_BOXES, SIDE, objects_of, people_of
from slowfast_mvit.report.files import RunFiles, read_run
from slowfast_mvit.report.looping import Budget
from tests.report.test_looping import opened


def test_key_frames_of_a_real_test(ava_run: Path) -> None:
    run = read_run(ava_run)
    found = people_of(run, Budget())
    assert found is not None and run.notes == [] and run.boxes is not None and run.config is not None
    best, worst, annotated = found
    assert annotated and best and len(best) + len(worst) <= 2 * EACH
    truth = pd.read_csv(
        Path(run.config.AVA.ANNOTATION_DIR) / run.config.AVA.GROUNDTRUTH_FILE, header=None, dtype={6: str}
    )
    for shown in (*best, *worst):
        video, second = shown.name.split(", second ")
        rows = run.boxes[(run.boxes["video"] == video) & (run.boxes["second"] == int(second))]
        assert len(shown.boxes) + shown.more == len(rows)
        assert shown.boxes[0].said.startswith(rows.sort_values("score_1", ascending=False).iloc[0]["action_1"])
        assert (truth[0].eq(video) & truth[1].eq(int(second))).any()
        assert shown.picture is not None and SIDE / 2 < max(opened(shown.picture.still).size) <= SIDE


def share(shown: object) -> float:
    boxes = shown.boxes  # type: ignore[attr-defined]
    return float(np.mean([box.said.split(" ")[0] in box.truth.split(", ") for box in boxes]))


def test_best_and_worst_by_the_annotations(ava_run: Path) -> None:
    """The table says the truth at one key frame, and a lie at all others."""
    run = read_run(ava_run)
    found = people_of(run, Budget())
    assert found is not None and run.boxes is not None
    name = found[0][-1].name
    video, second = name.split(", second ")
    here = (run.boxes["video"] == video) & (run.boxes["second"] == int(second))
    true = {
        box.said: box.truth.split(", ")[0]
        for shown in (*found[0], *found[1])
        for box in shown.boxes
        if shown.name == name
    }
    actions = pd.Series("a lie", run.boxes.index, dtype=object)
    assert set(true.values()) != {"nobody is annotated here"}
    truths = iter([true[key] for key in true])
    actions[run.boxes[here].sort_values("score_1", ascending=False, kind="stable").index] = list(truths)
    again = people_of(dataclasses.replace(run, boxes=run.boxes.assign(action_1=actions)), Budget())
    assert again is not None and again[0][0].name == name
    assert all(box.said.startswith("a lie") for box in again[1][0].boxes)


def test_without_lists_key_frames_have_words_alone(ava_run: Path) -> None:
    run = dataclasses.replace(read_run(ava_run), config=None)
    found = people_of(run, Budget())
    assert found is not None and not found[2] and found[1] == [] and len(run.notes) == 1
    assert all(shown.picture is None and shown.boxes[0].truth == "" for shown in found[0])
    scores = [shown.boxes[0].said for shown in found[0]]
    assert len(scores) == min(2 * EACH, len(found[0])) > 0


@pytest.fixture
def objects_run(ava_run: Path, tmp_path: Path) -> RunFiles:
    """Twelve sure objects on one grey image, one on a damaged, one on a missing, and an unsure one."""
    folder = tmp_path / "val2017"
    folder.mkdir()
    Image.new("RGB", (200, 100), (90, 90, 90)).save(folder / "grey.png")
    (folder / "damaged.png").write_bytes(b"no image")
    rows = [("grey.png", f"cat {n}", 0.99 - n / 100, 20, 10, 100, 60) for n in range(12)]
    rows += [
        ("damaged.png", "dog", 0.9, 0, 0, 9, 9),
        ("missing.png", "cow", 0.9, 0, 0, 9, 9),
        ("x.png", "ox", 0.4, 0, 0, 1, 1),
    ]
    table = pd.DataFrame(rows, columns=["image", "label", "score", "x1", "y1", "x2", "y2"])
    config = read_run(ava_run).config
    assert config is not None
    config = dataclasses.replace(config, DATA=dataclasses.replace(config.DATA, PATH_TO_DATA_DIR=str(tmp_path)))
    return RunFiles(tmp_path, config, objects=table)


def test_objects_by_hand(objects_run: RunFiles) -> None:
    found = objects_of(objects_run, Budget())
    assert found is not None and [shown.name for shown in found] == ["grey.png", "damaged.png", "missing.png"]
    grey, damaged, missing = found
    assert (len(grey.boxes), grey.more) == (MOST_BOXES, 4)
    assert [box.said.replace("\N{NO-BREAK SPACE}", " ") for box in grey.boxes[:2]] == ["cat 0 99.0 %", "cat 1 98.0 %"]
    assert grey.picture is not None
    pixels = np.asarray(opened(grey.picture.still).convert("RGB")).astype(int)
    assert pixels.shape == (200, 400, 3)  # twice as large
    changed = np.abs(pixels - 90).max(axis=2) > 60
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((20, 119, 40, 199), abs=2)
    assert damaged.picture is None and "no image of a kind" in damaged.problem
    assert missing.picture is None and "No such file" in missing.problem
    assert len(objects_run.notes) == 2


def test_no_tables_no_pictures() -> None:
    assert people_of(RunFiles(Path()), Budget()) is None and objects_of(RunFiles(Path()), Budget()) is None
    empty = pd.DataFrame(columns=["image", "label", "score", "x1", "y1", "x2", "y2"])
    assert objects_of(RunFiles(Path(), objects=empty), Budget()) == []
