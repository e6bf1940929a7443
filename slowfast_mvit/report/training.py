"""The training of a run as curves and a table of epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from slowfast_mvit.report.chart import Curve
from slowfast_mvit.report.files import RunFiles

MOST_EPOCHS = 300  # rows of the table; the last ones are shown
_METRICS = {
    "val_top1_acc": "top-1",
    "val_top5_acc": "top-5",
    "val_map": "mAP",
    "val_box_ap": "box AP",
    "val_mask_ap": "mask AP",
}
_COUNTS = ("epoch", "val_num_unreadable")


@dataclass(frozen=True)
class Training:
    """What the page says of a training.

    Attributes:
        curves: loss, learning rate, and the metric of the validations.
        heads, rows: the table of epochs.
        left_out: epochs that the table does not show.
        sentences: how far it came, when, and its best epoch.
    """

    curves: tuple[Curve, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int
    sentences: tuple[str, ...]


def training_of(run: RunFiles) -> Training | None:
    """The training that a folder has traces of; None where nothing was trained."""
    steps = run.steps if run.steps is not None and len(run.steps) else None
    epochs = run.epochs if run.epochs is not None and len(run.epochs) else None
    if steps is None and epochs is None:
        return None
    curves = []
    if steps is not None:
        curves += [_curve("Loss", "step", steps["step"], steps["loss"])]
        curves += [_curve("Learning rate", "step", steps["step"], steps["lr"])]
    metric = _metric(epochs)
    if epochs is not None and metric:
        title = f"Validation {_METRICS[metric]}"
        curves.append(_curve(title, "epoch", epochs["epoch"], epochs[metric], unit=" %"))
    heads, rows = _table(epochs) if epochs is not None else ((), ())
    return Training(
        tuple(curve for curve in curves if curve.points()),
        heads,
        rows[-MOST_EPOCHS:],
        max(0, len(rows) - MOST_EPOCHS),
        tuple(_sentences(run, steps, epochs, metric)),
    )


def _curve(title: str, x_name: str, x: pd.Series, y: pd.Series, unit: str = "") -> Curve:
    return Curve(title, x_name, tuple(x.astype(float)), tuple(y.astype(float)), unit)


def _metric(epochs: pd.DataFrame | None) -> str:
    """The first metric of the validations that has a value, as the history counts."""
    return next((name for name in _METRICS if epochs is not None and name in epochs and epochs[name].notna().any()), "")


def _table(epochs: pd.DataFrame) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    names = [str(name) for name in epochs.columns]
    heads = tuple(
        _METRICS.get(name, name).join(("validation ", " %") if name in _METRICS else ("", "")) for name in names
    )
    rows = tuple(tuple(_figure(name, row[name]) for name in names) for _, row in epochs.iterrows())
    return tuple(head.replace("val_", "validation ").replace("_", " ") for head in heads), rows


def _figure(name: str, value: float) -> str:
    if pd.isna(value):
        return ""
    if name in _COUNTS:
        return f"{value:.0f}"
    return f"{value:.2f}" if name in _METRICS else f"{value:.4g}"


def _sentences(run: RunFiles, steps: pd.DataFrame | None, epochs: pd.DataFrame | None, metric: str) -> Sequence[str]:
    finished = int(epochs["epoch"].max()) if epochs is not None else 0
    done = f"{finished} epochs are trained"
    if run.config is not None:
        solver = run.config.SOLVER
        planned = f"{solver.MAX_STEPS} steps" if solver.MAX_STEPS else f"{solver.MAX_EPOCH} epochs"
        done += f", of {planned} that are asked for"
    if steps is None:
        said = [f"{done}."]
    else:
        said = [f"{done}; the log goes to step {steps['step'].max():.0f}.", *_times(steps["time"].dropna())]
    if epochs is not None and metric:
        best = epochs.iloc[int(epochs[metric].argmax())]
        said.append(f"The best validation is of epoch {best['epoch']:.0f}: {_METRICS[metric]} {best[metric]:.2f} %.")
    return said


def _times(seconds: pd.Series) -> list[str]:
    if not len(seconds) or not 0 <= seconds.min() <= seconds.max() < 32503680000:  # the year 3000
        return []
    first, last = (datetime.fromtimestamp(float(time), UTC) for time in (seconds.min(), seconds.max()))
    return [
        f"Logged from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, "
        f"{timedelta(seconds=round((last - first).total_seconds()))} in all, with the time between resumptions."
    ]
