"""PyTorchVideo's own dataset, run with our sampler, gives our clips."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorchvideo.data import labeled_video_dataset
from torch.utils.data import SequentialSampler

from slowfast_mvit.batches import Erasure, TrainItem
from slowfast_mvit.data.clips import ClipSampling, MultiViewVideos
from slowfast_mvit.data.interop import OffsetClipSampler, to_pytorchvideo
from slowfast_mvit.data.kinetics import read_split
from slowfast_mvit.data.toy import write_video


def write_ramp(path: Path, num_frames: int, fps: Fraction) -> None:
    """A film whose frame i is a plain grey of level 20 + 2 i, so that a frame tells its number."""
    levels = (20 + 2 * np.arange(num_frames)).astype(np.uint8)
    write_video(path, np.broadcast_to(levels[:, None, None, None], (num_frames, 64, 64, 3)).copy(), fps)


@pytest.mark.parametrize(
    ("fps", "num_frames"), [(Fraction(30), 100), (Fraction(25), 90), (Fraction(30000, 1001), 100), (Fraction(30), 20)]
)
@pytest.mark.parametrize("num_clips", [1, 3])
def test_labeled_video_dataset_yields_our_clips(tmp_path: Path, fps: Fraction, num_frames: int, num_clips: int) -> None:
    names = ["a.mp4", "b.mp4"]
    for name in names:
        write_ramp(tmp_path / name, num_frames, fps)
    (tmp_path / "test.csv").write_text("a.mp4 0\nb.mp4 1\n")
    ours = MultiViewVideos(read_split(tmp_path, "test", num_classes=2), ClipSampling(8, 4), num_clips=num_clips)
    sampler = OffsetClipSampler(8, 4, fps=fps, num_clips=num_clips)
    theirs = labeled_video_dataset(
        str(tmp_path / "test.csv"),
        sampler,
        video_sampler=SequentialSampler,
        video_path_prefix=str(tmp_path),
        transform=lambda sample: sample | {"video": sampler.select(sample["video"])},
        decode_audio=False,
    )
    samples = list(theirs)
    assert len(samples) == len(names) * num_clips
    for sample in samples:
        views = ours[sample["video_index"]]
        expected = views.frames[views.rows[sample["clip_index"]]].permute(3, 0, 1, 2)
        assert sample["label"] == views.label
        assert sample["video"].shape == expected.shape
        # Levels are two apart, and the two readers' colour conversions agree within one.
        assert (sample["video"] - expected).abs().max() <= 1


def test_item_as_dictionary() -> None:
    video = torch.arange(2 * 3 * 4 * 2 * 2, dtype=torch.uint8).reshape(2, 3, 4, 2, 2)
    item = TrainItem(video, label=5, video_index=7, start_sec=1.0, end_sec=2.0, erasures=(Erasure(), Erasure()))
    sample = to_pytorchvideo(item, "x.mp4", repeat=1)
    assert torch.equal(sample.pop("video"), video[1])
    assert sample == {"video_name": "x.mp4", "video_index": 7, "clip_index": 0, "aug_index": 1, "label": 5}
