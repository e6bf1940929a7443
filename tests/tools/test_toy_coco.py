"""Both toy detectors from end to end: what they learn of shapes in minutes, on images that they were not trained on."""

import json
from pathlib import Path

import pytest
import run_net

from slowfast_mvit.data.toy_coco import ToyCoco, make_toy_coco

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_toy_detectors_learn(tmp_path: Path) -> None:
    data = make_toy_coco(tmp_path / "data", ToyCoco())
    metrics = {}
    for name in ("MVITV2_TOY_COCO", "MVITV2_TOY_COCO_CASCADE"):
        config, out = ROOT / "configs" / "Toy" / f"{name}.yaml", tmp_path / name
        assert run_net.main(["--cfg", str(config), "DATA.PATH_TO_DATA_DIR", str(data), "OUTPUT_DIR", str(out)]) == 0
        metrics[name] = json.loads((out / "metrics.json").read_text())
        assert metrics[name]["box_ap"] >= 60 and metrics[name]["mask_ap"] >= 55
    plain, cascade = metrics.values()
    assert cascade["box_ap75"] >= plain["box_ap75"]


@pytest.mark.parametrize("name", ["MVITV2_TOY_COCO", "MVITV2_TOY_COCO_CASCADE"])
def test_two_steps(name: str, tmp_path: Path) -> None:
    config = ROOT / "configs" / "Toy" / f"{name}.yaml"
    assert (
        run_net.main(["--cfg", str(config), "--toy", "OUTPUT_DIR", str(tmp_path), "DATA_LOADER.NUM_WORKERS", "0"]) == 0
    )
    (out,) = tmp_path.iterdir()
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2]
    assert {"box_ap", "mask_ap"} <= json.loads((out / "metrics.json").read_text()).keys()
