"""Testing boxes: views of key frames cut on the device, batches of one size each, scores of boxes joined over the views.

Letters: K key frames, N boxes of all key frames in the order of the list, V views of a key frame, R boxes of a batch, T frames.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from slowfast_mvit.batches import AvaBatch, AvaViews
from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.spatial import normalize, resize, short_side_size, view_crop

_WAITING = 4  # batches' worth of views that wait for others of their size, at most


@dataclass(frozen=True)
class BoxProtocol:
    """How key frames are tested.

    Attributes:
        short_sides: pixels of the short side after the resize; a view for each, whose probabilities are averaged.
        crop_size: side of the central square that is tested; 0: whole frames.
        flip: test each view mirrored, too.
        mean, std: per channel, in 0..1.
        every: seconds that are divisible by it are tested, and count.
    """

    short_sides: tuple[int, ...]
    crop_size: int
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    every: int = 1

    @property
    def num_views(self) -> int:
        """Views of a key frame."""
        return len(self.short_sides) * (1 + self.flip)

    def __str__(self) -> str:
        sides = f"short side {', '.join(map(str, self.short_sides))}"
        area = f"centre crop {self.crop_size}" if self.crop_size else "whole frames"
        seconds = f", seconds divisible by {self.every}" if self.every > 1 else ""
        return f"{area}, {sides}{', and mirrored' if self.flip else ''}{seconds}"


@dataclass(frozen=True)
class _View:
    """A clip, normalised float [3, T, h, w], and its boxes float32 [n, 4] in its pixels."""

    clip: Tensor
    boxes: Tensor
    labels: Tensor
    video_index: int


def batches_of_boxes(
    key_frames: Iterable[AvaViews], protocol: BoxProtocol, batch_size: int, device: torch.device
) -> Iterator[AvaBatch]:
    """Views of all key frames in batches of at most ``batch_size``, each of clips of one size.

    Whole frames are of different sizes. A view waits for others of its size; when four batches' worth are waiting, the largest
    group goes as it is. Key frames of one video come after one another, so that few batches are not full.
    """
    waiting: dict[tuple[int, int], list[_View]] = {}
    for key_frame in key_frames:
        for view in _views(key_frame, protocol, device):
            size = (view.clip.shape[-2], view.clip.shape[-1])
            waiting.setdefault(size, []).append(view)
            if sum(map(len, waiting.values())) >= _WAITING * batch_size:
                size = max(waiting, key=lambda size: len(waiting[size]))
            elif len(waiting[size]) < batch_size:
                continue
            yield _stack(waiting.pop(size))
    for views in waiting.values():
        yield _stack(views)


def _views(key_frame: AvaViews, protocol: BoxProtocol, device: torch.device) -> Iterator[_View]:
    """The frames go to the device as uint8, and are normalised there once."""
    pixels = normalize(key_frame.frames.to(device, non_blocking=True).permute(0, 3, 1, 2), protocol.mean, protocol.std)
    for side in protocol.short_sides:
        height, width = short_side_size(pixels.shape[-2], pixels.shape[-1], side)
        frames = resize(pixels, height, width).movedim(1, 0)
        boxes = key_frame.boxes.to(device) * torch.tensor([width, height, width, height], device=device)
        if protocol.crop_size:
            box = view_crop(height, width, protocol.crop_size, 0, 1)
            frames = frames[..., box.top : box.top + box.height, box.left : box.left + box.width]
            boxes = (boxes - torch.tensor([box.left, box.top] * 2, device=device)).clamp(0, protocol.crop_size)
            width = protocol.crop_size
        yield _View(frames, boxes, key_frame.labels, key_frame.video_index)
        if protocol.flip:
            x1, y1, x2, y2 = boxes.unbind(dim=1)
            mirrored = torch.stack((width - x2, y1, width - x1, y2), dim=1)
            yield _View(frames.flip(-1), mirrored, key_frame.labels, key_frame.video_index)


def _stack(views: list[_View]) -> AvaBatch:
    counts = [len(view.boxes) for view in views]
    rows = torch.repeat_interleave(torch.arange(len(views)), torch.tensor(counts)).to(views[0].boxes)
    return AvaBatch(
        video=torch.stack([view.clip for view in views]),
        boxes=torch.cat((rows[:, None], torch.cat([view.boxes for view in views])), dim=1),
        labels=torch.cat([view.labels for view in views]),
        video_index=torch.tensor([view.video_index for view in views]),
        box_index=torch.cat([torch.arange(count) for count in counts]),
    )


@dataclass(frozen=True)
class BoxScores:
    """Scores of all boxes of some key frames. Travels between processes.

    Attributes:
        videos: int64 [K']; indices of the key frames.
        counts: int64 [K']; boxes of each.
        totals: float64 [sum of counts, classes]; sums over the views, in the order of the key frames and of their boxes.
    """

    videos: np.ndarray
    counts: np.ndarray
    totals: np.ndarray

    def __post_init__(self) -> None:
        assert len(self.videos) == len(self.counts) and len(self.totals) == self.counts.sum()

    def __len__(self) -> int:
        return len(self.videos)

    def of(self, chosen: np.ndarray) -> Self:
        """Those of the key frames at int64 or bool ``chosen``, as copies."""
        places = np.arange(len(self))[chosen]
        rows = _stretches((np.cumsum(self.counts) - self.counts)[places], self.counts[places])
        return type(self)(self.videos[places], self.counts[places], self.totals[rows])


@dataclass(frozen=True)
class BoxResult:
    """Joined scores of the key frames that were tested.

    Attributes:
        videos: int64 [K']; their indices, ascending.
        rows: int64 [N']; their boxes, as places among all boxes of the list, ascending.
        scores: float32 [N', classes]; mean over the views.
    """

    videos: np.ndarray
    rows: np.ndarray
    scores: np.ndarray


class BoxEvaluator:
    """Collects the probabilities of boxes in any order, each view counted once, and averages them over the views.

    Args:
        starts: int64 [K + 1]; boxes ``starts[k]`` to ``starts[k + 1]`` of the list are those of key frame k.
        num_classes: width of the probabilities.
        num_views: views that a key frame has.
        only: indices of the only key frames that come, ascending; memory is taken for these. By default the whole list.
    """

    def __init__(self, starts: np.ndarray, num_classes: int, num_views: int, *, only: np.ndarray | None = None) -> None:
        self.starts = starts
        self.num_views = num_views
        self.videos = np.arange(len(starts) - 1) if only is None else only
        self.counts = np.diff(starts)[self.videos]
        self.firsts = np.cumsum(self.counts) - self.counts
        self.seen = np.zeros(len(self.videos), dtype=np.int64)
        self.totals = np.zeros((int(self.counts.sum()), num_classes))

    def add(self, batch: AvaBatch, probabilities: Tensor) -> None:
        """Count the views of a batch; ``probabilities`` [R, classes]."""
        probabilities = probabilities.float().cpu()
        if not torch.isfinite(probabilities).all():
            raise UserError(
                "the model's scores are not finite numbers: its weights are ruined, or the precision is too low"
            )
        places = self._places(batch.video_index.cpu().numpy())
        rows = self.firsts[places[batch.boxes[:, 0].long().cpu().numpy()]] + batch.box_index.cpu().numpy()
        # Sums of float32 in float64 are exact for any reasonable number of views, so that their order changes nothing.
        np.add.at(self.totals, rows, probabilities.double().numpy())
        np.add.at(self.seen, places, 1)

    def finished(self) -> np.ndarray:
        """Indices int64 of the key frames all of whose views are counted, ascending."""
        return self.videos[self.seen == self.num_views]

    def rows(self, videos: np.ndarray) -> BoxScores:
        """Copies of the scores of some finished key frames."""
        places = self._places(videos)
        assert (self.seen[places] == self.num_views).all(), "views of these key frames are missing"
        counts = self.counts[places]
        return BoxScores(videos, counts, self.totals[_stretches(self.firsts[places], counts)])

    def add_rows(self, scores: BoxScores) -> None:
        """Take in finished key frames of another evaluator. One that is finished already is ignored."""
        _, first = np.unique(scores.videos, return_index=True)
        places = self._places(scores.videos[first])
        new = scores.of(first[self.seen[places] != self.num_views])
        places = self._places(new.videos)
        self.seen[places] = self.num_views
        self.totals[_stretches(self.firsts[places], self.counts[places])] = new.totals

    def result(self, unreadable: Iterable[int] = ()) -> BoxResult:
        """The joined scores of all key frames but the unreadable ones.

        Raises:
            UserError: a readable one has views that were never counted.
        """
        tested = ~np.isin(self.videos, list(unreadable))
        missing = self.videos[tested & (self.seen != self.num_views)]
        if len(missing):
            raise UserError(f"views of {len(missing)} key frames were not tested, the first is number {missing[0]}")
        places = np.flatnonzero(tested)
        counts = self.counts[places]
        totals = self.totals[_stretches(self.firsts[places], counts)]
        rows = _stretches(self.starts[self.videos[places]], counts)
        return BoxResult(self.videos[places], rows, (totals / self.num_views).astype(np.float32))

    def _places(self, videos: np.ndarray) -> np.ndarray:
        """Where the arrays have these key frames."""
        places = np.searchsorted(self.videos, videos)
        assert np.array_equal(self.videos.take(places, mode="clip"), videos), "key frames that are not this evaluator's"
        return places


def _stretches(firsts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The whole numbers firsts[i], ..., firsts[i] + counts[i] - 1 for all i in turn, int64."""
    starts = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) + np.repeat(firsts - starts, counts)
