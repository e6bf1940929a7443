"""Testing by config: all views of every video, then the prediction files and the metrics."""

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from slowfast_mvit.batches import UnreadableVideo, VideoViews
from slowfast_mvit.build.data import multi_view_videos, videos_of, view_protocol
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.precision import precision_of
from slowfast_mvit.build.run import RunFolder, classification_of, weights_to_test
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.data.loader import view_loader
from slowfast_mvit.engine.log import ProgressBar
from slowfast_mvit.engine.loop import evaluate
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.multiview import MultiViewEvaluator, MultiViewResult, ViewProtocol, batches_of_views
from slowfast_mvit.evaluation.predictions import (
    clips_table,
    unreadable_table,
    videos_table,
    write_csv,
    write_json,
    write_probabilities,
)
from slowfast_mvit.weights.load import load_weights
from slowfast_mvit.weights.report import log_report

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tested:
    """Scores of the videos that could be read, and the others with their causes."""

    result: MultiViewResult
    unreadable: tuple[UnreadableVideo, ...]


def run_test(
    config: Config, device: torch.device, *, trained: Path | None = None, random_weights: bool = False
) -> dict[str, object]:
    """Test as the config says; writes the prediction files and returns the content of ``metrics.json``.

    Args:
        config: of the run.
        device: where the model runs.
        trained: the checkpoint that this job has just written.
        random_weights: test fresh weights where no checkpoint is found, instead of raising.

    Raises:
        UserError: there are no weights; or some videos could not be read, which is raised last, when everything about the
            others is written.
    """
    folder = RunFolder(Path(config.OUTPUT_DIR))
    torch.manual_seed(config.RNG_SEED)
    model = build_model(config)
    weights = weights_to_test(config, folder, trained)
    label_names: tuple[str, ...] = ()
    if weights is None and not random_weights:
        raise UserError(
            f"there are no weights to test: {folder.checkpoints} is empty, and TEST.CHECKPOINT_FILE_PATH not set"
        )
    if weights is None:
        _LOG.warning("testing random weights")
    else:
        source, content = weights
        log_report(load_weights(model, content, strict=True, name=source))
        label_names = tuple(content.get("label_names", ()))
        _LOG.info("testing the weights of %s", source)
    videos = videos_of(config, "test", label_names)
    protocol = view_protocol(config)
    precision = precision_of(config, device, training=False)
    tested = evaluate_videos(config, model.to(device), videos, protocol, device, precision, "test")
    metrics = _write_files(config, folder, videos, protocol, precision, tested)
    _LOG.info(
        "%s: top-1 %.2f %%, top-5 %.2f %% of %d videos", protocol, *_accuracies(tested), len(tested.result.videos)
    )
    if tested.unreadable:
        first = tested.unreadable[0]
        raise UserError(
            f"{len(tested.unreadable)} of {len(videos)} test videos could not be read and count in no metric, for example "
            f"{first.path} ({first.cause}): see {folder.predictions / 'unreadable.csv'}"
        )
    return metrics


def evaluate_videos(
    config: Config,
    model: nn.Module,
    videos: VideoList,
    protocol: ViewProtocol,
    device: torch.device,
    precision: str,
    title: str,
) -> Tested:
    """Probabilities of every view of every readable video, joined per video."""
    task = classification_of(config, precision)
    evaluator = MultiViewEvaluator(
        len(videos), config.MODEL.NUM_CLASSES, protocol, keep_probabilities=config.TEST.SAVE_PROBABILITIES
    )
    loader = view_loader(
        multi_view_videos(config, videos, protocol.num_clips), num_workers=config.DATA_LOADER.NUM_WORKERS
    )
    unreadable: list[UnreadableVideo] = []
    batches = batches_of_views(_readable(loader, videos, unreadable), protocol, config.TEST.BATCH_SIZE, device)
    model.eval()
    bar = ProgressBar(title, math.ceil(len(videos) * protocol.num_views / config.TEST.BATCH_SIZE))
    evaluate(lambda batch: task.probabilities(model, batch), batches, evaluator, bar)
    bar.close()
    return Tested(evaluator.result(video.video_index for video in unreadable), tuple(unreadable))


def _readable(
    items: Iterable[VideoViews | UnreadableVideo], videos: VideoList, unreadable: list[UnreadableVideo]
) -> Iterator[VideoViews]:
    """Videos that could be read; the others are logged and put on the list."""
    for item in items:
        if isinstance(item, UnreadableVideo):
            _LOG.warning("cannot read %s with %s: %s", item.path, item.backend, item.cause)
            unreadable.append(item)
            continue
        if item.num_missing:
            _LOG.warning(
                "%s: %d frames at its end cannot be decoded; the last one before stands in for them",
                videos.names[item.video_index],
                item.num_missing,
            )
        yield item


def _accuracies(tested: Tested) -> tuple[float, float]:
    return tested.result.accuracy(1), tested.result.accuracy(5)


def _write_files(
    config: Config, folder: RunFolder, videos: VideoList, protocol: ViewProtocol, precision: str, tested: Tested
) -> dict[str, object]:
    result, names, label_names = tested.result, videos.names, videos.label_names
    write_csv(clips_table(result, names, label_names), folder.predictions / "clips.csv")
    write_csv(videos_table(result, names, label_names), folder.predictions / "videos.csv")
    if tested.unreadable:
        write_csv(unreadable_table(tested.unreadable, names), folder.predictions / "unreadable.csv")
    else:
        (folder.predictions / "unreadable.csv").unlink(missing_ok=True)  # of an earlier test in this folder
    if config.TEST.SAVE_PROBABILITIES:
        write_probabilities(result, names, folder.predictions / "probabilities.npz")
    else:
        (folder.predictions / "probabilities.npz").unlink(missing_ok=True)
    top1, top5 = _accuracies(tested)
    metrics: dict[str, object] = {
        "top1_acc": top1,
        "top5_acc": top5,
        "num_videos": len(result.videos),
        "num_views": protocol.num_views,
        "num_unreadable": len(tested.unreadable),
        "protocol": str(protocol),
        "precision": precision,
    }
    write_json(metrics, folder.metrics)
    if not len(result.videos):
        raise UserError(
            f"none of the {len(videos)} test videos could be read: see {folder.predictions / 'unreadable.csv'}"
        )
    return metrics
