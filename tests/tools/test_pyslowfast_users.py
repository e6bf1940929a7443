"""A user of PySlowFast with a file of his own: the command as he gives it, on his lists or on a toy set."""

import json
from pathlib import Path

import pandas as pd
import pytest
import run_net

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "config" / "corpus"
# The file's own recipe, narrower and on smaller clips, so that it runs on a CPU in seconds.
SMALL = [
    "NUM_GPUS", "0", "MVIT.EMBED_DIM", "8", "DATA.NUM_FRAMES", "8", "DATA.TRAIN_CROP_SIZE", "64", "DATA.TEST_CROP_SIZE", "64",
    "TRAIN.BATCH_SIZE", "4", "TEST.BATCH_SIZE", "8", "SOLVER.MAX_EPOCH", "1", "SOLVER.WARMUP_EPOCHS", "0.0",
    "DATA_LOADER.NUM_WORKERS", "0", "LOG_PERIOD", "1",
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """The command as PySlowFast's users give it, in a folder of their own: its status, results and messages."""

    def ran(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        capfd.readouterr()
        return run_net.main(arguments), *capfd.readouterr()

    return ran


def test_kinetics_on_lists_of_ones_own(tmp_path: Path, toy_data: Path, run) -> None:
    own = tmp_path / "S.yaml"
    own.write_text((CORPUS / "k400_mvitv2_s.yaml").read_text())
    lists = ["DATA.PATH_TO_DATA_DIR", str(toy_data), "DATA.TRAIN_JITTER_SCALES", "[72, 80]"]
    # PySlowFast's parser takes the changes after --opts; num_shards and init_method are its arguments too.
    status, out, err = run(
        "--cfg", "S.yaml", "--num_shards", "1", "--init_method", "tcp://localhost:9999", "--opts",
        *lists, "TEST.SAVE_RESULTS_PATH", "results.pkl", *SMALL,
    )  # fmt: skip
    assert status == 0, err
    assert "(5 clips x 1 crop, short side 72, crop 64, sum)" in out
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
def test_a_toy_run_of_ones_own_file(tmp_path: Path, file: str, protocol: str, run) -> None:
    status, out, err = run("--cfg", str(CORPUS / file), "--toy", *SMALL, "DATA.TRAIN_JITTER_SCALES", "[72, 80]")
    assert status == 0, err
    assert protocol in out
    folder = tmp_path / "runs" / f"toy-{Path(file).stem}"
    losses = [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines() if '"train"' in line]
    assert len(losses) == 2 and all(3 < loss < 8 for loss in losses)  # ln 400 = 5.99, ln 174 = 5.16


def test_eight_gpus_are_asked_for_and_none_is_there(tmp_path: Path, run) -> None:
    status, _, err = run("--cfg", str(CORPUS / "k400_mvitv2_s.yaml"), "--toy")
    assert status == 2
    assert "NUM_GPUS" in err and "Traceback" not in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("file", ["k400_mvitv2_s.yaml", "ssv2_mvitv2_b.yaml"])
def test_the_official_model_itself(tmp_path: Path, file: str, run) -> None:
    one_view = ["TEST.NUM_ENSEMBLE_VIEWS", "1", "TEST.NUM_SPATIAL_CROPS", "1"]
    status, _, err = run("--cfg", str(CORPUS / file), "--toy", "NUM_GPUS", "0", *one_view)
    assert status == 0, err
    folder = tmp_path / "runs" / f"toy-{Path(file).stem}"
    assert json.loads((folder / "metrics.json").read_text())["num_videos"] == 4
