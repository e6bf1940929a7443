"""Clip spans, starts of views and frame indices, against tables worked by hand."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.ops.temporal import (
    clip_indices,
    clip_span,
    key_frame_indices,
    nearest_frames,
    random_segment_indices,
    random_start,
    segment_bounds,
    segment_indices,
    view_start,
)

NTSC = Fraction(30000, 1001)


class Uniform:
    """A generator whose ``uniform`` gives the point at ``fraction`` of the range, and remembers the range."""

    def __init__(self, fraction):
        self.fraction = fraction

    def uniform(self, low, high):
        self.range = (low, high)
        return low + self.fraction * (high - low)


# Span.


@pytest.mark.parametrize(
    ("num_frames", "rate", "fps", "target", "span"),
    [
        (16, 4, 30, 30, 64),
        (16, 4, 29.97, 30, 63.936),
        (16, 4, 25, 30, 53 + 1 / 3),
        (16, 4, 60, 30, 128),
        (32, 3, 30, 30, 96),
        (40, 3, Fraction(24), Fraction(30), 96),
        (16, 4, NTSC, NTSC, 64),
        (16, 4, 15, 15, 64),
        (1, 1, 1, 30, 1),  # never under one frame
        (2, 4, 3, 30, 1),
    ],
)
def test_span(num_frames, rate, fps, target, span):
    assert clip_span(num_frames, rate, fps, target) == pytest.approx(span, rel=1e-12)


# Starts.


def test_random_start_is_uniform_over_what_the_clip_leaves_free():
    for fraction, start in ((0.0, 0.0), (0.25, 59.0), (1.0, 236.0)):
        rng = Uniform(fraction)
        assert random_start(300, 64.0, rng) == start
        assert rng.range == (0.0, 236.0)


def test_random_start_of_a_short_video_is_its_beginning():
    rng = Uniform(1.0)
    assert random_start(50, 64.0, rng) == 0.0
    assert random_start(64, 64.0, rng) == 0.0


@given(frames=st.integers(1, 2000), span=st.floats(1, 400), seed=st.integers(0, 2**32 - 1))
def test_random_start_stays_in_bounds(frames, span, seed):
    start = random_start(frames, span, np.random.default_rng(seed))
    assert type(start) is float
    assert 0 <= start <= max(frames - span, 0)


# A video of 300 frames, 16 frames at rate 4: free length 236 at 30 fps, 236.064 at 29.97, 246 2/3 at 25.
@pytest.mark.parametrize(
    ("fps", "num_clips", "starts"),
    [
        (30, 1, [118]),
        (30, 5, [0, 59, 118, 177, 236]),
        (30, 10, [0, 26, 52, 78, 104, 130, 156, 182, 208, 234]),
        (29.97, 1, [118]),
        (29.97, 5, [0, 59, 118, 177, 236]),
        (29.97, 10, [0, 26, 52, 78, 104, 130, 156, 182, 208, 234]),
        (25, 1, [123]),
        (25, 5, [0, 61, 122, 183, 244]),
        (25, 10, [0, 27, 54, 81, 108, 135, 162, 189, 216, 243]),
    ],
)
def test_view_starts_with_offset(fps, num_clips, starts):
    span = clip_span(16, 4, fps, 30)
    assert [view_start(300, span, i, num_clips, True) for i in range(num_clips)] == starts


@pytest.mark.parametrize(
    ("fps", "num_clips", "starts"),
    [
        (30, 1, [0]),
        (30, 5, [0, 47.2, 94.4, 141.6, 188.8]),
        (30, 10, [0, 23.6, 47.2, 70.8, 94.4, 118, 141.6, 165.2, 188.8, 212.4]),
        (29.97, 1, [0]),
        (29.97, 5, [0, 47.2128, 94.4256, 141.6384, 188.8512]),
        (25, 1, [0]),
        (25, 5, [0, 148 / 3, 296 / 3, 148, 592 / 3]),
        (25, 10, [0, 74 / 3, 148 / 3, 74, 296 / 3, 370 / 3, 148, 518 / 3, 592 / 3, 222]),
    ],
)
def test_view_starts_without_offset(fps, num_clips, starts):
    span = clip_span(16, 4, fps, 30)
    assert [view_start(300, span, i, num_clips, False) for i in range(num_clips)] == pytest.approx(starts, rel=1e-12)


@pytest.mark.parametrize("use_offset", [True, False])
def test_views_of_a_short_video_all_start_at_its_beginning(use_offset):
    assert [view_start(40, 64.0, i, 5, use_offset) for i in range(5)] == [0] * 5
    assert view_start(40, 64.0, 0, 1, use_offset) == 0


# Indices.


def test_indices_step_a_little_wider_than_the_rate():
    """16 frames from 0 to 63: steps of 63 / 15 = 4.2, not 4."""
    indices = clip_indices(0.0, 64.0, 16, 300)
    assert indices.tolist() == [0, 4, 8, 12, 16, 21, 25, 29, 33, 37, 42, 46, 50, 54, 58, 63]
    assert indices.dtype == np.int64


def test_indices_with_a_step_of_63_over_31():
    """32 frames at rate 2: steps of 2.03, so the truncation gains its frame at the very end."""
    assert clip_indices(0.0, 64.0, 32, 300).tolist() == [*range(0, 61, 2), 63]
    # From 0.9 on it gains it as soon as the fractions add up to 0.1: 0.9 + 4 * 63 / 31 = 9.03.
    assert clip_indices(0.9, 64.0, 32, 300).tolist() == [0, 2, 4, 6, *range(9, 64, 2)]


def test_indices_from_a_fractional_start():
    # 47.25 + 4.2 i: 47.25, 51.45, 55.65, 59.85, 64.05, ... 101.85, 106.05, 110.25
    expected = [47, 51, 55, 59, 64, 68, 72, 76, 80, 85, 89, 93, 97, 101, 106, 110]
    assert clip_indices(47.25, 64.0, 16, 300).tolist() == expected


def test_indices_are_computed_in_single_precision():
    """In double precision the last position is 109.99999999, in single precision it is 110."""
    start, span = 46.99999999, 64.0
    assert start + span - 1 < 110
    assert clip_indices(start, span, 16, 300)[-1] == 110


def test_the_last_clip_reaches_the_end_only_with_offset():
    span = clip_span(16, 4, 30, 30)
    with_offset = clip_indices(view_start(300, span, 4, 5, True), span, 16, 300)
    assert with_offset.tolist() == [236, 240, 244, 248, 252, 257, 261, 265, 269, 273, 278, 282, 286, 290, 294, 299]
    without = clip_indices(view_start(300, span, 4, 5, False), span, 16, 300)
    assert (without[0], without[-1]) == (188, 251)


def test_short_videos_repeat_their_last_frame():
    assert clip_indices(0.0, 64.0, 16, 10).tolist() == [0, 4, 8] + [9] * 13
    assert clip_indices(0.0, 64.0, 16, 1).tolist() == [0] * 16
    assert clip_indices(0.0, 1.0, 16, 1).tolist() == [0] * 16


def test_one_frame():
    assert clip_indices(7.9, 64.0, 1, 300).tolist() == [7]


@given(
    num_frames=st.integers(1, 64),
    rate=st.integers(1, 16),
    fps=st.floats(1, 120),
    frames=st.integers(1, 3000),
    clips=st.integers(1, 10),
    use_offset=st.booleans(),
    data=st.data(),
)
def test_indices_exist_and_never_go_back(num_frames, rate, fps, frames, clips, use_offset, data):
    span = clip_span(num_frames, rate, fps, 30)
    start = view_start(frames, span, data.draw(st.integers(0, clips - 1)), clips, use_offset)
    indices = clip_indices(start, span, num_frames, frames)
    assert indices.shape == (num_frames,)
    assert indices.min() >= 0 and indices.max() <= frames - 1
    assert (np.diff(indices) >= 0).all()
    if num_frames > 1 and frames > span:
        # The clip lasts span - 1 frames from its first to its last, up to truncation and the rounding of float32.
        assert abs((indices[-1] - indices[0]) - (span - 1)) <= 1.01


# Segments.


@pytest.mark.parametrize(
    ("frames", "segments", "bounds"),
    [
        (10, 4, [0, 2, 4, 7, 9]),  # 0, 2.25, 4.5, 6.75, 9: a half goes to the even number
        (7, 4, [0, 2, 3, 4, 6]),  # 0, 1.5, 3, 4.5, 6
        (8, 3, [0, 2, 5, 7]),  # 0, 2.33, 4.67, 7
        (17, 8, [0, 2, 4, 6, 8, 10, 12, 14, 16]),
        (3, 4, [0, 0, 1, 2, 2]),  # 0, 0.5, 1, 1.5, 2
        (2, 4, [0, 0, 0, 1, 1]),  # 0, 0.25, 0.5, 0.75, 1
        (1, 4, [0, 0, 0, 0, 0]),
        (5, 1, [0, 4]),
    ],
)
def test_bounds_of_segments(frames, segments, bounds):
    assert segment_bounds(frames, segments).tolist() == bounds


@pytest.mark.parametrize(
    ("frames", "segments", "middles"),
    [
        (10, 4, [1, 3, 5, 8]),  # floor of 1, 3, 5.5, 8
        (7, 4, [1, 2, 3, 5]),
        (8, 3, [1, 3, 6]),
        (3, 4, [0, 0, 1, 2]),
        (1, 4, [0, 0, 0, 0]),
        # 44 frames, a usual length, in 16 segments of 2.6875: bounds 0 3 5 8 11 13 16 19 22 24 27 30 32 35 38 40 43
        (44, 16, [1, 4, 6, 9, 12, 14, 17, 20, 23, 25, 28, 31, 33, 36, 39, 41]),
    ],
)
def test_one_clip_takes_the_middle_of_each_segment(frames, segments, middles):
    indices = segment_indices(frames, segments, 1)
    assert indices.tolist() == [middles] and indices.dtype == np.int64


def test_several_clips_of_segments():
    # Segments 0..2, 2..4, 4..7, 7..9, of 3, 3, 4 and 3 frames.
    assert segment_indices(10, 4, 3).tolist() == [[0, 2, 4, 7], [1, 3, 5, 8], [2, 4, 7, 9]]
    assert segment_indices(10, 4, 2).tolist() == [[0, 2, 4, 7], [2, 4, 6, 9]]
    # Fewer frames than clips: some clips share a frame, and every frame of the segment is used.
    assert segment_indices(5, 4, 3).tolist() == [[0, 1, 2, 3], [0, 1, 2, 3], [1, 2, 3, 4]]
    assert segment_indices(1, 2, 3).tolist() == [[0, 0]] * 3


@given(frames=st.integers(1, 400), segments=st.integers(1, 64), clips=st.integers(1, 10))
def test_clips_of_segments(frames, segments, clips):
    bounds, indices = segment_bounds(frames, segments), segment_indices(frames, segments, clips)
    assert (bounds[0], bounds[-1]) == (0, frames - 1)
    assert indices.shape == (clips, segments)
    assert (indices >= bounds[:-1]).all() and (indices <= bounds[1:]).all()
    assert (np.diff(indices, axis=1) >= 0).all() and (np.diff(indices, axis=0) >= 0).all()
    whole = np.diff(bounds) + 1 >= clips
    assert (np.diff(indices[:, whole], axis=0) > 0).all()
    # The official rule, in its own words, for one clip and for the middle one of an odd number.
    if clips % 2:
        official = [(int(a) + int(b)) // 2 for a, b in itertools.pairwise(bounds)]
        assert indices[clips // 2].tolist() == official


def test_random_frames_of_segments_reach_both_ends():
    rng = np.random.default_rng(0)
    drawn = np.stack([random_segment_indices(10, 4, rng) for _ in range(4000)])
    assert drawn.dtype == np.int64
    for place, (first, last) in enumerate([(0, 2), (2, 4), (4, 7), (7, 9)]):
        frames, counts = np.unique(drawn[:, place], return_counts=True)
        assert frames.tolist() == list(range(first, last + 1))
        share = 1 / len(frames)
        assert np.abs(counts / 4000 - share).max() < 4 * (share * (1 - share) / 4000) ** 0.5


@given(frames=st.integers(1, 400), segments=st.integers(1, 64), seed=st.integers(0, 2**32 - 1))
def test_random_frames_of_segments(frames, segments, seed):
    bounds, indices = (
        segment_bounds(frames, segments),
        random_segment_indices(frames, segments, np.random.default_rng(seed)),
    )
    assert indices.shape == (segments,)
    assert (indices >= bounds[:-1]).all() and (indices <= bounds[1:]).all()


# Key frames


def official_key_frame(centre, num_frames, rate, length):
    """PySlowFast's rule at 30 frames a second, as parity facts 11.4 state it."""
    indices = range(centre - num_frames * rate // 2, centre + num_frames * rate // 2, rate)
    return [min(max(index, 0), length - 1) for index in indices][:num_frames]


@pytest.mark.parametrize(("num_frames", "rate"), [(16, 4), (32, 3), (40, 3), (8, 8), (5, 3)])
@pytest.mark.parametrize("second", [0, 1, 2, 450, 898, 900])
def test_key_frames_at_30_frames_a_second(num_frames, rate, second):
    length = 27000
    found = key_frame_indices(np.arange(length) / 30, second, num_frames, rate, 30)
    assert found.tolist() == official_key_frame(second * 30, num_frames, rate, length)


def test_key_frame_worked_by_hand():
    found = key_frame_indices(np.arange(100) / 30, 2, 4, 3, 30)  # centre 60, from 54 in steps of 3
    assert (found.tolist(), found.dtype) == ([54, 57, 60, 63], np.int64)


def test_key_frames_at_other_rates():
    # 25 frames a second: times 1.8, 1.9, 2.0, 2.1 lie between frames 45, 47.5, 50, 52.5; of two as near, the earlier.
    assert key_frame_indices(np.arange(100) / 25, 2, 4, 3, 30).tolist() == [45, 47, 50, 52]
    assert key_frame_indices(np.arange(100) / 15, 2, 4, 3, 30).tolist() == [27, 28, 30, 31]
    assert key_frame_indices(np.arange(200) / 60, 2, 4, 3, 30).tolist() == [108, 114, 120, 126]


def test_key_frames_of_a_video_with_a_pause():
    times = np.concatenate((np.arange(10) / 10, 3 + np.arange(10) / 10))  # nothing between 0.9 s and 3 s
    assert key_frame_indices(times, 2, 4, 30, 30).tolist() == [0, 9, 10, 10]  # 0, 1, 2 (nearer to 3.0), 3 s


def test_nearest_of_a_single_frame():
    assert nearest_frames(np.zeros(1), np.array([-3.0, 0.0, 8.0])).tolist() == [0, 0, 0]


@given(st.lists(st.integers(0, 400), min_size=1, max_size=30, unique=True), st.lists(st.integers(-50, 500), min_size=1))
def test_nearest_frames(times, wanted):
    times, wanted = np.sort(times) / 8, np.array(wanted) / 8
    expected = [int(np.argmin(np.abs(times - time))) for time in wanted]  # argmin takes the first of equals
    assert nearest_frames(times, wanted).tolist() == expected
