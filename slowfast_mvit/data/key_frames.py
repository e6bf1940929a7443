"""Datasets of key frames: the clip around each, with the boxes of its people. A video is opened once for each item."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from slowfast_mvit.batches import AvaItem, AvaViews, UnreadableVideo
from slowfast_mvit.data.ava import AvaList
from slowfast_mvit.data.clips import SampleKey
from slowfast_mvit.data.transforms import CropRule, crop_and_resize, frames_to_tensor
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.ops.boxes import at_least, boxes_in_crop, mirrored
from slowfast_mvit.ops.randomness import sample_rng
from slowfast_mvit.ops.temporal import key_frame_indices

_DRAWS = 10  # of a crop, while nobody is in it
_PAST_THE_END = 1.0
"""Seconds that a key frame may lie past the last frame, which then stands for it: films end within their last second."""


@dataclass(frozen=True)
class KeyFrameSampling:
    """The clip around a key frame: ``num_frames`` frames, ``sampling_rate`` apart at ``target_fps``.

    Folders of frames have the rate ``target_fps``.
    """

    num_frames: int
    sampling_rate: int
    target_fps: float = 30.0


@dataclass(frozen=True)
class KeyFrameTransform:
    """One augmented clip with its boxes; the same draw for all frames.

    Attributes:
        size: side of the clip that the model is fed.
        crop: rule of the crop (AVA: short-side jitter).
        flip: mirror every second clip.
    """

    size: int
    crop: CropRule
    flip: bool

    def __call__(
        self, frames: Tensor, boxes: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Frames and boxes of a crop.

        It is drawn anew while nobody is in it, ten times at most.

        Args:
            frames: uint8 [T, 3, H, W].
            boxes: [n, 4] in parts of width and height.
            rng: of all draws.

        Returns:
            The clip, uint8 [3, T, size, size]; boxes [n, 4] in its pixels, clipped; and which of them are in it, at least one
            pixel wide and high, bool [n].
        """
        height, width = frames.shape[2:]
        for _ in range(_DRAWS):
            box = self.crop(height, width, rng)
            moved = boxes_in_crop(boxes, height, width, box, self.size)
            seen = at_least(moved, 1.0)
            if seen.any():
                break
        clip = crop_and_resize(frames, box, self.size)
        if self.flip and rng.random() < 0.5:
            clip, moved = clip.flip(-1), mirrored(moved, self.size)
        return clip.movedim(0, 1).contiguous(), moved, seen


class KeyFrameClips(Dataset[AvaItem | UnreadableVideo]):
    """Training clips: the one around each key frame.

    People of whom the crop shows nothing are left out; PySlowFast keeps them, with boxes without area.
    """

    def __init__(
        self,
        keys: AvaList,
        sampling: KeyFrameSampling,
        transform: KeyFrameTransform,
        *,
        seed: int,
        backend: str = "pyav",
    ) -> None:
        self.keys = keys
        self.sampling = sampling
        self.transform = transform
        self.seed = seed
        self.backend = backend

    def __len__(self) -> int:
        return len(self.keys)

    def unreadable(self, index: int, cause: str) -> UnreadableVideo:
        """What stands for key frame ``index`` if its video cannot be read for this cause."""
        return _unreadable(self.keys, index, self.backend, cause)

    def __getitem__(self, key: SampleKey) -> AvaItem | UnreadableVideo:
        """The clip of ``key``: a function of (seed, epoch, index) and of nothing else."""
        try:
            frames, _ = read_clip(self.keys, key.index, self.sampling, self.backend)
        except VideoError as error:
            return UnreadableVideo(key.index, error.path, error.backend, error.cause)
        rows = self.keys.rows_of(key.index)
        rng = sample_rng(self.seed, key.epoch, key.index)
        video, boxes, seen = self.transform(frames_to_tensor(frames), self.keys.boxes[rows], rng)
        return AvaItem(
            video=video,
            boxes=torch.from_numpy(boxes[seen].astype(np.float32)),
            labels=torch.from_numpy(self.keys.box_labels[rows][seen]),
            video_index=key.index,
        )


class KeyFrameViews(Dataset[AvaViews | UnreadableVideo]):
    """Test clips: the whole frames around each key frame, as decoded, with all boxes."""

    def __init__(self, keys: AvaList, sampling: KeyFrameSampling, *, backend: str = "pyav") -> None:
        self.keys = keys
        self.sampling = sampling
        self.backend = backend

    def __len__(self) -> int:
        return len(self.keys)

    def unreadable(self, index: int, cause: str) -> UnreadableVideo:
        """What stands for key frame ``index`` if its video cannot be read for this cause."""
        return _unreadable(self.keys, index, self.backend, cause)

    def __getitem__(self, index: int) -> AvaViews | UnreadableVideo:
        """The clip of key frame ``index``, or why its video cannot be read."""
        try:
            frames, missing = read_clip(self.keys, index, self.sampling, self.backend)
        except VideoError as error:
            return UnreadableVideo(index, error.path, error.backend, error.cause)
        rows = self.keys.rows_of(index)
        return AvaViews(
            video_index=index,
            frames=torch.from_numpy(frames),
            boxes=torch.from_numpy(self.keys.boxes[rows].astype(np.float32)),
            labels=torch.from_numpy(self.keys.box_labels[rows]),
            num_missing=missing,
        )


def read_clip(keys: AvaList, index: int, sampling: KeyFrameSampling, backend: str) -> tuple[np.ndarray, int]:
    """The frames around key frame ``index``, uint8 RGB [T, H, W, 3], and how many could not be decoded and were replaced.

    Raises:
        VideoError: the video cannot be read, or does not reach the key frame.
    """
    with keys.videos.open(int(keys.key_videos[index]), backend, sampling.target_fps) as reader:
        times = reader.timestamps()
        start = keys.start_of(index, float(times[-1]))
        key_sec = int(keys.key_seconds[index]) - start
        if not reaches(float(times[-1]), key_sec):
            raise VideoError(
                reader.path,
                reader.backend,
                f"its frames are of seconds {start:g} to {start + times[-1]:.1f}, and second {keys.key_seconds[index]} is "
                "asked for: set AVA.FIRST_SECOND, or mend the box lists",
            )
        frames = reader.frames_at(
            key_frame_indices(times, key_sec, sampling.num_frames, sampling.sampling_rate, sampling.target_fps)
        )
        return frames, len(reader.missing)


def reaches(last_time: float, key_sec: float | np.ndarray) -> np.ndarray:
    """Whether a video whose last frame is at ``last_time`` has the key frame at ``key_sec``, both from its first frame on."""
    return np.logical_and(key_sec >= 0, key_sec <= last_time + _PAST_THE_END)


def _unreadable(keys: AvaList, index: int, backend: str, cause: str) -> UnreadableVideo:
    return UnreadableVideo(index, str(keys.videos.paths[keys.key_videos[index]]), backend, cause)
