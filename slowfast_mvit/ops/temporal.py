"""Which frames a clip is made of: pure functions from video lengths to frame indices.

The rules are PySlowFast's, because published weights were evaluated with them. Letters: n frames in the video, T frames in
the clip, tau the sampling rate (frames between two of the clip at the target rate).
"""

import math
from fractions import Fraction

import numpy as np
import torch


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
