"""A job: everything that one config asks for, in order."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from slowfast_mvit.build.evaluate import run_test
from slowfast_mvit.build.kinds import list_of
from slowfast_mvit.build.precision import precision_of
from slowfast_mvit.build.readiness import refuse_unbuilt
from slowfast_mvit.build.run import RunFolder, choose_device
from slowfast_mvit.build.train import run_training
from slowfast_mvit.config.load import dump_config, load_config
from slowfast_mvit.config.schema import Ava, Coco, Config
from slowfast_mvit.data.toy import ToySet, make_toy_set
from slowfast_mvit.data.toy_ava import BOX_FOLDER, TRAIN_DETECTED, VIDEO_FOLDER, ToyAva, make_toy_ava
from slowfast_mvit.data.toy_coco import ANNOTATIONS, FOLDERS, ToyCoco, make_toy_coco
from slowfast_mvit.data.toy_images import ToyImageSet, make_toy_images
from slowfast_mvit.data.toy_ssv2 import ToySsv2, make_toy_ssv2
from slowfast_mvit.engine.checkpoint import list_checkpoints
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.huge_pages import keep_huge_pages
from slowfast_mvit.engine.lock import alone_in
from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.load import find_source

_LOG = logging.getLogger(__name__)
TOY_BATCH, TOY_VIDEOS = 2, 4
TOY_MARK = "made_by_toy.txt"  # in every folder of a toy run: such a folder may be emptied


def run_job(
    config: Config,
    world: World = World(),  # noqa: B008 - frozen
    *,
    random_weights: bool = False,
) -> dict[str, object] | None:
    """Train if TRAIN.ENABLE, test if TEST.ENABLE; returns the test's metrics, on rank 0.

    Args:
        config: what to do. Its numbers of machines and processes are the world's, see :func:`config_in`.
        world: the ranks that do it together.
        random_weights: let a test without any checkpoint run on fresh weights.

    Raises:
        UserError, VideoError: what the user can mend.
    """
    refuse_unbuilt(config)
    device = _usable_device(config, world.local_rank)
    if device.type == "cpu":
        keep_huge_pages()  # before the weights are made
    # A mistake in any list is said before anything is written, and not when the training is over.
    for split in ("train",) * config.TRAIN.ENABLE + ("test",) * config.TEST.ENABLE:
        list_of(config, split)
    _fetch_weights(config, world)
    folder = RunFolder(Path(config.OUTPUT_DIR))
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        if world.is_main and not config.TRAIN.ENABLE:
            folder.test_config.write_text(dump_config(config), encoding="utf-8")
    except OSError as error:
        raise _unusable(folder.root, error) from error
    trained = None
    if config.TRAIN.ENABLE:
        with alone_in(folder.root, world):
            trained = run_training(config, device, world)
    if not config.TEST.ENABLE:
        return None
    world.at("the test")
    return run_test(config, device, world, trained=trained, random_weights=random_weights)


def _unusable(root: Path, error: OSError) -> UserError:
    """What to say of an OUTPUT_DIR that cannot be made or written to."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return UserError(f"OUTPUT_DIR {root} is a file, or lies under one: give a folder")
    return UserError(f"OUTPUT_DIR {root} cannot be written to: {error.strerror or error}")


def config_in(config: Config, world: World) -> Config:
    """The config with the numbers of machines and processes that there are; what differs is said.

    TRAIN.BATCH_SIZE is per machine and does not change with them.
    """
    processes = "NUM_GPUS" if config.NUM_GPUS else "NUM_PROCESSES"
    there = {"NUM_SHARDS": world.num_machines, processes: world.local_size}
    differing = [
        f"{key} {getattr(config, key)} is {number} here"
        for key, number in there.items()
        if getattr(config, key) != number
    ]
    if differing and world.is_main:
        _LOG.info("the launcher's numbers count: %s", ", ".join(differing))
    return replace(
        config,
        NUM_SHARDS=world.num_machines,
        SHARD_ID=world.rank // world.local_size,
        NUM_GPUS=world.local_size if config.NUM_GPUS else 0,
        NUM_PROCESSES=config.NUM_PROCESSES if config.NUM_GPUS else world.local_size,
    )


