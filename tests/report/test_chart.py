"""Curves by hand: ticks, sentences, and where points are drawn."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.report.chart import Curve, chart, thinned, ticks


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0, 4, False, [0, 1, 2, 3, 4]),
        (0.12, 0.98, False, [0, 0.5, 1]),
        (2.1, 3.4, False, [2, 2.5, 3, 3.5]),
        (-1, 1, False, [-1, -0.5, 0, 0.5, 1]),
        (1, 120, True, [50, 100]),
        (1, 3, True, [1, 2, 3]),
        (7, 7, True, [7]),
        (2, 2, False, [1, 1.5, 2, 2.5, 3]),
        (0, 0, False, [-0.5, 0, 0.5]),
    ],
)
def test_ticks_by_hand(low: float, high: float, whole: bool, expected: list[float]) -> None:
    assert ticks(low, high, 5, whole=whole) == expected


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e9))
def test_ticks_hold_what_they_are_for(low: float, length: float) -> None:
    found = ticks(low, low + length, 5)
    assert 2 <= len(found) <= 7 and found[0] <= low + length * 1e-6 and found[-1] >= low + length * (1 - 1e-6)


def test_a_sentence_says_the_curve() -> None:
    curve = Curve("Loss", "step", (1, 2, 3, 4), (2.5, math.nan, 0.25, 0.5))
    assert curve.points() == [(1, 2.5), (3, 0.25), (4, 0.5)]
    assert (
        curve.sentence() == "Loss, from 2.5 at step 1 to 0.5 at step 4; lowest 0.25 at step 3, highest 2.5 at step 1."
    )
    assert Curve("Top", "epoch", (2,), (50.0,), " %").sentence() == "Top: 50 % at epoch 2."
    assert Curve("Top", "epoch", (2,), (math.nan,)).sentence() == "Top: no value."


def test_points_are_drawn_where_the_ticks_say() -> None:
    drawn = str(chart(Curve("<Loss>", "step", (0, 5, 10), (0.0, 4.0, 2.0)), "c"))
    # x from 52 to 350, y from 186 (0) up to 10 (4).
    assert re.search(r'points="([^"]*)"', drawn).group(1) == "52.0,186.0 201.0,10.0 350.0,98.0"  # type: ignore[union-attr]
    assert 'cx="350.0" cy="98.0"' in drawn and 'aria-describedby="c-words"' in drawn
    assert re.findall(r'class="at-y"[^>]*>([^<]*)', drawn) == ["0", "1", "2", "3", "4"]
    assert "&lt;Loss&gt;" in drawn and "<Loss>" not in drawn


def test_many_points_are_joined_by_their_means() -> None:
    assert thinned([(x, 2.0 * x) for x in range(7)], 3) == [(1, 2), (4, 8), (6, 12)]
    assert thinned([(1.0, 2.0)], 3) == [(1, 2)]
