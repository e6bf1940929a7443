"""A frame mAP as files and on the screen: the table of classes, metrics, and curves of precision over recall."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from slowfast_mvit.evaluation.ava import AvaResult


def official_key(iou: float) -> str:
    """The name that the protocol's own code gives to mAP at a threshold."""
    return f"PascalBoxes_Precision/mAP@{float(iou)}IOU"


def classes_table(result: AvaResult) -> pd.DataFrame:
    """One row per class: action_id, name, num_truth, num_detections, and its AP from 0 to 1 at every threshold."""
    columns: dict[str, object] = {
        "action_id": [one.id for one in result.classes],
        "name": [one.name for one in result.classes],
        "num_truth": result.num_truth,
        "num_detections": result.num_detections,
    }
    return pd.DataFrame(
        columns | {f"AP@{iou}IOU": row for iou, row in zip(result.ious, result.average_precisions, strict=True)}
    )


def metrics(result: AvaResult, reasons: Sequence[str] = ()) -> dict[str, object]:
    """What a JSON file says: the official keys (from 0 to 1), ``map`` in percent at the first threshold, counts, reasons."""
    dropped = asdict(result.dropped)
    return {
        **{official_key(iou): result.mean(index) for index, iou in enumerate(result.ious)},
        "map": result.mean() * 100,
        "iou": result.ious[0],
        "num_classes": len(result.classes),
        "num_classes_with_truth": int((result.num_truth > 0).sum()),
        "num_truth": int(result.num_truth.sum()),
        "num_detections": int(result.num_detections.sum()),
        "seconds_with_truth": result.images_of_truth,
        "seconds_with_detections": result.images_of_detections,
        "seconds_with_both": result.images_of_both,
        "left_out": {
            "truth_of_unknown_actions": dropped["truth_unknown"],
            "truth_at_excluded_seconds": dropped["truth_excluded"],
            "detections_of_unknown_actions": dropped["unknown"],
            "detections_at_excluded_seconds": dropped["excluded"],
            "detections_without_area": dropped["invalid"],
        },
        "reasons": list(reasons),
    }


def curves_table(result: AvaResult) -> pd.DataFrame:
    """One row per threshold, class and right detection, by falling score: iou, action_id, name, score, recall, precision.

    Between two rows recall stands still and precision falls, so these are the curve's upper corners.
    """
    parts = [
        pd.DataFrame(
            {
                "iou": iou,
                "action_id": one.id,
                "name": one.name,
                "score": curve.scores,
                "recall": curve.recall,
                "precision": curve.precision,
            }
        )
        for iou, of_classes in zip(result.ious, result.curves, strict=True)
        for one, curve in zip(result.classes, of_classes, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def in_lines(result: AvaResult) -> list[str]:
    """The table of classes and mAP, for the screen; AP in percent."""
    width = max(len("class"), *(len(one.name) for one in result.classes))
    heads = [f"AP@{iou:g}" for iou in result.ious]
    lines = [f"{'id':>4} {'class':{width}} {'truth':>8} {'detections':>11} " + " ".join(f"{head:>8}" for head in heads)]
    for k, one in enumerate(result.classes):
        precisions = " ".join(f"{_percent(value):>8}" for value in result.average_precisions[:, k])
        lines.append(
            f"{one.id:>4} {one.name:{width}} {result.num_truth[k]:>8} {result.num_detections[k]:>11} {precisions}"
        )
    scored = int((result.num_truth > 0).sum())
    of_classes = f"the mean over the {scored} of {len(result.classes)} classes with truth"
    for index, iou in enumerate(result.ious):
        lines.append(f"mAP@{iou:g}IOU {_percent(result.mean(index))} %, {of_classes}")
    return lines


def _percent(value: float) -> str:
    return "none" if np.isnan(value) else f"{100 * value:.2f}"
