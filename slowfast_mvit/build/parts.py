"""What training and testing need of a kind of data. Letters: B clips in a batch, R boxes in it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from slowfast_mvit.batches import TrainPass
from slowfast_mvit.data.watchdog import WatchedDataset
from slowfast_mvit.engine.step import Trainable


@dataclass(frozen=True)
class ToTrain:
    """What a training is given.

    Attributes:
        dataset: of its items.
        collate: items to a forward pass.
        task: its losses.
        blank: one clip of the training's shape that weighs nothing: what a rank without clips does its pass with.
    """

    dataset: WatchedDataset
    collate: Callable[[Any], TrainPass[Any]]
    task: Trainable[Any]
    blank: Any


@dataclass(frozen=True)
class ToTest:
    """What a test is given.

    Attributes:
        items: what the list is of, "videos", "key frames" or "images".
        if_unreadable: what becomes of those that cannot be read, for a message.
        dataset: of these items.
        batches: batches of at most so many views, on the device, of items.
        predict: what the model says of a batch: probabilities [B or R, classes], or detections of each image.
        evaluator: joins them; takes the indices of the only items that come, or None for all.
        rows: type of what evaluators tell each other of finished items.
        metrics: of a result, in percent.
        write: writes a result's files into a folder, and for PySlowFast into another file if one is asked for; returns metrics.
    """

    items: str
    if_unreadable: str
    dataset: WatchedDataset
    batches: Callable[[Iterable[Any], int], Iterator[Any]]
    predict: Callable[[nn.Module, Any], Any]
    evaluator: Callable[[np.ndarray | None], Any]
    rows: type[Any]
    metrics: Callable[[Any], Mapping[str, float]]
    write: Callable[[Any, Path, Path | None], Mapping[str, object]]
