"""Training and testing of whole clips, videos' or images'."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from slowfast_mvit.batches import ClipBatch, collate_clips
from slowfast_mvit.build.data import multi_view_videos, train_clips
from slowfast_mvit.build.images import scored_classes
from slowfast_mvit.build.parts import ToTest, ToTrain
from slowfast_mvit.build.run import classification_of
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.evaluation.metrics import metrics_of
from slowfast_mvit.evaluation.multilabel import average_precisions
from slowfast_mvit.evaluation.multiview import (
    MultiViewEvaluator,
    MultiViewResult,
    VideoRows,
    ViewProtocol,
    batches_of_views,
)
from slowfast_mvit.evaluation.predictions import (
    classes_table,
    clips_table,
    videos_table,
    write_csv,
    write_probabilities,
    write_results,
)


def clips_to_train(config: Config, videos: VideoList | ImageList, precision: str) -> ToTrain:
    """What a training on the list is given."""
    return ToTrain(
        dataset=train_clips(config, videos),
        collate=collate_clips,
        task=classification_of(config, precision),
        blank=_blank_batch(config, isinstance(videos, ImageList)),
    )


def clips_to_test(
    config: Config, videos: VideoList | ImageList, protocol: ViewProtocol, precision: str, device: torch.device
) -> ToTest:
    """What a test of the list is given."""
    num_classes = scored_classes(config, videos) if isinstance(videos, ImageList) else config.MODEL.NUM_CLASSES
    task = replace(classification_of(config, precision), num_scored=num_classes)
    return ToTest(
        items="videos",
        if_unreadable="count in no metric",
        dataset=multi_view_videos(config, videos, protocol.num_clips),
        batches=lambda views, size: batches_of_views(views, protocol, size, device),
        predict=task.probabilities,
        evaluator=lambda only: MultiViewEvaluator(
            len(videos),
            num_classes,
            protocol,
            keep_probabilities=config.TEST.SAVE_PROBABILITIES,
            multi_label=config.DATA.MULTI_LABEL,
            only=only,
        ),
        rows=VideoRows,
        metrics=metrics_of,
        write=partial(_write, config, videos, protocol),
    )


def _blank_batch(config: Config, is_images: bool) -> ClipBatch:
    """One black clip of the training's shape, without a label that counts."""
    frames = 1 if is_images else config.DATA.NUM_FRAMES
    side, zero = config.DATA.TRAIN_CROP_SIZE, torch.zeros(1, dtype=torch.int64)
    labels = torch.zeros(1, config.MODEL.NUM_CLASSES, dtype=torch.bool) if config.DATA.MULTI_LABEL else zero
    seconds = torch.zeros(1, dtype=torch.float64)
    video = torch.zeros(1, 3, frames, side, side, dtype=torch.uint8)
    return ClipBatch(video, labels, zero, zero, zero, seconds, seconds)


def _write(
    config: Config,
    videos: VideoList | ImageList,
    protocol: ViewProtocol,
    result: MultiViewResult,
    predictions: Path,
    results: Path | None,
) -> dict[str, object]:
    """Write the prediction files of one test; returns its metrics."""
    names, label_names = videos.names, videos.label_names
    write_csv(clips_table(result, names, label_names), predictions / "clips.csv")
    write_csv(videos_table(result, names, label_names), predictions / "videos.csv")
    if config.TEST.SAVE_PROBABILITIES:
        write_probabilities(result, names, predictions / "probabilities.npz")
    else:
        (predictions / "probabilities.npz").unlink(missing_ok=True)  # of an earlier test in this folder
    if results is not None:
        # PySlowFast's sum of the views is not divided by their number.
        factor = protocol.num_views if protocol.ensemble == "sum" else 1
        write_results(result.scores * factor, result.labels, results)
    if config.DATA.MULTI_LABEL:
        precisions = average_precisions(result.scores, result.labels)
        write_csv(classes_table(precisions, result, label_names), predictions / "classes.csv")
    else:
        (predictions / "classes.csv").unlink(missing_ok=True)
    return {**metrics_of(result), "num_videos": len(result.videos)}
