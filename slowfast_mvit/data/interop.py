"""Meeting PyTorchVideo: its dataset yields our clips through our sampler, and our items look like its dictionaries."""

import math
from fractions import Fraction
from typing import Any

import torch
from pytorchvideo.data.clip_sampling import ClipInfo, ClipSampler
from torch import Tensor

from slowfast_mvit.batches import TrainItem
from slowfast_mvit.ops.temporal import clip_indices, clip_span, view_start


class OffsetClipSampler(ClipSampler):
    """The official test clips as a sampler for ``pytorchvideo.data.labeled_video_dataset``.

    PyTorchVideo's readers return every frame of the interval that a sampler names; :meth:`select` picks the clip's own frames
    out of them, so it belongs at the head of the dataset's transform.

    Args:
        num_frames, sampling_rate: of the recipe.
        fps: frame rate of the videos.
        num_clips: clips per video.
        target_fps: frame rate at which the sampling rate counts.
    """

    def __init__(
        self,
        num_frames: int,
        sampling_rate: int,
        *,
        fps: Fraction | float,
        num_clips: int = 1,
        target_fps: float = 30.0,
    ) -> None:
        self._num_frames = num_frames
        self._fps = Fraction(fps)
        self._span = clip_span(num_frames, sampling_rate, fps, target_fps)
        self._num_clips = num_clips
        self._next = 0
        super().__init__(Fraction(self._span) / self._fps)

    def __call__(
        self, last_clip_end_time: Fraction | float | None, video_duration: Fraction | float, annotation: dict[str, Any]
    ) -> ClipInfo:
        """The next clip of a video that lasts ``video_duration`` seconds, as a half-open interval in seconds."""
        video_frames = round(video_duration * self._fps)
        start = math.floor(view_start(video_frames, self._span, self._next, self._num_clips, use_offset=True))
        end = min(start + math.ceil(self._span), video_frames)
        index, self._next = self._next, self._next + 1
        return ClipInfo(start / self._fps, end / self._fps, index, 0, self._next == self._num_clips)

    def select(self, video: Tensor) -> Tensor:
        """The frames [3, num_frames, H, W] of a clip out of all frames [3, N, H, W] of its interval."""
        indices = clip_indices(0.0, self._span, self._num_frames, video.shape[1])
        return video[:, torch.from_numpy(indices)]

    def reset(self) -> None:
        """Begin with the first clip again; PyTorchVideo calls it between videos."""
        self._next = 0


def to_pytorchvideo(item: TrainItem, name: str, repeat: int = 0) -> dict[str, Any]:
    """One repeat of a training item as PyTorchVideo's sample dictionary.

    ``video`` is uint8 [3, T, H, W]; ``aug_index`` numbers the repeat.
    """
    return {
        "video": item.video[repeat],
        "video_name": name,
        "video_index": item.video_index,
        "clip_index": 0,
        "aug_index": repeat,
        "label": item.label,
    }
