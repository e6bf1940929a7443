"""Images with objects as datasets: a training image with boxes and masks, a test image at every size of the test."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from slowfast_mvit.batches import TrainPass, UnreadableVideo
from slowfast_mvit.data.clips import SampleKey
from slowfast_mvit.data.coco import CocoList
from slowfast_mvit.data.coco_transforms import Placement, whole
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.images import BACKEND, read_image
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.ops.randomness import sample_rng
from slowfast_mvit.pictures import DetectionBatch, DetectionItem, DetectionViews, Objects, padded

LEAST_SIDE = 1e-5  # pixels; a box that is narrower after a crop has vanished (detectron2's threshold)


class Recipe(Protocol):
    """How training images are placed."""

    boxes_of_masks: ClassVar[bool]

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Placement:
        """The placement of one image of that size."""


class DetectionImages(Dataset[DetectionItem | UnreadableVideo]):
    """Training images with their objects: each is decoded and resized once.

    Args:
        images: a list with outlines.
        recipe: what is drawn for each image.
        seed: of all draws.
    """

    def __init__(self, images: CocoList, recipe: Recipe, *, seed: int) -> None:
        assert images.outlines is not None, "the list is one for tests"
        self.images = images
        self.outlines = images.outlines
        self.recipe = recipe
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def unreadable(self, index: int, cause: str) -> UnreadableVideo:
        """What stands for image ``index`` if it cannot be read for this cause."""
        return UnreadableVideo(index, self.images.path(index), BACKEND, cause)

    def __getitem__(self, key: SampleKey) -> DetectionItem | UnreadableVideo:
        """The image of ``key``: a function of (seed, epoch, index) and of nothing else."""
        index = key.index
        try:
            image = _read(self.images, index)
            placement = self.recipe.draw(image.height, image.width, sample_rng(self.seed, key.epoch, index, 1))
            objects = self._objects(index, placement)
        except VideoError as error:
            return UnreadableVideo(index, error.path, error.backend, error.cause)
        return DetectionItem(_pixels(placement, image), objects, index)

    def _objects(self, index: int, placement: Placement) -> Objects:
        """The objects of an image where a placement puts them, without those that it does not show."""
        rows = np.array(self.images.rows(index), dtype=np.int64)
        boxes = placement.of_boxes(self.images.boxes[rows])
        shown = (boxes[:, 2:] - boxes[:, :2] > LEAST_SIDE).all(axis=1)
        rows, boxes = rows[shown], boxes[shown]
        masks = np.zeros((len(rows), placement.canvas_height, placement.canvas_width), dtype=np.uint8)
        height, width = int(self.images.heights[index]), int(self.images.widths[index])
        try:
            for place, row in enumerate(rows):
                masks[place] = self.outlines.mask(int(row), height, width, placement)
        except ValueError as error:
            raise VideoError(self.images.path(index), BACKEND, str(error)) from error
        seen = masks.any(axis=(1, 2))
        if not seen.all():
            rows, boxes, masks = rows[seen], boxes[seen], masks[seen]
        if self.recipe.boxes_of_masks:
            boxes = boxes_around(masks)
            for place, row in enumerate(rows):
                bounds = self.outlines.bounds(int(row), placement)
                boxes[place] = boxes[place] if bounds is None else bounds
        return Objects(
            torch.from_numpy(boxes.astype(np.float32)),
            torch.from_numpy(self.images.box_labels[rows]),
            torch.from_numpy(masks),
        )


class DetectionTestImages(Dataset[DetectionViews | UnreadableVideo]):
    """Test images, annotated or not, each decoded once and resized to every short side."""

    def __init__(self, images: CocoList | ImageList, short_sides: Sequence[int], max_side: int) -> None:
        self.images = images
        self.short_sides = tuple(short_sides)
        self.max_side = max_side

    def __len__(self) -> int:
        return len(self.images)

    def unreadable(self, index: int, cause: str) -> UnreadableVideo:
        """What stands for image ``index`` if it cannot be read for this cause."""
        return UnreadableVideo(index, self.images.path(index), BACKEND, cause)

    def __getitem__(self, index: int) -> DetectionViews | UnreadableVideo:
        """The views of image ``index``, or why it cannot be read."""
        try:
            image = _read(self.images, index)
        except VideoError as error:
            return UnreadableVideo(index, error.path, error.backend, error.cause)
        sides = [whole(image.height, image.width, side, self.max_side) for side in self.short_sides]
        views = tuple(_pixels(placement, image) for placement in sides)
        return DetectionViews(index, views, image.height, image.width)


def boxes_around(masks: np.ndarray) -> np.ndarray:
    """The boxes float64 [n, 4] around masks [n, H, W], none of which is empty; the far edges are those of the last pixels."""
    boxes = np.empty((len(masks), 4))
    for axis, place in ((1, 0), (2, 1)):  # columns and rows
        used: np.ndarray = np.any(masks, axis=axis)
        boxes[:, place] = used.argmax(axis=1)
        boxes[:, place + 2] = used.shape[1] - used[:, ::-1].argmax(axis=1)
    return boxes


def collate_images(items: Sequence[DetectionItem | UnreadableVideo]) -> TrainPass[DetectionBatch]:
    """Images to a batch, each at the top left of the smallest frame that holds all; those that could not be read beside it."""
    readable = [item for item in items if isinstance(item, DetectionItem)]
    unreadable = tuple(item for item in items if isinstance(item, UnreadableVideo))
    if not readable:
        return TrainPass(None, unreadable)
    return TrainPass(
        batch_of(
            [item.image for item in readable], [item.video_index for item in readable], [i.objects for i in readable]
        ),
        unreadable,
    )


def batch_of(images: Sequence[Tensor], indices: Sequence[int], objects: Sequence[Objects] = ()) -> DetectionBatch:
    """A batch of uint8 images [3, h, w] of several sizes, with 0 beside them."""
    sizes = torch.tensor([image.shape[-2:] for image in images])
    height, width = padded(int(sizes[:, 0].max()), int(sizes[:, 1].max()))
    frame = torch.zeros(len(images), 3, height, width, dtype=torch.uint8)
    for row, image in enumerate(images):
        frame[row, :, : image.shape[1], : image.shape[2]] = image
    return DetectionBatch(frame, sizes, tuple(objects), torch.tensor(indices))


def _read(images: CocoList | ImageList, index: int) -> Image.Image:
    """Image ``index`` the right way up, as its annotations are and as cameras say it.

    Raises:
        VideoError: it cannot be read, or is of another size than the annotation file says.
    """
    path = images.path(index)
    image = read_image(path, upright=True)
    if not isinstance(images, CocoList):
        return image
    expected = int(images.widths[index]), int(images.heights[index])
    if image.size != expected:
        raise VideoError(path, BACKEND, f"it is {_times(image.size)}, and {images.source} says {_times(expected)}")
    return image


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"


def _pixels(placement: Placement, image: Image.Image) -> Tensor:
    """uint8 [3, h, w]."""
    return torch.from_numpy(placement.of_image(image)).permute(2, 0, 1)
