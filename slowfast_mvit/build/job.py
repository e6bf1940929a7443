"""A job: everything that one config asks for, in order."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slowfast_mvit.build.data import videos_of
from slowfast_mvit.build.evaluate import run_test
from slowfast_mvit.build.readiness import refuse_unbuilt
from slowfast_mvit.build.run import RunFolder, choose_device
from slowfast_mvit.build.train import run_training
from slowfast_mvit.config.load import dump_config, load_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.toy import ToySet, make_toy_set
from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.fetch import fetch, is_url

TOY_BATCH, TOY_VIDEOS = 2, 4


def run_job(config: Config, *, random_weights: bool = False) -> dict[str, object] | None:
    """Train if TRAIN.ENABLE, test if TEST.ENABLE; returns the test's metrics.

    Args:
        config: what to do.
        random_weights: let a test without any checkpoint run on fresh weights.

    Raises:
        UserError, VideoError: what the user can mend.
    """
    refuse_unbuilt(config)
    device = choose_device(config.NUM_GPUS)
    # A mistake in any list is said before anything is written, and not when the training is over.
    for split in ("train",) * config.TRAIN.ENABLE + ("test",) * config.TEST.ENABLE:
        videos_of(config, split)
    weights = config.TEST.CHECKPOINT_FILE_PATH
    if config.TEST.ENABLE and weights:
        if is_url(weights):
            fetch(weights)
        elif not Path(weights).expanduser().is_file():
            raise UserError(f"TEST.CHECKPOINT_FILE_PATH: the checkpoint {weights} does not exist")
    folder = RunFolder(Path(config.OUTPUT_DIR))
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        if not config.TRAIN.ENABLE:
            folder.test_config.write_text(dump_config(config), encoding="utf-8")
    except OSError as error:
        raise UserError(f"OUTPUT_DIR {folder.root} cannot be written to: {error.strerror}") from error
    trained = run_training(config, device) if config.TRAIN.ENABLE else None
    return run_test(config, device, trained=trained, random_weights=random_weights) if config.TEST.ENABLE else None


def toy_job(path: str, overrides: Sequence[str]) -> Config:
    """The config of ``path`` on generated videos: its own model and recipe, 4 videos to train and to test, two steps of 2.

    The classes are kept at the recipe's number. Overrides of the command line hold, except for the data, the batch, the length
    of the training and the weights to start from. Writes to runs/toy-<recipe>, or to a folder of that name in OUTPUT_DIR, which
    is emptied first.
    """
    config = load_config(path, overrides)
    root = Path("runs" if config.OUTPUT_DIR == "." else config.OUTPUT_DIR) / f"toy-{Path(path).stem}"
    shutil.rmtree(root, ignore_errors=True)
    # As many frames as a clip spans, and a few more to choose from. The frames are small: the recipe's resize enlarges them.
    num_frames = config.DATA.NUM_FRAMES * config.DATA.SAMPLING_RATE + 8
    toy = ToySet(TOY_VIDEOS, TOY_VIDEOS, TOY_VIDEOS, num_frames, num_classes=config.MODEL.NUM_CLASSES)
    make_toy_set(root / "data", toy)
    return replace(
        config,
        OUTPUT_DIR=str(root),
        LOG_PERIOD=1,
        TRAIN=replace(config.TRAIN, BATCH_SIZE=TOY_BATCH, ACCUMULATE_STEPS=1, EVAL_PERIOD=1, CHECKPOINT_FILE_PATH=""),
        TEST=replace(config.TEST, BATCH_SIZE=TOY_BATCH),
        SOLVER=replace(config.SOLVER, MAX_EPOCH=1, WARMUP_EPOCHS=0.0),
        DATA=replace(
            config.DATA,
            PATH_TO_DATA_DIR=str(root / "data"),
            PATH_PREFIX="",
            PATH_LABEL_SEPARATOR=" ",
            LIST_COLUMNS=(),
            DECODING_BACKEND="pyav",
        ),
        DATA_LOADER=replace(config.DATA_LOADER, NUM_WORKERS=min(config.DATA_LOADER.NUM_WORKERS, 2)),
        TENSORBOARD=replace(config.TENSORBOARD, CLASS_NAMES_PATH=""),
    )