def _fetch_weights(config: Config, world: World) -> None:
    """Have the weights that the config names on every machine: its first process fetches what is not there yet.

    Raises:
        UserError: on all ranks, if one machine fails.
    """
    problem = ""
    if world.local_rank == 0:
        try:
            _given_weights(config)
        except UserError as error:
            problem = str(error)
    problems = [text for text in world.everyones(problem) if text]
    if problems:
        raise UserError(problems[0])


def check_device(config: Config) -> None:
    """Before processes are started: raise UserError where this machine has not what the config asks for."""
    refuse_unbuilt(config)
    _usable_device(config)


def _usable_device(config: Config, local_rank: int = 0) -> torch.device:
    """The device that the config asks for, if it is there and trains the network in the precision that is asked for."""
    device = choose_device(config.NUM_GPUS, local_rank)
    if config.TRAIN.ENABLE:
        precision_of(config, device, training=True)
    return device


def toy_job(path: str, overrides: Sequence[str], *, make: bool = True) -> Config:
    """The config of ``path`` on generated videos: its own model and recipe, 4 videos to train and to test, two steps of 2.

    The classes are kept at the recipe's number. Overrides of the command line hold, weights to start from and to test among
    them, except for the data, the batch and the length of the training. Writes to runs/toy-<recipe>, or to a folder of that
    name in OUTPUT_DIR; a baseline's ends in its name too. When all that can be checked before is right, the folder is emptied,
    unless ``make`` is False, where :func:`make_toy` is called by another.

    Raises:
        UserError: what the user can mend; among others, the folder holds files and no toy run made it.
    """
    config = load_config(path, overrides)
    arch = config.MODEL.ARCH
    name = f"toy-{Path(path).stem}" + (f"-{arch}" if arch != "mvit" else "")
    root = Path("runs" if config.OUTPUT_DIR == "." else config.OUTPUT_DIR) / name
    toy_config = _on_toy_videos(config, root)
    refuse_unbuilt(toy_config)
    _usable_device(toy_config)
    for weights in _given_weights(toy_config):
        if weights.resolve().is_relative_to(root.resolve()):
            raise UserError(f"{weights} lies in {root}, which a toy run empties: move it, or set another OUTPUT_DIR")
    if make:
        make_toy(toy_config)
    return toy_config


def make_toy(config: Config) -> None:
    """Empty the folder of a :func:`toy_job`'s config, and make the data in it."""
    root = Path(config.OUTPUT_DIR)
    _LOG.info("toy run in %s, which is emptied first", root)
    _empty_toy_folder(root)
    _make_toy_data(config, Path(config.DATA.PATH_TO_DATA_DIR))


def _make_toy_data(config: Config, root: Path) -> None:
    """Four items to train and to test, in the layout of the config's data set."""
    dataset = config.TRAIN.DATASET if config.TRAIN.ENABLE else config.TEST.DATASET
    num_classes = config.MODEL.NUM_CLASSES
    if dataset == "imagenet":
        make_toy_images(root, ToyImageSet(TOY_VIDEOS, TOY_VIDEOS, num_classes=num_classes))
    elif dataset == "coco":
        make_toy_coco(root, ToyCoco(TOY_VIDEOS, TOY_VIDEOS, num_classes=num_classes))
    elif dataset == "ava":  # as long as a clip at the last key frame needs
        make_toy_ava(root, ToyAva(TOY_VIDEOS, TOY_VIDEOS, num_seconds=2))
    elif dataset == "ssv2":  # two frames for each segment
        make_toy_ssv2(root, ToySsv2(TOY_VIDEOS, TOY_VIDEOS, 2 * config.DATA.NUM_FRAMES, num_classes=num_classes))
    else:
        # As many frames as a clip spans, and a few more to choose from. They are small: the recipe's resize enlarges them.
        num_frames = config.DATA.NUM_FRAMES * config.DATA.SAMPLING_RATE + 8
        make_toy_set(root, ToySet(TOY_VIDEOS, TOY_VIDEOS, TOY_VIDEOS, num_frames, num_classes=num_classes))


