"""A user of PySlowFast with a file of his own: the command runs in a real process, on his lists or on a toy set."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "config" / "corpus"
# The file's own recipe, narrower and on smaller clips, so that it runs on a CPU in seconds.
SMALL = [
    "NUM_GPUS", "0", "MVIT.EMBED_DIM", "8", "DATA.NUM_FRAMES", "8", "DATA.TRAIN_CROP_SIZE", "64", "DATA.TEST_CROP_SIZE", "64",
    "TRAIN.BATCH_SIZE", "4", "TEST.BATCH_SIZE", "8", "SOLVER.MAX_EPOCH", "1", "SOLVER.WARMUP_EPOCHS", "0.0",
    "DATA_LOADER.NUM_WORKERS", "0", "LOG_PERIOD", "1",
]  # fmt: skip


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as PySlowFast's users give it, in a folder of their own."""
    command = [sys.executable, str(ROOT / "tools" / "run_net.py"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=550)


def test_kinetics_on_lists_of_ones_own(tmp_path: Path, toy_data: Path) -> None:
    own = tmp_path / "S.yaml"
    own.write_text((CORPUS / "k400_mvitv2_s.yaml").read_text())
    lists = ["DATA.PATH_TO_DATA_DIR", str(toy_data), "DATA.TRAIN_JITTER_SCALES", "[72, 80]"]
    # PySlowFast's parser takes the changes after --opts; num_shards and init_method are its arguments too.
    done = run(
        tmp_path, "--cfg", "S.yaml", "--num_shards", "1", "--init_method", "tcp://localhost:9999", "--opts",
        *lists, "TEST.SAVE_RESULTS_PATH", "results.pkl", *SMALL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "(5 clips x 1 crop, short side 72, crop 64, sum)" in done.stdout
    assert json.loads((tmp_path / "metrics.json").read_text())["num_videos"] == 10
    assert set(pd.read_csv(tmp_path / "predictions" / "videos.csv")["num_views"]) == {5}
    assert (tmp_path / "results.pkl").exists()
    assert (tmp_path / "checkpoints" / "checkpoint_epoch_00001.pyth").exists()


@pytest.mark.parametrize(
    ("file", "protocol"),
    [
        ("k400_mvitv2_s.yaml", "5 clips x 1 crop"),
        ("ssv2_mvitv2_b.yaml", "1 clip x 3 crops"),
    ],
)
def test_a_toy_run_of_ones_own_file(tmp_path: Path, file: str, protocol: str) -> None:
    done = run(tmp_path, "--cfg", str(CORPUS / file), "--toy", *SMALL, "DATA.TRAIN_JITTER_SCALES", "[72, 80]")
    assert done.returncode == 0, done.stderr
    assert protocol in done.stdout
    out = tmp_path / "runs" / f"toy-{Path(file).stem}"
    losses = [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines() if '"train"' in line]
    assert len(losses) == 2 and all(3 < loss < 8 for loss in losses)  # ln 400 = 5.99, ln 174 = 5.16


def test_eight_gpus_are_asked_for_and_none_is_there(tmp_path: Path) -> None:
    done = run(tmp_path, "--cfg", str(CORPUS / "k400_mvitv2_s.yaml"), "--toy")
    assert done.returncode == 2
    assert "NUM_GPUS" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("file", ["k400_mvitv2_s.yaml", "ssv2_mvitv2_b.yaml"])
def test_the_official_model_itself(tmp_path: Path, file: str) -> None:
    one_view = ["TEST.NUM_ENSEMBLE_VIEWS", "1", "TEST.NUM_SPATIAL_CROPS", "1"]
    done = run(tmp_path, "--cfg", str(CORPUS / file), "--toy", "NUM_GPUS", "0", *one_view)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "runs" / f"toy-{Path(file).stem}"
    assert json.loads((out / "metrics.json").read_text())["num_videos"] == 4
