"""The files of predictions without labels: tables of clips and videos, all probabilities, and features.

Rows of clips are in one order in all of them: by video, then clip, then crop. Letters: N videos, R rows.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.predictions import as_text, clips_table, replacing, videos_table
from slowfast_mvit.evaluation.view_scores import VideoScores, joined_results

FEATURE_SUFFIXES = (".npz", ".parquet")
_NO_LABELS = ["label", "label_name"]


def scored_clips(scores: Sequence[VideoScores], names: np.ndarray, label_names: Sequence[str]) -> pd.DataFrame:
    """A row for each view as in a test's ``clips.csv``, without the labels, which nobody knows."""
    return _joined([clips_table(result, names, label_names) for result in joined_results(scores)])


def scored_videos(scores: Sequence[VideoScores], names: np.ndarray, label_names: Sequence[str]) -> pd.DataFrame:
    """A row for each video as in a test's ``videos.csv``, without the labels."""
    return _joined([videos_table(result, names, label_names) for result in joined_results(scores)])


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True).drop(columns=_NO_LABELS)


def write_scores(scores: Sequence[VideoScores], names: np.ndarray, path: Path) -> None:
    """Write an NPZ of ``video`` str [N], ``video_scores`` [N, classes], ``views`` [R, classes], ``view_video`` int64 [R].

    ``view_video`` is the place of each row's video in ``video``; scores are float32, those of a video joined.
    """
    results = [one.result for one in scores]
    views = [result.view_probabilities for result in results]
    with replacing(path) as file:
        np.savez_compressed(
            file,
            video=as_text(names[[one.video_index for one in scores]]),
            video_scores=np.concatenate([result.scores for result in results]).astype(np.float32),
            views=np.concatenate([one[0] for one in views if one is not None]),
            view_video=np.repeat(np.arange(len(results)), [result.top_classes.shape[1] for result in results]),
        )


def check_features(path: Path) -> None:
    """Refuse a file of features that could not be written, before any work.

    Raises:
        UserError: another ending, or pyarrow is missing.
    """
    if path.suffix.lower() not in FEATURE_SUFFIXES:
        raise UserError(f"{path} cannot be written as features: its name must end in {' or '.join(FEATURE_SUFFIXES)}")
    if path.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            f"{path} needs pyarrow, which is not installed: pip install pyarrow (or give --features a name in .npz)"
        )


def write_features(scores: Sequence[VideoScores], names: np.ndarray, path: Path) -> None:
    """Write ``video``, ``clip_index``, ``crop_index``, ``start_sec``, ``end_sec`` and ``features`` of each row.

    An NPZ has them as arrays, ``features`` float32 [R, ...] in the layer's own shape; Parquet has a column for each, the
    features of a row as one flat list.

    Raises:
        UserError: the features of some videos are of another shape, or the file cannot be written.
    """
    features = [one.features for one in scores]
    assert all(part is not None for part in features)
    shapes = {part.shape[1:] for part in features if part is not None}
    if len(shapes) > 1:
        raise UserError(
            f"the layer's features are of shapes {sorted(shapes)}, which no table holds together: choose another layer"
        )
    rows = scored_clips(scores, names, ())
    columns = {name: rows[name].to_numpy() for name in ("clip_index", "crop_index", "start_sec", "end_sec")}
    videos = rows["video"].to_numpy(dtype=str)
    values = np.concatenate([part for part in features if part is not None])
    with replacing(path) as file:
        if path.suffix.lower() == ".parquet":
            flat = list(values.reshape(len(values), -1))
            pd.DataFrame({"video": videos, **columns, "features": flat}).to_parquet(file, index=False)
        else:
            np.savez(file, video=videos, features=values, **columns)  # type: ignore[arg-type]  # of its allow_pickle
