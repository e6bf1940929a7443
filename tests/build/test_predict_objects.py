"""Objects in images of one's own: the code of the test, by config and by name."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from slowfast_mvit.build.evaluate import run_test
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.predict_objects import predict_objects
from slowfast_mvit.build.ready_detector import ReadyDetector, detector_of_config, detector_of_name
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.mask_codes import mask_of
from tests.build.coco_config import coco_config, small_coco


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Of the small detector, with the names of its labels in another order than those of the annotations."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(3)
    model = build_model(coco_config(folder, folder))
    torch.save({"model_state": model.state_dict(), "label_names": ["disc", "square"]}, folder / "small.pyth")
    return folder / "small.pyth"


@pytest.fixture
def ready(weights, tmp_path) -> ReadyDetector:
    overrides = ["TEST.CHECKPOINT_FILE_PATH", str(weights)]
    return detector_of_config(coco_config(tmp_path / "data", tmp_path / "run", overrides))


def test_files(ready, weights, tmp_path) -> None:
    """The test of the same images finds the same."""
    data = small_coco(tmp_path / "data")
    images = [data / "images" / f"{number}.png" for number in (31, 30)]
    predicted = predict_objects(ready, images, tmp_path / "out", min_score=0.0)
    assert predicted.problem == "" and predicted.num_objects == 40
    entries = json.loads((tmp_path / "out" / "coco_results.json").read_text())
    assert {(entry["image_id"], entry["file_name"]) for entry in entries} == {(1, str(images[0])), (2, str(images[1]))}
    assert ready.label_names == ("disc", "square") and ready.category_ids == (1, 2)
    table = pd.read_csv(tmp_path / "out" / "objects.csv")
    assert table["label"].tolist() == [ready.label_names[entry["category_id"] - 1] for entry in entries]
    run_test(ready.config, torch.device("cpu"))
    tested = pd.read_csv(tmp_path / "run" / "predictions" / "objects.csv")
    for number in (30, 31):
        ours = table[table["image"] == str(data / "images" / f"{number}.png")]
        theirs = tested[tested["image"] == f"{number}.png"]
        assert ours["label"].tolist() == theirs["label"].tolist()
        columns = ["score", "x1", "y1", "x2", "y2"]
        np.testing.assert_allclose(ours[columns].to_numpy(), theirs[columns].to_numpy(), rtol=1e-4, atol=1e-3)
    picture = Image.open(tmp_path / "out" / "pictures" / "31_objects.jpg")
    assert picture.size == (60, 40)
    assert predicted.files[tmp_path / "out" / "pictures" / "31_objects.jpg"] == "20 objects that score 0 or more"
    assert mask_of(entries[0]["segmentation"]["counts"].encode(), 40, 60).shape == (40, 60)


def test_nothing_is_drawn_below_the_score(ready, tmp_path) -> None:
    data = small_coco(tmp_path / "data")
    image = data / "images" / "30.png"
    predicted = predict_objects(ready, [image], tmp_path / "out", min_score=0.99)
    drawn = tmp_path / "out" / "pictures" / "30_objects.jpg"
    assert predicted.files[drawn] == "0 objects that score 0.99 or more"
    Image.open(image).save(tmp_path / "plain.jpg", quality=92)
    assert drawn.read_bytes() == (tmp_path / "plain.jpg").read_bytes()
    without = predict_objects(ready, [image], tmp_path / "plain", draw=False)
    assert {path.name for path in without.files} == {"coco_results.json", "objects.csv"}
    assert not (tmp_path / "plain" / "pictures").exists()


def test_images_of_one_name_have_pictures_each(ready, tmp_path) -> None:
    data = small_coco(tmp_path / "data")
    (data / "other").mkdir()
    (data / "other" / "30.png").write_bytes((data / "images" / "31.png").read_bytes())
    images = [data / "images" / "30.png", data / "other" / "30.png"]
    predicted = predict_objects(ready, images, tmp_path / "out")
    assert {path.name for path in predicted.files if path.suffix == ".jpg"} == {"30_objects.jpg", "30_2_objects.jpg"}
    assert Image.open(tmp_path / "out" / "pictures" / "30_2_objects.jpg").size == (60, 40)


def test_what_cannot_be_read_is_named_and_the_rest_is_done(ready, tmp_path) -> None:
    data = small_coco(tmp_path / "data")
    (data / "images" / "31.png").write_bytes(b"no image")
    images = [data / "images" / f"{number}.png" for number in (30, 31, 32)]
    predicted = predict_objects(ready, images, tmp_path / "out")
    assert predicted.problem.startswith(f"1 of 3 images could not be read, for example {images[1]} (it is no image")
    entries = json.loads((tmp_path / "out" / "coco_results.json").read_text())
    assert {entry["image_id"] for entry in entries} == {1, 3}
    assert pd.read_csv(tmp_path / "out" / "unreadable.csv")["path"].tolist() == [str(images[1])]
    with pytest.raises(UserError, match="1 of 1 images could not be read"):
        predict_objects(ready, [images[1]], tmp_path / "out")


def test_a_photograph_that_is_stored_lying_is_looked_at_upright(ready, tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown 40 wide and 60 high
    Image.fromarray(pixels).save(tmp_path / "lying.png", exif=exif)
    predict_objects(ready, [tmp_path / "lying.png"], tmp_path / "out")
    assert Image.open(tmp_path / "out" / "pictures" / "lying_objects.jpg").size == (40, 60)
    entries = json.loads((tmp_path / "out" / "coco_results.json").read_text())
    assert all(entry["segmentation"]["size"] == [60, 40] for entry in entries)


def test_no_picture_takes_the_place_of_an_input(ready, tmp_path) -> None:
    data = small_coco(tmp_path / "data")
    first = predict_objects(ready, [data / "images" / "30.png"], tmp_path / "out")
    drawn = next(path for path in first.files if path.suffix == ".jpg")
    other = drawn.with_name("30.png")
    other.write_bytes((data / "images" / "30.png").read_bytes())
    with pytest.raises(UserError, match=r"30_objects\.jpg is read, and would be overwritten"):
        predict_objects(ready, [other, drawn], tmp_path / "out")


def test_a_config_of_something_else(tmp_path) -> None:
    config = coco_config(tmp_path, tmp_path)
    config = replace(config, MODEL=replace(config.MODEL, ARCH="mvit"))
    with pytest.raises(UserError, match=r"MODEL\.ARCH is mvit"):
        detector_of_config(config)


def test_names_and_weights_that_are_no_detectors(tmp_path) -> None:
    with pytest.raises(UserError, match="there is no detector 'mask_rcnn_mvitv2_x'"):
        detector_of_name("mask_rcnn_mvitv2_x", "none.pyth")
    torch.save({"model_state": {"head.projection.weight": torch.zeros(3, 2)}}, tmp_path / "other.pyth")
    with pytest.raises(UserError, match=r"other\.pyth holds no detector"):
        detector_of_name("mask_rcnn_mvitv2_t", tmp_path / "other.pyth")


@pytest.mark.slow
def test_by_name(tmp_path) -> None:
    """A detector of COCO's classes with fresh weights, on a small image."""
    from slowfast_mvit.build.model import create_model

    model = create_model("mask_rcnn_mvitv2_t")
    torch.save({"model_state": model.state_dict()}, tmp_path / "fresh.pyth")
    ready = detector_of_name("mask_rcnn_mvitv2_t", tmp_path / "fresh.pyth")
    assert ready.label_names[:2] == ("person", "bicycle") and ready.category_ids[-1] == 90
    assert ready.config.DATA.MEAN == (0.485, 0.456, 0.406)
    small = replace(ready.config, COCO=replace(ready.config.COCO, TEST_SHORT_SIDES=(128,)))
    data = small_coco(tmp_path / "data")
    predicted = predict_objects(replace(ready, config=small), [data / "images" / "30.png"], tmp_path / "out")
    assert predicted.problem == ""
    name = "roi_heads.mask_head.predictor.bias"
    torch.testing.assert_close(ready.model.state_dict()[name].cpu(), model.state_dict()[name])
