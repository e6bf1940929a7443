"""The scores of given files: by the code of the test, one pass, memory that does not grow with a video's length."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from slowfast_mvit.batches import UnreadableVideo, VideoViews
from slowfast_mvit.build.data import sampling_of, view_protocol
from slowfast_mvit.build.images import test_images
from slowfast_mvit.build.predict_model import ReadyModel
from slowfast_mvit.build.run import classification_of
from slowfast_mvit.data.clips import Sampling
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.images import TestImages
from slowfast_mvit.data.inputs import find_inputs
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.data.loader import views_of
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.data.windows import LONG_SECONDS, SEGMENT_WINDOW, GivenClips, LongVideo, Windows
from slowfast_mvit.engine.memory import out_of_memory
from slowfast_mvit.engine.progress import ShareBar
from slowfast_mvit.errors import UserError, closest
from slowfast_mvit.evaluation.multiview import ViewProtocol, batches_of_views
from slowfast_mvit.evaluation.view_scores import VideoScores, ViewCollector

_LOG = logging.getLogger(__name__)
HEAD_INPUT = "the input of the head"
_LEAST_SECONDS = 0.001  # of windows and strides: more of them than frames say nothing new


@dataclass(frozen=True)
class Looks:
    """How videos are looked at.

    Attributes:
        window: seconds of a window; 0: the views of the test however long the video is; None: these for videos up to a minute,
            and windows of the length of the model's clip for longer ones.
        stride: seconds between the starts of windows; by default that of ``window``, so that they touch.
    """

    window: float | None = None
    stride: float | None = None

    def __post_init__(self) -> None:
        if self.window is not None and not 0 <= self.window < float("inf"):
            raise UserError(f"the window is {self.window:g} seconds; it must be 0 or more")
        if self.stride is not None and not 0 < self.stride < float("inf"):
            raise UserError(f"the stride is {self.stride:g} seconds; it must be more than 0")
        for name, value in (("window", self.window), ("stride", self.stride)):
            if value is not None and 0 < value < _LEAST_SECONDS:
                raise UserError(
                    f"the {name} is {value:g} seconds, which is less than a frame: give {_LEAST_SECONDS:g} or more"
                )
        if self.window == 0 and self.stride is not None:
            raise UserError(
                "a stride is of windows, and a window of 0 seconds asks for the views of the test: give one of them"
            )

    def windows(self, sampling: Sampling) -> tuple[Windows | None, float]:
        """The windows of a model's videos, and the seconds that a video must have to be looked at by them."""
        if self.window == 0:
            return None, 0.0
        seconds = self.window or sampling.clip_seconds or SEGMENT_WINDOW
        asked = self.window is not None or self.stride is not None
        return Windows(seconds, self.stride or seconds), 0.0 if asked else LONG_SECONDS


@dataclass(frozen=True)
class Scoring:
    """Files and how a model looks at them.

    Attributes:
        ready: the model.
        inputs: the files.
        dataset: of their clips.
        protocol: crops of a clip, normalisation, and how views are joined.
        looks: the sampling and windows in words: what scores follow from beside weights and files.
    """

    ready: ReadyModel
    inputs: VideoList | ImageList
    dataset: GivenClips | TestImages
    protocol: ViewProtocol
    looks: str


def scoring_of(ready: ReadyModel, words: Sequence[str | Path], looks: Looks) -> Scoring:
    """What some words of a command mean to a model.

    Raises:
        UserError: they mean nothing, or files of the wrong kind.
    """
    config = ready.config
    if ready.images and looks != Looks():
        raise UserError("a window or stride is of videos, and the model is one for images: leave it out")
    inputs = find_inputs(words, images=ready.images)
    protocol = view_protocol(config)
    if isinstance(inputs, ImageList):
        return Scoring(ready, inputs, test_images(config, inputs), protocol, str(protocol))
    sampling = sampling_of(config, "test")
    windows, from_seconds = looks.windows(sampling)
    backend = config.DATA.DECODING_BACKEND if config.DATA.DECODING_BACKEND != "frames" else "pyav"  # files are given
    dataset = GivenClips(
        inputs,
        sampling,
        num_clips=protocol.num_clips,
        windows=windows,
        from_seconds=from_seconds,
        backend=backend,
    )
    return Scoring(ready, inputs, dataset, protocol, f"{sampling} {windows} {from_seconds} {backend} {protocol!r}")


