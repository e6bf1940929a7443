"""The files that a test leaves: predictions of clips and videos as CSV, metrics as JSON, unreadable videos.

Every file is written under a temporary name and renamed, so a reader never meets half of one.
"""

import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import simplejson
import torch

from slowfast_mvit.batches import UnreadableVideo
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.multiview import MultiViewResult

NUM_TOP = 5


def clips_table(result: MultiViewResult, names: np.ndarray, label_names: Sequence[str]) -> pd.DataFrame:
    """One row per view: video, label (or labels), clip and crop index, seconds, the best classes with their probabilities."""
    count, views = result.top_classes.shape[:2]
    view = np.tile(np.arange(views), count)
    columns: dict[str, object] = {
        "video": np.repeat(as_text(names[result.videos]), views),
        **{name: np.repeat(values, views) for name, values in _label_columns(result.labels, label_names).items()},
        "clip_index": view // result.num_crops,
        "crop_index": view % result.num_crops,
        "start_sec": result.seconds[..., 0].ravel().round(3),
        "end_sec": result.seconds[..., 1].ravel().round(3),
    }
    k = result.top_classes.shape[2]
    top = _top_columns(result.top_classes.reshape(-1, k), result.top_scores.reshape(-1, k), label_names)
    return pd.DataFrame(columns | top)


def videos_table(result: MultiViewResult, names: np.ndarray, label_names: Sequence[str]) -> pd.DataFrame:
    """One row per video: label (or labels), number of views, the best classes with their joined scores."""
    columns: dict[str, object] = {
        "video": as_text(names[result.videos]),
        **_label_columns(result.labels, label_names),
        "num_views": np.full(len(result.videos), result.top_classes.shape[1]),
    }
    return pd.DataFrame(columns | _top_columns(*result.top(min(NUM_TOP, result.scores.shape[1])), label_names))


def unreadable_table(videos: Sequence[UnreadableVideo], names: np.ndarray) -> pd.DataFrame:
    """One row per video that could not be read: video, path, backend, cause."""
    rows = [as_text((names[video.video_index], video.path, video.backend, video.cause)).tolist() for video in videos]
    return pd.DataFrame(rows, columns=["video", "path", "backend", "cause"])


def as_text(names: Iterable[str]) -> np.ndarray:
    """Names of files, str [N], as tables hold them: bytes that are no UTF-8, which names may have, as the text ``\\udce9``."""
    return np.array([name.encode(errors="backslashreplace").decode() for name in names], dtype=str)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table; scores keep six significant digits, seconds of long videos three decimals."""
    write_whole(path, table.to_csv(index=False, float_format=_format_number).encode())


def write_json(values: dict[str, object], path: Path) -> None:
    """Write a JSON object, indented; NaN becomes null, in what it holds too."""
    write_whole(path, (simplejson.dumps(values, indent=2, ignore_nan=True) + "\n").encode())


def write_probabilities(result: MultiViewResult, names: np.ndarray, path: Path) -> None:
    """Write an NPZ of ``video`` [N], ``label`` [N], ``video_scores`` [N, classes] and ``views`` [N, V, classes]."""
    assert result.view_probabilities is not None
    with replacing(path) as file:
        np.savez_compressed(
            file,
            video=as_text(names[result.videos]),
            label=result.labels,
            video_scores=result.scores.astype(np.float32),
            views=result.view_probabilities,
        )


def write_results(scores: np.ndarray, labels: np.ndarray, path: Path) -> None:
    """Write the file of PySlowFast's TEST.SAVE_RESULTS_PATH: a pickle of the list [scores, labels], both tensors.

    Scores are float32 [N, classes], labels int64 [N] as they came, or float32 [N, classes] of 0 and 1. ``pickle.load`` reads it
    where torch is installed.
    """
    labels = labels if labels.ndim == 1 else labels.astype(np.float32)
    write_whole(path, pickle.dumps([torch.from_numpy(scores.astype(np.float32)), torch.from_numpy(labels)]))


def _format_number(value: Any) -> str:
    return f"{value:.6g}" if abs(value) < 1000 else f"{value:.3f}"


def classes_table(precisions: np.ndarray, result: MultiViewResult, label_names: Sequence[str]) -> pd.DataFrame:
    """One row per class: number, name, how many videos have it, its average precision (empty where none has)."""
    classes = np.arange(len(precisions))
    columns = {
        "class": classes,
        "name": _names_of(classes, label_names),
        "num_videos": result.labels.sum(axis=0),
        "average_precision": precisions,
    }
    return pd.DataFrame(columns)


def _label_columns(labels: np.ndarray, label_names: Sequence[str]) -> dict[str, np.ndarray]:
    """``label`` and ``label_name`` of int64 [N]; ``labels`` and ``label_names`` of bool [N, classes], joined by semicolons."""
    if labels.ndim == 1:
        return {"label": labels, "label_name": np.array(_names_of(labels, label_names), dtype=object)}
    each = [np.flatnonzero(row) for row in labels]
    return {
        "labels": np.array([";".join(map(str, row)) for row in each], dtype=object),
        "label_names": np.array([";".join(filter(None, _names_of(row, label_names))) for row in each], dtype=object),
    }


def _names_of(labels: np.ndarray, label_names: Sequence[str]) -> list[str]:
    return [label_names[label] if label < len(label_names) else "" for label in labels.tolist()]


def _top_columns(classes: np.ndarray, scores: np.ndarray, label_names: Sequence[str]) -> dict[str, object]:
    columns: dict[str, object] = {}
    for rank in range(classes.shape[1]):
        columns[f"top{rank + 1}"] = classes[:, rank]
        columns[f"top{rank + 1}_name"] = _names_of(classes[:, rank], label_names)
        columns[f"top{rank + 1}_score"] = scores[:, rank]
    return columns


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and its folder if need be, so that it is there with all of its content or not at all.

    Raises:
        UserError: it cannot be written.
    """
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes its place when it is whole and on the disk.

    Raises:
        UserError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
