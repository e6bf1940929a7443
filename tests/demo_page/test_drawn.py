"""Films and images that come with boxes on them, by a real server in a browser."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.predict_boxes import predict_boxes
from slowfast_mvit.build.predict_objects import predict_objects
from slowfast_mvit.build.ready_detector import detector_of_config
from slowfast_mvit.config.load import dump_config
from slowfast_mvit.data.toy_ava import ToyAva, make_toy_ava
from tests.build.coco_config import coco_config, small_coco
from tests.build.test_ava import config_of
from tests.demo_page.conftest import EVIL, Server
from tests.demo_page.test_page import NARROW, opened, rows, sent, until

pytestmark = pytest.mark.slow


def saved(config: Any, folder: Path, names: list[str]) -> Path:
    """A checkpoint of random weights that holds its config."""
    torch.manual_seed(0)
    state = build_model(config).state_dict()
    state = {
        name: tensor + torch.randn(tensor.shape) * 0.05 if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    torch.save({"model_state": state, "cfg": dump_config(config), "label_names": names}, folder / "weights.pyth")
    return folder / "weights.pyth"


@pytest.fixture(scope="module")
def ava(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(data, checkpoint) of a model of boxes with eight actions."""
    root = tmp_path_factory.mktemp("ava")
    data = make_toy_ava(root / "data", ToyAva(1, 2, num_seconds=3, height=64, width=128), processes=1)
    names = [*(f"action {number}" for number in range(1, 8)), EVIL]
    return data, saved(config_of(data, root / "run"), root, names)


def test_people_of_a_box_list(
    start: Callable[..., Server], browser: Any, ava: tuple[Path, Path], tmp_path: Path
) -> None:
    data, weights = ava
    boxes = data / "annotations" / "ava_val_predicted_boxes.csv"
    server = start("--weights", weights, "--boxes", boxes, "NUM_GPUS", "0")
    page = opened(browser, server, viewport=NARROW, color_scheme="dark")
    film = data / "videos" / "val_0001.mp4"
    sent(page, film)
    until(page, "document.getElementById('player').readyState >= 2")
    page.screenshot(path=tmp_path / "people.png", full_page=True)
    config = config_of(data, tmp_path / "run", "TEST.CHECKPOINT_FILE_PATH", str(weights))
    predict_boxes(config, [film], tmp_path / "out", boxes=boxes, draw=True)
    table = pd.read_csv(tmp_path / "out" / "actions.csv")
    shown = rows(page, "#more")
    assert [float(row[0]) for row in shown] == table["second"].tolist()
    for (_, said), (_, row) in zip(shown, table.iterrows(), strict=True):
        actions = [(row[f"action_{rank}"], row[f"score_{rank}"]) for rank in range(1, 6)]
        assert said == ", ".join(f"{name} {score:.2f}" for name, score in actions if score >= 0.3)
    drawn = page.context.request.get(page.evaluate("document.getElementById('player').src")).body()
    assert drawn == (tmp_path / "out" / "val_0001_boxes.mp4").read_bytes()
    assert page.evaluate("document.documentElement.scrollWidth") == 360 and page.said == []
    page.get_by_label("Choose").set_input_files(  # another name, of which the list knows nothing
        {"name": "other.mp4", "mimeType": "video/mp4", "buffer": film.read_bytes()}
    )
    page.get_by_role("alert").wait_for()
    assert "and none of other.mp4: its column video" in page.get_by_role("alert").inner_text()
    assert "/slowfast_mvit_demo_" not in page.get_by_role("alert").inner_text()


def test_people_of_a_detector(
    start: Callable[..., Server], browser: Any, ava: tuple[Path, Path], tmp_path: Path
) -> None:
    """Of random weights, which find nobody."""
    data, weights = ava
    torch.manual_seed(0)
    from torchvision.models.detection import fasterrcnn_resnet50_fpn_v2

    torch.save(fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None).state_dict(), tmp_path / "detector.pth")
    server = start("--weights", weights, "--detector", tmp_path / "detector.pth", "NUM_GPUS", "0")
    page = opened(browser, server)
    page.set_default_timeout(200_000)
    page.get_by_label("Choose").set_input_files(data / "videos" / "val_0001.mp4")
    page.get_by_role("alert").wait_for()
    said = page.get_by_role("alert").inner_text()
    assert said.startswith("the detector found nobody") and "in val_0001.mp4:" in said


def test_objects_in_an_image(start: Callable[..., Server], browser: Any, tmp_path: Path) -> None:
    data = small_coco(tmp_path / "data")
    config = coco_config(data, tmp_path / "run")
    weights = saved(config, tmp_path, ["disc", "square"])
    server = start("--weights", weights)
    page = opened(browser, server)
    sent(page, data / "images" / "31.png")
    until(page, "document.getElementById('picture').naturalWidth === 60")
    page.screenshot(path=tmp_path / "objects.png", full_page=True)
    ready = detector_of_config(coco_config(data, tmp_path / "run", ["TEST.CHECKPOINT_FILE_PATH", str(weights)]))
    predict_objects(ready, [data / "images" / "31.png"], tmp_path / "out", min_score=0.3)
    entries = json.loads((tmp_path / "out" / "coco_results.json").read_text())
    names = [ready.label_names[one["category_id"] - 1] for one in entries if one["score"] >= 0.3]
    assert names and [row[0].split()[0] for row in rows(page, "#more")] == names
    drawn = page.context.request.get(page.evaluate("document.getElementById('picture').src")).body()
    assert drawn == (tmp_path / "out" / "pictures" / "31_objects.jpg").read_bytes()
    assert page.said == []