def score(
    scoring: Scoring,
    indices: Sequence[int],
    *,
    finished: Callable[[VideoScores], None],
    unreadable: Callable[[UnreadableVideo], None],
    keep_probabilities: bool = False,
    layer: str | None = None,
    shown: bool = True,
    moved: Callable[[float], None] = lambda done: None,
) -> None:
    """Score some of the files, in order; each is handed over as soon as it is whole.

    Args:
        scoring: see :class:`Scoring`.
        indices: of the files in the list.
        finished: is given the scores of a file.
        unreadable: is given a file that cannot be read, and why; also one that is damaged somewhere and looked at by windows,
            before ``finished`` is given the scores of its windows before the damage.
        keep_probabilities: give all probabilities of every view.
        layer: name of the module whose output is kept as features, or :data:`HEAD_INPUT`; None for no features.
        shown: show the progress.
        moved: is told after each batch how many files are done, parts counted in; what it raises ends the work.

    Raises:
        UserError: scores are not finite, memory ends, the layer is not there.
    """
    ready, config = scoring.ready, scoring.ready.config
    task = classification_of(config, ready.precision)
    collector = ViewCollector(config.MODEL.NUM_CLASSES, scoring.protocol, keep_probabilities=keep_probabilities)
    workers = 0 if len(indices) < 2 else min(config.DATA_LOADER.NUM_WORKERS, len(indices), os.cpu_count() or 1)
    bar = ShareBar("predict", len(indices), "images" if ready.images else "videos") if shown and indices else None
    done = 0

    def given_up(video: UnreadableVideo) -> None:
        nonlocal done
        done += 1
        collector.drop(video.video_index)
        unreadable(video)

    def whole(scores: VideoScores) -> None:
        nonlocal done
        done += 1
        finished(scores)

    def cut_short(video: UnreadableVideo, num_clips: int) -> None:
        unreadable(video)
        for scores in collector.cut(video.video_index, num_clips):
            whole(scores)

    items = views_of(scoring.dataset, indices, num_workers=workers, timeout=config.DATA_LOADER.TIMEOUT)
    was_training = ready.model.training
    ready.model.eval()
    less = "give a smaller TEST.BATCH_SIZE (KEY VALUE, with --cfg)"
    try:
        with closing(items), out_of_memory(ready.device, less), _kept(ready.model, layer) as features:
            views = _views(scoring, items, collector, given_up, cut_short)
            for batch in batches_of_views(views, scoring.protocol, config.TEST.BATCH_SIZE, ready.device):
                with torch.inference_mode():
                    probabilities = task.probabilities(ready.model, batch)
                for scores in collector.add(batch, probabilities, features(len(batch))):
                    whole(scores)
                at = done + collector.share(int(batch.video_index[-1]))
                moved(at)
                if bar is not None:
                    bar.move_to(at)
    finally:
        ready.model.train(was_training)
        if bar is not None:
            bar.close()


def _views(
    scoring: Scoring,
    items: Iterable[object],
    collector: ViewCollector,
    given_up: Callable[[UnreadableVideo], None],
    cut_short: Callable[[UnreadableVideo, int], None],
) -> Iterator[VideoViews]:
    """The clips of all files in order; those that cannot be read are given up, or cut short after so many clips."""
    for item in items:
        if isinstance(item, UnreadableVideo):
            given_up(item)
            continue
        if isinstance(item, VideoViews):
            collector.expect(item.video_index, len(item.rows))
            yield _said_of_missing(item, scoring)
            continue
        assert isinstance(item, LongVideo) and isinstance(scoring.dataset, GivenClips)
        collector.expect(item.video_index, item.num_clips)
        come = 0
        try:
            for views in scoring.dataset.stream(item.video_index):
                yield _said_of_missing(views, scoring)
                come += 1
        except VideoError as error:
            if not come:
                given_up(UnreadableVideo(item.video_index, error.path, error.backend, error.cause))
                continue
            cause = f"{error.cause}; the {come} windows before that are scored, of {item.num_clips}"
            cut_short(UnreadableVideo(item.video_index, error.path, error.backend, cause), come)


def _said_of_missing(views: VideoViews, scoring: Scoring) -> VideoViews:
    if views.num_missing:
        _LOG.warning(
            "%s: %d frames at its end cannot be decoded; the last one before stands in for them",
            scoring.inputs.names[views.video_index],
            views.num_missing,
        )
    return views


@contextmanager
def _kept(model: nn.Module, layer: str | None) -> Iterator[Callable[[int], np.ndarray | None]]:
    """While open, the layer's output of the last forward pass can be asked for, float32 [B, ...] for a batch of B."""
    if layer is None:
        yield lambda count: None
        return
    found: list[Tensor] = []

    def keep(value: object) -> None:
        first = value[0] if isinstance(value, tuple | list) else value
        found[:] = [first] if isinstance(first, Tensor) else []

    if layer == HEAD_INPUT:
        handle = _head(model).register_forward_pre_hook(lambda module, given: keep(given))
    else:
        handle = find_layer(model, layer).register_forward_hook(lambda module, given, made: keep(made))

    def last(count: int) -> np.ndarray:
        if not found or found[0].dim() == 0 or len(found[0]) != count:
            had = f"{tuple(found[0].shape)}" if found else "nothing"
            raise UserError(
                f"the layer {layer} gives {had} for a batch of {count} clips, and no features of each: name another (--layer)"
            )
        kept = found.pop().float().cpu().numpy()
        return kept.reshape(count, -1) if layer == HEAD_INPUT else kept

    try:
        yield last
    finally:
        handle.remove()


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """A module by its name, as ``blocks.15`` or ``norm``.

    Raises:
        UserError: there is none.
    """
    modules = {key: module for key, module in model.named_modules() if key}
    if name not in modules:
        outer = [key for key in modules if key.count(".") <= 1 and name.partition(".")[0] in key] or list(modules)
        raise UserError(f"the model has no layer {name!r}; {closest(name, outer)}")
    return modules[name]


def _head(model: nn.Module) -> nn.Module:
    """What turns features into logits: the model's head, or its last linear layer."""
    head = getattr(model, "head", None)
    if isinstance(head, nn.Module):
        return head
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
