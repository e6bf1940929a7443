"""Lists of Something-Something v2: the official annotations, PySlowFast's frame lists, or lists of one's own.

The official files are lists of records with ``id`` and ``template``, in which the placeholders stand in brackets, and a label
map from templates without brackets to numbers. The videos are ``ID.webm``. PySlowFast's lists name, frame by frame, the images
that make up these videos.
"""

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from slowfast_mvit.data.frame_lists import first_frame, lists_frames, read_frame_list
from slowfast_mvit.data.kinetics import read_label_names, read_split
from slowfast_mvit.data.lists import (
    PLAIN_LISTS,
    FrameLists,
    ListFormat,
    VideoList,
    base_folder,
    check_files,
    entries,
)
from slowfast_mvit.errors import UserError

PREFIX = "something-something-v2-"
RECORD_FILES = {
    "train": (f"{PREFIX}train.json", "train.json"),
    "val": (f"{PREFIX}validation.json", "validation.json", "val.json"),
    "test": (f"{PREFIX}test.json", "test.json"),
}
LABEL_MAPS = (f"{PREFIX}labels.json", "labels.json")
VIDEO_FOLDERS = ("20bn-something-something-v2", "videos", "")
_SUFFIXES = (".webm", ".mp4", "")  # the last for a folder of frames


def has_ssv2(root: Path, split: str) -> bool:
    """Whether ``split`` (train, val or test) has a list of its own; one of the test, only if it has labels."""
    annotations, listed = _annotations(root, split), root / f"{split}.csv"
    if listed.is_file() and not lists_frames(listed):
        return True
    if annotations is not None:
        return split != "test" or "template" in _records(annotations)[0]
    if listed.is_file():
        return split != "test"
    return (root / split).is_dir() and all(_annotations(root, other) is None for other in RECORD_FILES)


def read_ssv2(
    root: Path,
    split: str,
    *,
    num_classes: int,
    label_names: Sequence[str] = (),
    form: ListFormat = PLAIN_LISTS,
    must_exist: bool = True,
) -> VideoList:
    """Videos of ``split`` (train, val or test) under ``root``.

    They come from a list of one's own (``split.csv``); else from the annotations, with videos or with the images of a frame
    list (``split.csv`` as well); else from a folder per class. Where the test has no labels, as in the official release, its
    videos are those of the validation, on which published results are measured.

    Args:
        root: the dataset folder.
        split: which videos.
        num_classes: of the model; the label map must have as many.
        label_names: names that number the labels (of a checkpoint); by default the label map.
        form: how lists of one's own are written. Its prefix is also the folder of the videos, or the one that the paths of a
            frame list are relative to. By default videos lie in ``root/20bn-something-something-v2``, ``root/videos`` or
            ``root``, and images under ``root``, or the working folder if only that has the first.
        must_exist: refuse a list that names missing videos. Of a frame list, their folders; single images are missed later.

    Raises:
        UserError: missing folder, list or label map, unknown template, missing videos, other classes than the model's.
    """
    if not root.is_dir():
        raise UserError(f"the dataset folder {root} does not exist: set DATA.PATH_TO_DATA_DIR")
    if split == "test" and not has_ssv2(root, "test"):
        split = "val"
    annotations, listed = _annotations(root, split), root / f"{split}.csv"
    frame_list = listed if lists_frames(listed) else None
    if frame_list and annotations is None:
        raise UserError(f"{frame_list} lists frames, and not their labels: put {RECORD_FILES[split][0]} beside it")
    if annotations is None or (listed.is_file() and not frame_list):
        if annotations is None and not listed.is_file() and not (root / split).is_dir():
            raise UserError(
                f"{root} has neither {RECORD_FILES[split][0]} nor {split}.csv nor a folder {split}/ with one folder per class"
            )
        return read_split(
            root,
            split,
            num_classes=num_classes,
            label_names=label_names or _label_map(root),
            form=form,
            must_exist=must_exist,
        )
    ids, templates = _ids_and_templates(annotations)
    known = tuple(map(_bare, label_names or _label_map(root)))
    labels = _numbers(templates, known, annotations)
    if len(known) != num_classes:
        raise UserError(
            f"{annotations} has {len(known)} classes by its label map, and MODEL.NUM_CLASSES is {num_classes}: "
            f"set it to {len(known)}"
        )
    if frame_list:
        frames, paths = _read_frames(
            frame_list, ids, base_folder(root, form.prefix, first_frame(frame_list)), annotations
        )
        if must_exist:
            check_files(paths, frame_list)
    else:
        frames, paths = None, _video_paths(root, form.prefix, ids, annotations, must_exist)
    return VideoList(np.array(paths), np.array(ids), labels, known, str(frame_list or annotations), frames)


