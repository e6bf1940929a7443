"""Training and test images with objects, from files whose content is known."""

import numpy as np
import pytest
import torch
from PIL import Image

from slowfast_mvit.batches import UnreadableVideo
from slowfast_mvit.data.clips import SampleKey
from slowfast_mvit.data.coco import read_coco
from slowfast_mvit.data.coco_images import (
    DetectionImages,
    DetectionTestImages,
    batch_of,
    boxes_around,
    collate_images,
)
from slowfast_mvit.data.coco_transforms import LargeScaleJitter, Placement, ShortSides
from slowfast_mvit.pictures import DetectionItem, DetectionViews
from tests.data.coco_files import annotation, image, write_coco

AS_IT_IS = ShortSides((10,), 20, 0.0, (10,), (5, 10), flip=False)


class Fixed:
    """A recipe without chance."""

    boxes_of_masks = False

    def __init__(self, placement):
        self.placement = placement

    def draw(self, height, width, rng):
        return self.placement


def listed(root, images, annotations, *, training=True):
    return read_coco(write_coco(root, images, annotations), root / "images", training=training, num_classes=2)


def test_an_item(tmp_path):
    images = listed(
        tmp_path, [image(1)], [annotation(1, 1, [2, 3, 5, 4]), annotation(2, 1, [10, 0, 10, 10], category_id=7)]
    )
    item = DetectionImages(images, AS_IT_IS, seed=0)[SampleKey(0, 0)]
    assert isinstance(item, DetectionItem)
    stored = np.array(Image.open(tmp_path / "images" / "1.png"))
    assert torch.equal(item.image, torch.from_numpy(stored).permute(2, 0, 1))
    assert item.objects.boxes.tolist() == [[2, 3, 7, 7], [10, 0, 20, 10]]
    assert item.objects.boxes.dtype == torch.float32
    assert item.objects.labels.tolist() == [1, 2]
    expected = torch.zeros(2, 10, 20, dtype=torch.uint8)
    expected[0, 3:7, 2:7] = 1
    expected[1, :, 10:] = 1
    assert torch.equal(item.objects.masks, expected)


def test_what_a_crop_cuts_off_and_what_vanishes(tmp_path):
    """The right half, x 10..20, at twice the size: of the first object nothing is left, of the second its right part."""
    images = listed(tmp_path, [image(1)], [annotation(1, 1, [2, 3, 5, 4]), annotation(2, 1, [8, 2, 6, 3])])
    item = DetectionImages(images, Fixed(Placement(10, 0, 20, 10, 20, 20, 20, 20)), seed=0)[SampleKey(0, 0)]
    assert item.objects.boxes.tolist() == [[0, 4, 8, 10]]
    assert item.objects.masks.shape == (1, 20, 20)
    assert item.objects.masks.sum() == 8 * 6 and item.objects.masks[0, 4:10, :8].all()


def test_an_image_of_which_no_object_is_left(tmp_path):
    images = listed(tmp_path, [image(1)], [annotation(1, 1, [2, 3, 5, 4])])
    item = DetectionImages(images, Fixed(Placement(10, 0, 20, 10, 10, 10, 10, 10)), seed=0)[SampleKey(0, 0)]
    assert len(item.objects) == 0 and item.objects.masks.shape == (0, 10, 10) and item.objects.boxes.shape == (0, 4)
    assert collate_images([item]).clips.num_scored == 1


def test_an_object_without_a_pixel_vanishes(tmp_path):
    images = listed(tmp_path, [image(1)], [annotation(1, 1, [2.1, 3.1, 0.2, 0.2]), annotation(2, 1, [8, 2, 6, 3])])
    item = DetectionImages(images, AS_IT_IS, seed=0)[SampleKey(0, 0)]
    assert item.objects.boxes.tolist() == [[8, 2, 14, 5]]


def test_boxes_of_masks(tmp_path):
    """The annotated box is too large; with large-scale jitter it is the mask's."""
    outline = [[3, 2, 9, 2, 9, 6, 3, 6]]
    images = listed(tmp_path, [image(1)], [annotation(1, 1, [1, 1, 12, 8], segmentation=outline)])
    item = DetectionImages(images, LargeScaleJitter((1.0, 1.0), 20, flip=False), seed=0)[SampleKey(0, 0)]
    assert item.image.shape == (3, 20, 20)
    assert item.objects.boxes.tolist() == [[3, 2, 9, 6]]
    assert DetectionImages(images, AS_IT_IS, seed=0)[SampleKey(0, 0)].objects.boxes.tolist() == [[1, 1, 13, 9]]


def test_boxes_of_outlines_are_finer_than_pixels_unless_cut(tmp_path):
    """Twice as large and mirrored, of the left half of the file: x becomes 20 - 2 x; the second object reaches to x 9 + 5."""
    ends_at_the_edge = [[0, 0, 2.2, 0, 2.2, 3.3], [0.2, 8, 1, 8, 1, 10]]
    outlines = [[[3.1, 2.2, 8.4, 2.2, 8.4, 6.3, 3.1, 6.3]], [[8, 2, 14, 2, 14, 6, 8, 6]], ends_at_the_edge]
    given = [annotation(i, 1, [0, 0, 20, 10], segmentation=outline) for i, outline in enumerate(outlines)]
    recipe = Fixed(Placement(0, 0, 10, 10, 20, 20, 24, 24, flip=True))
    recipe.boxes_of_masks = True
    boxes = DetectionImages(listed(tmp_path, [image(1)], given), recipe, seed=0)[SampleKey(0, 0)].objects.boxes
    expected = [[3.2, 4.4, 13.8, 12.6], [0, 4, 4, 12], [15.6, 0, 20, 20]]
    torch.testing.assert_close(boxes, torch.tensor(expected, dtype=torch.float32))


