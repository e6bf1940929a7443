"""Parameters and FLOPs of every model, beside the paper's."""

import warnings
from collections.abc import Iterable, Sequence

import pandas as pd
import torch
from torch import nn

from slowfast_mvit.build.model import create_model, list_models
from slowfast_mvit.errors import UserError, closest
from slowfast_mvit.models.baselines import BASELINES, Baseline
from slowfast_mvit.models.flops import count_flops
from slowfast_mvit.models.flops_rcnn import detector_flops
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.paper import FOOTNOTES, PAPER_ROWS
from slowfast_mvit.models.rcnn import Detector


def model_stats(names: Sequence[str] = ()) -> pd.DataFrame:
    """A row per model and setting that the paper has a figure for, then one per baseline.

    Columns: ``model``, ``setting``, ``params`` (exact), ``gflops`` (fvcore's convention: a multiply-add counts one, an element
    of a LayerNorm five), the paper's ``paper_params_m`` and ``paper_gflops``, the independent ``known_params`` and
    ``known_gflops``, and ``notes``, numbers of footnotes. MViT is built without memory and counted by arithmetic.

    Args:
        names: models to show; all by default.

    Raises:
        UserError: a name that does not exist.
    """
    known = list_models()
    for name in names:
        if name not in known:
            raise UserError(f"there is no model {name!r}; {closest(name, known)}")
    wanted = set(names or known)
    rows = []
    for row in PAPER_ROWS:
        if row.name in wanted:
            params, flops = _count(row.name, **row.options)
            figures = (row.paper_params, row.paper_flops, row.params, row.flops)
            rows.append((row.name, row.title, params, flops, *figures, row.notes))
    for name in BASELINES:
        if name in wanted:
            rows.append((name, "PyTorchVideo's, 400 classes", *_count(name), None, None, None, None, ()))
    columns = [
        "model", "setting", "params", "gflops", "paper_params_m", "paper_gflops", "known_params", "known_gflops", "notes",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def stats_table(stats: pd.DataFrame) -> str:
    """The table for the screen. ``known`` figures are those that others recomputed."""
    notes = [" ".join(f"[{number}]" for number in numbers) for numbers in stats["notes"]]
    shown = {
        "model": _left(stats["model"]),
        "setting": _left(stats["setting"]),
        "params": _figures(stats["params"], ",.0f"),
        "GFLOPs": _figures(stats["gflops"], ".2f"),
        "paper: M": _figures(stats["paper_params_m"], "g"),
        "paper: G": _figures(stats["paper_gflops"], "g"),
        "known: params": _figures(stats["known_params"], ",.0f"),
        "known: G": _figures(stats["known_gflops"], ".2f"),
        "note": _left(notes),
    }
    return pd.DataFrame(shown).to_string(index=False)


def _left(texts: Iterable[str]) -> list[str]:
    texts = list(texts)
    width = max(map(len, texts), default=0)
    return [text.ljust(width) for text in texts]


def _figures(values: Iterable[float | None], form: str) -> list[str]:
    return ["" if value is None or pd.isna(value) else format(value, form) for value in values]


def footnotes(stats: pd.DataFrame) -> dict[int, str]:
    """The footnotes that the rows refer to."""
    used = sorted({number for notes in stats["notes"] for number in notes})
    return {number: FOOTNOTES[number] for number in used}


def _count(name: str, **options: object) -> tuple[int, float]:
    """Parameters, and FLOPs in 1e9."""
    with torch.device("cpu" if name in BASELINES else "meta"):
        model: nn.Module = create_model(name, **options)  # type: ignore[arg-type]
    params = sum(parameter.numel() for parameter in model.parameters())
    if isinstance(model, MViT):
        return params, count_flops(model.arch, model.num_classes).total / 1e9
    if isinstance(model, Detector):
        return params, detector_flops(model).total / 1e9
    return params, _traced_flops(model, BASELINES[name]) / 1e9


def _traced_flops(model: nn.Module, baseline: Baseline) -> int:
    """fvcore's count for one clip at the network's own size; it runs the network, since it traces shapes."""
    side = baseline.crop_size
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
        from fvcore.nn import FlopCountAnalysis  # its import warns

        analysis = FlopCountAnalysis(model.eval(), torch.zeros(1, 3, baseline.num_frames, side, side))
        return int(analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())
