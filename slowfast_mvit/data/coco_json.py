"""COCO's annotation files as arrays, and what is wrong with them.

A file is decoded straight into typed records, and the outlines of its objects, most of its bytes, are left as they are until
they are asked for. Letters: N images, A annotations, C categories.
"""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from slowfast_mvit.errors import UserError, reading

_FEW = 3  # examples in a sentence


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str
    height: int
    width: int


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str


class _Annotation(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    id: int = -1
    iscrowd: int = 0
    segmentation: msgspec.Raw = msgspec.Raw()


class _File(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True)
class Instances:
    """What a file says, in its order.

    Attributes:
        source: the file.
        files: bytes [N]; the images' names.
        image_ids: int64 [N].
        heights, widths: int32 [N]; pixels of the images.
        category_ids: int64 [C]; in ascending order, which numbers the labels from 1.
        category_names: of the same categories.
        ids: int64 [A]; of the annotations, -1 where they have none.
        images: int64 [A]; row of the image, -1 where there is none of that id.
        labels: int64 [A]; 1..C, 0 where there is no such category.
        boxes: float64 [A, 4]; x1, y1, x2, y2 in pixels.
        crowd: bool [A]; a region of many objects, which are not told apart.
        segmentations: the JSON text of each outline, empty where there is none.
        annotated: the file has annotations, if only an empty list.
    """

    source: str
    files: np.ndarray
    image_ids: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    category_ids: np.ndarray
    category_names: tuple[str, ...]
    ids: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    crowd: np.ndarray
    segmentations: Sequence[msgspec.Raw]
    annotated: bool

    @property
    def empty(self) -> np.ndarray:
        """bool [A]; boxes without area."""
        return np.any(self.boxes[:, 2:] <= self.boxes[:, :2], axis=1)


def read_instances(path: Path) -> Instances:
    """Read a file of COCO's format (instances, or image_info without annotations).

    Raises:
        UserError: there is no such file, it is not JSON, or it is not of that format.
    """
    with reading(path), path.open("rb") as file:
        try:
            text: mmap.mmap | bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # nothing can be mapped of an empty file
            text = b""
        try:
            content = msgspec.json.decode(text, type=_File)
        except msgspec.ValidationError as error:
            raise UserError(
                f"{path} is not in COCO's format: {error}; it needs images (id, file_name, height, width), categories (id, "
                "name) and annotations (image_id, category_id, bbox, segmentation)"
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path} is not JSON ({error}): give an annotation file in COCO's format") from error
    return _instances(path, content)


def _instances(path: Path, content: _File) -> Instances:
    annotated = content.annotations is not msgspec.UNSET
    annotations = [] if content.annotations is msgspec.UNSET else content.annotations
    categories = sorted(content.categories, key=lambda category: category.id)
    count = len(annotations)
    boxes = np.array([one.bbox for one in annotations], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    image_ids = np.array([image.id for image in content.images], dtype=np.int64)
    category_ids = np.array([category.id for category in categories], dtype=np.int64)
    of_images = np.fromiter((one.image_id for one in annotations), np.int64, count)
    of_categories = np.fromiter((one.category_id for one in annotations), np.int64, count)
    return Instances(
        source=str(path),
        files=np.array([image.file_name.encode(errors="surrogateescape") for image in content.images], dtype=np.bytes_),
        image_ids=image_ids,
        heights=np.array([image.height for image in content.images], dtype=np.int32),
        widths=np.array([image.width for image in content.images], dtype=np.int32),
        category_ids=category_ids,
        category_names=tuple(category.name for category in categories),
        ids=np.fromiter((one.id for one in annotations), np.int64, count),
        images=_places(image_ids, of_images),
        labels=_places(category_ids, of_categories) + 1,
        boxes=boxes,
        crowd=np.fromiter((one.iscrowd != 0 for one in annotations), np.bool_, count),
        segmentations=[one.segmentation for one in annotations],
        annotated=annotated,
    )


def _places(known: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """int64 [n]; place of each id among the known ones, -1 where it is not there."""
    if not len(known):
        return np.full(len(ids), -1)
    order = np.argsort(known, kind="stable")
    found = np.searchsorted(known, ids, sorter=order).clip(max=len(known) - 1)
    places = order[found]
    return np.where(known[places] == ids, places, -1)


def faults(instances: Instances) -> Iterator[str]:
    """A sentence for each thing that makes a file unusable."""
    source = instances.source
    if not len(instances.image_ids):
        yield f"{source} has no images: give a file that lists some"
    if not len(instances.category_ids):
        yield f"{source} has no categories: give a file that names them"
    for what, ids in (("images", instances.image_ids), ("categories", instances.category_ids)):
        values, counts = np.unique(ids, return_counts=True)
        if (counts > 1).any():
            yield f"{source}: ids of {what} come more than once ({_some(values[counts > 1])}): give each its own"
    names = instances.category_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        yield f"{source}: several categories have the name {twice[0]!r}: give each its own"
    small = np.minimum(instances.heights, instances.widths) < 1
    if small.any():
        which = _some(instances.image_ids[small])
        yield f"{source}: {_count(int(small.sum()), 'image')} without width or height (id {which}): correct them"
    for what, wrong in (("image_id", instances.images < 0), ("category_id", instances.labels < 1)):
        if wrong.any():
            yield (
                f"{source}: the {what} of {_count(int(wrong.sum()), 'annotation')} is of nothing in the file (annotations "
                f"{_some(instances.ids[wrong])}): take them out, or add what they are of"
            )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def _some(values: np.ndarray) -> str:
    shown = ", ".join(str(value) for value in values[:_FEW])
    return shown + (", ..." if len(values) > _FEW else "")
