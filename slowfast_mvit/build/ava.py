"""Training and testing of boxes by config (AVA)."""

import logging
from functools import partial
from pathlib import Path

import torch

from slowfast_mvit.batches import AvaBatch, collate_key_frames
from slowfast_mvit.build.ava_lists import (
    VALIDATED_SECONDS,
    annotated_rows,
    ava_actions,
    excluded_seconds,
    scored_classes,
    truth_of,
)
from slowfast_mvit.build.parts import ToTest, ToTrain
from slowfast_mvit.build.precision import DTYPES
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.ava import AvaList
from slowfast_mvit.data.key_frames import KeyFrameClips, KeyFrameSampling, KeyFrameTransform, KeyFrameViews
from slowfast_mvit.data.transforms import JitterCrop
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.ava import AvaResult, evaluate
from slowfast_mvit.evaluation.ava_boxes import KeySeconds
from slowfast_mvit.evaluation.ava_detections import ScoredBoxes, boxes_table, detections_of, write_detections
from slowfast_mvit.evaluation.ava_reasons import explain
from slowfast_mvit.evaluation.ava_tables import classes_table, metrics
from slowfast_mvit.evaluation.ava_views import BoxEvaluator, BoxProtocol, BoxResult, BoxScores, batches_of_boxes
from slowfast_mvit.evaluation.predictions import write_csv
from slowfast_mvit.tasks.ava import ActionDetection

_LOG = logging.getLogger(__name__)


def detection_of(config: Config, precision: str) -> ActionDetection:
    """The task: several actions of a person, or exclusive ones with MODEL.LOSS_FUNC cross_entropy and HEAD_ACT softmax."""
    return ActionDetection(
        num_classes=config.MODEL.NUM_CLASSES,
        mean=config.DATA.MEAN,
        std=config.DATA.STD,
        autocast_dtype=DTYPES[precision],
        loss=config.MODEL.LOSS_FUNC,
        activation=config.MODEL.HEAD_ACT,
    )


def key_frame_clips(config: Config, keys: AvaList) -> KeyFrameClips:
    """The training set.

    The short side is drawn from its range, uniformly in its inverse with AVA.IMG_PROC_BACKEND cv2, as PySlowFast does.
    """
    data = config.DATA
    low, high = data.TRAIN_JITTER_SCALES
    inverse = data.INV_UNIFORM_SAMPLE or config.AVA.IMG_PROC_BACKEND == "cv2"
    crop = JitterCrop((low, high), data.TRAIN_CROP_SIZE, inverse)
    transform = KeyFrameTransform(data.TRAIN_CROP_SIZE, crop, data.RANDOM_FLIP)
    return KeyFrameClips(keys, _sampling(config), transform, seed=config.RNG_SEED, backend=config.DATA.DECODING_BACKEND)


def box_protocol(config: Config, *, validation: bool) -> BoxProtocol:
    """How key frames are tested: in the validation between epochs by a centre crop, and every fourth second alone."""
    data, ava = config.DATA, config.AVA
    side = data.TEST_CROP_SIZE
    if validation:
        every = 1 if ava.FULL_TEST_ON_VAL else VALIDATED_SECONDS
        return BoxProtocol((side,), side, flip=False, mean=data.MEAN, std=data.STD, every=every)
    return BoxProtocol(
        ava.TEST_SHORT_SIDES or (side,),
        side if ava.TEST_CENTRE_CROP else 0,
        flip=ava.TEST_FLIP,
        mean=data.MEAN,
        std=data.STD,
    )


def boxes_to_train(config: Config, keys: AvaList, precision: str) -> ToTrain:
    """What a training on the list is given.

    Raises:
        UserError: labels that exclude each other are asked for, and somebody has several.
    """
    task = detection_of(config, precision)
    if task.activation == "softmax" and (several := keys.box_labels.sum(axis=1) > 1).any():
        first = int(keys.box_keys[several.argmax()])
        raise UserError(
            f"{keys.source}: {several.sum()} boxes have several actions, the first at {keys.names[first]}, and "
            f"MODEL.LOSS_FUNC {task.loss} with HEAD_ACT softmax is for one each: set them to bce_logit and sigmoid"
        )
    side = config.DATA.TRAIN_CROP_SIZE
    blank = torch.zeros(1, 3, config.DATA.NUM_FRAMES, side, side, dtype=torch.uint8)
    return ToTrain(
        dataset=key_frame_clips(config, keys),
        collate=collate_key_frames,
        task=task,
        blank=_blank_batch(blank, config.MODEL.NUM_CLASSES),
    )


