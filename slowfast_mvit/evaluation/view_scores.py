"""Scores of videos that have different numbers of views, each given out as soon as it is whole.

Letters: V views of a video (clips x crops, clip-major), R rows: the views of several videos one after the other.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from torch import Tensor

from slowfast_mvit.batches import ClipBatch
from slowfast_mvit.evaluation.multiview import MultiViewEvaluator, MultiViewResult, ViewProtocol


@dataclass(frozen=True)
class VideoScores:
    """What is known of one video when all of its views are counted.

    Attributes:
        result: of this video alone.
        features: float32 [V, ...]; what the model's layer gives for each view, or None where none is asked for.
    """

    result: MultiViewResult
    features: np.ndarray | None = None

    @property
    def video_index(self) -> int:
        """Which video of the list."""
        return int(self.result.videos[0])

    def clip_scores(self, ensemble: str) -> tuple[np.ndarray, np.ndarray]:
        """Scores of each clip, float [clips, classes], its crops joined, and start and end, float64 [clips, 2] in seconds.

        Args:
            ensemble: ``max`` for the highest score of a class in any crop, else the mean; of :class:`ViewProtocol`.
        """
        views = self.result.view_probabilities
        assert views is not None  # they were to be kept
        crops = views[0].reshape(-1, self.result.num_crops, views.shape[-1])
        joined = crops.max(axis=1) if ensemble == "max" else crops.mean(axis=1)
        return joined, self.result.seconds[0, :: self.result.num_crops]

    def arrays(self) -> dict[str, np.ndarray]:
        """All but the place in the list, by name; :meth:`of_arrays` takes them back."""
        named = vars(self.result) | {"features": self.features, "num_crops": np.array(self.result.num_crops)}
        return {name: array for name, array in named.items() if array is not None and name != "videos"}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray], video_index: int) -> "VideoScores":
        """What :meth:`arrays` gave, as the video of that place in a list."""
        given: dict[str, Any] = {"view_probabilities": None, **arrays}
        features, num_crops = given.pop("features", None), int(given.pop("num_crops"))
        return cls(MultiViewResult(np.array([video_index]), num_crops=num_crops, **given), features)


class ViewCollector:
    """Joins the views of videos, whose numbers of clips are said when their first ones come.

    Args:
        num_classes: width of the probabilities.
        protocol: crops of a clip, and how views are joined; its number of clips does not count.
        keep_probabilities: keep those of every view, for :attr:`MultiViewResult.view_probabilities`.
    """

    def __init__(self, num_classes: int, protocol: ViewProtocol, *, keep_probabilities: bool = False) -> None:
        self.num_classes = num_classes
        self.protocol = protocol
        self.keep_probabilities = keep_probabilities
        self._open: dict[int, tuple[MultiViewEvaluator, list[np.ndarray]]] = {}

    def expect(self, video_index: int, num_clips: int) -> None:
        """Of this video so many clips will come, in order."""
        self._open[video_index] = (
            MultiViewEvaluator(
                video_index + 1,
                self.num_classes,
                replace(self.protocol, num_clips=num_clips),
                keep_probabilities=self.keep_probabilities,
                only=np.array([video_index]),
            ),
            [],
        )

    def drop(self, video_index: int) -> None:
        """Forget a video: nothing of it can be read."""
        self._open.pop(video_index, None)

    def cut(self, video_index: int, num_clips: int) -> Iterator[VideoScores]:
        """Of an open video no more than its first ``num_clips`` clips come, one at least; gives it if it is whole by that."""
        self._open[video_index][0].shorten(num_clips)
        yield from self._whole(video_index)

    def share(self, video_index: int) -> float:
        """Which part of a video's views are counted, 0 to 1; 0 for one that is not open."""
        return float(self._open[video_index][0].seen.mean()) if video_index in self._open else 0.0

    def add(self, batch: ClipBatch, probabilities: Tensor, features: np.ndarray | None = None) -> Iterator[VideoScores]:
        """Count the views of a batch, and give the videos that are whole by that.

        Args:
            batch: clips of a video stand next to each other.
            probabilities: [B, classes].
            features: [B, ...] of the batch, or None.

        Raises:
            UserError: the probabilities are not finite.
        """
        indices = batch.video_index.tolist()
        start = 0
        for video_index, rows in groupby(indices):
            stop = start + len(list(rows))
            if video_index in self._open:
                evaluator, kept = self._open[video_index]
                evaluator.add(batch.part(start, stop), probabilities[start:stop])
                if features is not None:
                    kept.append(features[start:stop])
                yield from self._whole(video_index)
            start = stop

    def _whole(self, video_index: int) -> Iterator[VideoScores]:
        evaluator, kept = self._open[video_index]
        if evaluator.seen.all():
            del self._open[video_index]
            yield VideoScores(evaluator.result(), np.concatenate(kept) if kept else None)


def joined_results(scores: Iterable[VideoScores]) -> list[MultiViewResult]:
    """The results of videos in their order, those next to each other with as many views as one."""
    joined = []
    for _, group in groupby((one.result for one in scores), key=lambda result: result.top_classes.shape[1]):
        results = list(group)
        arrays: dict[str, Any] = {
            name: None if array is None else np.concatenate([getattr(result, name) for result in results])
            for name, array in vars(results[0]).items()
            if name != "num_crops"
        }
        joined.append(replace(results[0], **arrays))
    return joined