def _given_weights(config: Config) -> list[Path]:
    """Files of the weights that the config names and the job uses, fetched if need be; UserError where one is missing."""
    checkpoints = list_checkpoints(RunFolder(Path(config.OUTPUT_DIR)).checkpoints, config.TASK)
    resumes = config.TRAIN.AUTO_RESUME and checkpoints
    given = {
        "TRAIN.CHECKPOINT_FILE_PATH": config.TRAIN.CHECKPOINT_FILE_PATH if config.TRAIN.ENABLE and not resumes else "",
        "TEST.CHECKPOINT_FILE_PATH": config.TEST.CHECKPOINT_FILE_PATH if config.TEST.ENABLE else "",
    }
    files = []
    for key, source in given.items():
        try:
            files += [find_source(source)] if source else []
        except UserError as error:
            raise UserError(f"{key}: {error}") from error
    return files


def _empty_toy_folder(root: Path) -> None:
    mark = root / TOY_MARK
    try:
        if mark.is_file():
            shutil.rmtree(root)
        elif root.is_dir() and any(root.iterdir()):
            raise UserError(f"{root} holds files, and no toy run made it: move them, or set another OUTPUT_DIR")
        root.mkdir(parents=True, exist_ok=True)
        mark.write_text("run_net.py --toy made this folder, and empties it when it runs again.\n", encoding="utf-8")
    except OSError as error:
        raise _unusable(root, error) from error


def _on_toy_videos(config: Config, root: Path) -> Config:
    return replace(
        config,
        OUTPUT_DIR=str(root),
        LOG_PERIOD=1,
        TRAIN=replace(config.TRAIN, BATCH_SIZE=TOY_BATCH, ACCUMULATE_STEPS=1, EVAL_PERIOD=1, AUTO_RESUME=False),
        TEST=replace(config.TEST, BATCH_SIZE=TOY_BATCH),
        SOLVER=replace(config.SOLVER, MAX_EPOCH=1, MAX_STEPS=0, WARMUP_EPOCHS=0.0, WARMUP_STEPS=0),
        DATA=replace(
            config.DATA,
            PATH_TO_DATA_DIR=str(root / "data"),
            PATH_PREFIX="",
            PATH_LABEL_SEPARATOR=" ",
            LIST_COLUMNS=(),
            SKIP_ROWS=0,
            DECODING_BACKEND="pyav",
            IN22K_TRAINVAL=False,
            IN22k_VAL_IN1K="",
        ),
        # The other files of the toy set have the names that are AVA's.
        AVA=Ava(
            FRAME_DIR=str(root / "data" / VIDEO_FOLDER),
            ANNOTATION_DIR=str(root / "data" / BOX_FOLDER),
            TRAIN_PREDICT_BOX_LISTS=(TRAIN_DETECTED,),
            DETECTION_SCORE_THRESH=config.AVA.DETECTION_SCORE_THRESH,
            TEST_CENTRE_CROP=config.AVA.TEST_CENTRE_CROP,
            TEST_SHORT_SIDES=config.AVA.TEST_SHORT_SIDES,
            TEST_FLIP=config.AVA.TEST_FLIP,
            FULL_TEST_ON_VAL=True,
        ),
        # Images as small as a detector still takes whole: at its own sizes a step would take minutes of a CPU.
        COCO=Coco(
            TRAIN_IMAGES=FOLDERS["train"],
            TRAIN_ANNOTATIONS=ANNOTATIONS["train"],
            VAL_IMAGES=FOLDERS["val"],
            VAL_ANNOTATIONS=ANNOTATIONS["val"],
            TRAIN_SHORT_SIDES=(128, 160),
            MAX_SIDE=224,
            CROP_PROB=config.COCO.CROP_PROB,
            CROP_SHORT_SIDES=(128,),
            CROP_SIDES=(96, 128),
            JITTER_SCALES=config.COCO.JITTER_SCALES,
            JITTER_SIZE=160,
            TEST_SHORT_SIDES=tuple(range(128, 128 + 32 * len(config.COCO.TEST_SHORT_SIDES), 32)),
            TEST_MAX_SIDE=128 + 32 * len(config.COCO.TEST_SHORT_SIDES),
            TEST_FLIP=config.COCO.TEST_FLIP,
        ),
        DATA_LOADER=replace(config.DATA_LOADER, NUM_WORKERS=min(config.DATA_LOADER.NUM_WORKERS, 2)),
        TENSORBOARD=replace(config.TENSORBOARD, CLASS_NAMES_PATH=""),
    )
