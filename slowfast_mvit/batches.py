"""What travels between data, models and evaluation: named, shape-checked at construction.

Letters: B clips in a batch, T frames of a clip, K clips of a video, U frames that a video's clips use together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from slowfast_mvit.pictures import DetectionBatch

Label = int | np.ndarray  # the number of a video's class, or bool [classes] where it may have several


@dataclass(frozen=True)
class EraseBox:
    """A rectangle to erase in every frame of a clip, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Erasure:
    """What random erasing does to one clip: the boxes, and the seed of the noise that fills them."""

    boxes: tuple[EraseBox, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class ClipBatch:
    """Clips with their origin.

    Attributes:
        video: [B, 3, T, H, W]; uint8 RGB 0..255 from the training loader, normalised float in tests.
        labels: int64 [B], or bool [B, classes] where a video may have several.
        video_index, clip_index, crop_index: int64 [B]; which video of the list, which clip of it, which crop.
        start_sec, end_sec: float64 [B]; time of the clip's first and last frame.
        erasures: one per clip, or empty where nothing is erased.
    """

    video: Tensor
    labels: Tensor
    video_index: Tensor
    clip_index: Tensor
    crop_index: Tensor
    start_sec: Tensor
    end_sec: Tensor
    erasures: tuple[Erasure, ...] = ()

    def __post_init__(self) -> None:
        B = len(self.video)
        assert self.video.dim() == 5, f"video must be [B, C, T, H, W], got {tuple(self.video.shape)}"
        several = self.labels.dim() == 2 and self.labels.dtype == torch.bool
        assert len(self.labels) == B and (several or self.labels.dim() == 1), (
            f"labels must be [{B}], got {tuple(self.labels.shape)}"
        )
        for name in ("video_index", "clip_index", "crop_index", "start_sec", "end_sec"):
            assert getattr(self, name).shape == (B,), f"{name} must be [{B}], got {tuple(getattr(self, name).shape)}"
        assert len(self.erasures) in (0, B), f"{len(self.erasures)} erasures for {B} clips"

    def __len__(self) -> int:
        return len(self.video)

    @property
    def num_scored(self) -> int:
        """How many things the mean of a loss is over: clips."""
        return len(self)

    def to(self, device: torch.device) -> Self:
        """The batch with all tensors on ``device``."""
        moved = {
            f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self) if f.name != "erasures"
        }
        return replace(self, **moved)

    def pin_memory(self) -> Self:
        """The batch in pinned memory, for the data loader."""
        pinned = {f.name: getattr(self, f.name).pin_memory() for f in fields(self) if f.name != "erasures"}
        return replace(self, **pinned)

    def part(self, start: int, stop: int) -> Self:
        """The clips from ``start`` to ``stop``, on the same memory."""
        return replace(self, **{f.name: getattr(self, f.name)[start:stop] for f in fields(self)})


@dataclass(frozen=True)
class TrainItem:
    """One training video: R augmented repeats of one clip, decoded once.

    Attributes:
        video: uint8 [R, 3, T, H, W].
        label, video_index: of the video.
        start_sec, end_sec: time of the clip's first and last frame.
        erasures: one per repeat.
    """

    video: Tensor
    label: Label
    video_index: int
    start_sec: float
    end_sec: float
    erasures: tuple[Erasure, ...]

    def __post_init__(self) -> None:
        assert self.video.dim() == 5, f"video must be [R, C, T, H, W], got {tuple(self.video.shape)}"
        assert len(self.erasures) == len(self.video)


@dataclass(frozen=True)
class VideoViews:
    """Everything a test needs of one video, decoded once; or the next clips of a video too long to be held at once.

    Attributes:
        video_index, label: of the video.
        frames: uint8 RGB [U, H, W, 3]; the frames that any clip uses, once each.
        rows: int64 [K, T]; for each clip the rows of ``frames`` that it consists of.
        seconds: float64 [K, 2]; time of each clip's first and last frame.
        num_missing: frames at the end of the file that could not be decoded and were replaced by the last one that could.
        first_clip: number of the first of these clips among those of the video.
    """

    video_index: int
    label: Label
    frames: Tensor
    rows: Tensor
    seconds: Tensor
    num_missing: int = 0
    first_clip: int = 0

    def __post_init__(self) -> None:
        assert self.frames.dim() == 4 and self.frames.shape[-1] == 3, (
            f"frames must be [U, H, W, 3], got {self.frames.shape}"
        )
        assert self.rows.dim() == 2 and self.seconds.shape == (len(self.rows), 2)


@dataclass(frozen=True)
class UnreadableVideo:
    """A video that could not be read: which, by what, and why. Crosses worker processes in place of an item."""

    video_index: int
    path: str
    backend: str
    cause: str


def label_of(labels: np.ndarray, index: int) -> Label:
    """The label of an entry: its number of int64 [N], or its row of bool [N, classes]."""
    return labels[index] if labels.ndim == 2 else int(labels[index])


def stack_labels(labels: Sequence[Label]) -> Tensor:
    """Labels of a batch: int64 [B], or bool [B, classes]."""
    return torch.from_numpy(np.array(labels))


