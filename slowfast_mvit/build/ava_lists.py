"""AVA's lists by config: key frames of training, validation and test, what is annotated, and what actions are called."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.ava import (
    AvaFiles,
    AvaList,
    keys_to_test,
    keys_to_train,
    read_annotated,
)
from slowfast_mvit.data.ava_actions import Actions, actions_of
from slowfast_mvit.data.ava_csv import BoxRows
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.ava_boxes import ActionBoxes, ActionClass, KeySeconds
from slowfast_mvit.evaluation.ava_files import read_exclusions
from slowfast_mvit.evaluation.ava_label_map import read_label_map

VALIDATED_SECONDS = (
    4  # the validation between epochs takes every fourth second (PySlowFast), unless AVA.FULL_TEST_ON_VAL
)


def ava_list(config: Config, split: str, label_names: Sequence[str] = (), *, must_exist: bool = True) -> AvaList:
    """The key frames of a split (train, val or test); val and test have the same files.

    Raises:
        UserError: keys that are not set, missing or wrong files.
    """
    files, actions = ava_files(config, split), ava_actions(config, label_names)
    if split == "train":
        return keys_to_train(files, actions, must_exist=must_exist)
    truth = annotated_rows(config)
    keys = keys_to_test(files, actions, () if truth is None else (truth,), must_exist=must_exist)
    if split == "test" or config.AVA.FULL_TEST_ON_VAL:
        return keys
    chosen = keys.key_seconds % VALIDATED_SECONDS == 0
    if not chosen.any():
        raise UserError(
            f"{keys.source}: none of its seconds is divisible by {VALIDATED_SECONDS}, and only these are validated: set "
            "AVA.FULL_TEST_ON_VAL True"
        )
    return keys.chosen(chosen)


def ava_files(config: Config, split: str) -> AvaFiles:
    """Where the files of a split are."""
    ava = config.AVA
    for key in ("FRAME_DIR", "ANNOTATION_DIR"):
        if not getattr(ava, key):
            raise UserError(
                f"AVA.{key} is not set: give the folder of the {'videos' if key == 'FRAME_DIR' else 'box lists'}"
            )
    boxes, lists = Path(ava.ANNOTATION_DIR), Path(ava.FRAME_LIST_DIR)
    train = split == "train"
    return AvaFiles(
        frame_dir=Path(ava.FRAME_DIR),
        annotated=tuple(boxes / name for name in ava.TRAIN_GT_BOX_LISTS) if train else (),
        detected=tuple(boxes / name for name in (ava.TRAIN_PREDICT_BOX_LISTS if train else ava.TEST_PREDICT_BOX_LISTS)),
        frame_lists=tuple(lists / name for name in (ava.TRAIN_LISTS if train else ava.TEST_LISTS))
        if ava.FRAME_LIST_DIR
        else (),
        min_score=ava.DETECTION_SCORE_THRESH,
        first_second=ava.FIRST_SECOND,
    )


def ava_actions(config: Config, label_names: Sequence[str] = ()) -> Actions:
    """What the outputs mean: by ``label_names`` (of a checkpoint), by the label map, else by the names in the box lists.

    Without a label map all annotated lists, of training and test, are read, so that names are numbered alike everywhere; those
    which are not there are passed over.
    """
    classes = _label_map(config)
    named_in: list[BoxRows] = []
    if not label_names and not classes:
        folder, names = Path(config.AVA.ANNOTATION_DIR), (*config.AVA.TRAIN_GT_BOX_LISTS, config.AVA.GROUNDTRUTH_FILE)
        named_in = read_annotated(folder / name for name in dict.fromkeys(names) if (folder / name).is_file())
    return actions_of(
        config.MODEL.NUM_CLASSES,
        names=label_names,
        label_map={one.id: one.name for one in classes},
        named_in=named_in,
    )


def scored_classes(config: Config, actions: Actions) -> tuple[ActionClass, ...]:
    """The classes that the evaluation scores: the label map's (60 of AVA's 80), else those with names, else all."""
    named = any(actions.names)
    return _label_map(config) or tuple(
        ActionClass(number, name or str(number)) for number, name in enumerate(actions.names, 1) if name or not named
    )


def annotated_rows(config: Config) -> BoxRows | None:
    """The annotated boxes of the test; None where AVA.GROUNDTRUTH_FILE is empty, for a test that only writes detections."""
    path = _file(config, "GROUNDTRUTH_FILE")
    return read_annotated([path])[0] if path else None


def truth_of(rows: BoxRows, actions: Actions) -> ActionBoxes:
    """Annotated boxes as the evaluation takes them, a row for each action; boxes without an action are not scored."""
    columns = actions.columns(rows)
    known = columns >= 0
    at = KeySeconds(rows.videos[known], rows.video_names, rows.seconds[known])
    return ActionBoxes(at, rows.boxes[known], (columns[known] + 1).astype(np.int32))


def excluded_seconds(config: Config) -> KeySeconds | None:
    """Seconds that are not scored; None where AVA.EXCLUSION_FILE is empty."""
    path = _file(config, "EXCLUSION_FILE")
    return read_exclusions(path) if path else None


def _label_map(config: Config) -> tuple[ActionClass, ...]:
    path = _file(config, "LABEL_MAP_FILE")
    return read_label_map(path) if path else ()


def _file(config: Config, key: str) -> Path | None:
    """The file that a key of AVA names, None if it is empty."""
    name = getattr(config.AVA, key)
    path = Path(config.AVA.ANNOTATION_DIR) / name
    if name and not path.is_file():
        raise UserError(f"there is no file {path}: set AVA.ANNOTATION_DIR and AVA.{key} ('' to do without it)")
    return path if name else None