def _annotations(root: Path, split: str) -> Path | None:
    return next((root / name for name in RECORD_FILES[split] if (root / name).is_file()), None)


def _records(annotations: Path) -> list[dict[str, object]]:
    """Records of an annotation file, at least one."""
    try:
        records = json.loads(annotations.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{annotations} is not a JSON file: {error}") from error
    if not isinstance(records, list) or not all(isinstance(record, dict) and "id" in record for record in records):
        raise UserError(f"{annotations} should be a JSON list of objects with id and template")
    if not records:
        raise UserError(f"{annotations} is empty")
    return records


def _ids_and_templates(annotations: Path) -> tuple[list[str], list[str]]:
    """Ids, and templates without brackets."""
    records = _records(annotations)
    bare = [str(record["id"]) for record in records if not isinstance(record.get("template"), str)]
    if bare:
        raise UserError(
            f"{annotations}: {len(bare)} of {len(records)} records have no template, the first is {bare[0]}"
        )
    return [str(record["id"]) for record in records], [_bare(str(record["template"])) for record in records]


def _bare(template: str) -> str:
    return template.replace("[", "").replace("]", "")


def _label_map(root: Path) -> tuple[str, ...]:
    """Templates in the order of their numbers; none where there is no label map."""
    found = next((root / name for name in LABEL_MAPS if (root / name).is_file()), None)
    return read_label_names(found) if found else ()


def _numbers(templates: Sequence[str], known: Sequence[str], annotations: Path) -> np.ndarray:
    """Numbers int64 [N] of templates."""
    if not known:
        raise UserError(f"{annotations.parent} has no label map: put {LABEL_MAPS[0]} there")
    number_of = {name: number for number, name in enumerate(known)}
    unknown = sorted({template for template in templates if template not in number_of})
    if unknown:
        raise UserError(
            f"{annotations}: {len(unknown)} unknown templates, for example {'; '.join(unknown[:3])}; the names in force (of a "
            f"checkpoint, TENSORBOARD.CLASS_NAMES_PATH or {LABEL_MAPS[0]}) begin with {'; '.join(known[:3])}: take the label "
            "map and the annotations of one release"
        )
    return np.array([number_of[template] for template in templates], dtype=np.int64)


def _video_paths(root: Path, prefix: str, ids: Sequence[str], annotations: Path, must_exist: bool) -> list[str]:
    """Path of each video, in the folder that has the most of them."""
    folders = [prefix] if prefix else [str(root / name) for name in VIDEO_FOLDERS]
    found = {folder: _files_of(ids, entries(folder)) for folder in folders}
    folder = max(folders, key=lambda each: len(found[each]))
    missing = [name for name in ids if name not in found[folder]]
    if missing and must_exist:
        examples = ", ".join(f"{name}.webm" for name in missing[:5])
        raise UserError(
            f"{annotations}: {len(missing)} of {len(ids)} videos are not in {folder}, for example {examples}: set "
            "DATA.PATH_PREFIX to the folder of the videos, or take them off the list"
        )
    return [os.path.join(folder, found[folder].get(name, f"{name}.webm")) for name in ids]  # noqa: PTH118


def _files_of(ids: Sequence[str], names: Collection[str]) -> dict[str, str]:
    """File or folder of each video that is among ``names``."""
    return {
        name: name + suffix for name in ids for suffix in reversed(_SUFFIXES) if name + suffix in names
    }  # the first suffix is the last to be set


def _read_frames(path: Path, ids: Sequence[str], base: str, annotations: Path) -> tuple[FrameLists, list[str]]:
    """The images of the videos ``ids``, in the order of the list, and the folder of each video's first one."""
    packed, folder_of = read_frame_list(path, frozenset(ids))
    missing = [video for video in ids if video not in packed]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of the {len(ids)} videos of {annotations.name} have no frames, for example "
            f"{', '.join(missing[:5])}: take the two files of one release, or take them off {annotations.name}"
        )
    folders = [os.path.join(base, folder_of[video]) for video in ids]  # noqa: PTH118
    return FrameLists([packed[video] for video in ids], base), folders
