"""What figures mean: intervals from the literature, words by hand."""

from pathlib import Path

import pandas as pd
import pytest

from slowfast_mvit.report.accuracy import certainty, figures, other_values, percent, wilson
from slowfast_mvit.report.files import RunFiles


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_of_the_literature(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right, count) == pytest.approx((low, high), abs=5e-5)


def test_figures_have_their_meaning() -> None:
    test = {"top1_acc": 12.5, "top5_acc": None, "num_videos": 8, "protocol": "p", "iou": 0.5, "left_out": {"a": 1}}
    assert [(name, value) for name, value, _ in figures(test)] == [("top-1", "12.50 %")]
    assert other_values(test) == [("num_videos", "8"), ("iou", "0.5")]
    assert percent(0.4152) == "41.5\N{NO-BREAK SPACE}%"


def test_certainty_counts_what_is_right() -> None:
    videos = pd.DataFrame({"label": [1, 1, 2], "top1": [1, 2, 2]})
    assert certainty(RunFiles(Path(), videos=videos)).startswith("2 of 3 are right.")
    assert certainty(RunFiles(Path(), videos=videos.drop(columns="label"))) == ""
