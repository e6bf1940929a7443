"""What is timed of the data: training clips, and the decoding of all views of a test video, ours and the peers'.

The videos are made once per benchmark: 10 s at 30 frames a second, 340 x 256, H.264 with a keyframe every 250 frames, as the
resized Kinetics copies in use have them. Every ``make_`` function builds the work in the process that calls it.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_mvit.benchmark.sides import Work
from slowfast_mvit.data.augment import RandAugment, parse_rand_augment
from slowfast_mvit.data.clips import ClipSampling, MultiViewVideos, SampleKey, TrainClips
from slowfast_mvit.data.kinetics import read_split
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.data.transforms import JitterCrop, TrainTransform
from slowfast_mvit.errors import UserError

NUM_FRAMES, HEIGHT, WIDTH, FPS, GOP = 300, 256, 340, 30, 250
SAMPLING = ClipSampling(num_frames=16, sampling_rate=4)
SPAN = SAMPLING.num_frames * SAMPLING.sampling_rate / FPS  # seconds of a clip
NUM_CLIPS, NUM_CROPS = 5, 3
SHORT_SIDE, CROP = 256, 224


def write_videos(folder: Path, count: int, seed: int = 0) -> None:
    """Write ``count`` videos of moving noise and a list ``train.csv`` of them.

    The pictures are smooth and drift, so that the encoder predicts them from each other as it does with real footage.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        coarse = torch.from_numpy(rng.random((1, 3, 24, 32), dtype=np.float32))
        scene = F.interpolate(coarse, size=(2 * HEIGHT, 2 * WIDTH), mode="bicubic").clamp(0, 1)[0]
        scene += 0.06 * torch.from_numpy(rng.standard_normal(scene.shape, dtype=np.float32))
        picture = (scene.clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0).numpy()
        with av.open(folder / f"{number:03d}.mp4", "w") as container:
            stream = container.add_stream(
                "libx264", rate=FPS, options={"g": str(GOP), "keyint_min": str(GOP), "crf": "23"}
            )
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for index in range(NUM_FRAMES):
                top, left = (
                    int(size * (0.5 + 0.5 * np.sin(index / pace))) for size, pace in ((HEIGHT, 61), (WIDTH, 47))
                )
                frame = av.VideoFrame.from_ndarray(
                    np.ascontiguousarray(picture[top : top + HEIGHT, left : left + WIDTH])
                )
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    lines = [f"{number:03d}.mp4 {number % 2}\n" for number in range(count)]
    (folder / "train.csv").write_text("".join(lines), encoding="utf-8")


def make_our_clips(folder: Path, augment: str) -> Work:
    """Decode a random clip of every video, RandAugment if ``augment`` names it, resize and crop, flip; then to float."""
    transform = TrainTransform(
        size=CROP,
        crop=JitterCrop((SHORT_SIDE, SHORT_SIDE), CROP, inverse=False),
        flip=True,
        augment=RandAugment(parse_rand_augment(augment)) if augment else None,
    )
    dataset = TrainClips(_videos(folder), SAMPLING, transform, seed=0)
    epochs = iter(range(1_000_000))

    def work() -> list[Tensor]:
        epoch = next(epochs)
        return [_clip(dataset[SampleKey(epoch, index)]).float() for index in range(len(dataset))]

    return work


def _clip(item: object) -> Tensor:
    clip = getattr(item, "video", None)
    if clip is None:
        raise UserError(f"a benchmark video could not be read: {item}")
    return clip


def make_pytorchvideo_clips(folder: Path) -> Work:
    """The same through PyTorchVideo's Kinetics dataset; its own transforms do not import, so the operations are plain torch."""
    from pytorchvideo.data import Kinetics, make_clip_sampler
    from torch.utils.data import SequentialSampler

    generator = np.random.default_rng(0)

    def transform(sample: dict) -> dict:
        video = sample["video"]  # float [3, T, H, W]
        rows = torch.linspace(0, video.shape[1] - 1, SAMPLING.num_frames).long()
        clip = video.index_select(1, rows)
        scale = SHORT_SIDE / min(clip.shape[-2:])
        size = [max(SHORT_SIDE, int(side * scale)) for side in clip.shape[-2:]]
        clip = F.interpolate(clip, size=size, mode="bilinear", align_corners=False)
        top, left = (int(generator.integers(side - CROP + 1)) for side in clip.shape[-2:])
        clip = clip[..., top : top + CROP, left : left + CROP]
        sample["video"] = clip.flip(-1) if generator.random() < 0.5 else clip
        return sample

    dataset = Kinetics(
        data_path=str(folder / "train.csv"),
        clip_sampler=make_clip_sampler("random", SPAN),
        video_sampler=SequentialSampler,
        transform=transform,
        video_path_prefix=str(folder),
        decode_audio=False,
    )
    count = len(_videos(folder))

    def work() -> list[Tensor]:
        clips = [sample["video"].contiguous() for sample in dataset]
        if len(clips) != count:
            raise UserError(f"PyTorchVideo read {len(clips)} of the videos")
        return clips

    return work


def make_our_views(folder: Path) -> Work:
    """Decode what all 5 x 3 views of every video need."""
    dataset = MultiViewVideos(_videos(folder), SAMPLING, num_clips=NUM_CLIPS)
    return lambda: [dataset[index].frames for index in range(len(dataset))]  # type: ignore[union-attr]


def make_pytorchvideo_views(folder: Path) -> Work:
    """One ``get_clip`` of PyTorchVideo's ``EncodedVideo`` for each view, as its test pipelines do."""
    from pytorchvideo.data.encoded_video import EncodedVideo

    paths = [str(path) for path in _videos(folder).paths]

    def work() -> list[Tensor]:
        clips = []
        for path in paths:
            video = EncodedVideo.from_path(path, decode_audio=False)
            for start in _view_starts(float(video.duration)):
                clips.append(video.get_clip(start, start + SPAN)["video"])
            video.close()
        return clips

    return work


def make_seeking_views(folder: Path) -> Work:
    """A reader that seeks to the keyframe before each view and decodes from there, with PyAV."""
    paths = [Path(path) for path in _videos(folder).paths]
    return lambda: [list(_seeking_views(path)) for path in paths]


def _seeking_views(path: Path) -> Iterator[np.ndarray]:
    with av.open(path) as container:
        stream = container.streams.video[0]
        unit = stream.time_base
        assert unit is not None
        for start in _view_starts(NUM_FRAMES / FPS):
            wanted = [round((start + SPAN * row / SAMPLING.num_frames) * FPS) for row in range(SAMPLING.num_frames)]
            container.seek(int(Fraction(wanted[0], FPS) / unit), stream=stream)
            found = {}
            for frame in container.decode(stream):
                index = round((frame.pts or 0) * unit * FPS)
                if index in wanted:
                    found[index] = frame.to_ndarray(format="rgb24")
                if index >= wanted[-1]:
                    break
            yield np.stack([found[index] for index in wanted])


def _view_starts(duration: float) -> list[float]:
    """Starts of the clips in seconds, each once per crop: a peer decodes every view."""
    starts = np.linspace(0, duration - SPAN - 1 / FPS, NUM_CLIPS)
    return [float(start) for start in starts for _ in range(NUM_CROPS)]


def _videos(folder: Path) -> VideoList:
    return read_split(folder, "train", num_classes=2)
