"""What is timed of the evaluation: joining the scores of Kinetics-like views, ours and one view at a time."""

import numpy as np
import torch

from slowfast_mvit.batches import ClipBatch
from slowfast_mvit.benchmark.sides import Work
from slowfast_mvit.evaluation.multiview import MultiViewEvaluator, ViewProtocol

NUM_VIDEOS, NUM_CLASSES, NUM_CLIPS, NUM_CROPS, BATCH = 2000, 400, 5, 3, 64


def make_our_evaluator() -> Work:
    """Add batches of views to our evaluator and take the top-1 accuracy."""
    protocol = ViewProtocol(NUM_CLIPS, NUM_CROPS, 256, 224, (0.45,) * 3, (0.225,) * 3)
    batches = _batches()

    def work() -> float:
        evaluator = MultiViewEvaluator(NUM_VIDEOS, NUM_CLASSES, protocol)
        for batch, probabilities in batches:
            evaluator.add(batch, probabilities)
        return evaluator.result().accuracy(1)

    return work


def make_plain_evaluator() -> Work:
    """The same sums one view at a time, as PySlowFast's test meter goes; it keeps no scores of single views."""
    batches = _batches()

    def work() -> float:
        totals, labels = torch.zeros(NUM_VIDEOS, NUM_CLASSES), torch.zeros(NUM_VIDEOS, dtype=torch.int64)
        counts = torch.zeros(NUM_VIDEOS)
        for batch, probabilities in batches:
            for row in range(len(probabilities)):
                video = int(batch.video_index[row])
                labels[video] = batch.labels[row]
                totals[video] += probabilities[row]
                counts[video] += 1
        return float((totals.argmax(dim=1) == labels).float().mean() * 100)

    return work


def _batches() -> list[tuple[ClipBatch, torch.Tensor]]:
    views = np.arange(NUM_VIDEOS * NUM_CLIPS * NUM_CROPS)
    generator = torch.Generator().manual_seed(0)
    batches = []
    for start in range(0, len(views), BATCH):
        rows = torch.from_numpy(views[start : start + BATCH])
        video, view = rows // (NUM_CLIPS * NUM_CROPS), rows % (NUM_CLIPS * NUM_CROPS)
        batch = ClipBatch(
            video=torch.zeros(len(rows), 3, 1, 1, 1),
            labels=video % NUM_CLASSES,
            video_index=video,
            clip_index=view // NUM_CROPS,
            crop_index=view % NUM_CROPS,
            start_sec=view.double(),
            end_sec=view.double() + 1,
        )
        batches.append((batch, torch.rand(len(rows), NUM_CLASSES, generator=generator).softmax(dim=1)))
    return batches
