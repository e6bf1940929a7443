"""Testing images with objects: batches of one size each, and what is found in every image.

Letters: B images in a batch.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.coco_found import FoundObjects, ObjectResult, ObjectRows, found_objects
from slowfast_mvit.evaluation.coco_merge import Thinning
from slowfast_mvit.pictures import DetectionBatch, Detections, DetectionViews, padded

_WAITING = 4  # batches' worth of images that wait for others of their size, at most


@dataclass(frozen=True)
class ObjectProtocol:
    """How images with objects are tested.

    Attributes:
        short_sides: pixels of the short side after the resize; a view for each.
        max_side: the long side is no longer than this; the short one then is shorter.
        flip: test each view mirrored, too.
        thinning: of the boxes of all views; a single view's detector has done it.
    """

    short_sides: tuple[int, ...]
    max_side: int
    flip: bool
    thinning: Thinning

    @property
    def num_views(self) -> int:
        """Views of an image."""
        return len(self.short_sides) * (1 + self.flip)

    def __str__(self) -> str:
        sides = f"short side {', '.join(map(str, self.short_sides))}, at most {self.max_side}"
        soft = self.thinning.soft_nms
        return f"{sides}{', and mirrored' if self.flip else ''}{'' if soft == 'none' else f', SoftNMS {soft}'}"


@dataclass(frozen=True)
class ViewsBatch:
    """Some images at every short side of the test.

    Attributes:
        views: the same images, at each short side.
        files: int64 [B, 2]; height and width of the image files.
    """

    views: tuple[DetectionBatch, ...]
    files: Tensor

    @property
    def video_index(self) -> Tensor:
        """int64 [B]; which images of the list."""
        return self.views[0].video_index


def batches_of_images(images: Iterable[DetectionViews], batch_size: int, device: torch.device) -> Iterator[ViewsBatch]:
    """All images in batches of at most ``batch_size``, whose views are of the same size once they are padded.

    An image so meets the same padding in any batch, and is scored as alone. It waits for others of its size; when four batches'
    worth are waiting, the largest group goes as it is.
    """
    waiting: dict[tuple[tuple[int, int], ...], list[DetectionViews]] = {}
    for image in images:
        size = tuple(padded(view.shape[-2], view.shape[-1]) for view in image.images)
        waiting.setdefault(size, []).append(image)
        if sum(map(len, waiting.values())) >= _WAITING * batch_size:
            size = max(waiting, key=lambda size: len(waiting[size]))
        elif len(waiting[size]) < batch_size:
            continue
        yield _stack(waiting.pop(size), size, device)
    for size, group in waiting.items():
        yield _stack(group, size, device)


def _stack(images: Sequence[DetectionViews], sizes: Sequence[tuple[int, int]], device: torch.device) -> ViewsBatch:
    index = torch.tensor([image.video_index for image in images])
    views = []
    for place, (height, width) in enumerate(sizes):
        pixels = [image.images[place] for image in images]
        extents = torch.tensor([one.shape[-2:] for one in pixels])
        filled = [F.pad(one, (0, width - one.shape[-1], 0, height - one.shape[-2])) for one in pixels]
        views.append(DetectionBatch(torch.stack(filled), extents, (), index).to(device))
    return ViewsBatch(tuple(views), torch.tensor([(image.height, image.width) for image in images], device=device))


class ObjectEvaluator:
    """Collects what is found, in any order, each image once.

    Args:
        num_images: length of the list.
        only: indices of the only images that come, ascending; by default the whole list.
    """

    def __init__(self, num_images: int, *, only: np.ndarray | None = None) -> None:
        self.videos = np.arange(num_images) if only is None else only
        self.found: dict[int, FoundObjects] = {}

    def add(self, batch: ViewsBatch, predictions: Sequence[Detections]) -> None:
        """Take in detections of each image of a batch, in pixels of its file. An image that has come before is ignored."""
        for video, size, found in zip(batch.video_index.tolist(), batch.files.tolist(), predictions, strict=True):
            if video not in self.found:
                self.found[video] = found_objects(found, *size)

    def finished(self) -> np.ndarray:
        """Indices int64 of the images that have come, ascending."""
        return np.array(sorted(self.found), dtype=np.int64)

    def rows(self, videos: np.ndarray) -> ObjectRows:
        """The rows of some finished images."""
        return ObjectRows.joined(videos, [self.found[video] for video in videos.tolist()])

    def add_rows(self, rows: ObjectRows) -> None:
        """Take in finished images of another evaluator. One that is finished already is ignored."""
        for video, image in zip(rows.videos.tolist(), rows.images(), strict=True):
            self.found.setdefault(video, image)

    def result(self, unreadable: Iterable[int] = ()) -> ObjectResult:
        """What is found in all images but the unreadable ones.

        Raises:
            UserError: a readable one was never tested.
        """
        tested = self.videos[~np.isin(self.videos, list(unreadable))]
        missing = [video for video in tested.tolist() if video not in self.found]
        if missing:
            raise UserError(f"{len(missing)} images were not tested, the first is number {missing[0]}")
        return ObjectResult(tested, tuple(self.found[video] for video in tested.tolist()))
