"""The command that scores COCO's results files."""

import json
from pathlib import Path

import eval_coco
import pandas as pd
import pytest

from slowfast_mvit.evaluation.coco_files import write_results
from tests.evaluation.coco_cases import annotated, found, write_truth


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A car and a bottle; the car is found with IoU 2/3, four of ten thresholds, the bottle is not."""
    truth = write_truth(tmp_path, [annotated(7, 3, 60, 60, 50, 40), annotated(9, 44, 5, 5, 20, 20)])
    write_results([found(7, 3, 0.9, 70, 60, 50, 40)], tmp_path / "results.json")
    return ["--annotations", str(truth), "--results", str(tmp_path / "results.json")]


def test_scores(files, tmp_path, capsys) -> None:
    assert eval_coco.main([*files, "--output", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "box_ap         20.00 %\n" in shown and "mask_ap50      50.00 %\n" in shown
    assert "Average Precision" not in shown
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["box_ap"] == pytest.approx(20) and metrics["box_ap_large"] is None
    table = pd.read_csv(tmp_path / "out" / "classes.csv")
    assert table["mask_ap"].tolist()[1:] == [40, 0] and table["num_truth"].tolist() == [0, 1, 1]


def test_pycocotools_summary(files, capsys) -> None:
    assert eval_coco.main([*files, "--summary"]) == 0
    assert "Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.200" in capsys.readouterr().out


def test_no_annotations_are_a_mistake_here(files, tmp_path, capsys) -> None:
    write_truth(tmp_path, None)
    assert eval_coco.main(files) == 2
    assert "cannot be scored: " in capsys.readouterr().err


def test_what_is_read_is_not_overwritten(files, tmp_path, capsys) -> None:
    truth = tmp_path / "metrics.json"
    (tmp_path / "instances.json").rename(truth)
    files[1] = str(truth)
    assert eval_coco.main([*files, "--output", str(tmp_path)]) == 2
    assert "would be overwritten" in capsys.readouterr().err
