"""What is in images of one's own: boxes, masks and names, by the code of the test."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slowfast_mvit.build.coco_test import object_protocol
from slowfast_mvit.build.evaluate import evaluate_videos, list_unreadable
from slowfast_mvit.build.precision import set_precision
from slowfast_mvit.build.ready_detector import ReadyDetector
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.images import read_image
from slowfast_mvit.data.inputs import find_inputs, list_files
from slowfast_mvit.data.objects_on_image import DrawnObject, draw_objects
from slowfast_mvit.errors import UserError, check_output
from slowfast_mvit.evaluation.coco_files import write_results
from slowfast_mvit.evaluation.coco_found import FoundObjects, ObjectResult, coco_results, objects_table
from slowfast_mvit.evaluation.mask_codes import mask_of
from slowfast_mvit.evaluation.predictions import replacing, write_csv


@dataclass(frozen=True)
class PredictedObjects:
    """What a prediction left.

    Attributes:
        files: that were written, each with what it holds.
        num_objects: that were found.
        problem: which images could not be read, in a sentence; empty if all could.
    """

    files: Mapping[Path, str]
    num_objects: int
    problem: str


def predict_objects(
    ready: ReadyDetector, words: Sequence[str | Path], output: Path, *, draw: bool = True, min_score: float = 0.5
) -> PredictedObjects:
    """Find the objects of every image, on one device, and write them to a folder.

    ``coco_results.json`` has COCO's format, with ``image_id`` 1, 2 ... in the order of the images, whose ``file_name`` each
    entry has too; ``objects.csv`` has a row per object. Images that cannot be read are listed in ``unreadable.csv``, and the
    others are written.

    Args:
        ready: of :func:`~slowfast_mvit.build.ready_detector.detector_of_name` or ``detector_of_config``, whose config says how
            images are resized, and whether they are looked at several times.
        words: files, folders, patterns, list files; see :func:`slowfast_mvit.data.inputs.find_inputs`.
        output: the folder.
        draw: write ``pictures/NAME_objects.jpg`` too, with boxes, masks, names and scores on them.
        min_score: objects below it are not drawn.

    Raises:
        UserError: what the user can mend; among others, no image can be read.
    """
    check_output(output, "--output", folder=True)
    for name in ("coco_results.json", "objects.csv", "unreadable.csv"):
        check_output(output / name, "--output", inputs=list_files(words))
    images = find_inputs(words, images=True)
    assert isinstance(images, ImageList)  # as it was asked for
    pictures = _picture_files(images, output / "pictures") if draw else []
    protocol = object_protocol(ready.config, validation=False)
    precision = set_precision(ready.config, ready.device, training=False)
    tested = evaluate_videos(ready.config, ready.model, images, protocol, ready.device, precision, "images")
    assert tested is not None and isinstance(tested.result, ObjectResult)  # one process, and a list of images
    problem = list_unreadable(tested, images.names, "images could not be read", output / "unreadable.csv")
    result, names = tested.result, images.names
    entries = coco_results(result, range(1, len(images) + 1), ready.category_ids)
    entries = [entry | {"file_name": str(names[entry["image_id"] - 1])} for entry in entries]
    json_file, table = output / "coco_results.json", output / "objects.csv"
    write_results(entries, json_file)
    write_csv(objects_table(result, names, ready.label_names), table)
    files = {json_file: f"{len(entries)} objects in COCO's format", table: "the same as a table, without masks"}
    for video, found in zip(result.videos.tolist(), result.images, strict=True) if draw else ():
        count = _draw(images.path(video), found, ready.label_names, min_score, pictures[video])
        files[pictures[video]] = f"{count} objects that score {min_score:g} or more"
    return PredictedObjects(files, len(entries), problem)


def _picture_files(images: ImageList, folder: Path) -> list[Path]:
    """For each image where it is drawn: names of their own, none of which is an image that is read."""
    paths = [Path(images.path(index)) for index in range(len(images))]
    taken: set[Path] = set()
    files = []
    for path in paths:
        file, number = folder / f"{path.stem}_objects.jpg", 1
        while file in taken:
            number += 1
            file = folder / f"{path.stem}_{number}_objects.jpg"
        taken.add(file)
        files.append(file)
    read = {os.path.realpath(path) for path in paths}
    for file in files:
        if os.path.realpath(file) in read:
            raise UserError(f"{file} is read, and would be overwritten: give --output another place")
    return files


def _draw(path: str, found: FoundObjects, label_names: tuple[str, ...], min_score: float, out: Path) -> int:
    """Draw one image; returns the number of objects on it."""
    rows = [row for row, score in enumerate(found.scores.tolist()) if score >= min_score]
    objects = [
        DrawnObject(
            tuple(found.boxes[row].tolist()),
            f"{label_names[found.labels[row] - 1]} {found.scores[row]:.2f}",
            int(found.labels[row]),
            mask_of(found.codes[row], found.height, found.width),
        )
        for row in rows
    ]
    with replacing(out) as file:
        draw_objects(read_image(path, upright=True), objects).save(file, format="JPEG", quality=92)
    return len(objects)
