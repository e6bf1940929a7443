"""What is wrong with annotation files in COCO's format, in words, and what they hold."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from slowfast_mvit.build.coco import coco_paths
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.coco_json import Instances, faults, read_instances
from slowfast_mvit.data.coco_outlines import pack_outlines
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.inspection_table import Row
from slowfast_mvit.errors import UserError

SPLITS = ("train", "val")  # a test has the files of val
CLASSES = "classes.csv"
_FEW = 3  # examples
_EDGE = 1.0  # pixels that a box may reach over the edge of its image, by rounding


def check_objects(config: Config, out: Path) -> tuple[list[str], list[str]]:
    """Lines of a report on the annotation files alone, and a sentence for each thing that is wrong with them.

    Writes ``classes.csv`` to ``out``: id, name, and annotated objects of each category in training and validation.

    Raises:
        UserError: keys that are not set, or a file that cannot be read.
    """
    lines, problems = [], []
    counts: dict[str, dict[tuple[int, str], int]] = {}
    for split in SPLITS:
        if split == "val" and not config.COCO.VAL_ANNOTATIONS:
            continue
        instances = read_instances(coco_paths(config, split)[0])
        found = list(faults(instances))
        problems += found
        if not found:
            problems += _of_annotations(instances, split, config.MODEL.NUM_CLASSES)
        lines.append(_summary(instances, split))
        numbers = np.bincount(instances.labels[~instances.crowd], minlength=len(instances.category_ids) + 1)[1:]
        entries = zip(instances.category_ids.tolist(), instances.category_names, numbers.tolist(), strict=True)
        counts[split] = {(number, name): count for number, name, count in entries}
    out.mkdir(parents=True, exist_ok=True)
    _write_classes(out / CLASSES, counts)
    return lines, problems


def images_to_check(config: Config, split: str) -> ImageList:
    """The images of a split, whatever is in them, with the classes of their objects."""
    annotations, folder = coco_paths(config, split)
    instances = read_instances(annotations)
    labels = np.zeros((len(instances.files), len(instances.category_ids)), dtype=bool)
    known = (instances.images >= 0) & (instances.labels > 0)
    labels[instances.images[known], instances.labels[known] - 1] = True
    return ImageList(
        (str(folder),),
        np.zeros(len(instances.files), dtype=np.uint8),
        instances.files,
        labels,
        instances.category_names,
        str(annotations),
    )


def check_sizes(config: Config, rows: tuple[Row, ...]) -> Iterator[str]:
    """A sentence for each split whose files are of other sizes than its annotations say, by the rows of their inspection."""
    for split in SPLITS:
        found = {row.path: row.seen.found for row in rows if row.split == split}
        if not found:
            continue
        annotations, folder = coco_paths(config, split)
        instances = read_instances(annotations)
        wrong = []
        for file, height, width in zip(instances.files.tolist(), instances.heights, instances.widths, strict=True):
            name = os.fsdecode(file)
            seen = found.get(os.path.join(str(folder), name))  # noqa: PTH118 - as the list has it
            if seen is not None and seen.width is not None and (seen.height, seen.width) != (height, width):
                wrong.append(f"{name} ({seen.width} x {seen.height} and not {width} x {height})")
        if wrong:
            yield f"{annotations}: {len(wrong)} images are of another size than it says: {_some(wrong)}"


def _of_annotations(instances: Instances, split: str, num_classes: int) -> Iterator[str]:
    """What is wrong with the objects of a file whose ids are right."""
    source = instances.source
    if len(instances.category_ids) != num_classes:
        yield f"{source} has {len(instances.category_ids)} categories, and MODEL.NUM_CLASSES is {num_classes}"
    files, counts = np.unique(instances.files, return_counts=True)
    if (counts > 1).any():
        names = [os.fsdecode(file) for file in files[counts > 1].tolist()]
        yield f"{source}: files are listed more than once: {_some(names)}"
    ids, counts = np.unique(instances.ids, return_counts=True)
    if (counts > 1).any():
        yield f"{source}: ids of annotations come more than once: {_some(ids[counts > 1].tolist())}"
    if instances.empty.any():
        which = _some(instances.ids[instances.empty].tolist())
        yield f"{source}: {instances.empty.sum()} boxes have no area: annotations {which}"
    limits = np.stack((instances.widths, instances.heights), axis=1)[instances.images]
    outside = (instances.boxes[:, :2] < -_EDGE).any(axis=1) | (instances.boxes[:, 2:] > limits + _EDGE).any(axis=1)
    if outside.any():
        which = _some(instances.ids[outside].tolist())
        yield f"{source}: {outside.sum()} boxes reach out of their image: annotations {which}"
    if split == "train":
        yield from _of_outlines(instances)


def _of_outlines(instances: Instances) -> Iterator[str]:
    rows = np.flatnonzero(~instances.crowd)
    lacking = [int(row) for row in rows if bytes(instances.segmentations[int(row)]) in (b"", b"null", b"[]")]
    if lacking:
        yield f"{instances.source}: {len(lacking)} annotations have no segmentation: {_some(instances.ids[lacking].tolist())}"
    rows = np.setdiff1d(rows, np.array(lacking, dtype=np.int64))
    at = instances.images[rows]
    try:
        outlines = pack_outlines(
            [instances.segmentations[int(row)] for row in rows],
            instances.heights[at],
            instances.widths[at],
            lambda place: str(instances.ids[rows[place]]),
        )
    except UserError as error:
        yield f"{instances.source}: {error}"
        return
    flat = outlines.is_empty
    if flat.any():
        which = _some(instances.ids[rows[flat]].tolist())
        yield f"{instances.source}: {flat.sum()} outlines have no three corners: annotations {which}"


def _summary(instances: Instances, split: str) -> str:
    if not instances.annotated:
        return f"{split} objects: none, {instances.source} has no annotations"
    used = ~instances.crowd & ~instances.empty & (instances.images >= 0)
    images = len(np.unique(instances.images[used]))
    classes = len(np.unique(instances.labels[used & (instances.labels > 0)]))
    return (
        f"{split} objects: {used.sum()} in {images} of {len(instances.files)} images, of {classes} of "
        f"{len(instances.category_ids)} categories; {instances.crowd.sum()} crowds"
    )


def _write_classes(path: Path, counts: dict[str, dict[tuple[int, str], int]]) -> None:
    categories = sorted({category for of_split in counts.values() for category in of_split})
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", "name", *counts])
        for category in categories:
            table.writerow([*category, *(of_split.get(category, 0) for of_split in counts.values())])


def _some(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values[:_FEW]) + (", ..." if len(values) > _FEW else "")
