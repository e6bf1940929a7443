"""Views of images joined, by a detector that finds what is bright: every number can be worked by hand."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.coco_merge import Thinning, detect_views, mirrored
from slowfast_mvit.pictures import DetectionBatch, Detections

FILES = torch.tensor([[100, 200], [80, 160]])


class Bright:
    """Finds the box around bright pixels; its score falls with the brightness at the left edge of the box and the image's size.

    Its masks are the mean brightness of the left and the right half of a box.
    """

    def pyramid(self, images: Tensor) -> list[Tensor]:
        return [images]

    def detect(self, maps: Sequence[Tensor], sizes: Tensor) -> list[Detections]:
        return [self._found(image, int(height)) for image, (height, _) in zip(maps[0], sizes, strict=True)]

    def _found(self, image: Tensor, height: int) -> Detections:
        rows, columns = image[0].nonzero(as_tuple=True)
        x1, y1, x2, y2 = (float(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        score = 0.9 - float(image[0, int(y1), int(x1)]) / 10 - height / 1000
        return Detections(
            torch.tensor([[x1, y1, x2, y2]]), torch.tensor([score]), torch.tensor([5]), torch.zeros(1, 0, 0)
        )

    def segment(
        self, maps: Sequence[Tensor], sizes: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> list[Tensor]:
        assert all((own == 5).all() for own in labels)
        return [
            torch.stack([self._halves(image[0], box) for box in of_image])[:, None]
            for image, of_image in zip(maps[0], boxes, strict=True)
        ]

    def _halves(self, image: Tensor, box: Tensor) -> Tensor:
        x1, y1, x2, y2 = (round(v) for v in box.tolist())
        middle = (x1 + x2) // 2
        return torch.stack((image[y1:y2, x1:middle].mean(), image[y1:y2, middle:x2].mean()))


def view(*sizes: tuple[int, int]) -> DetectionBatch:
    """Images with an object from a tenth to half of the width and from a fifth to four fifths of the height.

    Its left half is half as bright as its right one.
    """
    images = torch.zeros(len(sizes), 3, 128, 224, dtype=torch.uint8)
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:, height // 5 : height * 4 // 5, width // 10 : width * 3 // 10] = 100
        image[:, height // 5 : height * 4 // 5, width * 3 // 10 : width // 2] = 200
    return DetectionBatch(images, torch.tensor(sizes), (), torch.arange(len(sizes)))


def prepare(batch: DetectionBatch) -> Tensor:
    return batch.images.float() / 200


FULL, HALF = view((100, 200), (80, 160)), view((50, 100), (40, 80))


def test_a_view_is_given_back_in_pixels_of_the_file() -> None:
    found = detect_views(Bright(), [HALF], FILES, prepare, flip=False, thinning=Thinning())
    assert found[0].boxes.tolist() == [[20, 20, 100, 80]]
    assert found[1].boxes.tolist() == [[16, 16, 80, 64]]
    assert [one.scores.tolist() for one in found] == [
        pytest.approx([0.8]),
        pytest.approx([0.81]),
    ]  # 0.9 - 0.05 - height
    assert found[0].masks.tolist() == [[[0.5, 1.0]]] and found[0].labels.tolist() == [5]


def test_views_of_two_sizes_and_mirrored_are_one_object() -> None:
    """Scores of the first image: 0.75 at 100 rows, 0.8 at 50, mirrored 0.7 and 0.75 since the bright half is on the left."""
    found = detect_views(Bright(), [FULL, HALF], FILES, prepare, flip=True, thinning=Thinning())
    assert found[0].boxes.tolist() == [[20, 20, 100, 80]] and found[1].boxes.tolist() == [[16, 16, 80, 64]]
    assert found[0].scores.tolist() == pytest.approx([0.8]) and found[1].scores.tolist() == pytest.approx([0.81])
    assert all(torch.allclose(one.masks, torch.tensor([[[0.5, 1.0]]])) for one in found)  # mirrored back


def test_masks_are_the_mean_over_the_views() -> None:
    """The same object of which one view shows a darker left half: (0.5 + 0.25) / 2."""
    darker = view((50, 100), (40, 80))
    darker.images[darker.images == 100] = 50
    found = detect_views(Bright(), [FULL, darker], FILES, prepare, flip=False, thinning=Thinning())
    assert found[0].masks.tolist() == [[[0.375, 1.0]]]


def test_soft_nms_keeps_what_overlaps_at_a_lower_score() -> None:
    """Four boxes in the same place: by the gaussian exp(-1 / 0.5) for each better one."""
    soft = Thinning("gaussian", sigma=0.5, limit=3)
    found = detect_views(Bright(), [FULL, HALF], FILES, prepare, flip=True, thinning=soft)
    factor = float(torch.exp(torch.tensor(-2.0)))
    assert found[0].scores.tolist() == pytest.approx([0.8, 0.75 * factor, 0.75 * factor**2])
    assert found[0].boxes.tolist() == [[20, 20, 100, 80]] * 3
    linear = detect_views(Bright(), [FULL, HALF], FILES, prepare, flip=True, thinning=Thinning("linear"))
    assert linear[0].scores.tolist() == pytest.approx([0.8])  # the others have 0 left


def test_classes_are_thinned_apart_and_the_best_are_kept() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8], [50, 50, 60, 60]])
    found = Detections(boxes, torch.tensor([0.5, 0.9, 0.6, 0.7]), torch.tensor([1, 1, 2, 1]), torch.zeros(4, 0, 0))
    assert Thinning()(found).scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert Thinning(limit=2)(found).boxes.tolist() == boxes[[1, 3]].tolist()
    assert Thinning(iou=0.95)(found).scores.tolist() == pytest.approx([0.9, 0.7, 0.6, 0.5])


def test_images_are_mirrored_within_their_size() -> None:
    batch = DetectionBatch(
        torch.arange(12, dtype=torch.uint8).reshape(2, 1, 2, 3).expand(2, 3, 2, 3),
        torch.tensor([[2, 3], [1, 2]]),
        (),
        torch.arange(2),
    )
    assert mirrored(batch).images[:, 0].tolist() == [[[2, 1, 0], [5, 4, 3]], [[7, 6, 0], [0, 0, 0]]]


def test_maps_that_are_not_finite_are_a_mistake() -> None:
    with pytest.raises(UserError, match="maps are not finite"):
        detect_views(Bright(), [HALF], FILES, lambda batch: prepare(batch) / 0 * 0, flip=False, thinning=Thinning())
