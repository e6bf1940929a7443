"""Which frames a clip consists of, read back from real videos whose frames say their number."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from slowfast_mvit.batches import Erasure, TrainItem, UnreadableVideo, VideoViews
from slowfast_mvit.data import clips
from slowfast_mvit.data.clips import ClipSampling, MultiViewVideos, SampleKey, SegmentSampling, TrainClips
from slowfast_mvit.data.erasing import RandomErasing
from slowfast_mvit.data.lists import FrameLists, VideoList, pack_frames
from slowfast_mvit.data.transforms import AreaAspectCrop, TrainTransform
from slowfast_mvit.ops.randomness import sample_rng
from slowfast_mvit.ops.temporal import clip_indices, random_segment_indices, random_start

SAMPLING = ClipSampling(num_frames=4, sampling_rate=3)  # 10 frames of a video of 25 fps: 3 * 4 / 30 * 25
RECIPE = TrainTransform(32, AreaAspectCrop((0.1, 0.9), (0.75, 1.333)), flip=True)


def keep(frames, rng):
    """A transform that changes nothing."""
    return frames.movedim(0, 1).contiguous(), Erasure()


def videos_at(*paths):
    texts = [str(path) for path in paths]
    return VideoList(np.array(texts), np.array(texts), np.arange(len(texts)) + 5, (), "list.csv")


@pytest.fixture
def sixty(new_video):
    return new_video("sixty.mp4", num_frames=60).path


@pytest.fixture
def opened(monkeypatch):
    """Paths that the datasets open, in order."""
    paths, real = [], clips.open_video

    def count(path, *args, **kwargs):
        paths.append(path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(clips, "open_video", count)
    return paths


@pytest.fixture
def clip_numbers(read_numbers):
    """Numbers painted in the frames of a clip uint8 [3, T, H, W]."""
    return lambda clip: read_numbers(clip.permute(1, 2, 3, 0).numpy())


# Test views


def test_three_clips_reach_from_the_first_frame_to_the_last(sixty, read_numbers):
    views = MultiViewVideos(videos_at(sixty), SAMPLING, num_clips=3)[0]
    assert isinstance(views, VideoViews) and views.frames.dtype == torch.uint8 and views.rows.dtype == torch.int64
    expected = [[0, 3, 6, 9], [25, 28, 31, 34], [50, 53, 56, 59]]
    assert [read_numbers(views.frames[rows].numpy()) for rows in views.rows] == expected
    assert views.frames.shape == (12, 64, 96, 3)
    np.testing.assert_allclose(views.seconds, [[0, 0.36], [1, 1.36], [2, 2.36]], rtol=0, atol=1e-6)
    assert views.seconds.dtype == torch.float64
    assert (views.video_index, views.label, views.num_missing) == (0, 5, 0)


@pytest.mark.parametrize(
    ("num_clips", "use_offset", "expected"),
    [
        (1, True, [[25, 28, 31, 34]]),  # the middle: floor(50 / 2)
        (1, False, [[0, 3, 6, 9]]),
        (2, False, [[0, 3, 6, 9], [25, 28, 31, 34]]),  # 50 * i / 2
        (3, False, [[0, 3, 6, 9], [16, 19, 22, 25], [33, 36, 39, 42]]),  # 50 / 3 = 16.67
    ],
)
def test_places_of_clips(sixty, read_numbers, num_clips, use_offset, expected):
    sampling = ClipSampling(4, 3, use_offset=use_offset)
    views = MultiViewVideos(videos_at(sixty), sampling, num_clips=num_clips)[0]
    assert [read_numbers(views.frames[rows].numpy()) for rows in views.rows] == expected


def test_frames_of_several_clips_are_decoded_once(new_video, read_numbers, opened):
    path = new_video("eleven.mp4", num_frames=11).path
    views = MultiViewVideos(videos_at(path), SAMPLING, num_clips=2)[0]
    assert read_numbers(views.frames.numpy()) == [0, 1, 3, 4, 6, 7, 9, 10]
    assert views.rows.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]
    same = MultiViewVideos(videos_at(path), ClipSampling(4, 3, target_fps=25.0), num_clips=5)[0]
    assert len(same.frames) == 4 and (same.rows == torch.arange(4)).all()  # 12 > 11: five times the same clip
    assert opened == [str(path)] * 2


@pytest.mark.parametrize("num_clips", [1, 3])
def test_a_video_shorter_than_the_clip_repeats_its_last_frame(new_video, read_numbers, num_clips):
    path = new_video("five.mp4", num_frames=5).path
    views = MultiViewVideos(videos_at(path), SAMPLING, num_clips=num_clips)[0]
    assert read_numbers(views.frames.numpy()) == [0, 3, 4]
    assert views.rows.tolist() == [[0, 1, 2, 2]] * num_clips
    np.testing.assert_allclose(views.seconds, [[0, 0.16]] * num_clips, rtol=0, atol=1e-6)


def test_one_frame(new_video, read_numbers):
    views = MultiViewVideos(videos_at(new_video("one.mp4", num_frames=1).path), SAMPLING, num_clips=2)[0]
    assert views.rows.tolist() == [[0] * 4] * 2 and views.seconds.tolist() == [[0, 0]] * 2


def test_frame_rate_of_the_video_counts(new_video, read_numbers):
    path = new_video("fifty.mp4", num_frames=60, rate=Fraction(50)).path  # 3 * 4 / 30 * 50 = 20 frames
    views = MultiViewVideos(videos_at(path), SAMPLING, num_clips=3)[0]
    expected = [[0, 6, 12, 19], [20, 26, 32, 39], [40, 46, 52, 59]]  # steps of 19 / 3
    assert [read_numbers(views.frames[rows].numpy()) for rows in views.rows] == expected
    np.testing.assert_allclose(views.seconds[1], [0.4, 0.78], rtol=0, atol=1e-6)


def test_target_rate_counts(sixty, read_numbers, clip_numbers):
    sampling = ClipSampling(4, 3, target_fps=60.0)  # 3 * 4 / 60 * 25 = 5 frames
    views = MultiViewVideos(videos_at(sixty), sampling, num_clips=1)[0]
    assert read_numbers(views.frames.numpy()) == [27, 28, 29, 31]  # floor(55 / 2), steps of 4 / 3
    item = TrainClips(videos_at(sixty), sampling, keep, seed=0)[SampleKey(0, 0)]
    numbers = clip_numbers(item.video[0])
    assert numbers[-1] - numbers[0] == 4


def test_seconds_follow_time_stamps(new_video):
    ticks = tuple(100 + 2 * i + (i >= 5) * 50 for i in range(10))  # a halt of a second after frame 4
    path = new_video("halt.mp4", num_frames=10, time_base=Fraction(1, 50), ticks=ticks).path
    views = MultiViewVideos(videos_at(path), ClipSampling(4, 30), num_clips=1)[0]  # longer than the video
    np.testing.assert_allclose(views.seconds, [[0, 9 * 0.04 + 1]], rtol=0, atol=1e-6)


def test_num_missing_is_told(new_video, damaged, read_numbers):
    whole = new_video("whole.mp4", num_frames=20, gop=1).path
    cut = damaged(whole, 19)
    views = MultiViewVideos(videos_at(cut), ClipSampling(4, 6, target_fps=30.0), num_clips=1)[0]  # 20 frames
    assert views.num_missing == 1
    assert read_numbers(views.frames[views.rows[0]].numpy()) == [0, 6, 12, 18]  # the last one is 18 again


# Segments


def test_one_clip_of_segments_is_spread_over_the_whole_video(new_video, read_numbers):
    path = new_video("ten.webm", codec="libvpx-vp9", num_frames=10, rate=Fraction(12)).path
    views = MultiViewVideos(videos_at(path), SegmentSampling(4), num_clips=1)[0]
    assert [read_numbers(views.frames[rows].numpy()) for rows in views.rows] == [[1, 3, 5, 8]]
    np.testing.assert_allclose(views.seconds, [[1 / 12, 8 / 12]], rtol=0, atol=1e-3)  # WebM counts milliseconds


def test_several_clips_of_segments_differ(new_video, read_numbers, opened):
    path = new_video("ten.mp4", num_frames=10).path
    views = MultiViewVideos(videos_at(path), SegmentSampling(4), num_clips=3)[0]
    expected = [[0, 2, 4, 7], [1, 3, 5, 8], [2, 4, 7, 9]]
    assert [read_numbers(views.frames[rows].numpy()) for rows in views.rows] == expected
    assert read_numbers(views.frames.numpy()) == [0, 1, 2, 3, 4, 5, 7, 8, 9]  # each once, from one decode
    assert opened == [str(path)]
    np.testing.assert_allclose(views.seconds, [[0, 0.28], [0.04, 0.32], [0.08, 0.36]], rtol=0, atol=1e-6)


def test_training_clips_of_segments(new_video, clip_numbers):
    path = new_video("ten.mp4", num_frames=10).path
    dataset = TrainClips(videos_at(path, path), SegmentSampling(4), keep, seed=3)
    for key in (SampleKey(0, 0), SampleKey(0, 1), SampleKey(5, 1)):
        item = dataset[key]
        indices = random_segment_indices(10, 4, sample_rng(3, key.epoch, key.index))
        assert clip_numbers(item.video[0]) == indices.tolist()
        assert (item.start_sec, item.end_sec) == pytest.approx((indices[0] / 25, indices[-1] / 25), abs=1e-6)
    drawn = np.array([clip_numbers(dataset[SampleKey(epoch, 0)].video[0]) for epoch in range(40)])
    assert drawn.min(axis=0).tolist() == [0, 2, 4, 7] and drawn.max(axis=0).tolist() == [2, 4, 7, 9]


def test_segments_of_one_frame(new_video):
    videos = videos_at(new_video("one.mp4", num_frames=1).path)
    assert MultiViewVideos(videos, SegmentSampling(4), num_clips=2)[0].rows.tolist() == [[0] * 4] * 2
    item = TrainClips(videos, SegmentSampling(4), keep, seed=0)[SampleKey(0, 0)]
    assert item.video.shape[2] == 4 and (item.start_sec, item.end_sec) == (0, 0)


def test_listed_frames(frame_folder, tmp_path, read_numbers, clip_numbers, monkeypatch):
    """Images in the order of their list, whatever the folder holds, at the stated rate; each file is opened once."""
    order = [7, 3, 11, 0, 5, 2]
    names = [f"frame_{number}.png" for number in order]
    frames = FrameLists([pack_frames(["gone.png"]), pack_frames(names)], str(frame_folder.path))
    folder = np.array(["/nowhere", str(frame_folder.path)])
    videos = VideoList(folder, np.array(["a", "b"]), np.array([0, 1]), (), "train.csv", frames)
    files, real = [], Image.open
    monkeypatch.setattr(
        Image, "open", lambda file, *args, **kwargs: (files.append(file), real(file, *args, **kwargs))[1]
    )
    sampling = SegmentSampling(3, target_fps=12.0)  # bounds 0 2 3 5
    views = MultiViewVideos(videos, sampling, num_clips=1)[1]
    assert read_numbers(views.frames[views.rows[0]].numpy()) == [3, 11, 5]  # places 1, 2 and 4
    assert [file.name for file in files] == ["frame_3.png", "frame_11.png", "frame_5.png"]
    assert views.seconds.tolist() == [[1 / 12, 4 / 12]]
    item = TrainClips(videos, sampling, keep, seed=0)[SampleKey(0, 1)]
    indices = random_segment_indices(6, 3, sample_rng(0, 0, 1))
    assert clip_numbers(item.video[0]) == [order[index] for index in indices]
    lost = MultiViewVideos(videos, sampling, num_clips=1)[0]
    assert (lost.path, lost.backend) == ("/nowhere", "frames")
    assert lost.cause == f"there is no file {frame_folder.path}/gone.png"


# Training clips


@pytest.mark.parametrize("index", range(2))
@pytest.mark.parametrize("epoch", [0, 7])
def test_training_clips_are_those_of_the_sampling_rule(sixty, clip_numbers, epoch, index):
    dataset = TrainClips(videos_at(sixty, sixty), SAMPLING, keep, seed=3)
    item = dataset[SampleKey(epoch, index)]
    indices = clip_indices(random_start(60, 10.0, sample_rng(3, epoch, index)), 10.0, 4, 60)
    assert isinstance(item, TrainItem) and item.video.dtype == torch.uint8 and item.video.shape == (1, 3, 4, 64, 96)
    assert clip_numbers(item.video[0]) == indices.tolist()
    assert (item.start_sec, item.end_sec) == pytest.approx((indices[0] / 25, indices[-1] / 25), abs=1e-6)
    assert (item.label, item.video_index) == (5 + index, index)
    assert len(dataset) == 2


def test_training_clips_lie_anywhere(sixty, clip_numbers):
    dataset = TrainClips(videos_at(sixty), SAMPLING, keep, seed=0)
    numbers = [clip_numbers(dataset[SampleKey(epoch, 0)].video[0]) for epoch in range(40)]
    starts = [first for first, *_ in numbers]
    assert all(np.diff(n).tolist() == [3, 3, 3] for n in numbers)
    assert min(starts) < 8 and max(starts) > 42 and max(starts) <= 50 and len(set(starts)) > 20


def test_a_short_video_in_training(new_video, clip_numbers):
    path = new_video("five.mp4", num_frames=5).path
    item = TrainClips(videos_at(path), SAMPLING, keep, seed=0)[SampleKey(0, 0)]
    assert clip_numbers(item.video[0]) == [0, 3, 4, 4]
    assert (item.start_sec, item.end_sec) == pytest.approx((0, 0.16), abs=1e-6)


def test_repeats_share_their_frames_and_nothing_else(sixty, opened, clip_numbers):
    seen = []

    def note(frames, rng):
        seen.append((frames, rng.random()))
        return keep(frames, rng)

    item = TrainClips(videos_at(sixty), SAMPLING, note, seed=0, num_repeats=3)[SampleKey(0, 0)]
    assert opened == [str(sixty)] and len(item.video) == len(item.erasures) == 3
    assert len({frames.data_ptr() for frames, _ in seen}) == 1 and len({draw for _, draw in seen}) == 3
    assert [draw for _, draw in seen] == [sample_rng(0, 0, 0, repeat).random() for repeat in (1, 2, 3)]
    assert len({tuple(clip_numbers(clip)) for clip in item.video}) == 1


def test_repeats_cost_one_decode(sixty, monkeypatch):
    """Frames decoded and converted for one and for three augmented copies."""
    readers, real = [], clips.open_video

    def keep_reader(*args, **kwargs):
        readers.append(real(*args, **kwargs))
        return readers[-1]

    monkeypatch.setattr(clips, "open_video", keep_reader)
    for repeats in (1, 3):
        TrainClips(videos_at(sixty), SAMPLING, RECIPE, seed=0, num_repeats=repeats)[SampleKey(0, 0)]
    one, three = readers
    assert three.num_decoded == one.num_decoded and three.num_converted == one.num_converted == 4


def test_the_first_repeat_may_be_spared_from_erasing(sixty):
    recipe = replace(RECIPE, erasing=RandomErasing(1.0))
    plain, spared = (
        TrainClips(videos_at(sixty), SAMPLING, recipe, seed=0, num_repeats=3, spare_first=spare)[SampleKey(0, 0)]
        for spare in (False, True)
    )
    assert [len(erasure.boxes) for erasure in plain.erasures] == [1, 1, 1]
    assert spared.erasures == (Erasure(), *plain.erasures[1:])
    assert torch.equal(plain.video, spared.video)


def test_repeats_are_cropped_each_in_its_way(sixty):
    item = TrainClips(videos_at(sixty), SAMPLING, RECIPE, seed=0, num_repeats=2)[SampleKey(0, 0)]
    assert item.video.shape == (2, 3, 4, 32, 32)
    assert (item.video[0].float() - item.video[1].float()).abs().mean() > 10


def test_an_item_is_a_function_of_seed_epoch_and_index(sixty):
    def make(seed=1):
        return TrainClips(videos_at(sixty, sixty), SAMPLING, RECIPE, seed=seed, num_repeats=2)

    first, second, key = make(), make(), SampleKey(2, 1)
    second[SampleKey(5, 0)], np.random.default_rng(0).random(), torch.rand(3)
    torch.manual_seed(99)
    one, other = first[key], second[key]
    assert torch.equal(one.video, other.video) and one.start_sec == other.start_sec
    assert torch.equal(one.video, first[key].video)
    for changed in (first[SampleKey(3, 1)], first[SampleKey(2, 0)], make(seed=2)[key]):
        assert not torch.equal(one.video, changed.video)


def test_repeats_do_not_depend_on_their_number(sixty):
    one, three = (
        TrainClips(videos_at(sixty), SAMPLING, RECIPE, seed=0, num_repeats=n)[SampleKey(0, 0)] for n in (1, 3)
    )
    assert torch.equal(one.video[0], three.video[0])


# Bad files


@pytest.mark.parametrize(
    ("content", "cause"), [(None, "there is no such file"), (b"", "the file is empty"), (b"no video" * 99, None)]
)
def test_bad_files_are_named_with_their_cause(tmp_path, sixty, content, cause):
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    videos = videos_at(sixty, path)
    train = TrainClips(videos, SAMPLING, keep, seed=0)[SampleKey(0, 1)]
    test = MultiViewVideos(videos, SAMPLING, num_clips=2)[1]
    assert isinstance(train, UnreadableVideo) and train == test
    assert (test.video_index, test.path, test.backend) == (1, str(path), "pyav")
    assert test.cause and (cause is None or test.cause == cause)


def test_a_hole_in_a_video_is_told(new_video, damaged):
    path = damaged(new_video("hole.mp4", num_frames=40, gop=40).path, 10)
    views = MultiViewVideos(videos_at(path), SAMPLING, num_clips=4)[0]
    assert isinstance(views, UnreadableVideo) and views.cause


def test_only_unreadable_videos_are_forgiven(sixty):
    def broken(frames, rng):
        raise ArithmeticError("a bug")

    with pytest.raises(ArithmeticError, match="a bug"):
        TrainClips(videos_at(sixty), SAMPLING, broken, seed=0)[SampleKey(0, 0)]
    with pytest.raises(ValueError, match="unknown video backend"):
        MultiViewVideos(videos_at(sixty), SAMPLING, num_clips=1, backend="banana")[0]


def test_frame_folders(frame_folder, read_numbers):
    views = MultiViewVideos(videos_at(frame_folder.path), ClipSampling(4, 3), num_clips=1, backend="frames")[0]
    assert read_numbers(views.frames.numpy()) == [0, 3, 7, 11]  # 12 frames at 30 fps: steps of 11 / 3
