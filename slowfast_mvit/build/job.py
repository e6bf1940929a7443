"""A job: everything that one config asks for, in order."""

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

TOY_BATCH, TOY_VIDEOS = 2, 4


def run_job(config: Config) -> dict[str, object] | None:
    """Train if TRAIN.ENABLE, test if TEST.ENABLE; returns the test's metrics.

    Raises:
        UserError, ConfigError, VideoError: what the user can mend.
    """
    refuse_unbuilt(config)
    device = choose_device(config.NUM_GPUS)
    folder = RunFolder(Path(config.OUTPUT_DIR))
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        folder.config.write_text(dump_config(config), encoding="utf-8")
    except OSError as error:
        raise UserError(f"OUTPUT_DIR {folder.root} cannot be written to: {error.strerror}") from error
    if config.TRAIN.ENABLE:
        if config.TEST.ENABLE:
            videos_of(config, "test")  # a mistake in the test list should not wait until the training is over
        run_training(config, device)
    return run_test(config, device) if config.TEST.ENABLE else None


def toy_job(path: str, overrides: Sequence[str]) -> Config:
    """The config of ``path`` on generated videos: its own model and recipe, 4 videos to train and to test, one short epoch.

    The classes are kept at the recipe's number, of which the toy videos use the first eight. Overrides of the command line
    hold, except for the data's place. Writes to runs/toy-<recipe> unless OUTPUT_DIR is given.
    """
    config = load_config(path, overrides)
    root = Path("runs") / f"toy-{Path(path).stem}" if config.OUTPUT_DIR == "." else Path(config.OUTPUT_DIR)
    # As many frames as a clip spans, and a few more to choose from. The frames are small: the recipe's resize enlarges them.
    toy = ToySet(TOY_VIDEOS, TOY_VIDEOS, TOY_VIDEOS, num_frames=config.DATA.NUM_FRAMES * config.DATA.SAMPLING_RATE + 8)
    make_toy_set(root / "data", toy)
    return replace(
        config,
        OUTPUT_DIR=str(root),
        LOG_PERIOD=1,
        TRAIN=replace(
            config.TRAIN,
            BATCH_SIZE=TOY_BATCH,
            ACCUMULATE_STEPS=1,
            AUTO_RESUME=False,
            EVAL_PERIOD=1,
            CHECKPOINT_FILE_PATH="",
        ),
        TEST=replace(config.TEST, BATCH_SIZE=TOY_BATCH),
        SOLVER=replace(config.SOLVER, MAX_EPOCH=1, WARMUP_EPOCHS=0.0),
        DATA=replace(
            config.DATA, PATH_TO_DATA_DIR=str(root / "data"), PATH_PREFIX="", PATH_LABEL_SEPARATOR=" ", LIST_COLUMNS=()
        ),
        DATA_LOADER=replace(config.DATA_LOADER, NUM_WORKERS=min(config.DATA_LOADER.NUM_WORKERS, 2)),
    )
