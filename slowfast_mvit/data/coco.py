"""Lists of images with objects: COCO's splits, and one's own in its format. All is in arrays, which loader workers share.

COCO's 118,287 training images with 860,001 objects take about 200 MB, nearly all of it the corners of the outlines.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from slowfast_mvit.data.coco_json import Instances, faults, read_instances
from slowfast_mvit.data.coco_outlines import Outlines, pack_outlines
from slowfast_mvit.errors import UserError

_LOG = logging.getLogger(__name__)
_FEW = 3  # examples in a message


@dataclass(frozen=True)
class CocoList:
    """Images with their objects. Letters: N images, A objects in all of them, C classes.

    Attributes:
        folder: of the images.
        files: bytes [N]; names under it.
        ids: int64 [N]; the images' ids in the annotation file.
        heights, widths: int32 [N]; pixels, as the annotation file says.
        ends: int64 [N]; where the objects of each image end.
        boxes: float32 [A, 4]; x1, y1, x2, y2 in pixels of the image file.
        box_labels: int64 [A] in 1..C.
        outlines: of the objects; None in a list for tests.
        category_ids: int64 [C]; the annotation file's id of label 1, 2 ...
        label_names: of the labels 1, 2 ...
        source: the annotation file.
        annotated: the file has annotations, so that results can be scored.
    """

    folder: str
    files: np.ndarray
    ids: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    ends: np.ndarray
    boxes: np.ndarray
    box_labels: np.ndarray
    outlines: Outlines | None
    category_ids: np.ndarray
    label_names: tuple[str, ...]
    source: str
    annotated: bool

    def __len__(self) -> int:
        return len(self.files)

    def path(self, index: int) -> str:
        """Image ``index`` as it is opened."""
        return os.path.join(self.folder, os.fsdecode(self.files[index]))  # noqa: PTH118

    def rows(self, index: int) -> range:
        """The objects of image ``index``."""
        return range(int(self.ends[index - 1]) if index else 0, int(self.ends[index]))

    @cached_property
    def names(self) -> np.ndarray:
        """str [N]; the files as they are written into tables."""
        return np.array([os.fsdecode(file) for file in self.files.tolist()])

    @cached_property
    def labels(self) -> np.ndarray:
        """bool [N, C]; which classes are in each image."""
        labels = np.zeros((len(self), len(self.label_names)), dtype=bool)
        labels[np.repeat(np.arange(len(self)), np.diff(self.ends, prepend=0)), self.box_labels - 1] = True
        return labels


def read_coco(
    annotations: Path,
    folder: Path,
    *,
    training: bool,
    num_classes: int,
    label_names: Sequence[str] = (),
    must_exist: bool = True,
) -> CocoList:
    """The images of an annotation file.

    Categories are the labels 1, 2 ... in the order of their ids. In training, crowds are left out, as are boxes without area
    and outlines without three corners, and then images without an object (detectron2's rule), all with their numbers in the
    log. Tests have every image.

    Args:
        annotations: a file in COCO's format.
        folder: of its images.
        training: the list is trained on and needs outlines.
        num_classes: of the model.
        label_names: names that number the labels (of a checkpoint); by default the file's.
        must_exist: images that are not in the folder are an error; it is listed and not opened.

    Raises:
        UserError: a missing file or folder, a file in another format, unknown categories, another number of classes, missing
            images, or in training objects without an outline, or no object at all.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} of the images of {annotations}: check its name, or COCO.*_IMAGES")
    try:
        state = annotations.stat()
        version = (state.st_size, state.st_mtime_ns)
    except OSError:  # which reading says better
        version = (0, 0)
    listed = _read(annotations, version, folder, training, num_classes, tuple(label_names))
    if must_exist:
        _check_images(listed)
    return listed


