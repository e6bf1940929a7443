"""Windows that slide over videos of any length: where they lie, and their clips from one decode in little memory.

Letters: W windows of a video, T frames of a clip, n frames of the video.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from slowfast_mvit.batches import UnreadableVideo, VideoViews, label_of
from slowfast_mvit.data.clips import Sampling, read_clips
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.data.video import TIME_TOLERANCE, VideoError, VideoReader, open_video

LONG_SECONDS = 60.0
"""From this length on a video is looked at window by window, unless something else is asked for."""
SEGMENT_WINDOW = 4.0
"""Seconds of a window for models whose clip is spread over whatever it is given: the length of Something-Something's videos."""
_HELD = 128_000_000  # bytes of frames of one video that are read at once


@dataclass(frozen=True)
class Windows:
    """Windows of ``seconds``, whose starts are ``stride`` seconds apart."""

    seconds: float
    stride: float

    def bounds(self, duration: float, frame_seconds: float) -> np.ndarray:
        """Start and end, float64 [W, 2] in seconds, of the windows over a video of ``duration``.

        Windows are whole: where the last one would leave more than a frame, one more ends with the video. A video that is
        shorter than a window has one window, itself.
        """
        if duration <= self.seconds:
            return np.array([[0.0, duration]])
        starts = np.arange(math.floor((duration - self.seconds) / self.stride + TIME_TOLERANCE) + 1) * self.stride
        if duration - (starts[-1] + self.seconds) > frame_seconds:
            starts = np.append(starts, duration - self.seconds)
        return np.stack((starts, np.minimum(starts + self.seconds, duration)), axis=1)


def window_clips(times: np.ndarray, fps: Fraction, sampling: Sampling, bounds: np.ndarray) -> np.ndarray:
    """Frame indices int64 [W, T]: in each window the one test clip of the model, in its middle.

    Where a clip is longer than the window it reaches out of it on both sides, as far as the video does.

    Args:
        times: of the frames, float64 [n] in seconds, ascending.
        fps: frame rate of the video.
        sampling: of the model's clips.
        bounds: float64 [W, 2]; see :meth:`Windows.bounds`.
    """
    least = min(math.ceil(sampling.clip_seconds * float(fps)), len(times))
    firsts, stops = np.searchsorted(times, bounds - TIME_TOLERANCE).T
    firsts = np.minimum(firsts, len(times) - 1)
    counts = np.maximum(stops - firsts, max(least, 1))
    firsts = np.clip(firsts - (counts - (stops - firsts)) // 2, 0, len(times) - counts)
    laid = {count: sampling.view_indices(count, fps, 1)[0] for count in np.unique(counts).tolist()}
    return np.stack([first + laid[count] for first, count in zip(firsts.tolist(), counts.tolist(), strict=True)])


@dataclass(frozen=True)
class LongVideo:
    """A video whose clips are too much to be held at once, or that is damaged: which, and how many there are.

    Its clips come one by one.
    """

    video_index: int
    num_clips: int


class GivenClips(Dataset[VideoViews | LongVideo | UnreadableVideo]):
    """The clips of videos that somebody wants to know about: the views of the test, or those of windows.

    Args:
        videos: the list.
        sampling: of the model's clips.
        num_clips: of the test, for videos that are not looked at by windows.
        windows: for all videos; None: the test's views for all.
        from_seconds: videos shorter than this have the test's views all the same.
        backend: that reads the files.
    """

    def __init__(
        self,
        videos: VideoList,
        sampling: Sampling,
        *,
        num_clips: int,
        windows: Windows | None,
        from_seconds: float = 0.0,
        backend: str = "pyav",
    ) -> None:
        self.videos = videos
        self.sampling = sampling
        self.num_clips = num_clips
        self.windows = windows
        self.from_seconds = from_seconds
        self.backend = backend

    def __len__(self) -> int:
        return len(self.videos)

    def unreadable(self, index: int, cause: str) -> UnreadableVideo:
        """What stands for video ``index`` if it cannot be read for this cause."""
        return UnreadableVideo(index, str(self.videos.paths[index]), self.backend, cause)

    def __getitem__(self, index: int) -> VideoViews | LongVideo | UnreadableVideo:
        """Clips of video ``index``, or how many there are where :meth:`stream` must give them, or why it cannot be read."""
        try:
            with self._open(index) as reader:
                clips, seconds, by_windows = self._plan(reader)
                num_bytes = len(np.unique(clips)) * reader.height * reader.width * 3
                if by_windows and num_bytes > _HELD:
                    return LongVideo(index, len(clips))
                try:
                    return read_clips(reader, clips, seconds, index, label_of(self.videos.labels, index))
                except VideoError:
                    if not by_windows or len(clips) == 1:
                        raise
                    return LongVideo(index, len(clips))  # one by one, those before the damage come
        except VideoError as error:
            return UnreadableVideo(index, error.path, error.backend, error.cause)

    def stream(self, index: int) -> Iterator[VideoViews]:
        """The clips of a :class:`LongVideo` one by one: its frames are decoded once, in order, and few of them are held.

        Raises:
            VideoError: a frame cannot be read; the clips before it have come.
        """
        with self._open(index) as reader:
            clips, seconds, _ = self._plan(reader)
            pictures = reader.pictures(np.unique(clips))
            held: dict[int, np.ndarray] = {}
            for number, clip in enumerate(clips):
                needed, rows = np.unique(clip, return_inverse=True)
                for passed in [at for at in held if at < needed[0]]:
                    del held[passed]
                while needed[-1] not in held:
                    at, picture = next(pictures)
                    held[at] = picture
                yield VideoViews(
                    video_index=index,
                    label=label_of(self.videos.labels, index),
                    frames=torch.from_numpy(np.stack([held[at] for at in needed.tolist()])),
                    rows=torch.from_numpy(rows)[None],
                    seconds=torch.from_numpy(seconds[number : number + 1]),
                    num_missing=len(reader.missing) if number == len(clips) - 1 else 0,
                    first_clip=number,
                )

    def _plan(self, reader: VideoReader) -> tuple[np.ndarray, np.ndarray, bool]:
        """Clips int64 [K, T], their seconds float64 [K, 2], and whether they are those of windows."""
        times, fps = reader.timestamps(), reader.fps
        frame = 1 / float(fps)
        duration = float(times[-1]) + frame
        if self.windows is None or duration < self.from_seconds:
            clips = self.sampling.view_indices(reader.num_frames, fps, self.num_clips)
            return clips, times[clips[:, [0, -1]]], False
        bounds = self.windows.bounds(duration, frame)
        return window_clips(times, fps, self.sampling, bounds), bounds, True

    def _open(self, index: int) -> VideoReader:
        return open_video(Path(str(self.videos.paths[index])), self.backend)