@dataclass(frozen=True)
class AvaBatch:
    """Clips around key frames, with people in boxes. Letters: R boxes of all B clips together.

    Attributes:
        video: [B, 3, T, H, W]; uint8 RGB 0..255 in training, normalised float in tests.
        boxes: float32 [R, 5]; row of the clip in the batch, then x1, y1, x2, y2 in pixels of ``video``.
        labels: bool [R, classes]; what each person does, all False where nobody knows.
        video_index: int64 [B]; which key frame of the list.
        box_index: int64 [R]; which box of its key frame.
    """

    video: Tensor
    boxes: Tensor
    labels: Tensor
    video_index: Tensor
    box_index: Tensor

    def __post_init__(self) -> None:
        B, R = len(self.video), len(self.boxes)
        assert self.video.dim() == 5, f"video must be [B, C, T, H, W], got {tuple(self.video.shape)}"
        assert self.boxes.shape == (R, 5), f"boxes must be [R, 5], got {tuple(self.boxes.shape)}"
        assert self.labels.dim() == 2 and len(self.labels) == R, (
            f"labels must be [{R}, classes], got {self.labels.shape}"
        )
        assert self.video_index.shape == (B,) and self.box_index.shape == (R,)

    def __len__(self) -> int:
        return len(self.video)

    @property
    def num_scored(self) -> int:
        """How many things the mean of a loss is over: boxes."""
        return len(self.boxes)

    def to(self, device: torch.device) -> Self:
        """The batch with all tensors on ``device``."""
        return replace(self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})

    def pin_memory(self) -> Self:
        """The batch in pinned memory, for the data loader."""
        return replace(self, **{f.name: getattr(self, f.name).pin_memory() for f in fields(self)})


BatchT = TypeVar("BatchT", ClipBatch, AvaBatch, DetectionBatch)


@dataclass(frozen=True)
class AvaItem:
    """The clip around one key frame, with its people.

    Attributes:
        video: uint8 [3, T, H, W].
        boxes: float32 [n, 4]; x1, y1, x2, y2 in pixels of ``video``.
        labels: bool [n, classes].
        video_index: which key frame of the list.
    """

    video: Tensor
    boxes: Tensor
    labels: Tensor
    video_index: int

    def __post_init__(self) -> None:
        assert self.video.dim() == 4, f"video must be [C, T, H, W], got {tuple(self.video.shape)}"
        assert self.boxes.shape == (len(self.labels), 4) and self.labels.dim() == 2


@dataclass(frozen=True)
class AvaViews:
    """The clip around one key frame as decoded, with its people, for a test.

    Attributes:
        video_index: which key frame of the list.
        frames: uint8 RGB [T, H, W, 3].
        boxes: float32 [n, 4]; x1, y1, x2, y2 in parts of the frame's width and height.
        labels: bool [n, classes]; all False where nobody knows.
        num_missing: frames at the end of the file that could not be decoded and were replaced by the last one that could.
    """

    video_index: int
    frames: Tensor
    boxes: Tensor
    labels: Tensor
    num_missing: int = 0

    def __post_init__(self) -> None:
        assert self.frames.dim() == 4 and self.frames.shape[-1] == 3, (
            f"frames must be [T, H, W, 3], got {self.frames.shape}"
        )
        assert self.boxes.shape == (len(self.labels), 4) and self.labels.dim() == 2


@dataclass(frozen=True)
class TrainPass(Generic[BatchT]):
    """What one process is given for one forward pass.

    Attributes:
        clips: of the videos that could be read; None where none could, or none fell to this process.
        unreadable: the other videos.
    """

    clips: BatchT | None
    unreadable: tuple[UnreadableVideo, ...] = ()

    def pin_memory(self) -> Self:
        """The clips in pinned memory, for the data loader."""
        return self if self.clips is None else replace(self, clips=self.clips.pin_memory())


def collate_clips(items: Sequence[TrainItem | UnreadableVideo]) -> TrainPass[ClipBatch]:
    """Items to a batch, repeats of a video next to each other; the videos that could not be read beside it."""
    readable = [item for item in items if isinstance(item, TrainItem)]
    unreadable = tuple(item for item in items if isinstance(item, UnreadableVideo))
    if not readable:
        return TrainPass(None, unreadable)
    repeats = torch.tensor([len(item.video) for item in readable])
    zeros = torch.zeros(int(repeats.sum()), dtype=torch.int64)
    clips = ClipBatch(
        video=torch.cat([item.video for item in readable]),
        labels=stack_labels([item.label for item in readable]).repeat_interleave(repeats, dim=0),
        video_index=torch.tensor([item.video_index for item in readable]).repeat_interleave(repeats),
        clip_index=zeros,
        crop_index=zeros.clone(),
        start_sec=torch.tensor([item.start_sec for item in readable], dtype=torch.float64).repeat_interleave(repeats),
        end_sec=torch.tensor([item.end_sec for item in readable], dtype=torch.float64).repeat_interleave(repeats),
        erasures=tuple(erasure for item in readable for erasure in item.erasures),
    )
    return TrainPass(clips, unreadable)


def collate_key_frames(items: Sequence[AvaItem | UnreadableVideo]) -> TrainPass[AvaBatch]:
    """Clips of one size to a batch; the ones that could not be read beside it."""
    readable = [item for item in items if isinstance(item, AvaItem)]
    unreadable = tuple(item for item in items if isinstance(item, UnreadableVideo))
    if not readable:
        return TrainPass(None, unreadable)
    rows = torch.cat([torch.full((len(item.boxes), 1), float(row)) for row, item in enumerate(readable)])
    clips = AvaBatch(
        video=torch.stack([item.video for item in readable]),
        boxes=torch.cat((rows, torch.cat([item.boxes for item in readable])), dim=1),
        labels=torch.cat([item.labels for item in readable]),
        video_index=torch.tensor([item.video_index for item in readable]),
        box_index=torch.cat([torch.arange(len(item.boxes)) for item in readable]),
    )
    return TrainPass(clips, unreadable)