@lru_cache(maxsize=2)  # a job asks for its lists before it begins, and again when it trains or tests
def _read(
    annotations: Path,
    version: tuple[int, int],
    folder: Path,
    training: bool,
    num_classes: int,
    label_names: tuple[str, ...],
) -> CocoList:
    instances = read_instances(annotations)
    for fault in faults(instances):
        raise UserError(fault)
    if training and not instances.annotated:
        raise UserError(f"{annotations} has no annotations to train on: give an instances file")
    numbers = _numbers(instances, num_classes, label_names)
    kept = ~instances.crowd & ~instances.empty
    outlines = None
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(instances.images[rows], kind="stable")]
    if training:
        outlines, rows = _outlined(instances, rows)
        used = np.zeros(len(instances.files), dtype=bool)
        used[instances.images[rows]] = True
        _say_left_out(instances, rows, used)
    else:
        used = np.ones(len(instances.files), dtype=bool)
    counts = np.bincount(instances.images[rows], minlength=len(used))[used]
    order = np.argsort(numbers)  # label of each place -> place of each label
    return CocoList(
        folder=str(folder),
        files=instances.files[used],
        ids=instances.image_ids[used],
        heights=instances.heights[used],
        widths=instances.widths[used],
        ends=np.cumsum(counts, dtype=np.int64),
        boxes=instances.boxes[rows].astype(np.float32),
        box_labels=numbers[instances.labels[rows] - 1],
        outlines=outlines,
        category_ids=instances.category_ids[order],
        label_names=tuple(instances.category_names[place] for place in order),
        source=str(annotations),
        annotated=instances.annotated,
    )


def _numbers(instances: Instances, num_classes: int, label_names: Sequence[str]) -> np.ndarray:
    """int64 [C]; the label of each category of the file."""
    names = instances.category_names
    if len(names) != num_classes:
        raise UserError(
            f"{instances.source} has {len(names)} categories, and MODEL.NUM_CLASSES is {num_classes}: set it to {len(names)}"
        )
    if not label_names:
        return np.arange(1, len(names) + 1)
    number_of = {name: number for number, name in enumerate(label_names, 1)}
    unknown = [name for name in names if name not in number_of]
    if unknown or len(number_of) != len(names):
        raise UserError(
            f"the categories of {instances.source} are not those that the model was trained on, for example "
            f"{(unknown or label_names)[0]!r}: give a file with the same names, or start in another OUTPUT_DIR"
        )
    return np.array([number_of[name] for name in names], dtype=np.int64)


def _outlined(instances: Instances, rows: np.ndarray) -> tuple[Outlines, np.ndarray]:
    """The outlines of these annotations, and those of the annotations that have a usable one."""
    texts = [instances.segmentations[row] for row in rows]
    lacking = [int(row) for row, text in zip(rows, texts, strict=True) if bytes(text) in (b"", b"null", b"[]")]
    if lacking:
        raise UserError(
            f"{instances.source}: {len(lacking)} annotations have no segmentation, first {_name(instances, lacking[0])}: "
            "masks are trained on them; add polygons or run lengths, or take these annotations out"
        )
    at = instances.images[rows]
    outlines = pack_outlines(texts, instances.heights[at], instances.widths[at], lambda i: _name(instances, rows[i]))
    empty = outlines.is_empty
    return (outlines.of(~empty), rows[~empty]) if empty.any() else (outlines, rows)


def _name(instances: Instances, row: int) -> str:
    """What to call an annotation in a message."""
    return f"{instances.ids[row]} of image {os.fsdecode(instances.files[instances.images[row]])}"


def _say_left_out(instances: Instances, rows: np.ndarray, used: np.ndarray) -> None:
    if not used.any():
        raise UserError(
            f"{instances.source} has no object to train on: none that is no crowd, has an area and an outline"
        )
    crowds, empty = int(instances.crowd.sum()), int((instances.empty & ~instances.crowd).sum())
    left = {
        f"{len(used) - int(used.sum())} of {len(used)} images, which have no object": len(used) - int(used.sum()),
        f"{crowds} crowds": crowds,
        f"{empty} boxes without area": empty,
        "{0} outlines without three corners": len(instances.crowd) - len(rows) - crowds - empty,
    }
    words = [text.format(number) for text, number in left.items() if number]
    if words:
        _LOG.info("%s: left out of training are %s", instances.source, ", ".join(words))


def _check_images(listed: CocoList) -> None:
    """Raise UserError naming images that the folder lacks."""
    files = [os.fsdecode(file) for file in listed.files.tolist()]
    there: dict[str, set[str]] = {}
    missing = []
    for file in files:
        folder, _, name = file.rpartition("/")
        if folder not in there:
            there[folder] = _names_in(Path(listed.folder, folder))
        if name not in there[folder]:
            missing.append(file)
    if missing:
        raise UserError(
            f"{len(missing)} of the {len(files)} images of {listed.source} are not in {listed.folder}, for example "
            f"{', '.join(missing[:_FEW])}: check the folder, or take them out of the file"
        )


def _names_in(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - a Path per file is slow on large folders
    except OSError:
        return set()
