"""Windows over videos: where they lie, what their clips are, and that one by one they are what they are at once."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.batches import UnreadableVideo, VideoViews
from slowfast_mvit.data import windows
from slowfast_mvit.data.clips import ClipSampling, MultiViewVideos, SegmentSampling
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.data.windows import GivenClips, LongVideo, Windows, window_clips

SAMPLING = ClipSampling(num_frames=4, sampling_rate=5, target_fps=25.0)  # 0.8 seconds


@pytest.mark.parametrize(
    ("window", "duration", "starts", "ends"),
    [
        (Windows(2, 2), 6.0, [0, 2, 4], [2, 4, 6]),
        (Windows(2, 2), 6.02, [0, 2, 4], [2, 4, 6]),  # less than a frame is left
        (Windows(2, 2), 6.5, [0, 2, 4, 4.5], [2, 4, 6, 6.5]),
        (Windows(2, 1), 4.0, [0, 1, 2], [2, 3, 4]),
        (Windows(2, 3), 8.0, [0, 3, 6], [2, 5, 8]),
        (Windows(2, 3), 7.0, [0, 3, 5], [2, 5, 7]),
        (Windows(2, 2), 1.5, [0], [1.5]),
        (Windows(0.1, 0.1), 0.3, [0, 0.1, 0.2], [0.1, 0.2, 0.3]),
    ],
)
def test_bounds(window, duration, starts, ends):
    bounds = window.bounds(duration, 0.04)
    np.testing.assert_allclose(bounds, np.stack((starts, ends), axis=1), atol=1e-9)


@given(st.floats(0.1, 20), st.floats(0.1, 20), st.floats(0.1, 200))
def test_bounds_of_any_windows(seconds, stride, duration):
    """They are in order, within the video and whole; with strides up to their length, everything is seen."""
    bounds = Windows(seconds, stride).bounds(duration, 0.04)
    assert (bounds[:, 0] >= 0).all() and (bounds[:, 1] <= duration + 1e-9).all()
    assert (np.diff(bounds[:, 0]) > 0).all()
    np.testing.assert_allclose(bounds[:, 1] - bounds[:, 0], min(seconds, duration), atol=1e-6)
    assert bounds[-1, 1] >= duration - 0.04 - 1e-6
    if stride <= seconds:
        assert all(after[0] <= before[1] + 1e-9 for before, after in pairwise(bounds))


def test_clips_lie_in_the_middle_of_their_windows():
    """At 25 frames a second a clip is 20 frames; [0, 2) has 50, of which 15 are before it: linspace(15, 34, 4)."""
    times = np.arange(100) / 25
    clips = window_clips(times, Fraction(25), SAMPLING, np.array([[0.0, 2.0], [2.0, 4.0]]))
    offset = ClipSampling(4, 5, 25.0, use_offset=True)
    assert clips.tolist() == [[15, 21, 27, 34], [65, 71, 77, 84]]
    assert (clips[0] == offset.view_indices(50, Fraction(25), 1)[0]).all()


def test_clips_longer_than_their_windows_reach_out_of_them():
    """10 frames a window, 20 a clip: 5 more on each side, but for the ends of the video."""
    times = np.arange(100) / 25
    bounds = np.array([[0.0, 0.4], [0.4, 0.8], [1.2, 1.6], [3.6, 4.0]])
    clips = window_clips(times, Fraction(25), SAMPLING, bounds)
    assert clips[:, 0].tolist() == [0, 5, 25, 80] and clips[:, -1].tolist() == [19, 24, 44, 99]
    short = window_clips(times[:7], Fraction(25), SAMPLING, np.array([[0.0, 0.28]]))
    assert short.tolist() == [[0, 6, 6, 6]]  # the last frame is repeated, as in the test


def test_segments_are_spread_over_their_windows():
    clips = window_clips(np.arange(100) / 25, Fraction(25), SegmentSampling(4), np.array([[0.0, 2.0], [2.0, 4.0]]))
    assert clips.tolist() == [[6, 18, 30, 43], [56, 68, 80, 93]]  # middles between 0, 12, 24, 37, 49


def listed(*paths):
    names = np.array([str(path) for path in paths])
    return VideoList(names, names, np.zeros(len(names), dtype=np.int64), (), "words")


def test_the_views_of_the_test(video_file):
    """Of videos that are not looked at by windows: the item of the test, to the last bit."""
    videos = listed(video_file("plain.mp4").path)
    expected = MultiViewVideos(videos, SAMPLING, num_clips=3)[0]
    for chosen in ({"windows": None}, {"windows": Windows(1, 1), "from_seconds": 1.61}):
        found = GivenClips(videos, SAMPLING, num_clips=3, **chosen)[0]
        for name in ("frames", "rows", "seconds"):
            assert getattr(found, name).equal(getattr(expected, name))
    long = GivenClips(videos, SAMPLING, num_clips=3, windows=Windows(1, 1), from_seconds=1.6)[0]
    assert long.seconds.tolist() == pytest.approx(np.array([[0, 1], [0.6, 1.6]]))


@pytest.mark.parametrize("stride", [0.1, 1.0, 2.3])
@pytest.mark.parametrize("name", ["b_frames.mp4", "rotated_90.mp4", "irregular.mp4", "vp9.webm"])
def test_one_by_one_as_at_once(name, stride, video_file, monkeypatch):
    made = GivenClips(listed(video_file(name).path), SAMPLING, num_clips=3, windows=Windows(0.4, stride))
    whole = made[0]
    assert isinstance(whole, VideoViews)
    monkeypatch.setattr(windows, "_HELD", 0)
    assert made[0] == LongVideo(0, len(whole.rows))
    parts = list(made.stream(0))
    assert [part.first_clip for part in parts] == list(range(len(whole.rows)))
    for number, part in enumerate(parts):
        assert part.frames[part.rows[0]].equal(whole.frames[whole.rows[number]])
        assert part.seconds[0].equal(whole.seconds[number])


def test_unreadable(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    made = GivenClips(listed(tmp_path / "a.mp4"), SAMPLING, num_clips=1, windows=None)
    assert isinstance(made[0], UnreadableVideo) and made[0].path == str(tmp_path / "a.mp4")
    assert made.unreadable(0, "it hangs") == UnreadableVideo(0, str(tmp_path / "a.mp4"), "pyav", "it hangs")
