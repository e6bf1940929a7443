"""Testing by config: all views of every video, then the prediction files and the metrics."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from slowfast_mvit.batches import ClipBatch, UnreadableVideo, VideoViews
from slowfast_mvit.build.data import has_split, multi_view_videos, single_tests, videos_of, view_protocol
from slowfast_mvit.build.fingerprint import check_same, fingerprint_of, hash_weights
from slowfast_mvit.build.images import scored_classes
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.precision import precision_of
from slowfast_mvit.build.run import RunFolder, classification_of, weights_to_test
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.lists import LabelledList, VideoList
from slowfast_mvit.data.loader import views_of
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.log import ProgressBar
from slowfast_mvit.engine.loop import evaluate
from slowfast_mvit.engine.memory import out_of_memory
from slowfast_mvit.engine.parallel import is_sharded
from slowfast_mvit.engine.rounds import SECONDS, Rounds
from slowfast_mvit.engine.stopping import StopRequest
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.journal import Journal
from slowfast_mvit.evaluation.metrics import in_words, metrics_of
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
_LESS_MEMORY = "lower TEST.BATCH_SIZE, or set MODEL.PRECISION bfloat16"


@dataclass(frozen=True)
class Tested:
    """Scores of the videos that could be read, and the others with their causes."""

    result: MultiViewResult
    unreadable: tuple[UnreadableVideo, ...]


def run_test(
    config: Config,
    device: torch.device,
    world: World = World(),  # noqa: B008 - frozen
    *,
    trained: Path | None = None,
    random_weights: bool = False,
) -> dict[str, object] | None:
    """Test as the config says, on every rank; rank 0 writes the prediction files and returns the content of ``metrics.json``.

    With several numbers of clips they are tested in turn, each into its own folder of predictions, and ``metrics.json`` is
    ``{"tests": [...]}``. With TEST.RESUME the scores of finished videos are kept until all tests are over, and a test of the
    same videos by the same weights goes on from them.

    Args:
        config: of the run.
        device: where the model runs.
        world: the ranks that share the videos.
        trained: the checkpoint that this job has just written.
        random_weights: test fresh weights where no checkpoint is found, instead of raising.

    Raises:
        UserError: on all ranks: there are no weights; or some videos could not be read, which is raised last, when everything
            about the others is written.
        Stopped: SIGTERM or SIGUSR1 came.
    """
    folder = RunFolder(Path(config.OUTPUT_DIR))
    torch.manual_seed(config.RNG_SEED)
    model = build_model(config)
    label_names = _load_tested(config, model, folder, world, trained, random_weights=random_weights)
    videos = videos_of(config, "test", label_names)
    if config.TEST.DATASET == "ssv2" and not has_split(config, "test") and world.is_main:
        _LOG.info(
            "%s has no labelled test split: testing on the validation videos, as published results do",
            config.DATA.PATH_TO_DATA_DIR,
        )
    precision = precision_of(config, device, training=False)
    _results_path(config, folder)  # a mistake is said before the work
    weights = hash_weights(model)
    model = model.to(device)
    tests = single_tests(config)
    outcomes: list[_Outcome] = []
    journals: list[Journal] = []
    with StopRequest() as stop:
        for test in tests:
            protocol = view_protocol(test)
            fingerprint = fingerprint_of(test, weights, videos, protocol, precision)
            check_same(fingerprint, world)
            output = _output(config, folder, protocol, alone=len(tests) == 1)
            journals += [Journal(output.predictions / "unfinished", fingerprint.key)] if config.TEST.RESUME else []
            tested = evaluate_videos(
                test,
                model,
                videos,
                protocol,
                device,
                precision,
                "test",
                world,
                journal=journals[-1] if journals else None,
                stop_signal=lambda: stop.number,
            )
            before = [outcome.metrics for outcome in outcomes]
            outcome = world.mains(
                None if tested is None else _outcome(test, folder, output, videos, protocol, precision, tested, before)
            )
            assert outcome is not None  # it is rank 0's
            if outcome.problem:
                raise UserError(outcome.problem)
            outcomes.append(outcome)
    if world.local_rank == 0:
        for journal in journals:
            journal.remove()
    if outcomes[-1].unreadable:  # the same ones in every test
        raise UserError(outcomes[-1].unreadable)
    return _joined([outcome.metrics for outcome in outcomes]) if world.is_main else None


def _load_tested(
    config: Config, model: nn.Module, folder: RunFolder, world: World, trained: Path | None, *, random_weights: bool
) -> tuple[str, ...]:
    """Load the weights to test into ``model``; returns the names of the labels that they were trained on, if they say."""
    weights = weights_to_test(config, folder, trained)
    if weights is None and not random_weights:
        raise UserError(
            f"there are no weights to test: {folder.checkpoints} is empty, and TEST.CHECKPOINT_FILE_PATH not set"
        )
    if weights is None:
        _LOG.warning("testing random weights")
        return ()
    source, content = weights
    report = load_weights(model, content, strict=True, name=source)
    if world.is_main:
        log_report(report)
        _LOG.info("testing the weights of %s", source)
    return tuple(content.get("label_names", ()))


@dataclass(frozen=True)
class _Outcome:
    """What rank 0 makes of a test and tells the others.

    Attributes:
        metrics: of the test.
        problem: why no test goes on; raised on all ranks.
        unreadable: what is raised on all ranks when all tests are over, because some videos could not be read.
    """

    metrics: Mapping[str, object]
    problem: str = ""
    unreadable: str = ""


def _outcome(
    config: Config,
    folder: RunFolder,
    output: "_Output",
    videos: LabelledList,
    protocol: ViewProtocol,
    precision: str,
    tested: Tested,
    before: list[Mapping[str, object]],
) -> _Outcome:
    """Write the files of one test, and ``metrics.json`` of it and those ``before``."""
    try:
        metrics = _write_files(config, output, videos, protocol, precision, tested)
        write_json(_joined([*before, metrics]), folder.metrics)
    except OSError as error:
        return _Outcome({}, f"{error.filename or output.predictions} cannot be written: {error.strerror or error}")
    _LOG.info("%s: %s of %d videos", protocol, in_words(metrics), len(tested.result.videos))
    listed = output.predictions / "unreadable.csv"
    if not len(tested.result.videos):
        return _Outcome(metrics, f"none of the {len(videos)} test videos could be read: see {listed}")
    if not tested.unreadable:
        return _Outcome(metrics)
    first = tested.unreadable[0]
    return _Outcome(
        metrics,
        unreadable=f"{len(tested.unreadable)} of {len(videos)} test videos could not be read and count in no metric, for "
        f"example {first.path} ({first.cause}): see {listed}",
    )


def _joined(metrics: list[Mapping[str, object]]) -> dict[str, object]:
    """The content of ``metrics.json``."""
    return dict(metrics[0]) if len(metrics) == 1 else {"tests": metrics}


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
    world: World = World(),  # noqa: B008 - frozen
    *,
    journal: Journal | None = None,
    stop_signal: Callable[[], int] = lambda: 0,
) -> Tested | None:
    """Probabilities of every view of every readable video, joined per video, on rank 0; None on the others.

    Of the videos that ``journal`` does not have yet, rank r of R tests r, r + R, r + 2R ...

    Raises:
        UserError: on all ranks, if one fails; among others, scores are not finite.
        Stopped: ``stop_signal`` gave the number of a signal on some rank.
    """
    num_classes = scored_classes(config, videos) if isinstance(videos, ImageList) else config.MODEL.NUM_CLASSES
    task = replace(classification_of(config, precision), num_scored=num_classes)
    rows, finished = _finished_before(journal, world)
    if len(finished) and world.is_main:
        _LOG.info("%s: %d of %d videos are finished already", title, len(finished), len(videos))
    share = np.setdiff1d(np.arange(len(videos)), finished)[world.rank :: world.size]
    evaluator = MultiViewEvaluator(
        len(videos),
        num_classes,
        protocol,
        keep_probabilities=config.TEST.SAVE_PROBABILITIES,
        multi_label=config.DATA.MULTI_LABEL,
        only=None if world.is_main else share,  # rank 0 joins all
    )
    in_step = is_sharded(model)  # then the ranks do every forward pass together
    rounds = Rounds(
        world,
        stop_signal=stop_signal,
        save=(lambda: None) if journal is None else (lambda: journal.keep(evaluator)),
        left=f"start the same command again{f': finished videos are kept in {journal.folder}' if journal else ''}",
        seconds=0.0 if in_step else SECONDS,
    )
    views = views_of(
        multi_view_videos(config, videos, protocol.num_clips),
        share.tolist(),
        num_workers=config.DATA_LOADER.NUM_WORKERS,
        timeout=config.DATA_LOADER.TIMEOUT,
    )
    unreadable: list[UnreadableVideo] = []
    readable = _readable(views, videos, unreadable)
    batch_size = max(1, config.TEST.BATCH_SIZE // world.local_size)
    batches = batches_of_views(readable if in_step else rounds.between(readable), protocol, batch_size, device)

    @torch.inference_mode()
    def predict(batch: ClipBatch) -> Tensor:
        world.at(f"{title}, video {int(batch.video_index[-1]) + 1} of {len(videos)}")
        return task.probabilities(model, batch)

    model.eval()
    bar = ProgressBar(title, math.ceil(len(share) * protocol.num_views / batch_size), shown=world.is_main)
    try:
        with closing(views), out_of_memory(device, _LESS_MEMORY):
            evaluate(predict, rounds.between(batches), evaluator, bar)
    except (UserError, VideoError) as error:
        rounds.fail(error)
    finally:
        bar.close()
    rounds.finish(idle=(lambda: predict(_blank(config, protocol, device))) if in_step else None)
    rows += [] if world.is_main else [evaluator.rows(evaluator.finished())]
    return _gathered(world, evaluator, rows, unreadable)


def _blank(config: Config, protocol: ViewProtocol, device: torch.device) -> ClipBatch:
    """One view of nothing, for a rank that has no views left and takes part in the forward passes of the others."""
    frames = 1 if config.TEST.DATASET == "imagenet" else config.DATA.NUM_FRAMES
    video = torch.zeros(1, 3, frames, protocol.crop_size, protocol.crop_size, device=device)
    zero, seconds = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.float64)
    return ClipBatch(video, zero, zero, zero, zero, seconds, seconds)


def _finished_before(journal: Journal | None, world: World) -> tuple[list[VideoRows], np.ndarray]:
    """The rows of finished videos that this rank is to give, and the indices of all ranks' together.

    The first process of each machine reads, since machines may see different folders; a video that several have is the first's.
    """
    rows = journal.read() if journal is not None and world.local_rank == 0 else []
    own = np.unique(np.concatenate([part.videos for part in rows])) if rows else np.empty(0, dtype=np.int64)
    everyones = world.everyones(own)
    others = np.concatenate(everyones[: world.rank]) if world.rank else np.empty(0, dtype=np.int64)
    given = [part.of(~np.isin(part.videos, others)) for part in rows]
    return [part for part in given if len(part)], np.unique(np.concatenate(everyones))


def _gathered(
    world: World, evaluator: MultiViewEvaluator, rows: list[VideoRows], unreadable: list[UnreadableVideo]
) -> Tested | None:
    """What all ranks found, joined in the evaluator of rank 0 and in the order of the list."""
    everyones = world.gather((rows, unreadable))
    if everyones is None:
        return None
    for parts, _ in everyones:
        for part in parts:
            evaluator.add_rows(part)
    found = sorted((video for _, videos in everyones for video in videos), key=lambda video: video.video_index)
    return Tested(evaluator.result(video.video_index for video in found), tuple(found))


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
