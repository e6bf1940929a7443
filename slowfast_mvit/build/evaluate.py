"""Testing by config: all views of every video, then the prediction files and the metrics."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from slowfast_mvit.batches import AvaBatch, AvaViews, ClipBatch, UnreadableVideo, VideoViews
from slowfast_mvit.build.data import has_split, single_tests
from slowfast_mvit.build.fingerprint import check_same, fingerprint_of, hash_weights
from slowfast_mvit.build.kinds import AnyList, AnyProtocol, list_of, protocol_of, to_test
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.parts import ToTest
from slowfast_mvit.build.precision import set_precision
from slowfast_mvit.build.run import RunFolder, weights_to_test
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.lists import LabelledList
from slowfast_mvit.data.loader import views_of
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.log import ALIKE, ProgressBar
from slowfast_mvit.engine.loop import evaluate
from slowfast_mvit.engine.memory import out_of_memory
from slowfast_mvit.engine.rounds import SECONDS, Rounds
from slowfast_mvit.engine.stopping import StopRequest
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.ava_views import BoxResult
from slowfast_mvit.evaluation.coco_found import ObjectResult
from slowfast_mvit.evaluation.coco_views import ViewsBatch
from slowfast_mvit.evaluation.journal import Journal
from slowfast_mvit.evaluation.metrics import in_words
from slowfast_mvit.evaluation.multiview import MultiViewResult, ViewProtocol
from slowfast_mvit.evaluation.predictions import unreadable_table, write_csv, write_json
from slowfast_mvit.pictures import DetectionViews
from slowfast_mvit.weights.load import load_weights
from slowfast_mvit.weights.report import log_report

_LOG = logging.getLogger(__name__)
AnyViews = VideoViews | AvaViews | DetectionViews
_LESS_MEMORY = "lower TEST.BATCH_SIZE, or set MODEL.PRECISION bfloat16"


@dataclass(frozen=True)
class Tested:
    """Scores of the videos that could be read, and the others with their causes."""

    result: MultiViewResult | BoxResult | ObjectResult
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
    label_names = load_tested(config, model, folder, world, trained, random_weights=random_weights)
    videos = list_of(config, "test", label_names)
    if config.TEST.DATASET == "ssv2" and not has_split(config, "test") and world.is_main:
        _LOG.info(
            "%s has no labelled test split: testing on the validation videos, as published results do",
            config.DATA.PATH_TO_DATA_DIR,
        )
    precision = set_precision(config, device, training=False)
    _results_path(config, folder)  # a mistake is said before the work
    weights = hash_weights(model)
    model = model.to(device)
    tests = single_tests(config)
    outcomes: list[_Outcome] = []
    journals: list[Journal] = []
    with StopRequest() as stop:
        for test in tests:
            protocol = protocol_of(test, "test")
            fingerprint = fingerprint_of(test, weights, videos, protocol, precision)
            check_same(fingerprint, world)
            output = _output(config, folder, protocol, alone=len(tests) == 1)
            kind = to_test(test, videos, protocol, precision, device)
            unfinished = Journal(output.predictions / "unfinished", fingerprint.key, kind.rows)
            journals += [unfinished] if config.TEST.RESUME else []
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
                None if tested is None else _outcome(kind, folder, output, videos, protocol, precision, tested, before)
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


def list_unreadable(tested: Tested, names: np.ndarray, what: str, listed: Path) -> str:
    """What a prediction says of items that could not be read, which ``listed`` has; empty where all could.

    ``what`` goes on after their number: "images could not be read".

    Raises:
        UserError: none could be read.
    """
    if not tested.unreadable:
        listed.unlink(missing_ok=True)  # of an earlier prediction in this folder
        return ""
    write_csv(unreadable_table(tested.unreadable, names), listed)
    first = tested.unreadable[0]
    problem = f"{len(tested.unreadable)} of {len(names)} {what}, for example {first.path} ({first.cause}): see {listed}"
    if len(tested.unreadable) == len(names):
        raise UserError(problem)
    return problem


def load_tested(
    config: Config, model: nn.Module, folder: RunFolder, world: World, trained: Path | None, *, random_weights: bool
) -> tuple[str, ...]:
    """Load the weights to test into ``model``; returns the names of the labels that they were trained on, if they say."""
    weights = weights_to_test(config, folder, trained)
    if weights is None and not random_weights:
        raise UserError(
            f"there are no weights to test: {folder.checkpoints} is empty, and TEST.CHECKPOINT_FILE_PATH not set"
        )
    if weights is None:
        _LOG.warning("testing random weights", extra=ALIKE)
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
    kind: ToTest,
    folder: RunFolder,
    output: "_Output",
    videos: LabelledList,
    protocol: AnyProtocol,
    precision: str,
    tested: Tested,
    before: list[Mapping[str, object]],
) -> _Outcome:
    """Write the files of one test, and ``metrics.json`` of it and those ``before``."""
    try:
        metrics = _write_files(kind, output, videos, protocol, precision, tested)
        write_json(_joined([*before, metrics]), folder.metrics)
    except UserError as error:
        return _Outcome({}, str(error))
    _LOG.info("%s: %s of %d %s", protocol, in_words(metrics), len(tested.result.videos), kind.items)
    listed = output.predictions / "unreadable.csv"
    if not len(tested.result.videos):
        return _Outcome(metrics, f"none of the {len(videos)} test {kind.items} could be read: see {listed}")
    if not tested.unreadable:
        return _Outcome(metrics)
    first = tested.unreadable[0]
    return _Outcome(
        metrics,
        unreadable=f"{len(tested.unreadable)} of {len(videos)} test {kind.items} could not be read and {kind.if_unreadable}, "
        f"for example {first.path} ({first.cause}): see {listed}",
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


def _output(config: Config, folder: RunFolder, protocol: AnyProtocol, *, alone: bool) -> _Output:
    """The run's own folder; a test among several has one for itself, and its number of clips in the name of the results."""
    results = _results_path(config, folder)
    if alone:
        return _Output(folder.predictions, results)
    assert isinstance(protocol, ViewProtocol)  # whose clips differ in number
    name = f"{protocol.num_clips}_clip{'s' if protocol.num_clips > 1 else ''}"
    return _Output(folder.predictions / name, results and results.with_stem(f"{results.stem}_{name}"))


