"""Box lists of one's own videos by a person detector: who is where at every whole second."""

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.ava_csv import COLUMNS
from slowfast_mvit.data.video import open_video
from slowfast_mvit.engine.log import ProgressBar
from slowfast_mvit.engine.memory import out_of_memory
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.predictions import write_whole
from slowfast_mvit.models.person_detector import find_people, person_detector
from slowfast_mvit.ops.temporal import nearest_frames
from slowfast_mvit.weights.files import read_weights

_LOG = logging.getLogger(__name__)
_AT_ONCE = 4  # frames that are decoded and looked at together


def detect_people(config: Config, videos: Sequence[Path], weights: Path, out: Path, device: torch.device) -> int:
    """Write the people of every whole second of the videos as a list of detected boxes; returns their number.

    Boxes have a score above AVA.DETECTION_SCORE_THRESH, and are of the frame in the middle of the clip that is scored later.
    Seconds count from AVA.FIRST_SECOND, or 0.

    Args:
        config: of the run.
        videos: files with names of their own.
        weights: of torchvision's detector.
        out: the list, in the form of one's own (:mod:`slowfast_mvit.data.ava_csv`).
        device: where the detector runs.

    Raises:
        UserError: the weights are not the detector's, or there is nobody.
        VideoError: a video cannot be read; all are opened before the work.
    """
    min_score, start = config.AVA.DETECTION_SCORE_THRESH, config.AVA.FIRST_SECOND or 0.0
    times = {video: _times(video, config.DATA.DECODING_BACKEND) for video in videos}
    detector = person_detector(read_weights(weights), str(weights), min_score).to(device)
    bar = ProgressBar("people", sum(math.ceil(len(whole_seconds(t[-1], start)) / _AT_ONCE) for t in times.values()))
    rows: list[tuple[object, ...]] = []
    try:
        with out_of_memory(device, "set NUM_GPUS 0 to run on the CPU"):
            for video in videos:
                backend = config.DATA.DECODING_BACKEND
                for row in _people_of(detector, video, times[video], start, backend, device, bar):
                    rows.append((video.stem, *row))
    finally:
        bar.close()
    if not rows:
        raise UserError(
            f"the detector found nobody with a score above {min_score:g} in {', '.join(map(str, videos))}: lower "
            "AVA.DETECTION_SCORE_THRESH, or draw boxes by hand (--boxes)"
        )
    write_whole(out, pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False, float_format="%.9g").encode())
    return len(rows)


def whole_seconds(last_time: float, start: float) -> np.ndarray:
    """The whole seconds, int64, of a video whose first frame is at ``start`` and whose last is ``last_time`` later."""
    return np.arange(math.ceil(start), math.floor(start + last_time) + 1)


def _times(video: Path, backend: str) -> np.ndarray:
    with open_video(video, backend) as reader:
        return reader.timestamps()


def _people_of(
    detector: nn.Module,
    video: Path,
    times: np.ndarray,
    start: float,
    backend: str,
    device: torch.device,
    bar: ProgressBar,
) -> Iterator[tuple[object, ...]]:
    """Rows of a video's people without its name."""
    seconds = whole_seconds(float(times[-1]), start)
    frames = nearest_frames(times, seconds - start)
    with open_video(video, backend) as reader:
        for first in range(0, len(seconds), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            pictures = torch.from_numpy(reader.frames_at(frames[part])).to(device).permute(0, 3, 1, 2)
            for second, (boxes, scores) in zip(seconds[part].tolist(), find_people(detector, pictures), strict=True):
                for corners, score in zip(boxes.tolist(), scores.tolist(), strict=True):
                    yield (second, *corners, "", score)
            bar.advance()
