"""Clips around key frames, read back from real videos whose frames say their number, and the boxes that follow the crop."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from slowfast_mvit.batches import AvaItem, AvaViews, UnreadableVideo
from slowfast_mvit.data import ava_videos
from slowfast_mvit.data.ava import AvaList
from slowfast_mvit.data.ava_videos import AvaVideos
from slowfast_mvit.data.clips import SampleKey
from slowfast_mvit.data.key_frames import KeyFrameClips, KeyFrameSampling, KeyFrameTransform, KeyFrameViews
from slowfast_mvit.data.lists import FrameLists, pack_frames
from slowfast_mvit.data.transforms import JitterCrop
from slowfast_mvit.data.video_pyav import PyAVReader
from slowfast_mvit.ops.spatial import CropBox

SAMPLING = KeyFrameSampling(
    num_frames=4, sampling_rate=3
)  # 6 and 3 thirtieths before the key frame, it, and 3 after it
BOXES = np.array([[0.1, 0.2, 0.4, 0.7], [0.6, 0.1, 0.9, 0.9], [0.25, 0.25, 0.75, 0.75]])


class FixedCrop:
    """Crops one after the other."""

    def __init__(self, *crops):
        self.crops = list(crops)

    def __call__(self, height, width, rng):
        return self.crops.pop(0) if len(self.crops) > 1 else self.crops[0]


def keys_of(path, seconds, *, first_second=None, folders=False, frames=None):
    """Key frames of one video: the first has two people, the others one."""
    starts = np.concatenate(([0], np.arange(len(seconds)) + 2))
    labels = np.eye(3, dtype=bool)[np.arange(starts[-1]) % 3]
    return AvaList(
        videos=AvaVideos(("v",), np.array([str(path)]), frames, "folder", folders),
        key_videos=np.zeros(len(seconds), dtype=np.int32),
        key_seconds=np.array(seconds, dtype=np.int32),
        starts=starts,
        boxes=np.resize(BOXES, (starts[-1], 4)),
        box_labels=labels,
        scores=np.ones(starts[-1], dtype=np.float32),
        label_names=("a", "b", "c"),
        source="boxes.csv",
        first_second=first_second,
    )


@pytest.fixture
def three_seconds(new_video):
    """Ninety frames, 30 a second."""
    return new_video("v.mp4", num_frames=90, rate=Fraction(30)).path


def test_frames_around_key_frames(three_seconds, read_numbers):
    views = KeyFrameViews(keys_of(three_seconds, [0, 1, 2, 3]), SAMPLING)
    numbers = [read_numbers(views[k].frames.numpy()) for k in range(4)]
    assert numbers == [[0, 0, 0, 3], [24, 27, 30, 33], [54, 57, 60, 63], [84, 87, 89, 89]]


def test_seconds_from_900_on(three_seconds, read_numbers):
    assert read_numbers(KeyFrameViews(keys_of(three_seconds, [901, 902]), SAMPLING)[1].frames.numpy())[2] == 60
    told = keys_of(three_seconds, [901, 902], first_second=901.5)
    assert read_numbers(KeyFrameViews(told, SAMPLING)[1].frames.numpy())[2] == 15


def test_other_frame_rates(new_video, read_numbers):
    path = new_video("slow.mp4", num_frames=60, rate=Fraction(25)).path
    assert read_numbers(KeyFrameViews(keys_of(path, [1]), SAMPLING)[0].frames.numpy()) == [20, 22, 25, 27]


def test_folders_of_frames(tmp_path, read_numbers, new_video):
    names = [f"{i:06d}.png" for i in range(90)]
    for i, name in enumerate(names):
        Image.new("RGB", (16, 12), (i, 0, 0)).save(tmp_path / name)
    listed = FrameLists([pack_frames(names)], str(tmp_path))
    for keys in (
        keys_of(tmp_path, [901, 902], folders=True),
        keys_of(tmp_path, [901, 902], folders=True, frames=listed),
    ):
        frames = KeyFrameViews(keys, SAMPLING, backend="pyav")[1].frames
        assert frames[:, 0, 0, 0].tolist() == [54, 57, 60, 63]
        half = KeyFrameViews(keys, replace(SAMPLING, target_fps=15))[1].frames  # 15 frames a second lie in the folder
        assert half[:, 0, 0, 0].tolist() == [24, 27, 30, 33]


def test_views_have_whole_frames_and_all_boxes(three_seconds):
    view = KeyFrameViews(keys_of(three_seconds, [1, 2]), SAMPLING)[0]
    assert isinstance(view, AvaViews)
    assert (view.frames.shape, view.frames.dtype) == ((4, 64, 96, 3), torch.uint8)
    assert view.boxes.dtype == torch.float32
    np.testing.assert_array_equal(view.boxes.numpy(), BOXES[:2].astype(np.float32))
    assert view.labels.tolist() == [[True, False, False], [False, True, False]]
    assert (view.video_index, view.num_missing) == (0, 0)


@pytest.mark.parametrize("second", [4, 899])
def test_key_frames_past_the_end(three_seconds, second):
    for item in (
        KeyFrameViews(keys_of(three_seconds, [second]), SAMPLING)[0],
        KeyFrameClips(keys_of(three_seconds, [second]), SAMPLING, transform(), seed=0)[SampleKey(0, 0)],
    ):
        assert isinstance(item, UnreadableVideo)
        assert item.cause == (
            f"its frames are of seconds 0 to 3.0, and second {second} is asked for: set AVA.FIRST_SECOND, or mend the box "
            "lists"
        )


def test_no_such_file(tmp_path):
    clips = KeyFrameClips(keys_of(tmp_path / "none.mp4", [1]), SAMPLING, transform(), seed=0, backend="decord")
    item = clips[SampleKey(0, 0)]
    assert (item.path, item.cause) == (str(tmp_path / "none.mp4"), "there is no such file")
    assert clips.unreadable(0, "hangs") == UnreadableVideo(0, str(tmp_path / "none.mp4"), "decord", "hangs")


def test_a_video_is_opened_once_for_an_item(three_seconds, monkeypatch):
    opened, real = [], ava_videos.open_video
    monkeypatch.setattr(ava_videos, "open_video", lambda path, *a, **k: opened.append(path) or real(path, *a, **k))
    assert (
        KeyFrameClips(keys_of(three_seconds, [1]), SAMPLING, transform(), seed=0)[SampleKey(0, 0)].video.shape[1] == 4
    )
    assert opened == [str(three_seconds)]


# Training


def transform(*crops, size=32, flip=False):
    return KeyFrameTransform(size, FixedCrop(*crops) if crops else JitterCrop((32, 40), size, True), flip)


def test_boxes_follow_the_crop():
    frames = torch.arange(100, dtype=torch.uint8).reshape(1, 1, 1, 100).expand(2, 3, 50, 100)
    crop = CropBox(top=0, left=40, height=50, width=50)
    clip, boxes, seen = transform(crop, size=25)(frames, BOXES, np.random.default_rng(0))
    assert clip.shape == (3, 2, 25, 25)
    # 10..40 is left of the crop; 60..90 and 5..45 of 40..90 and 0..50, halved; 25..75 and 12.5..37.5.
    assert boxes == pytest.approx(np.array([[0, 5, 0, 17.5], [10, 2.5, 25, 22.5], [0, 6.25, 17.5, 18.75]]))
    assert seen.tolist() == [False, True, True]
    assert clip[0, 0, 0, 0] in (40, 41)  # between the two


def test_a_flip_takes_the_boxes_along():
    frames = torch.zeros(1, 3, 40, 80, dtype=torch.uint8)
    frames[..., 8:16, 10:20] = 255
    boxes = np.array([[10 / 80, 8 / 40, 20 / 80, 16 / 40]])
    crop = CropBox(top=0, left=0, height=40, width=40)
    flipped = 0
    for seed in range(20):
        clip, moved, _ = transform(crop, size=40, flip=True)(frames, boxes, np.random.default_rng(seed))
        x1, y1, x2, y2 = moved[0].round().astype(int)
        flipped += x1 == 20
        assert (clip[..., y1:y2, x1:x2] == 255).all()
        assert int((clip == 255).sum()) == 3 * 80
    assert 4 < flipped < 16


def test_a_crop_without_anybody_is_drawn_again():
    frames, boxes = torch.zeros(1, 3, 40, 80, dtype=torch.uint8), np.array([[0.5, 0, 0.75, 1]])  # 40..60 across
    away, sliver, there = (CropBox(0, left, 40, 40) for left in (0, 1, 20))  # the sliver is half a pixel of 20
    _, moved, seen = transform(away, sliver, there, size=20)(frames, boxes, np.random.default_rng(0))
    assert (seen.tolist(), moved.tolist()) == ([True], [[10, 0, 20, 20]])
    _, moved, seen = transform(sliver, size=20)(frames, boxes, np.random.default_rng(0))
    assert (seen.tolist(), moved.tolist()) == ([False], [[19.5, 0, 20, 20]])  # after ten draws the clip has nobody


def test_people_out_of_the_crop_are_left_out(three_seconds):
    crop = CropBox(top=0, left=48, height=64, width=48)  # the right half
    item = KeyFrameClips(keys_of(three_seconds, [1]), SAMPLING, transform(crop, size=48), seed=0)[SampleKey(3, 0)]
    assert isinstance(item, AvaItem)
    assert item.boxes.numpy() == pytest.approx(np.array([[9.6, 4.8, 38.4, 43.2]]), abs=1e-5)
    assert item.labels.tolist() == [[False, True, False]]
    assert (item.video.shape, item.video.dtype, item.video_index) == ((3, 4, 48, 48), torch.uint8, 0)


def test_items_follow_from_seed_epoch_and_key_frame(three_seconds):
    def item(seed, epoch, index):
        return KeyFrameClips(keys_of(three_seconds, [1, 2]), SAMPLING, transform(flip=True), seed=seed)[
            SampleKey(epoch, index)
        ]

    first, again = item(1, 2, 0), item(1, 2, 0)
    assert torch.equal(first.video, again.video)
    assert torch.equal(first.boxes, again.boxes)
    assert not torch.equal(first.video, item(1, 3, 0).video)
    assert not torch.equal(first.video, item(2, 2, 0).video)


def test_a_film_is_scanned_once_however_many_key_frames_it_has(new_video, read_numbers, monkeypatch):
    scanned, real = [], PyAVReader._scan
    monkeypatch.setattr(PyAVReader, "_scan", lambda reader: scanned.append(reader.path.name) or real(reader))
    path = new_video("film_of_key_frames.mp4", num_frames=90, rate=Fraction(30)).path
    views = KeyFrameViews(keys_of(path, [0, 1, 2]), SAMPLING)
    assert [read_numbers(views[k].frames.numpy())[2] for k in range(3)] == [0, 30, 60]
    assert scanned == ["film_of_key_frames.mp4"]