def evaluate_videos(
    config: Config,
    model: nn.Module,
    videos: AnyList,
    protocol: AnyProtocol,
    device: torch.device,
    precision: str,
    title: str,
    world: World = World(),  # noqa: B008 - frozen
    *,
    journal: Journal | None = None,
    stop_signal: Callable[[], int] = lambda: 0,
) -> Tested | None:
    """Probabilities of every view of every readable video, joined per video, on rank 0; None on the others.

    The ranks have different numbers of forward passes, so each needs a whole ``model``.

    Of the videos that ``journal`` does not have yet, rank r of R tests r, r + R, r + 2R ...

    Raises:
        UserError: on all ranks, if one fails; among others, scores are not finite.
        Stopped: ``stop_signal`` gave the number of a signal on some rank.
    """
    kind = to_test(config, videos, protocol, precision, device)
    rows, finished = _finished_before(journal, world)
    if len(finished) and world.is_main:
        _LOG.info("%s: %d of %d %s are finished already", title, len(finished), len(videos), kind.items)
    share = np.setdiff1d(np.arange(len(videos)), finished)[world.rank :: world.size]
    evaluator = kind.evaluator(None if world.is_main else share)  # rank 0 joins all
    rounds = Rounds(
        world,
        stop_signal=stop_signal,
        save=(lambda: None) if journal is None else (lambda: journal.keep(evaluator)),
        left=f"start the same command again{f': finished videos are kept in {journal.folder}' if journal else ''}",
        seconds=SECONDS,
    )
    views = views_of(
        kind.dataset,
        share.tolist(),
        num_workers=config.DATA_LOADER.NUM_WORKERS,
        timeout=config.DATA_LOADER.TIMEOUT,
    )
    unreadable: list[UnreadableVideo] = []
    readable = _readable(views, videos, unreadable)
    batch_size = max(1, config.TEST.BATCH_SIZE // world.local_size)
    batches = kind.batches(rounds.between(readable), batch_size)

    @torch.inference_mode()
    def predict(batch: ClipBatch | AvaBatch | ViewsBatch) -> Any:
        world.at(f"{title}, video {int(batch.video_index[-1]) + 1} of {len(videos)}")
        return kind.predict(model, batch)

    model.eval()
    bar = ProgressBar(title, math.ceil(len(share) * protocol.num_views / batch_size), shown=world.is_main)
    try:
        with closing(views), out_of_memory(device, _LESS_MEMORY):
            evaluate(predict, rounds.between(batches), evaluator, bar)
    except (UserError, VideoError) as error:
        rounds.fail(error)
    finally:
        bar.close()
    rounds.finish()
    rows += [] if world.is_main else [evaluator.rows(evaluator.finished())]
    return _gathered(world, evaluator, rows, unreadable)


def _finished_before(journal: Journal | None, world: World) -> tuple[list[Any], np.ndarray]:
    """The rows of finished videos that this rank is to give, and the indices of all ranks' together.

    The first process of each machine reads, since machines may see different folders; a video that several have is the first's.
    """
    rows = journal.read() if journal is not None and world.local_rank == 0 else []
    own = np.unique(np.concatenate([part.videos for part in rows])) if rows else np.empty(0, dtype=np.int64)
    everyones = world.everyones(own)
    others = np.concatenate(everyones[: world.rank]) if world.rank else np.empty(0, dtype=np.int64)
    given = [part.of(~np.isin(part.videos, others)) for part in rows]
    return [part for part in given if len(part)], np.unique(np.concatenate(everyones))


def _gathered(world: World, evaluator: Any, rows: list[Any], unreadable: list[UnreadableVideo]) -> Tested | None:
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
    items: Iterable[AnyViews | UnreadableVideo], videos: LabelledList, unreadable: list[UnreadableVideo]
) -> Iterator[AnyViews]:
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
    kind: ToTest, output: _Output, videos: LabelledList, protocol: AnyProtocol, precision: str, tested: Tested
) -> dict[str, object]:
    """Write the prediction files of one test; returns its metrics."""
    metrics = kind.write(tested.result, output.predictions, output.results)
    if tested.unreadable:
        write_csv(unreadable_table(tested.unreadable, videos.names), output.predictions / "unreadable.csv")
    else:
        (output.predictions / "unreadable.csv").unlink(missing_ok=True)  # of an earlier test in this folder
    return {
        **metrics,
        "num_views": protocol.num_views,
        "num_unreadable": len(tested.unreadable),
        "protocol": str(protocol),
        "precision": precision,
    }
