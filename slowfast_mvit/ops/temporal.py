"""Which frames a clip is made of: pure functions from video lengths to frame indices.

The rules are PySlowFast's, because published weights were evaluated with them. Letters: n frames in the video, T frames in
the clip, tau the sampling rate (frames between two of the clip at the target rate).
"""

import math
from fractions import Fraction

import numpy as np
import torch

_TIME_NOISE = 1e-6  # seconds: frames this much nearer than others are no nearer


def clip_span(num_frames: int, sampling_rate: int, fps: Fraction | float, target_fps: Fraction | float) -> float:
    """Length of a clip in source frames, at least 1: tau * T / target_fps * fps.

    A video of another frame rate than ``target_fps`` thus gives a clip of the same duration.
    """
    return max(1.0, sampling_rate * num_frames / float(target_fps) * float(fps))


def random_start(video_frames: int, span: float, rng: np.random.Generator) -> float:
    """Start of a training clip in source frames, uniform over [0, max(n - span, 0)]."""
    return float(rng.uniform(0.0, max(video_frames - span, 0.0)))


def view_start(video_frames: int, span: float, clip_index: int, num_clips: int, use_offset: bool) -> float:
    """Start of test clip ``clip_index`` of ``num_clips`` in source frames.

    With offset sampling (all official MViTv2 recipes) a single clip is centred and several are spread so that the last one
    reaches the end; without, clip i starts at i / num_clips of the free length, so the last one never reaches the end.
    """
    free = max(video_frames - span, 0.0)
    if not use_offset:
        return free * clip_index / num_clips
    if num_clips == 1:
        return float(math.floor(free / 2))
    return float(clip_index * math.floor(free / (num_clips - 1)))


def clip_indices(start: float, span: float, num_frames: int, video_frames: int) -> np.ndarray:
    """Frame indices int64 [T] of the clip that starts at ``start``: linspace to start + span - 1, clamped, truncated.

    The steps are computed in float32, as the published results were. Videos shorter than the clip repeat their last frame.
    """
    steps = torch.linspace(start, start + span - 1, num_frames)
    return steps.clamp(0, video_frames - 1).long().numpy()


def segment_bounds(video_frames: int, num_segments: int) -> np.ndarray:
    """Bounds int64 [T + 1] of T equal parts of a video: round((n - 1) / T * i), halves to the even number.

    Segment i holds the frames from bound i to bound i + 1, both included; neighbours share a frame.
    """
    return np.rint((video_frames - 1) / num_segments * np.arange(num_segments + 1)).astype(np.int64)


def random_segment_indices(video_frames: int, num_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Frame indices int64 [T] of a training clip: one frame of each segment, all of the segment alike likely."""
    bounds = segment_bounds(video_frames, num_frames)
    return rng.integers(bounds[:-1], bounds[1:], endpoint=True)


def segment_indices(video_frames: int, num_frames: int, num_clips: int) -> np.ndarray:
    """Frame indices int64 [K, T] of the test clips: one frame of each segment, the middle one for a single clip.

    Several clips take the middles of K equal parts of each segment, in order, so that they differ wherever a segment has K
    frames; in a shorter segment some clips share a frame. PySlowFast's clips are all the same. For one clip of a segment from
    a to b this is floor((a + b) / 2), the official rule.
    """
    bounds = segment_bounds(video_frames, num_frames)
    sizes = bounds[1:] - bounds[:-1] + 1
    odd = 2 * np.arange(num_clips)[:, None] + 1
    return bounds[:-1] + (sizes * odd - 1) // (2 * num_clips)


def key_frame_indices(
    times: np.ndarray, key_sec: float, num_frames: int, sampling_rate: int, target_fps: float
) -> np.ndarray:
    """Frame indices int64 [T] of the clip around a key frame: those nearest to its times, the first and last one repeated.

    The times are key_sec + (range(0, T * tau, tau) - T * tau // 2) / target_fps. At ``target_fps`` this is PySlowFast's
    range(centre - T * tau // 2, centre + T * tau // 2, tau), clamped; files of other rates give the same moments.

    Args:
        times: of the video's frames, ascending, float64 [n] in seconds.
        key_sec: time of the key frame.
        num_frames, sampling_rate: T and tau.
        target_fps: rate at which tau counts frames.
    """
    steps = np.arange(num_frames) * sampling_rate - num_frames * sampling_rate // 2
    return nearest_frames(times, key_sec + steps / float(target_fps))


def nearest_frames(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Indices int64 [m] of the frames at ``times`` [n] (ascending) nearest to ``wanted`` [m]; the earlier of two as near."""
    after = np.searchsorted(times, wanted).clip(1, max(len(times) - 1, 1))
    before = after - 1
    later = wanted - times[before] > times[np.minimum(after, len(times) - 1)] - wanted + _TIME_NOISE
    return np.where(later & (len(times) > 1), after, before).astype(np.int64)
