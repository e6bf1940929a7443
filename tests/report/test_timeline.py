"""Scores along time, by hand."""

import numpy as np
import pandas as pd
import pytest

from slowfast_mvit.report.predicted_videos import certain_windows, curves_of, timeline_of
from slowfast_mvit.report.timeline import Span, Timeline, ranked

CLIPS = pd.DataFrame(
    {
        "clip_index": [0, 0, 1, 1, 2, 2],  # two crops each
        "start_sec": [0.0, 0, 2, 2, 4, 4],
        "end_sec": [2.0, 2, 4, 4, 6, 6],
        "top1": [7, 7, 7, 3, 3, 3],
        "top1_name": ["run", "run", "run", "", "", ""],
        "top1_score": [0.8, 0.6, 0.5, 0.9, 0.7, 0.5],
        "top2": [3, 3, 3, 7, 7, 9],
        "top2_name": ["", "", "", "run", "run", "sit"],
        "top2_score": [0.1, 0.3, 0.4, 0.1, 0.2, 0.3],
    }
)


def test_crops_are_joined() -> None:
    timeline = timeline_of(CLIPS)
    scores = timeline.scores.pivot(index="place", columns="label", values="score").fillna(-1)
    assert scores["run"].tolist() == pytest.approx([0.7, 0.3, 0.1])
    assert scores["class 3"].tolist() == pytest.approx([0.2, 0.65, 0.6])
    assert scores["sit"].tolist() == pytest.approx([-1, -1, 0.15])
    assert timeline.starts.tolist() == [0, 2, 4] and timeline.ends.tolist() == [2, 4, 6]


def test_spans_and_curves() -> None:
    timeline = timeline_of(CLIPS)
    first, second = timeline.spans()
    assert first == Span("0 to 2 s", "run", pytest.approx(0.7), 1)
    assert second == Span("2 to 6 s", "class 3", pytest.approx(0.65), 2)
    assert second.words == ("2 to 6 s", "class 3", "65.0\N{NO-BREAK SPACE}%")
    curve = timeline.curve("sit")
    assert curve.x == (1.0, 3.0, 5.0) and curve.y == pytest.approx((0, 0, 15))
    assert [curve.title for curve, _ in curves_of(timeline, ["class 3", "sit", "gone"], "v")] == ["class 3", "sit"]
    assert all(curve.shown == (0.0, pytest.approx(65)) for curve, _ in curves_of(timeline, ["class 3", "sit"], "v"))
    assert curves_of(timeline_of(CLIPS[:2]), ["run"], "v") == ()  # a single window


def test_a_curve_within_a_second_has_ticks() -> None:
    """No whole number lies between its places."""
    scores = pd.DataFrame({"place": [0, 1], "label": ["run"] * 2, "score": [0.2, 0.4]})
    timeline = Timeline(np.array([0.1, 0.3]), np.array([0.5, 0.7]), scores)
    ((_, drawn),) = curves_of(timeline, ["run"], "v")
    assert ">0.3</text>" in drawn and "polyline" in drawn


def test_times_in_words() -> None:
    timeline = Timeline(np.array([0.0, 58.96, 3725.5]), np.array([58.94, 61.0, 3727.0]), CLIPS[:0])
    assert [timeline.time([place]) for place in range(3)] == [
        "0 to 58.9 s",
        "0:59.0 to 1:01.0",
        "1:02:05.5 to 1:02:07.0",
    ]
    counted = Timeline(np.array([901.0, 902.0]), np.array([901.0, 902.0]), CLIPS[:0], counted=True)
    assert counted.time([1]) == "second 902" and counted.time([0, 1]) == "second 901 to 902"


def test_certain_windows_do_not_share_more_than_half() -> None:
    scores = pd.DataFrame({"place": range(5), "label": ["run"] * 5, "score": [0.5, 0.9, 0.8, 0.1, 0.7]})
    starts = np.array([0.0, 1, 1.9, 3, 9])
    assert certain_windows(Timeline(starts, starts + 2, scores)) == [0, 1, 4]


def test_ranked_leaves_out_what_is_empty() -> None:
    table = pd.DataFrame(
        {"action_1": ["sit", "run"], "score_1": [0.9, 0.8], "action_2": ["", "sit"], "score_2": [np.nan, 0.1]}
    )
    rows = ranked(table, "action_{}", "score_{}")
    assert rows[["row", "rank", "label", "score"]].to_numpy().tolist() == [
        [0, 1, "sit", 0.9],
        [1, 1, "run", 0.8],
        [1, 2, "sit", 0.1],
    ]
