"""Tests of detectors by config: files, several ranks, tests that are cut off, and what cannot be read or scored."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from slowfast_mvit.build.coco_test import object_protocol
from slowfast_mvit.build.evaluate import run_test
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.coco_images import DetectionTestImages
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.stopping import Stopped
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.coco import score
from slowfast_mvit.evaluation.coco_files import read_results, read_truth
from tests.build.coco_config import coco_config, small_coco
from tests.engine.ranks import run_ranks

CPU = torch.device("cpu")
TWICE = ("COCO.TEST_SHORT_SIDES", "[48, 64]", "COCO.TEST_FLIP", "True", "RCNN.SOFT_NMS", "linear")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return small_coco(tmp_path_factory.mktemp("coco") / "data")


@contextmanager
def reading(stop_at: int = 0) -> Iterator[list[int]]:
    """The indices of the images that this process reads; at the ``stop_at``-th it gets SIGTERM."""
    plain, read = DetectionTestImages.__getitem__, []

    def noted(self: DetectionTestImages, index: int) -> Any:
        read.append(index)
        if len(read) == stop_at:
            signal.raise_signal(signal.SIGTERM)
        return plain(self, index)

    DetectionTestImages.__getitem__ = noted  # type: ignore[method-assign]
    try:
        yield read
    finally:
        DetectionTestImages.__getitem__ = plain  # type: ignore[method-assign]


def run_one(world: World, config: Config, stop_at: int = 0) -> tuple[Any, list[int]]:
    with reading(stop_at) as read:
        try:
            return run_test(config, CPU, world, random_weights=True), read
        except Stopped:
            return None, read


def results_of(config: Config) -> list[dict[str, Any]]:
    return json.loads((Path(config.OUTPUT_DIR) / "predictions" / "coco_results.json").read_text())


def assert_same_results(one: Config, other: Config) -> None:
    """Scores and boxes to 1e-4: images share batches with others."""
    ours, theirs = results_of(one), results_of(other)
    assert [(entry["image_id"], entry["category_id"]) for entry in ours] == [
        (entry["image_id"], entry["category_id"]) for entry in theirs
    ]
    for name in ("score", "bbox"):
        values = [np.array([entry[name] for entry in entries]) for entries in (ours, theirs)]
        np.testing.assert_allclose(*values, rtol=1e-4, atol=2e-3)


def test_files(data, tmp_path) -> None:
    config = coco_config(data, tmp_path / "run")
    metrics, _ = run_one(World(), config)
    results, predictions = results_of(config), tmp_path / "run" / "predictions"
    assert metrics["num_images"] == 6 and metrics["num_objects"] == len(results) > 60
    assert metrics["protocol"] == "short side 64, at most 128" and metrics["num_views"] == 1
    assert {entry["image_id"] for entry in results} == set(range(30, 36))
    assert {entry["category_id"] for entry in results} == {3, 7}
    truth = read_truth(data / "instances.json")
    of_file = score(truth, read_results(predictions / "coco_results.json", truth))
    assert {name: metrics[name] for name in of_file.numbers} == pytest.approx(of_file.numbers, abs=0, nan_ok=True)
    assert len(of_file.numbers) == 24 and metrics["box_ap50"] > 0
    table = pd.read_csv(predictions / "objects.csv")
    assert len(table) == len(results) and set(table["label"]) == {"square", "disc"}
    assert table["image"].iloc[0] == "30.png"
    by_id = {3: "square", 7: "disc"}  # whose ids are not the labels
    assert [by_id[entry["category_id"]] for entry in results] == table["label"].tolist()
    corners = table[["x1", "y1", "x2", "y2"]].to_numpy()
    boxes = np.array([entry["bbox"] for entry in results])
    np.testing.assert_allclose(corners[:, 2:] - corners[:, :2], boxes[:, 2:], atol=2e-3)
    assert (
        (corners >= 0).all() and corners[:, [0, 2]].max() > 41 and corners.max() <= 60
    )  # of the files, and not of 64 pixels
    classes = pd.read_csv(predictions / "classes.csv")
    assert classes["name"].tolist() == ["square", "disc"] and classes["num_truth"].tolist() == [3, 3]
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert written["box_ap"] == metrics["box_ap"] and written["mask_ap_large"] is None


def test_several_sizes_mirrored_with_soft_nms(data, tmp_path) -> None:
    metrics, _ = run_one(World(), coco_config(data, tmp_path / "run", TWICE))
    assert metrics["protocol"] == "short side 48, 64, at most 128, and mirrored, SoftNMS linear"
    assert metrics["num_views"] == 4 and metrics["num_objects"] == 120


def test_a_validation_is_one_view(data, tmp_path) -> None:
    config = coco_config(data, tmp_path, [*TWICE, "COCO.TEST_SHORT_SIDES", "[48, 64, 80]"])
    assert str(object_protocol(config, validation=True)) == "short side 64, at most 128, SoftNMS linear"


def test_two_ranks_find_what_one_finds(data, tmp_path) -> None:
    alone, shared = (coco_config(data, tmp_path / name, TWICE) for name in ("alone", "shared"))
    expected, _ = run_one(World(), alone)
    found = run_ranks(run_one, 2, tmp_path, shared)
    assert [read for _, read in found] == [[0, 2, 4], [1, 3, 5]]
    assert found[1][0] is None and found[0][0]["box_ap"] == pytest.approx(expected["box_ap"], abs=0.01)
    assert_same_results(shared, alone)


def test_a_test_that_was_cut_off_goes_on(data, tmp_path) -> None:
    overrides = ["TEST.BATCH_SIZE", "1"]
    whole, config = (coco_config(data, tmp_path / name, overrides) for name in ("whole", "run"))
    run_one(World(), whole)
    assert run_one(World(), config, stop_at=4)[0] is None
    assert list((tmp_path / "run" / "predictions" / "unfinished").glob("*.part"))
    assert not (tmp_path / "run" / "predictions" / "coco_results.json").exists()
    _, read = run_one(World(), config)
    assert 0 < len(read) < 6 and read[-1] == 5
    assert results_of(config) == results_of(whole)
    assert not (tmp_path / "run" / "predictions" / "unfinished").exists()


def test_another_protocol_does_not_go_on_from_it(data, tmp_path) -> None:
    run_one(World(), coco_config(data, tmp_path / "run", ["TEST.BATCH_SIZE", "1"]), stop_at=4)
    _, read = run_one(World(), coco_config(data, tmp_path / "run", ["TEST.BATCH_SIZE", "1", "RCNN.NMS_THRESH", "0.6"]))
    assert read == list(range(6))


def test_images_without_annotations_are_not_scored(data, tmp_path, caplog) -> None:
    (tmp_path / "run" / "predictions").mkdir(parents=True)
    (tmp_path / "run" / "predictions" / "classes.csv").write_text("of an earlier test")
    config = coco_config(small_coco(tmp_path / "data", annotated=False), tmp_path / "run")
    with caplog.at_level("INFO"):
        metrics, _ = run_one(World(), config)
    assert "box_ap" not in metrics and metrics["num_images"] == 6 and len(results_of(config)) == metrics["num_objects"]
    assert not (tmp_path / "run" / "predictions" / "classes.csv").exists()
    assert f"{tmp_path / 'data' / 'instances.json'} has no annotations, so that nothing can be scored" in caplog.text
    assert "no score of 6 images" in caplog.text


def test_an_unreadable_image_counts_as_not_found(tmp_path) -> None:
    config = coco_config(small_coco(tmp_path / "data"), tmp_path / "run")
    (tmp_path / "data" / "images" / "32.png").write_bytes(b"no image")
    with pytest.raises(
        UserError, match=r"1 of 6 test images could not be read and whatever is in them counts as not found"
    ):
        run_test(config, CPU, random_weights=True)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["num_images"] == 5 and metrics["num_unreadable"] == 1 and "box_ap" in metrics
    assert {entry["image_id"] for entry in results_of(config)} == {30, 31, 33, 34, 35}
    assert pd.read_csv(tmp_path / "run" / "predictions" / "classes.csv")["num_truth"].tolist() == [3, 3]


def test_ruined_weights_are_a_mistake(data, tmp_path, monkeypatch) -> None:
    from slowfast_mvit.build import evaluate

    plain = evaluate.build_model

    def ruined(config: Config) -> torch.nn.Module:
        model = plain(config)
        torch.nn.init.constant_(next(model.parameters()), float("nan"))
        return model

    monkeypatch.setattr(evaluate, "build_model", ruined)
    with pytest.raises(UserError, match="maps are not finite numbers"):
        run_test(coco_config(data, tmp_path / "run"), CPU, random_weights=True)
