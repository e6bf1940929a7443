"""A real detector: an image scores the same in any batch, and one view of it as the detector alone scores it."""

from dataclasses import replace

import pytest
import torch

from slowfast_mvit.evaluation.coco_merge import Thinning, detect_views
from slowfast_mvit.evaluation.coco_views import batches_of_images
from slowfast_mvit.models.rcnn_options import RcnnOptions
from slowfast_mvit.ops.spatial import normalize
from slowfast_mvit.pictures import DetectionBatch, DetectionViews
from tests.models.small_detector import small_detector

CPU = torch.device("cpu")
MEAN, STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
# Heights and widths of the files; padded to 96 x 128 they share batches.
FILES = [(90, 120), (66, 128), (40, 30), (96, 97), (90, 120), (70, 128)]


def prepare(batch: DetectionBatch) -> torch.Tensor:
    images = normalize(batch.images, MEAN, STD)
    for image, (height, width) in zip(images, batch.sizes.tolist(), strict=True):
        image[:, height:], image[:, :, width:] = 0, 0
    return images


def views_of_files(*scales: float) -> list[DetectionViews]:
    draw = torch.Generator().manual_seed(0)
    views = []
    for index, (height, width) in enumerate(FILES):
        sizes = [(round(height * scale), round(width * scale)) for scale in scales]
        images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=draw) for size in sizes]
        views.append(DetectionViews(index, tuple(images), height, width))
    return views


@pytest.fixture(scope="module")
def detector() -> torch.nn.Module:
    """Weights so large that scores and boxes of different places differ."""
    detector = small_detector(options=RcnnOptions(score_thresh=0.1, proposals=50, max_detections=20)).eval()
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.mul_(3) if parameter.dim() > 1 else None
    return detector


def found(detector, batch_size: int, *scales: float, flip: bool) -> dict[int, object]:
    results = {}
    with torch.inference_mode():
        for batch in batches_of_images(views_of_files(*scales), batch_size, CPU):
            ones = detect_views(detector, batch.views, batch.files, prepare, flip=flip, thinning=Thinning(limit=20))
            results |= dict(zip(batch.video_index.tolist(), ones, strict=True))
    return results


@pytest.mark.parametrize(("scales", "flip"), [((1.0,), False), ((0.75, 1.0), True)])
def test_any_batch_is_as_good(detector, scales, flip) -> None:
    alone, together = (found(detector, size, *scales, flip=flip) for size in (1, 4))
    assert sorted(alone) == sorted(together) == list(range(len(FILES)))
    assert sum(len(one.scores) for one in alone.values()) > 20
    for index, one in alone.items():
        other = together[index]
        assert one.labels.tolist() == other.labels.tolist()
        for name in ("boxes", "scores", "masks"):
            torch.testing.assert_close(getattr(other, name), getattr(one, name), rtol=1e-4, atol=1e-4)


def test_one_view_is_the_detector_alone(detector) -> None:
    """Files twice as large as the view: the boxes are twice the detector's, everything else is the same."""
    views = [replace(view, height=2 * view.height, width=2 * view.width) for view in views_of_files(1.0)]
    with torch.inference_mode():
        for batch in batches_of_images(views, 3, CPU):
            ones = detect_views(detector, batch.views, batch.files, prepare, flip=False, thinning=Thinning())
            plain = detector(prepare(batch.views[0]), batch.views[0].sizes)
            for one, other in zip(ones, plain, strict=True):
                torch.testing.assert_close(one.boxes, 2 * other.boxes)
                torch.testing.assert_close(one.scores, other.scores)
                torch.testing.assert_close(one.masks, other.masks)
                assert one.labels.tolist() == other.labels.tolist()
