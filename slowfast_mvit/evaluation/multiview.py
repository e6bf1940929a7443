"""Testing a video by several views: cutting them on the device, batching them across videos, joining their scores.

Letters: N videos, V views of a video (K clips x C crops, clip-major), U decoded frames, T frames of a clip.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from slowfast_mvit.batches import ClipBatch, Label, VideoViews, stack_labels
from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.ensemble import join_views
from slowfast_mvit.ops.spatial import normalize, resize, short_side_size, view_crop


@dataclass(frozen=True)
class ViewProtocol:
    """How a video is tested.

    Attributes:
        num_clips, num_crops: views of a video; one crop is the centre, three cover the long side.
        short_side: pixels of the short side after the resize.
        crop_size: side of the square crops in pixels.
        mean, std: per channel, in 0..1.
        ensemble: ``sum`` or ``max`` of the views' probabilities.
        words: what results call the protocol, where the numbers do not tell: images come resized and cropped.
    """

    num_clips: int
    num_crops: int
    short_side: int
    crop_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    ensemble: str = "sum"
    words: str = ""

    @property
    def num_views(self) -> int:
        """Views of a video."""
        return self.num_clips * self.num_crops

    def __str__(self) -> str:
        if self.words:
            return self.words
        clips = f"{self.num_clips} clip{'s' if self.num_clips > 1 else ''}"
        crops = f"{self.num_crops} crop{'s' if self.num_crops > 1 else ''}"
        return f"{clips} x {crops}, short side {self.short_side}, crop {self.crop_size}, {self.ensemble}"


def batches_of_views(
    videos: Iterable[VideoViews], protocol: ViewProtocol, batch_size: int, device: torch.device
) -> Iterator[ClipBatch]:
    """Views of all videos in order, in batches of ``batch_size`` that run across videos.

    A video's frames go to the device as uint8, are normalised and resized there once, and the views are cut from them.
    """
    filling: list[_View] = []
    for video in videos:
        for view in _cut_views(video, protocol, device):
            filling.append(view)
            if len(filling) == batch_size:
                yield _stack(filling)
                filling = []
    if filling:
        yield _stack(filling)


@dataclass(frozen=True)
class _View:
    clip: Tensor
    label: Label
    video_index: int
    clip_index: int
    crop_index: int
    seconds: tuple[float, float]


def _cut_views(video: VideoViews, protocol: ViewProtocol, device: torch.device) -> Iterator[_View]:
    height, width = short_side_size(video.frames.shape[1], video.frames.shape[2], protocol.short_side)
    pixels = video.frames.to(device, non_blocking=True).permute(0, 3, 1, 2)
    frames = resize(normalize(pixels, protocol.mean, protocol.std), height, width)
    for k, rows in enumerate(video.rows.to(device)):
        for c in range(protocol.num_crops):
            box = view_crop(height, width, protocol.crop_size, c, protocol.num_crops)
            crop = frames[..., box.top : box.top + box.height, box.left : box.left + box.width]
            yield _View(
                clip=crop[rows].movedim(1, 0),
                label=video.label,
                video_index=video.video_index,
                clip_index=video.first_clip + k,
                crop_index=c,
                seconds=(float(video.seconds[k, 0]), float(video.seconds[k, 1])),
            )


def _stack(views: list[_View]) -> ClipBatch:
    return ClipBatch(
        video=torch.stack([view.clip for view in views]),
        labels=stack_labels([view.label for view in views]),
        video_index=torch.tensor([view.video_index for view in views]),
        clip_index=torch.tensor([view.clip_index for view in views]),
        crop_index=torch.tensor([view.crop_index for view in views]),
        start_sec=torch.tensor([view.seconds[0] for view in views], dtype=torch.float64),
        end_sec=torch.tensor([view.seconds[1] for view in views], dtype=torch.float64),
    )


@dataclass(frozen=True)
class MultiViewResult:
    """Scores of all views and videos.

    Attributes:
        videos: int64 [N']; indices of the videos that were tested, ascending.
        labels: int64 [N'], or bool [N', classes] where a video may have several.
        scores: float64 [N', classes]; sum (divided by the number of views) or max of the views' probabilities.
        top_classes, top_scores: int64 and float32 [N', V, k]; the best classes of each view, best first.
        seconds: float64 [N', V, 2]; time of each view's first and last frame.
        view_probabilities: float32 [N', V, classes], or None unless they were asked for.
        num_crops: crops per clip, so that view v is clip v // num_crops and crop v % num_crops.
    """

    videos: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    top_classes: np.ndarray
    top_scores: np.ndarray
    seconds: np.ndarray
    view_probabilities: np.ndarray | None
    num_crops: int

    def top(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best classes of each video and their scores, [N', k], best first; ties go to the lower class."""
        order = np.argsort(-self.scores, axis=1, kind="stable")[:, :k]
        return order, np.take_along_axis(self.scores, order, axis=1)

    def accuracy(self, k: int) -> float:
        """Percent of videos whose one label is among their k best classes; NaN without videos."""
        if not len(self.videos):
            return float("nan")
        return float((self.top(k)[0] == self.labels[:, None]).any(axis=1).mean() * 100)


_ROWS = ("labels", "totals", "top_classes", "top_scores", "seconds", "probabilities")  # of VideoRows and the evaluator


@dataclass(frozen=True)
class VideoRows:
    """What is known of videos when all their views are counted; one row each, in any order. Travels between processes.

    Attributes:
        videos: int64 [N]; indices of the videos.
        labels: int64 [N], or bool [N, classes] where a video may have several.
        totals: float64 [N, classes]; sum or max of the views' probabilities.
        top_classes, top_scores: int64 and float32 [N, V, k]; the best classes of each view, best first.
        seconds: float64 [N, V, 2]; time of each view's first and last frame.
        probabilities: float32 [N, V, classes], or None unless they are kept.
    """

    videos: np.ndarray
    labels: np.ndarray
    totals: np.ndarray
    top_classes: np.ndarray
    top_scores: np.ndarray
    seconds: np.ndarray
    probabilities: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, array in vars(self).items():
            assert array is None or len(array) == len(self.videos), f"{name} has {len(array)} rows, not {len(self)}"

    def __len__(self) -> int:
        return len(self.videos)

    def of(self, chosen: np.ndarray) -> Self:
        """The rows at int64 or bool ``chosen``, as copies."""
        return type(self)(**_rows_at(vars(self), chosen))


def _rows_at(arrays: Mapping[str, np.ndarray | None], places: np.ndarray) -> dict[str, Any]:
    return {name: None if array is None else array[places] for name, array in arrays.items()}


class MultiViewEvaluator:
    """Collects the probabilities of views in any order, each counted once, and joins them per video.

    Args:
        num_videos: length of the list; batches name videos by their index in it.
        num_classes: width of the probabilities.
        protocol: how many views make a video, and how they are joined.
        keep_probabilities: keep every view's probabilities, which takes num_videos * views * classes floats.
        multi_label: labels of batches are bool [B, num_classes].
        only: indices of the only videos that come, ascending; memory is taken for these. By default the whole list.
    """

    TOP = 5

    def __init__(
        self,
        num_videos: int,
        num_classes: int,
        protocol: ViewProtocol,
        *,
        keep_probabilities: bool = False,
        multi_label: bool = False,
        only: np.ndarray | None = None,
    ) -> None:
        self.videos = np.arange(num_videos) if only is None else only
        num_videos, views = len(self.videos), protocol.num_views
        self.protocol = protocol
        self.seen = np.zeros((num_videos, views), dtype=bool)
        self.labels = (
            np.zeros((num_videos, num_classes), dtype=bool) if multi_label else np.full(num_videos, -1, dtype=np.int64)
        )
        start = 0.0 if protocol.ensemble == "sum" else -np.inf
        self.totals = np.full((num_videos, num_classes), start, dtype=np.float64)
        self.num_top = min(self.TOP, num_classes)
        self.top_classes = np.zeros((num_videos, views, self.num_top), dtype=np.int64)
        self.top_scores = np.zeros((num_videos, views, self.num_top), dtype=np.float32)
        self.seconds = np.zeros((num_videos, views, 2), dtype=np.float64)
        self.probabilities = (
            np.zeros((num_videos, views, num_classes), dtype=np.float32) if keep_probabilities else None
        )

    def add(self, batch: ClipBatch, probabilities: Tensor) -> None:
        """Count the views of a batch; ``probabilities`` [B, classes]. A view that was counted before is ignored."""
        probabilities = probabilities.float().cpu()
        if not torch.isfinite(probabilities).all():
            raise UserError(
                "the model's scores are not finite numbers: its weights are ruined, or the precision is too low"
            )
        videos = self._places(batch.video_index.cpu().numpy())
        views = (batch.clip_index * self.protocol.num_crops + batch.crop_index).cpu().numpy()
        _, first = np.unique(np.stack((videos, views)), axis=1, return_index=True)  # a batch may hold a view twice
        rows = np.sort(first[~self.seen[videos[first], views[first]]])
        videos, views, probabilities = videos[rows], views[rows], probabilities[rows]
        self.seen[videos, views] = True
        self.labels[videos] = batch.labels.cpu().numpy()[rows]
        join_views(self.totals, videos, probabilities.double().numpy(), self.protocol.ensemble)
        top_scores, top_classes = probabilities.topk(self.num_top, dim=1)
        self.top_classes[videos, views] = top_classes.numpy()
        self.top_scores[videos, views] = top_scores.numpy()
        self.seconds[videos, views] = torch.stack((batch.start_sec, batch.end_sec), dim=1).cpu().numpy()[rows]
        if self.probabilities is not None:
            self.probabilities[videos, views] = probabilities.numpy()

    def shorten(self, num_clips: int) -> None:
        """Of every video no more than its first ``num_clips`` clips will come, and it is finished with these."""
        self.protocol = replace(self.protocol, num_clips=num_clips)
        views = self.protocol.num_views
        assert not self.seen[:, views:].any(), "views that are left out are counted already"
        for name in ("seen", "top_classes", "top_scores", "seconds", "probabilities"):
            array = getattr(self, name)
            setattr(self, name, None if array is None else array[:, :views])

    def finished(self) -> np.ndarray:
        """Indices int64 [N] of the videos all of whose views are counted, ascending."""
        return self.videos[self.seen.all(axis=1)]

    def rows(self, videos: np.ndarray) -> VideoRows:
        """Copies of the rows of some finished videos."""
        places = self._places(videos)
        assert self.seen[places].all(), "views of these videos are missing"
        return VideoRows(videos, **_rows_at({name: getattr(self, name) for name in _ROWS}, places))

    def add_rows(self, rows: VideoRows) -> None:
        """Take in finished videos of another evaluator. A video that is finished already is ignored."""
        places, first = np.unique(self._places(rows.videos), return_index=True)
        new = ~self.seen[places].all(axis=1)
        places, first = places[new], first[new]
        self.seen[places] = True
        for name in _ROWS:
            array, given = getattr(self, name), getattr(rows, name)
            if array is not None:
                array[places] = given[first]

    def _places(self, videos: np.ndarray) -> np.ndarray:
        """Where the arrays have these videos."""
        places = np.searchsorted(self.videos, videos)
        assert np.array_equal(self.videos.take(places, mode="clip"), videos), "videos that are not this evaluator's"
        return places

    def result(self, unreadable: Iterable[int] = ()) -> MultiViewResult:
        """The joined scores of all videos but the unreadable ones.

        Raises:
            UserError: a readable video has views that were never counted.
        """
        tested = ~np.isin(self.videos, list(unreadable))
        missing = np.argwhere(~self.seen & tested[:, None])
        if len(missing):
            place, view = missing[0]
            raise UserError(
                f"{len(missing)} views were not tested, the first is view {view} of video {self.videos[place]}"
            )
        places = np.flatnonzero(tested)
        divisor = self.protocol.num_views if self.protocol.ensemble == "sum" else 1
        return MultiViewResult(
            videos=self.videos[places],
            labels=self.labels[places],
            scores=self.totals[places] / divisor,
            top_classes=self.top_classes[places],
            top_scores=self.top_scores[places],
            seconds=self.seconds[places],
            view_probabilities=None if self.probabilities is None else self.probabilities[places],
            num_crops=self.protocol.num_crops,
        )
