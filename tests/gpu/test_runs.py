"""Whole commands on one GPU, against the same on the CPU."""

import json
import sys

import pandas as pd
import predict
import pytest
import run_net
import torch

from slowfast_mvit.build.evaluate import run_test
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.train import run_training
from slowfast_mvit.config.load import dump_config, load_config
from slowfast_mvit.data.toy_ava import ToyAva, make_toy_ava
from slowfast_mvit.engine.distributed import World
from tests.build.coco_config import coco_config, small_coco
from tests.build.test_ava import RECIPE, SMALL, places
from tests.commands import RUN_NET, finish_well, run_here, small_config, start


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def losses_of(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


@pytest.mark.parametrize(("precision", "near"), [("float32", 1e-2), ("bfloat16", 0.1), ("float16", 0.1), ("auto", 0.1)])
def test_a_training_and_its_test(config_file, tmp_path, precision, near):
    keys = ("MODEL.PRECISION", precision, "LOG_PERIOD", "1", "DATA_LOADER.NUM_WORKERS", "2", "AUG.ENABLE", "True")
    keys += ("AUG.RE_PROB", "0.0")  # the noise in erased boxes is another on each device
    on_gpu, on_cpu = tmp_path / "gpu", tmp_path / "cpu"
    assert run_here(config_file, *keys, "NUM_GPUS", "1", "OUTPUT_DIR", str(on_gpu)) == 0
    assert run_here(config_file, *keys, "MODEL.PRECISION", "float32", "OUTPUT_DIR", str(on_cpu)) == 0
    assert losses_of(on_gpu) == pytest.approx(losses_of(on_cpu), rel=near)
    assert metrics_of(on_gpu)["precision"] == ("bfloat16" if precision == "auto" else precision)
    # A second job has nothing to train, and tests what is there; a longer one goes on.
    assert run_here(config_file, *keys, "NUM_GPUS", "1", "OUTPUT_DIR", str(on_gpu), "SOLVER.MAX_EPOCH", "3") == 0
    assert len(losses_of(on_gpu)) == 3 * len(losses_of(on_cpu)) // 2


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_torchrun_over_nccl(config_file, tmp_path, strategy):
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1")
    keys = ("NUM_GPUS", "1", "LOG_PERIOD", "1", "DISTRIBUTED.STRATEGY", strategy)
    alone = ("--cfg", str(config_file), "NUM_GPUS", "1", "LOG_PERIOD", "1", "OUTPUT_DIR", str(tmp_path / "alone"))
    assert run_net.main([*alone]) == 0
    finish_well(start(*launcher, RUN_NET, "--cfg", str(config_file), *keys))
    assert losses_of(tmp_path / "run") == pytest.approx(losses_of(tmp_path / "alone"), rel=1e-3)
    assert metrics_of(tmp_path / "run")["num_videos"] == 10


def test_predictions_are_those_of_the_cpu(toy_data, tmp_path):
    config = load_config(small_config(tmp_path, toy_data), ["NUM_GPUS", "0"])
    torch.manual_seed(0)
    state = {
        name: tensor + torch.randn(tensor.shape) * 0.1 for name, tensor in build_model(config).state_dict().items()
    }
    torch.save({"model_state": state, "cfg": dump_config(config)}, tmp_path / "some.pyth")
    videos = sorted(map(str, toy_data.rglob("*.mp4")))[:4]
    tables = []
    for gpus in "01":
        out = tmp_path / gpus
        words = ["--weights", str(tmp_path / "some.pyth"), "--output", str(out), "NUM_GPUS", gpus]
        assert predict.main([*videos, *words]) == 0
        tables.append(pd.read_csv(next(out.rglob("videos.csv"))))
    assert len(tables[0]) == 4 and list(tables[0].columns) == list(tables[1].columns)
    on_cpu, on_gpu = (table.select_dtypes("number").to_numpy() for table in tables)
    assert on_gpu == pytest.approx(on_cpu, abs=2e-3, nan_ok=True)


@pytest.mark.parametrize("arch", ["mask_rcnn", "cascade_mask_rcnn"])
def test_a_detector_finds_what_it_finds_on_the_cpu(tmp_path, arch):
    data = small_coco(tmp_path / "data")
    config = coco_config(data, tmp_path / "cpu", ["MODEL.ARCH", arch])
    torch.manual_seed(0)
    weights = tmp_path / "some.pyth"
    torch.save({"model_state": build_model(config).state_dict(), "cfg": dump_config(config)}, weights)
    found = []
    for device in ("cpu", "cuda"):
        keys = ["MODEL.ARCH", arch, "TEST.CHECKPOINT_FILE_PATH", str(weights)]
        run_test(coco_config(data, tmp_path / device, keys), torch.device(device), World())
        (path,) = (tmp_path / device).rglob("coco_results.json")
        found.append(pd.DataFrame(json.loads(path.read_text())))
    assert found[0]["image_id"].tolist() == found[1]["image_id"].tolist() and len(found[0])
    assert found[1]["score"].to_numpy() == pytest.approx(found[0]["score"].to_numpy(), abs=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_detector_trains(tmp_path, precision):
    data = small_coco(tmp_path / "data")
    keys = [
        "TRAIN.ENABLE", "True", "COCO.TRAIN_IMAGES", "images", "COCO.TRAIN_ANNOTATIONS", "instances.json",
        "TRAIN.BATCH_SIZE", "2", "SOLVER.BASE_LR", "1e-4", "SOLVER.MAX_EPOCH", "2", "LOG_PERIOD", "1",
        "MODEL.PRECISION", precision,
    ]  # fmt: skip
    config = coco_config(data, tmp_path / "run", keys)
    run_training(config, torch.device("cuda"), World())
    losses = losses_of(tmp_path / "run")
    assert len(losses) == 6 and all(0 < loss < 20 for loss in losses)


def test_actions_train_and_score(tmp_path):
    data = make_toy_ava(tmp_path / "data", ToyAva(4, 2, num_seconds=3, height=64, width=128))
    keys = [*SMALL, *places(data, tmp_path / "run"), "MODEL.PRECISION", "bfloat16", "NUM_GPUS", "1"]
    assert run_net.main(["--cfg", str(RECIPE), *keys]) == 0
    losses = losses_of(tmp_path / "run")
    assert losses and all(0.3 < loss < 1.5 for loss in losses)
    assert 0 <= metrics_of(tmp_path / "run")["map"] <= 100