def boxes_to_test(config: Config, keys: AvaList, protocol: BoxProtocol, precision: str, device: torch.device) -> ToTest:
    """What a test of the list is given."""
    task, num_classes = detection_of(config, precision), config.MODEL.NUM_CLASSES
    return ToTest(
        items="key frames",
        if_unreadable="whoever is there counts as not found",
        dataset=KeyFrameViews(keys, _sampling(config), backend=config.DATA.DECODING_BACKEND),
        batches=lambda views, size: batches_of_boxes(views, protocol, size, device),
        predict=task.probabilities,
        evaluator=lambda only: BoxEvaluator(keys.starts, num_classes, protocol.num_views, only=only),
        rows=BoxScores,
        metrics=lambda result: _map(_score(config, keys, protocol, result)[0]),
        write=partial(_write, config, keys, protocol),
    )


def _sampling(config: Config) -> KeyFrameSampling:
    return KeyFrameSampling(config.DATA.NUM_FRAMES, config.DATA.SAMPLING_RATE, float(config.DATA.TARGET_FPS))


def _blank_batch(video: torch.Tensor, num_classes: int) -> AvaBatch:
    """One clip with a box over all of it and no label."""
    zero, (height, width) = torch.zeros(1, dtype=torch.int64), video.shape[-2:]
    box = torch.tensor([[0.0, 0.0, 0.0, width, height]], device=video.device)
    return AvaBatch(video, box, torch.zeros(1, num_classes, dtype=torch.bool), zero, zero)


def scored_boxes(keys: AvaList, result: BoxResult) -> ScoredBoxes:
    """The boxes that a test of the list scored, with video and second."""
    at_keys = keys.box_keys[result.rows]
    at = KeySeconds(keys.key_videos[at_keys], keys.videos.names, keys.key_seconds[at_keys])
    return ScoredBoxes.of(at, keys.boxes[result.rows], result.scores)


def _score(
    config: Config, keys: AvaList, protocol: BoxProtocol, result: BoxResult
) -> tuple[AvaResult | None, list[str]]:
    """What AVA's protocol says of a result, and what explains it; nothing where nobody is annotated."""
    rows = annotated_rows(config)
    if rows is None:
        return None, []
    actions = ava_actions(config, keys.label_names)
    truth = truth_of(rows, actions)
    truth = truth.rows(truth.at.seconds % protocol.every == 0)
    classes = scored_classes(config, actions)
    detections = detections_of(scored_boxes(keys, result), classes)
    found = evaluate(truth, detections, classes, excluded=excluded_seconds(config))
    return found, explain(found, truth, detections)


def _map(found: AvaResult | None) -> dict[str, float]:
    return {} if found is None else {"map": found.mean() * 100}


def _write(
    config: Config, keys: AvaList, protocol: BoxProtocol, result: BoxResult, predictions: Path, _: Path | None
) -> dict[str, object]:
    """Write detections, boxes with names and the table of classes; returns the metrics."""
    scored = scored_boxes(keys, result)
    classes = scored_classes(config, ava_actions(config, keys.label_names))
    write_detections(scored, classes, predictions / "detections.csv")
    write_csv(boxes_table(scored, classes), predictions / "boxes.csv")
    found, reasons = _score(config, keys, protocol, result)
    counts: dict[str, object] = {"num_key_frames": len(result.videos), "num_boxes": len(scored)}
    if found is None:
        _LOG.info("AVA.GROUNDTRUTH_FILE is empty: the detections are not scored")
        (predictions / "classes.csv").unlink(missing_ok=True)
        return counts
    write_csv(classes_table(found), predictions / "classes.csv")
    for reason in reasons:
        _LOG.info("note: %s", reason)
    return {**_map(found), **metrics(found, reasons), **counts}
