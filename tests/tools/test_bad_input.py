"""Each mistake of a user ends in one sentence and a status that is not 0; nothing written before is lost."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import run_net

ROOT = Path(__file__).parents[2]


@pytest.fixture
def failing(config_file: Path, capsys: pytest.CaptureFixture[str]):
    """Run the config with overrides; it must fail. Returns the one error line."""

    def run(*overrides: str) -> str:
        assert run_net.main(["--cfg", str(config_file), *overrides]) == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        return errors[0].removeprefix("error: ")

    return run


@pytest.fixture
def copied_data(toy_data: Path, tmp_path: Path) -> Path:
    """A copy of the toy set that may be spoiled."""
    return Path(shutil.copytree(toy_data, tmp_path / "data"))


def test_unknown_key(failing) -> None:
    assert "did you mean TRAIN.BATCH_SIZE" in failing("TRAIN.BACH_SIZE", "3")


def test_wrong_type(failing) -> None:
    said = failing("MVIT.DEPTH", "banana")
    assert "MVIT.DEPTH" in said and "integer" in said and "banana" in said


def test_missing_dataset_folder(failing) -> None:
    assert failing("DATA.PATH_TO_DATA_DIR", "/nowhere") == (
        "the dataset folder /nowhere does not exist: set DATA.PATH_TO_DATA_DIR"
    )


def test_empty_list(failing, copied_data: Path) -> None:
    (copied_data / "train.csv").write_text("")
    said = failing("DATA.PATH_TO_DATA_DIR", str(copied_data))
    assert said.startswith(f"{copied_data}/train.csv is empty")


def test_label_out_of_range(failing) -> None:
    said = failing("MODEL.NUM_CLASSES", "5")
    assert "out of range 0..4" in said and "MODEL.NUM_CLASSES" in said


def test_missing_files(failing, copied_data: Path) -> None:
    for number in range(7):
        (copied_data / "videos" / "train" / f"{number:05d}.mp4").unlink()
    said = failing("DATA.PATH_TO_DATA_DIR", str(copied_data))
    assert "7 of 24 files do not exist" in said
    assert said.count(".mp4") == 5


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 4]), ""),
        (lambda path: path.write_text("this is no video\n" * 50), ""),
        (lambda path: path.write_bytes(b""), "empty"),
    ],
    ids=["truncated", "text", "nothing"],
)
def test_unreadable_video(failing, config_file: Path, copied_data: Path, tmp_path: Path, spoil, cause: str) -> None:
    data = ("DATA.PATH_TO_DATA_DIR", str(copied_data))
    assert run_net.main(["--cfg", str(config_file), "SOLVER.MAX_EPOCH", "1"]) == 0
    spoil(copied_data / "videos" / "test" / "00003.mp4")
    said = failing(*data, "TRAIN.ENABLE", "False")
    assert "1 of 10 test videos could not be read" in said and "00003.mp4" in said and cause in said
    predictions = tmp_path / "run" / "predictions"
    assert list(pd.read_csv(predictions / "unreadable.csv")["video"]) == ["videos/test/00003.mp4"]
    tested = pd.read_csv(predictions / "videos.csv")["video"]
    assert len(tested) == 9 and "videos/test/00003.mp4" not in set(tested)
    assert (tmp_path / "run" / "metrics.json").exists()

    spoil(copied_data / "videos" / "train" / "00005.mp4")
    said = failing(*data, "DATA.MAX_BAD_VIDEOS", "0")
    assert said.startswith("1 training videos could not be read, and DATA.MAX_BAD_VIDEOS is 0: ") and "pyav" in said
    assert "00005.mp4" in said and said.endswith(f"take them off {copied_data}/train.csv")
    assert len(pd.read_csv(predictions / "videos.csv")) == 9  # of the test before


def test_checkpoint_of_another_model(failing, config_file: Path, tmp_path: Path) -> None:
    assert run_net.main(["--cfg", str(config_file), "SOLVER.MAX_EPOCH", "1", "TEST.ENABLE", "False"]) == 0
    weights = tmp_path / "run" / "checkpoints" / "checkpoint_epoch_00001.pyth"
    said = failing("TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", str(weights), "MVIT.EMBED_DIM", "16")
    assert "weights of another model" in said and str(weights) in said
    for another in (("MVIT.EMBED_DIM", "16"), ("MODEL.ARCH", "x3d_xs"), ("MODEL.NUM_CLASSES", "9")):
        said = failing(*another)  # resuming in the folder of another model
        assert said.startswith(
            f"OUTPUT_DIR {tmp_path / 'run'} holds another model's run, use another OUTPUT_DIR: {weights}"
        )
    said = failing("TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", str(weights), "MODEL.NUM_CLASSES", "9")
    assert (
        said == f"{weights} has a head of 8 classes, and the model one of 9: set num_classes (MODEL.NUM_CLASSES) to 8"
    )
    assert weights.exists()


def test_missing_checkpoint(failing, tmp_path: Path) -> None:
    said = failing("TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", "/nowhere.pyth")
    assert said == "TEST.CHECKPOINT_FILE_PATH: the checkpoint /nowhere.pyth does not exist: check its path"
    assert failing("TEST.CHECKPOINT_FILE_PATH", "/nowhere.pyth") == said  # before anything is trained
    assert not (tmp_path / "run").exists()


def test_missing_weights_to_start_from(failing, config_file: Path, tmp_path: Path) -> None:
    start = ("TRAIN.CHECKPOINT_FILE_PATH", "k400", "TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1")
    assert failing(*start).startswith("TRAIN.CHECKPOINT_FILE_PATH: there is no file k400: as the tag of published")
    assert not (tmp_path / "run").exists()
    assert run_net.main(["--cfg", str(config_file), "TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1"]) == 0
    assert run_net.main(["--cfg", str(config_file), *start]) == 0  # a run that goes on has weights of its own


def test_crop_larger_than_the_resized_frame(failing) -> None:
    said = failing("DATA.TRAIN_CROP_SIZE", "96", "DATA.TEST_CROP_SIZE", "96")
    assert "96" in said and "DATA.TRAIN_JITTER_SCALES" in said


def test_frames_not_divisible_by_the_stem(failing) -> None:
    said = failing("DATA.NUM_FRAMES", "9")
    assert "DATA.NUM_FRAMES" in said and "MVIT.PATCH_STRIDE" in said


def test_gpu_that_is_not_there(failing) -> None:
    assert "set NUM_GPUS 0" in failing("NUM_GPUS", "1")


def test_missing_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_net.main(["--cfg", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_debug_shows_the_traceback(config_file: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        run_net.main(["--cfg", str(config_file), "--debug", "DATA.PATH_TO_DATA_DIR", "/nowhere"])


def test_no_weights_to_test(failing) -> None:
    assert "there are no weights to test" in failing("TRAIN.ENABLE", "False")


def test_checkpoints_of_another_run_are_not_mixed(failing, config_file: Path, tmp_path: Path) -> None:
    assert run_net.main(["--cfg", str(config_file), "TEST.ENABLE", "False"]) == 0
    weights = tmp_path / "run" / "checkpoints" / "checkpoint_epoch_00001.pyth"
    before = weights.read_bytes()
    assert "another run's checkpoints" in failing("TRAIN.AUTO_RESUME", "False")
    assert weights.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "optimizer"),
    [
        (["SOLVER.OPTIMIZING_METHOD", "sgd"], "OPTIMIZING_METHOD"),
        (["SOLVER.ZERO_WD_1D_PARAM", "False"], "decay groups"),
    ],
)
def test_resuming_with_another_optimizer(failing, config_file: Path, changes: list[str], optimizer: str) -> None:
    assert run_net.main(["--cfg", str(config_file), "TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1"]) == 0
    assert optimizer in failing(*changes)


def test_exploding_training_leaves_no_ruined_checkpoint(failing, tmp_path: Path) -> None:
    said = failing("SOLVER.BASE_LR", "1e30", "SOLVER.WARMUP_EPOCHS", "0")
    assert "SOLVER.BASE_LR" in said
    assert not list((tmp_path / "run").glob("checkpoints/*"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["MIXUP.LABEL_SMOOTH_VALUE", "1.0"], "MIXUP.LABEL_SMOOTH_VALUE"),
        (["MVIT.DROPPATH_RATE", "1.0"], "MVIT.DROPPATH_RATE"),
        (["AUG.ENABLE", "True", "AUG.AA_TYPE", "augmix"], "augmix"),
        (["AUG.ENABLE", "True", "AUG.INTERPOLATION", "random"], "AUG.INTERPOLATION"),
        (["DATA.PATH_LABEL_SEPARATOR", ""], "DATA.PATH_LABEL_SEPARATOR"),
        (["MVIT.POOL_KVQ_KERNEL", "[2, 2, 2]"], "[2, 2, 2]"),
        (["DATA.TRAIN_CROP_SIZE", "8", "DATA.TEST_CROP_SIZE", "8"], "too small"),
        (["MIXUP.ENABLE", "True", "MODEL.LOSS_FUNC", "soft_cross_entropy", "TRAIN.BATCH_SIZE", "23"], ""),
    ],
)
def test_settings_that_no_training_can_have(failing, config_file: Path, changes: list[str], named: str) -> None:
    if named:
        assert named in failing(*changes)
    else:  # 24 videos in passes of 23 would leave a pass of one clip, which mixup cannot mix: they are dealt evenly
        accumulate = ["TRAIN.ACCUMULATE_STEPS", "2", "TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1"]
        assert run_net.main(["--cfg", str(config_file), *changes, *accumulate]) == 0


def test_mixing_a_single_clip(failing, copied_data: Path) -> None:
    (copied_data / "train.csv").write_text("videos/train/00000.mp4 move_left\n")
    mixing = ["MIXUP.ENABLE", "True", "MODEL.LOSS_FUNC", "soft_cross_entropy"]
    assert "one clip" in failing("DATA.PATH_TO_DATA_DIR", str(copied_data), *mixing)


def test_config_without_its_ending(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_net.main(["--cfg", "configs/Kinetics/MVITV2_S_16x4"]) == 2
    assert "is not a .yaml file" in capsys.readouterr().err


def test_several_processes(failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "torchrun" in failing()


def test_a_failed_start_keeps_the_config_of_the_run(failing, config_file: Path, tmp_path: Path) -> None:
    assert run_net.main(["--cfg", str(config_file), "TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1"]) == 0
    before = (tmp_path / "run" / "config.yaml").read_text()
    failing("DATA.PATH_TO_DATA_DIR", "/nowhere")
    assert (tmp_path / "run" / "config.yaml").read_text() == before


def test_classes_of_another_run(failing, config_file: Path, copied_data: Path) -> None:
    assert run_net.main(["--cfg", str(config_file), "TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1"]) == 0
    for name in ("train.csv", "val.csv", "test.csv"):
        lines = (copied_data / name).read_text().replace("move_left", "walk")
        (copied_data / name).write_text(lines)
    said = failing("DATA.PATH_TO_DATA_DIR", str(copied_data))
    assert "for example walk" in said and "another OUTPUT_DIR" in said


def test_going_on_with_other_settings_names_them(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--cfg", str(config_file), "TEST.ENABLE", "False"]
    assert run_net.main([*argv, "SOLVER.MAX_EPOCH", "1"]) == 0
    trained = (tmp_path / "run" / "config.yaml").read_text()
    capsys.readouterr()
    assert run_net.main([*argv, "SOLVER.MAX_EPOCH", "1", "SOLVER.BASE_LR", "0.5", "LOG_PERIOD", "3"]) == 0
    said = capsys.readouterr().err
    assert "SOLVER.BASE_LR 0.001 -> 0.5" in said and "LOG_PERIOD" not in said
    assert "nothing to do" in said
    assert (tmp_path / "run" / "config.yaml").read_text() == trained
