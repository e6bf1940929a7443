"""What is found in images, kept small: boxes as arrays, masks as run-length codes; and COCO's results and a table of it.

Letters: K images, N objects of all images together, n of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
import torch

from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.coco_files import CocoEntry
from slowfast_mvit.evaluation.mask_codes import codes_of
from slowfast_mvit.ops.masks import paste_masks
from slowfast_mvit.pictures import Detections

_PIXELS = 2**25  # of masks that are pasted at a time


@dataclass(frozen=True)
class FoundObjects:
    """What is found in one image.

    Attributes:
        height, width: of its file.
        boxes: float32 [n, 4]; x1, y1, x2, y2 in pixels of the file.
        scores: float32 [n], best first.
        labels: int64 [n] in 1..classes.
        codes: masks as COCO's compressed run-length codes.
    """

    height: int
    width: int
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    codes: tuple[bytes, ...]


def found_objects(found: Detections, height: int, width: int) -> FoundObjects:
    """Detections in pixels of a file of this size, their masks pasted where they are, some at a time.

    Raises:
        UserError: they are not finite.
    """
    if not (torch.isfinite(found.scores).all() and torch.isfinite(found.masks).all()):
        raise UserError(
            "the model's scores are not finite numbers: its weights are ruined, or the precision is too low"
        )
    codes: list[bytes] = []
    step = max(1, _PIXELS // (height * width))
    for start in range(0, len(found), step):
        part = slice(start, start + step)
        codes += codes_of(paste_masks(found.masks[part], found.boxes[part], height, width))
    boxes, scores, labels = (part.cpu().numpy() for part in (found.boxes.float(), found.scores.float(), found.labels))
    return FoundObjects(height, width, boxes, scores, labels, tuple(codes))


@dataclass(frozen=True)
class ObjectRows:
    """What is found in some images, as arrays alone. Travels between processes.

    Attributes:
        videos: int64 [K']; indices of the images.
        sizes: int64 [K', 2]; height and width of their files.
        counts: int64 [K']; objects of each.
        boxes: float32 [N, 4]; x1, y1, x2, y2 in pixels of the file.
        scores, labels: float32 and int64 [N].
        lengths: int64 [N]; bytes of each mask's code.
        codes: uint8 [sum of lengths].
    """

    videos: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray
    codes: np.ndarray

    def __post_init__(self) -> None:
        assert len(self.videos) == len(self.sizes) == len(self.counts)
        assert len(self.boxes) == len(self.scores) == len(self.labels) == len(self.lengths) == self.counts.sum()

    def __len__(self) -> int:
        return len(self.videos)

    @classmethod
    def joined(cls, videos: np.ndarray, images: Sequence[FoundObjects]) -> Self:
        """The rows of images whose indices are ``videos``."""
        codes = [code for image in images for code in image.codes]
        return cls(
            videos,
            sizes=np.array([(image.height, image.width) for image in images], dtype=np.int64).reshape(-1, 2),
            counts=np.array([len(image.scores) for image in images], dtype=np.int64),
            boxes=np.concatenate([np.empty((0, 4), dtype=np.float32), *(image.boxes for image in images)]),
            scores=np.concatenate([np.empty(0, dtype=np.float32), *(image.scores for image in images)]),
            labels=np.concatenate([np.empty(0, dtype=np.int64), *(image.labels for image in images)]),
            lengths=np.array([len(code) for code in codes], dtype=np.int64),
            codes=np.frombuffer(b"".join(codes), dtype=np.uint8),
        )

    def images(self) -> list[FoundObjects]:
        """What is found in each image."""
        if not len(self):
            return []
        content, ends = self.codes.tobytes(), np.cumsum(self.lengths).tolist()
        codes = [content[end - length : end] for end, length in zip(ends, self.lengths.tolist(), strict=True)]
        stops = np.cumsum(self.counts)
        parts = zip(
            self.sizes.tolist(),
            *(np.split(array, stops[:-1]) for array in (self.boxes, self.scores, self.labels)),
            zip((stops - self.counts).tolist(), stops.tolist(), strict=True),
            strict=True,
        )
        return [
            FoundObjects(height, width, boxes, scores, labels, tuple(codes[start:stop]))
            for (height, width), boxes, scores, labels, (start, stop) in parts
        ]

    def of(self, chosen: np.ndarray) -> Self:
        """Those of the images at int64 or bool ``chosen``, as copies."""
        images = self.images()
        return type(self).joined(self.videos[chosen], [images[place] for place in np.arange(len(self))[chosen]])


@dataclass(frozen=True)
class ObjectResult:
    """What is found in the images that were tested.

    Attributes:
        videos: int64 [K']; their indices, ascending.
        images: in the same order.
    """

    videos: np.ndarray
    images: tuple[FoundObjects, ...]


def coco_results(
    result: ObjectResult, image_ids: Sequence[int] | np.ndarray, category_ids: Sequence[int] | np.ndarray
) -> list[CocoEntry]:
    """COCO's entries of everything that is found, image by image, best first.

    Args:
        result: of a test.
        image_ids: of the whole list, by index.
        category_ids: of labels 1, 2 ...
    """
    return [
        {
            "image_id": int(image_ids[video]),
            "category_id": int(category_ids[label - 1]),
            "bbox": [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)],
            "score": score,
            "segmentation": {"size": [image.height, image.width], "counts": code.decode("ascii")},
        }
        for video, image in zip(result.videos.tolist(), result.images, strict=True)
        for (x1, y1, x2, y2), score, label, code in zip(
            image.boxes.astype(np.float64).round(3).tolist(),
            _shortest(image.scores),
            image.labels.tolist(),
            image.codes,
            strict=True,
        )
    ]


def objects_table(result: ObjectResult, names: Sequence[str] | np.ndarray, label_names: Sequence[str]) -> pd.DataFrame:
    """One row per object: image, label, score, x1, y1, x2, y2 in pixels of the file; best first in each image.

    Args:
        result: of a test.
        names: of the images of the whole list, by index.
        label_names: of labels 1, 2 ...
    """
    counts = [len(image.scores) for image in result.images]
    labels = np.concatenate([np.empty(0, dtype=np.int64), *(image.labels for image in result.images)])
    boxes = np.concatenate([np.empty((0, 4), dtype=np.float32), *(image.boxes for image in result.images)])
    columns: dict[str, object] = {
        "image": np.repeat(np.array([names[video] for video in result.videos.tolist()], dtype=object), counts),
        "label": np.array([label_names[label - 1] for label in labels.tolist()], dtype=object),
        "score": np.concatenate([np.empty(0, dtype=np.float32), *(image.scores for image in result.images)]),
    }
    return pd.DataFrame(columns | dict(zip(("x1", "y1", "x2", "y2"), boxes.T, strict=True)))


def _shortest(values: np.ndarray) -> list[float]:
    """float32 as numbers of few digits, no two of which become one."""
    return [float(str(value)) for value in values]