def test_boxes_around_masks():
    masks = np.zeros((2, 6, 8), dtype=np.uint8)
    masks[0, 2, 3] = masks[1, 0:6, 7] = 1
    assert boxes_around(masks).tolist() == [[3, 2, 4, 3], [7, 0, 8, 6]]
    assert boxes_around(masks[:0]).shape == (0, 4)


def test_draws_follow_from_seed_epoch_and_image_alone(tmp_path):
    images = listed(tmp_path, [image(1), image(2)], [annotation(i, i, [2, 3, 5, 4]) for i in (1, 2)])
    recipe = ShortSides((8, 10, 12, 14, 16), 40, 0.5, (10, 12), (6, 12))

    def sizes(seed, epoch):
        dataset = DetectionImages(images, recipe, seed=seed)
        return [dataset[SampleKey(epoch, index)].image.shape for index in (0, 1)]

    assert sizes(0, 0) == sizes(0, 0)
    assert len({str(sizes(seed, epoch)) for seed in range(2) for epoch in range(3)}) > 3


@pytest.mark.parametrize("fault", ["damaged", "missing", "another size"])
def test_unreadable_images(tmp_path, fault):
    images = listed(tmp_path, [image(1)], [annotation(1, 1, [2, 3, 5, 4])])
    file = tmp_path / "images" / "1.png"
    if fault == "missing":
        file.unlink()
    elif fault == "damaged":
        file.write_bytes(file.read_bytes()[:60])
    else:
        Image.new("RGB", (21, 10)).save(file)
    found = DetectionImages(images, AS_IT_IS, seed=0)[SampleKey(0, 0)]
    assert isinstance(found, UnreadableVideo) and (found.video_index, found.path) == (0, str(file))
    if fault == "another size":
        assert found.cause == f"it is 21 x 10 pixels, and {images.source} says 20 x 10 pixels"
    assert isinstance(DetectionTestImages(images, (10,), 20)[0], UnreadableVideo)
    given = collate_images([found])
    assert given.clips is None and given.unreadable == (found,)


def test_run_lengths_of_another_image_make_it_unreadable(tmp_path):
    wrong = {"size": [10, 20], "counts": "05"}
    images = listed(tmp_path, [image(1)], [annotation(1, 1, [2, 3, 5, 4], segmentation=wrong)])
    found = DetectionImages(images, AS_IT_IS, seed=0)[SampleKey(0, 0)]
    assert isinstance(found, UnreadableVideo)
    assert found.cause == "the run lengths of a mask are not those of its image"


def test_images_are_turned_upright(tmp_path):
    """A camera's file of 10 x 20 says that it is to be turned by 90 degrees; its annotations are of 20 x 10."""
    path = write_coco(tmp_path, [image(1, file_name="1.jpg")], [annotation(1, 1, [2, 3, 5, 4])])
    pixels = np.zeros((20, 10, 3), dtype=np.uint8)
    pixels[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the top row is the right side
    Image.fromarray(pixels).save(tmp_path / "images" / "1.jpg", exif=exif)
    images = read_coco(path, tmp_path / "images", training=True, num_classes=2)
    item = DetectionImages(images, AS_IT_IS, seed=0)[SampleKey(0, 0)]
    assert item.image.shape == (3, 10, 20)
    assert item.image[:, :, 12:].min() > 200 and item.image[:, :, :8].max() < 50


def test_an_image_that_is_a_line(tmp_path):
    images = listed(tmp_path, [image(1, width=5000, height=1)], [annotation(1, 1, [100, 0, 3000, 1])])
    standard = ShortSides((480, 800), 1333, 1.0, (400, 500, 600), (384, 600))
    for recipe in (standard, LargeScaleJitter((0.1, 2.0), 1024)):
        dataset = DetectionImages(images, recipe, seed=0)
        for epoch in range(8):
            item = dataset[SampleKey(epoch, 0)]
            assert isinstance(item, DetectionItem) and max(item.image.shape[1:]) <= 1333
    views = DetectionTestImages(images, (800,), 1333)[0]
    assert views.images[0].shape == (3, 1, 1333) and (views.height, views.width) == (1, 5000)
    assert batch_of(views.images, [0]).images.shape == (1, 3, 32, 1344)


def test_views_of_a_test_image(tmp_path):
    images = listed(tmp_path, [image(1)], None, training=False)
    views = DetectionTestImages(images, (5, 20), 30)[0]
    assert isinstance(views, DetectionViews)
    assert [view.shape for view in views.images] == [(3, 5, 10), (3, 15, 30)]  # 20 x 40 is over 30
    assert (views.video_index, views.height, views.width) == (0, 10, 20)


def test_a_batch(tmp_path):
    images = listed(
        tmp_path, [image(1), image(2, width=40, height=50)], [annotation(i, i, [2, 3, 5, 4]) for i in (1, 2)]
    )
    first = DetectionImages(images, AS_IT_IS, seed=0)[SampleKey(0, 0)]
    second = DetectionImages(images, Fixed(Placement(0, 0, 40, 50, 40, 50, 40, 50)), seed=0)[SampleKey(0, 1)]
    batch = collate_images([first, second]).clips
    assert batch.images.shape == (2, 3, 64, 64) and batch.images.dtype == torch.uint8
    assert batch.sizes.tolist() == [[10, 20], [50, 40]]
    assert torch.equal(batch.images[0, :, :10, :20], first.image)
    assert batch.images[0, :, 10:].max() == 0 and batch.images[0, :, :, 20:].max() == 0
    assert torch.equal(batch.images[1, :, :50, :40], second.image)
    assert batch.video_index.tolist() == [0, 1]
    assert [one.masks.shape for one in batch.objects] == [(1, 10, 20), (1, 50, 40)]
