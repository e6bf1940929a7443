"""Testing by config: all views of every video, then the prediction files and the metrics."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from slowfast_mvit.batches import UnreadableVideo, VideoViews
from slowfast_mvit.build.data import has_split, multi_view_videos, single_tests, videos_of, view_protocol
from slowfast_mvit.build.images import scored_classes
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.precision import precision_of
from slowfast_mvit.build.run import RunFolder, classification_of, weights_to_test
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.lists import LabelledList, VideoList
from slowfast_mvit.data.loader import view_loader
from slowfast_mvit.engine.log import ProgressBar
from slowfast_mvit.engine.loop import evaluate
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.metrics import in_words, metrics_of
from slowfast_mvit.evaluation.multilabel import average_precisions
from slowfast_mvit.evaluation.multiview import MultiViewEvaluator, MultiViewResult, ViewProtocol, batches_of_views
from slowfast_mvit.evaluation.predictions import (
    classes_table,
    clips_table,
    unreadable_table,
    videos_table,
    write_csv,
    write_json,
    write_probabilities,
    write_results,
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

    With several numbers of clips they are tested in turn, each into its own folder of predictions, and ``metrics.json`` is
    ``{"tests": [...]}``.

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
    if config.TEST.DATASET == "ssv2" and not has_split(config, "test"):
        _LOG.info(
            "%s has no labelled test split: testing on the validation videos, as published results do",
            config.DATA.PATH_TO_DATA_DIR,
        )
    precision = precision_of(config, device, training=False)
    _results_path(config, folder)  # a mistake is said before the work
    model = model.to(device)
    tests = single_tests(config)
    metrics: list[dict[str, object]] = []
    for test in tests:
        protocol = view_protocol(test)
        tested = evaluate_videos(test, model, videos, protocol, device, precision, "test")
        output = _output(config, folder, protocol, alone=len(tests) == 1)
        metrics.append(_write_files(test, output, videos, protocol, precision, tested))
        write_json(metrics[0] if len(tests) == 1 else {"tests": metrics}, folder.metrics)
        _LOG.info("%s: %s of %d videos", protocol, in_words(metrics[-1]), len(tested.result.videos))
        if not len(tested.result.videos):
            raise UserError(
                f"none of the {len(videos)} test videos could be read: see {output.predictions / 'unreadable.csv'}"
            )
    if tested.unreadable:  # the same ones in every test
        first = tested.unreadable[0]
        raise UserError(
            f"{len(tested.unreadable)} of {len(videos)} test videos could not be read and count in no metric, for example "
            f"{first.path} ({first.cause}): see {output.predictions / 'unreadable.csv'}"
        )
    return metrics[0] if len(tests) == 1 else {"tests": metrics}


def summary(metrics: Mapping[str, object]) -> list[str]:
    """A line for each test of ``metrics.json``."""
    tests = metrics.get("tests")
    return [f"{in_words(test)} ({test['protocol']})" for test in (tests if isinstance(tests, list) else [metrics])]


def _results_path(config: Config, folder: RunFolder) -> Path | None:
    """The file of TEST.SAVE_RESULTS_PATH, if one is asked for."""
    path = folder.root / config.TEST.SAVE_RESULTS_PATH
    if config.TEST.SAVE_RESULTS_PATH and path.is_dir():
        raise UserError(f"TEST.SAVE_RESULTS_PATH {path} is a folder: name a file, such as results.pkl")
    return path if config.TEST.SAVE_RESULTS_PATH else None


@dataclass(frozen=True)
class _Output:
    """Where the files of one test go."""

    predictions: Path
    results: Path | None


def _output(config: Config, folder: RunFolder, protocol: ViewProtocol, *, alone: bool) -> _Output:
    """The run's own folder; a test among several has one for itself, and its number of clips in the name of the results."""
    name = f"{protocol.num_clips}_clip{'s' if protocol.num_clips > 1 else ''}"
    results = _results_path(config, folder)
    if alone:
        return _Output(folder.predictions, results)
    return _Output(folder.predictions / name, results and results.with_stem(f"{results.stem}_{name}"))


def evaluate_videos(
    config: Config,
    model: nn.Module,
    videos: VideoList | ImageList,
    protocol: ViewProtocol,
    device: torch.device,
    precision: str,
    title: str,
) -> Tested:
    """Probabilities of every view of every readable video, joined per video."""
    num_classes = scored_classes(config, videos) if isinstance(videos, ImageList) else config.MODEL.NUM_CLASSES
    task = replace(classification_of(config, precision), num_scored=num_classes)
    evaluator = MultiViewEvaluator(
        len(videos),
        num_classes,
        protocol,
        keep_probabilities=config.TEST.SAVE_PROBABILITIES,
        multi_label=config.DATA.MULTI_LABEL,
    )
    loader = view_loader(
        multi_view_videos(config, videos, protocol.num_clips),
        range(len(videos)),
        num_workers=config.DATA_LOADER.NUM_WORKERS,
    )
    unreadable: list[UnreadableVideo] = []
    batches = batches_of_views(_readable(loader, videos, unreadable), protocol, config.TEST.BATCH_SIZE, device)
    model.eval()
    bar = ProgressBar(title, math.ceil(len(videos) * protocol.num_views / config.TEST.BATCH_SIZE))
    evaluate(lambda batch: task.probabilities(model, batch), batches, evaluator, bar)
    bar.close()
    return Tested(evaluator.result(video.video_index for video in unreadable), tuple(unreadable))


def _readable(
    items: Iterable[VideoViews | UnreadableVideo], videos: LabelledList, unreadable: list[UnreadableVideo]
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


def _write_files(
    config: Config, output: _Output, videos: LabelledList, protocol: ViewProtocol, precision: str, tested: Tested
) -> dict[str, object]:
    """Write the prediction files of one test; returns its metrics."""
    result, names, label_names, predictions = tested.result, videos.names, videos.label_names, output.predictions
    write_csv(clips_table(result, names, label_names), predictions / "clips.csv")
    write_csv(videos_table(result, names, label_names), predictions / "videos.csv")
    if tested.unreadable:
        write_csv(unreadable_table(tested.unreadable, names), predictions / "unreadable.csv")
    else:
        (predictions / "unreadable.csv").unlink(missing_ok=True)  # of an earlier test in this folder
    if config.TEST.SAVE_PROBABILITIES:
        write_probabilities(result, names, predictions / "probabilities.npz")
    else:
        (predictions / "probabilities.npz").unlink(missing_ok=True)
    if output.results is not None:
        # PySlowFast's sum of the views is not divided by their number.
        factor = protocol.num_views if protocol.ensemble == "sum" else 1
        write_results(result.scores * factor, result.labels, output.results)
    if config.DATA.MULTI_LABEL:
        precisions = average_precisions(result.scores, result.labels)
        write_csv(classes_table(precisions, result, label_names), predictions / "classes.csv")
    else:
        (predictions / "classes.csv").unlink(missing_ok=True)
    return {
        **metrics_of(result),
        "num_videos": len(result.videos),
        "num_views": protocol.num_views,
        "num_unreadable": len(tested.unreadable),
        "protocol": str(protocol),
        "precision": precision,
    }
