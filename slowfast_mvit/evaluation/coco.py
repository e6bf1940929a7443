"""COCO's average precisions of boxes and masks, as pycocotools has them, with a table of the classes.

Letters: T thresholds of IoU (0.5 to 0.95 in steps of 0.05), R recalls (0 to 1 in steps of 0.01), K categories.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from slowfast_mvit.evaluation.coco_files import CocoEntry, CocoTruth

# In the order of COCOeval.stats.
NUMBERS = (
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar1",
    "ar10",
    "ar100",
    "ar_small",
    "ar_medium",
    "ar_large",
)
"""AP over all thresholds, at 0.5 and 0.75, of objects below 32^2, below 96^2 and of more pixels; recall with 1, 10 and 100
detections of an image, and with 100 by size."""
_KINDS = {"box": "bbox", "mask": "segm"}


@dataclass(frozen=True)
class CocoScores:
    """What COCO's protocol says of results.

    Attributes:
        numbers: ``box_ap``, ``mask_ar_small`` ... in percent; NaN where nothing is annotated. Boxes or masks that cannot be
            scored have none.
        classes: a row for each category: category_id, name, num_truth (without crowds), and ``box_ap``, ``box_ap50``,
            ``box_ap75``, ``mask_ap`` ... in percent, NaN without truth.
        reasons: why numbers are absent, NaN or 0, in sentences.
        summary: what pycocotools would print.
    """

    numbers: Mapping[str, float]
    classes: pd.DataFrame
    reasons: tuple[str, ...]
    summary: str

    def metrics(self) -> dict[str, object]:
        """What a JSON file says: the numbers, and ``reasons`` if there are some."""
        return {**self.numbers, **({"reasons": list(self.reasons)} if self.reasons else {})}


def score(truth: CocoTruth, results: Sequence[CocoEntry]) -> CocoScores:
    """Score results of the images of ``truth``; an image without results has none of its objects found.

    Sizes of masks are their own, not those of their boxes, as detectron2 scores them. ``results`` stay as they are.
    """
    real = [one for one in truth.annotations or () if not one["iscrowd"]]
    counts = pd.Series([one["category_id"] for one in real], dtype=np.int64).value_counts()
    classes: dict[str, object] = {
        "category_id": list(truth.categories),
        "name": list(truth.categories.values()),
        "num_truth": counts.reindex(list(truth.categories), fill_value=0).to_numpy(),
    }
    reasons = list(_reasons(truth, results, len(real)))
    numbers: dict[str, float] = {}
    summaries = []
    for kind in _scored_kinds(truth, results):
        found, summary = _scored(truth, results, _KINDS[kind])
        summaries.append(summary)
        stats = np.where(found.stats < 0, np.nan, found.stats) * 100  # pycocotools says -1 where nothing is annotated
        numbers |= {f"{kind}_{name}": float(value) for name, value in zip(NUMBERS, stats, strict=True)}
        precision = found.eval["precision"][..., 0, -1]  # [T, R, K] of all sizes and 100 detections
        for name, thresholds in (("ap", slice(None)), ("ap50", [0]), ("ap75", [5])):
            of_class = precision[thresholds].mean(axis=(0, 1))
            classes[f"{kind}_{name}"] = np.where(of_class < 0, np.nan, of_class) * 100
    return CocoScores(numbers, pd.DataFrame(classes), tuple(reasons), "\n".join(summaries))


def in_lines(scores: CocoScores) -> list[str]:
    """The table of classes and the numbers, for the screen."""
    table = scores.classes.to_string(index=False, na_rep="none", float_format=lambda value: f"{value:.2f}")
    numbers = [f"{name:14} {'none' if np.isnan(value) else f'{value:.2f} %'}" for name, value in scores.numbers.items()]
    return [*table.splitlines(), *numbers]


def _scored_kinds(truth: CocoTruth, results: Sequence[CocoEntry]) -> Iterator[str]:
    if truth.annotations is None:
        return
    if all("bbox" in entry for entry in results):
        yield "box"
    if truth.has_masks and all("segmentation" in entry for entry in results):
        yield "mask"


def _reasons(truth: CocoTruth, results: Sequence[CocoEntry], num_real: int) -> Iterator[str]:
    if truth.annotations is None:
        yield f"{truth.source} has no annotations, so that nothing can be scored"
        return
    if not num_real:
        yield f"{truth.source} annotates no object in its {len(truth.images)} images, so that no number has a value"
    elif not results:
        yield "there are no detections"
    if not truth.has_masks:
        yield f"{truth.source} has annotations without masks, so that masks are not scored"
    elif not all("segmentation" in entry for entry in results):
        yield "the results have no masks"
    if not all("bbox" in entry for entry in results):
        yield "the results have no boxes"


def _scored(truth: CocoTruth, results: Sequence[CocoEntry], iou_type: str) -> tuple[COCOeval, str]:
    # A detection of masks that also has a box is given the box's area, which would change what is small.
    place = "bbox" if iou_type == "bbox" else "segmentation"
    kept = ("image_id", "category_id", "score", place)
    entries = [{name: entry[name] for name in kept} for entry in results]
    with redirect_stdout(io.StringIO()) as printed:  # it prints as it goes
        annotated = _index(truth, [dict(one) for one in truth.annotations or ()])
        found = annotated.loadRes(entries) if entries else _index(truth, [])
        evaluation = COCOeval(annotated, found, iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        printed.truncate(0)
        printed.seek(0)
        evaluation.summarize()
    return evaluation, f"{iou_type}\n{printed.getvalue().rstrip()}"


def _index(truth: CocoTruth, annotations: list[CocoEntry]) -> Any:
    coco = COCO()
    coco.dataset = {
        "images": list(truth.images.values()),
        "categories": [{"id": number, "name": name} for number, name in truth.categories.items()],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco
