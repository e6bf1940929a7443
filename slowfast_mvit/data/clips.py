"""Datasets of clips: training clips with repeats, and all test views of a video. A video is opened once for each item."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from slowfast_mvit.batches import Erasure, Label, TrainItem, UnreadableVideo, VideoViews, label_of
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.data.transforms import TrainTransform, frames_to_tensor
from slowfast_mvit.data.video import VideoError, VideoReader, open_video
from slowfast_mvit.data.video_frames import FrameFilesReader
from slowfast_mvit.ops.randomness import sample_rng
from slowfast_mvit.ops.temporal import (
    clip_indices,
    clip_span,
    random_segment_indices,
    random_start,
    segment_indices,
    view_start,
)


class Sampling(Protocol):
    """Which frames of a video its clips consist of."""

    @property
    def target_fps(self) -> float:
        """Frame rate of videos that have none of their own: images, one per frame."""

    @property
    def clip_seconds(self) -> float:
        """Length of a clip; 0 where clips are as long as what they are laid over."""

    def train_indices(self, video_frames: int, fps: Fraction, rng: np.random.Generator) -> np.ndarray:
        """Frame indices int64 [T] of a random clip."""

    def view_indices(self, video_frames: int, fps: Fraction, num_clips: int) -> np.ndarray:
        """Frame indices int64 [K, T] of the test clips."""


@dataclass(frozen=True)
class ClipSampling:
    """How a clip is laid over a part of a video: ``num_frames`` frames, ``sampling_rate`` apart at ``target_fps``."""

    num_frames: int
    sampling_rate: int
    target_fps: float = 30.0
    use_offset: bool = True

    @property
    def clip_seconds(self) -> float:
        """Length of a clip at any frame rate."""
        return self.num_frames * self.sampling_rate / self.target_fps

    def train_indices(self, video_frames: int, fps: Fraction, rng: np.random.Generator) -> np.ndarray:
        """Frame indices int64 [T] of a clip at a random place."""
        span = clip_span(self.num_frames, self.sampling_rate, fps, self.target_fps)
        return clip_indices(random_start(video_frames, span, rng), span, self.num_frames, video_frames)

    def view_indices(self, video_frames: int, fps: Fraction, num_clips: int) -> np.ndarray:
        """Frame indices int64 [K, T] of the test clips."""
        span = clip_span(self.num_frames, self.sampling_rate, fps, self.target_fps)
        starts = [view_start(video_frames, span, k, num_clips, self.use_offset) for k in range(num_clips)]
        return np.stack([clip_indices(start, span, self.num_frames, video_frames) for start in starts])


@dataclass(frozen=True)
class SegmentSampling:
    """How a clip is spread over a whole video: one frame of each of ``num_frames`` equal parts, at any frame rate."""

    num_frames: int
    target_fps: float = 30.0

    @property
    def clip_seconds(self) -> float:
        """0: a clip is as long as its video."""
        return 0.0

    def train_indices(self, video_frames: int, fps: Fraction, rng: np.random.Generator) -> np.ndarray:
        """Frame indices int64 [T], a random one of each part."""
        return random_segment_indices(video_frames, self.num_frames, rng)

    def view_indices(self, video_frames: int, fps: Fraction, num_clips: int) -> np.ndarray:
        """Frame indices int64 [K, T] of the test clips, around the middle of each part."""
        return segment_indices(video_frames, self.num_frames, num_clips)


@dataclass(frozen=True)
class SampleKey:
    """What is asked of a training set: a video of the list, in an epoch. All randomness follows from it."""

    epoch: int
    index: int


class TrainClips(Dataset[TrainItem | UnreadableVideo]):
    """Random clips: each item is one clip of a video, decoded once and augmented ``num_repeats`` times.

    With ``spare_first`` nothing is erased from the first repeat.
    """

    def __init__(
        self,
        videos: VideoList,
        sampling: Sampling,
        transform: TrainTransform,
        *,
        seed: int,
        num_repeats: int = 1,
        spare_first: bool = False,
        backend: str = "pyav",
    ) -> None:
        self.videos = videos
        self.sampling = sampling
        self.transform = transform
        self.seed = seed
        self.num_repeats = num_repeats
        self.spare_first = spare_first
        self.backend = backend

    def __len__(self) -> int:
        return len(self.videos)

    def unreadable(self, index: int, cause: str) -> UnreadableVideo:
        """What stands for video ``index`` if it cannot be read for this cause."""
        return UnreadableVideo(index, str(self.videos.paths[index]), self.backend, cause)

    def __getitem__(self, key: SampleKey) -> TrainItem | UnreadableVideo:
        """The clip of ``key``: a function of (seed, epoch, index, repeat) and of nothing else."""
        try:
            with open_listed(self.videos, key.index, self.backend, self.sampling.target_fps) as reader:
                rng = sample_rng(self.seed, key.epoch, key.index)
                indices = self.sampling.train_indices(reader.num_frames, reader.fps, rng)
                frames = frames_to_tensor(reader.frames_at(indices))
                seconds = reader.timestamps()[indices]
        except VideoError as error:
            return UnreadableVideo(key.index, error.path, error.backend, error.cause)
        repeats = [
            self.transform(frames, sample_rng(self.seed, key.epoch, key.index, repeat + 1))
            for repeat in range(self.num_repeats)
        ]
        return TrainItem(
            video=torch.stack([clip for clip, _ in repeats]),
            label=label_of(self.videos.labels, key.index),
            video_index=key.index,
            start_sec=float(seconds[0]),
            end_sec=float(seconds[-1]),
            erasures=tuple(Erasure() if self.spare_first and not i else drawn for i, (_, drawn) in enumerate(repeats)),
        )


class MultiViewVideos(Dataset[VideoViews | UnreadableVideo]):
    """All test clips of a video from one decode: the union of their frames, and which rows each clip takes."""

    def __init__(self, videos: VideoList, sampling: Sampling, *, num_clips: int, backend: str = "pyav") -> None:
        self.videos = videos
        self.sampling = sampling
        self.num_clips = num_clips
        self.backend = backend

    def __len__(self) -> int:
        return len(self.videos)

    def unreadable(self, index: int, cause: str) -> UnreadableVideo:
        """What stands for video ``index`` if it cannot be read for this cause."""
        return UnreadableVideo(index, str(self.videos.paths[index]), self.backend, cause)

    def __getitem__(self, index: int) -> VideoViews | UnreadableVideo:
        """Views of video ``index``, or why it cannot be read."""
        try:
            with open_listed(self.videos, index, self.backend, self.sampling.target_fps) as reader:
                clips = self.sampling.view_indices(reader.num_frames, reader.fps, self.num_clips)
                seconds = reader.timestamps()[clips[:, [0, -1]]]
                return read_clips(reader, clips, seconds, index, label_of(self.videos.labels, index))
        except VideoError as error:
            return UnreadableVideo(index, error.path, error.backend, error.cause)


def read_clips(reader: VideoReader, clips: np.ndarray, seconds: np.ndarray, index: int, label: Label) -> VideoViews:
    """The clips of one video, each frame decoded once.

    Args:
        reader: of the video.
        clips: int64 [K, T]; frame indices of each clip.
        seconds: float64 [K, 2]; what is said of each clip's time.
        index, label: of the video in its list.

    Raises:
        VideoError: a frame cannot be read.
    """
    needed, rows = np.unique(clips, return_inverse=True)
    frames = reader.frames_at(needed)
    return VideoViews(
        video_index=index,
        label=label,
        frames=torch.from_numpy(frames),
        rows=torch.from_numpy(rows.reshape(clips.shape)),
        seconds=torch.from_numpy(seconds),
        num_missing=len(reader.missing),
    )


def open_listed(videos: VideoList, index: int, backend: str, frame_fps: float) -> VideoReader:
    """A reader of video ``index``: of its listed images where the list gives them, else of its file or folder."""
    path = str(videos.paths[index])
    if videos.frames is not None:
        return FrameFilesReader(path, videos.frames[index], frame_fps)
    return open_video(path, backend, frame_fps=frame_fps)
