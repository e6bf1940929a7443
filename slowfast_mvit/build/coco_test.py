"""Testing by config of images with objects (COCO)."""

import logging
from functools import partial
from pathlib import Path

import torch
from torch import nn

from slowfast_mvit.build.coco import detection_task
from slowfast_mvit.build.parts import ToTest
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.coco import CocoList
from slowfast_mvit.data.coco_images import DetectionTestImages
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.evaluation.coco import CocoScores, score
from slowfast_mvit.evaluation.coco_files import read_truth, write_results
from slowfast_mvit.evaluation.coco_found import ObjectResult, ObjectRows, coco_results, objects_table
from slowfast_mvit.evaluation.coco_merge import Detects, Thinning, detect_views
from slowfast_mvit.evaluation.coco_views import ObjectEvaluator, ObjectProtocol, ViewsBatch, batches_of_images
from slowfast_mvit.evaluation.predictions import write_csv
from slowfast_mvit.pictures import Detections

_LOG = logging.getLogger(__name__)
_VALIDATED = ("box_ap", "mask_ap")


def object_protocol(config: Config, *, validation: bool) -> ObjectProtocol:
    """How images are tested: in the validation between epochs by the middle one of the short sides alone, and not mirrored."""
    coco, rcnn = config.COCO, config.RCNN
    sides = coco.TEST_SHORT_SIDES
    thinning = Thinning(
        rcnn.SOFT_NMS, rcnn.NMS_THRESH, rcnn.SOFT_NMS_SIGMA, rcnn.SOFT_NMS_MIN_SCORE, rcnn.MAX_DETECTIONS
    )
    if validation:
        return ObjectProtocol((sides[len(sides) // 2],), coco.TEST_MAX_SIDE, flip=False, thinning=thinning)
    return ObjectProtocol(sides, coco.TEST_MAX_SIDE, coco.TEST_FLIP, thinning)


def images_to_test(
    config: Config, images: CocoList | ImageList, protocol: ObjectProtocol, precision: str, device: torch.device
) -> ToTest:
    """What a test of the list is given. TEST.BATCH_SIZE counts views: an image has all of its in one batch.

    Images without annotations, an ``ImageList``, are not scored, and nothing is written of them.
    """
    task = detection_task(config, precision)
    sides = protocol.short_sides, protocol.max_side

    def predict(model: nn.Module, batch: ViewsBatch) -> list[Detections]:
        assert isinstance(model, Detects)
        with task.autocast(device):
            return detect_views(
                model, batch.views, batch.files, task.pixels, flip=protocol.flip, thinning=protocol.thinning
            )

    return ToTest(
        items="images",
        if_unreadable="whatever is in them counts as not found",
        dataset=DetectionTestImages(images, *sides),
        batches=lambda views, size: batches_of_images(views, max(1, size // protocol.num_views), device),
        predict=predict,
        evaluator=lambda only: ObjectEvaluator(len(images), only=only),
        rows=ObjectRows,
        metrics=partial(_metrics, images) if isinstance(images, CocoList) else lambda _: {},
        write=partial(_write, images) if isinstance(images, CocoList) else lambda *_: {},
    )


def _score(images: CocoList, result: ObjectResult) -> CocoScores:
    return score(read_truth(Path(images.source)), coco_results(result, images.ids, images.category_ids))


def _metrics(images: CocoList, result: ObjectResult) -> dict[str, float]:
    """Those that a validation has; none where nothing is annotated."""
    if not images.annotated:
        return {}
    numbers = _score(images, result).numbers
    return {name: numbers[name] for name in _VALIDATED if numbers.get(name, float("nan")) >= 0}


def _write(images: CocoList, result: ObjectResult, predictions: Path, _: Path | None) -> dict[str, object]:
    """Write COCO's results, the table of objects and that of the classes; returns the metrics."""
    results = coco_results(result, images.ids, images.category_ids)
    write_results(results, predictions / "coco_results.json")
    write_csv(objects_table(result, images.names, images.label_names), predictions / "objects.csv")
    scores = score(read_truth(Path(images.source)), results)
    for reason in scores.reasons:
        _LOG.info("note: %s", reason)
    if scores.numbers:
        write_csv(scores.classes, predictions / "classes.csv")
    else:
        (predictions / "classes.csv").unlink(missing_ok=True)  # of an earlier test in this folder
    return {**scores.metrics(), "num_images": len(result.videos), "num_objects": len(results)}
