"""Bars and confusions of small tables, by hand."""

from pathlib import Path

import pandas as pd
import pytest

from slowfast_mvit.report.classes import MOST_IN_MATRIX, bars_of, confusions_of
from slowfast_mvit.report.files import RunFiles


def run_of(pairs: list[tuple[int, int]], names: tuple[str, ...] = ("run", "jump", "sit")) -> RunFiles:
    table = pd.DataFrame(pairs, columns=["label", "top1"])
    return RunFiles(Path(), label_names=names, videos=table)


def test_bars_are_sorted_with_their_counts() -> None:
    bars = bars_of(run_of([(0, 0), (0, 1), (1, 1), (2, 0), (2, 0), (2, 2), (3, 1)]))
    assert bars is not None and bars.left_out == 0
    assert [(bar.name, bar.value, bar.count) for bar in bars.bars] == [
        ("jump", 1, "1 of 1"),
        ("run", 0.5, "1 of 2"),
        ("sit", pytest.approx(1 / 3), "1 of 3"),
        ("class 3", 0, "0 of 1"),
    ]


@pytest.mark.parametrize(
    ("columns", "value_name"),
    [
        ({"class": [0, 1, 2], "num_videos": [3, 0, 1], "average_precision": [0.5, None, 1]}, "average precision"),
        ({"action_id": [4, 5, 6], "num_truth": [3, 0, 1], "AP@0.5IOU": [0.5, None, 1]}, "average precision at IoU 0.5"),
        ({"category_id": [1, 3, 9], "num_truth": [3, 0, 1], "box_ap": [50, None, 100], "mask_ap": [0, 0, 0]}, "box AP"),
    ],
)
def test_tables_of_average_precision(columns: dict[str, list[float]], value_name: str) -> None:
    table = pd.DataFrame({"name": ["a", "b", "c"], **columns})
    bars = bars_of(RunFiles(Path(), classes=table))
    assert bars is not None and bars.value_name == value_name
    assert [(bar.name, bar.known, bar.count) for bar in bars.bars] == [
        ("c", True, "1"),
        ("a", True, "3"),
        ("b", False, "0"),
    ]
    assert [bar.value for bar in bars.bars[:2]] == [1, 0.5]


def test_confusions_by_hand() -> None:
    found = confusions_of(run_of([(0, 1), (0, 1), (0, 0), (1, 2), (2, 0), (2, 2), (2, 2)]))
    assert found is not None and found.num_pairs == 3
    # The most frequent first; of equals the one that is more of its class.
    assert found.pairs == (
        ("run", "jump", 2, pytest.approx(2 / 3)),
        ("jump", "sit", 1, 1),
        ("sit", "run", 1, pytest.approx(1 / 3)),
    )
    assert found.names == ("run", "jump", "sit")
    assert found.matrix == ((1, 2, 0), (0, 0, 1), (1, 0, 2))


def test_400_classes_have_pairs_and_no_matrix() -> None:
    found = confusions_of(run_of([(label, (label + 1) % 400) for label in range(400)]))
    assert found is not None and (len(found.pairs), found.num_pairs, found.names) == (20, 400, ())
    few = confusions_of(run_of([(label, label) for label in range(MOST_IN_MATRIX)]))
    assert few is not None and few.pairs == () and len(few.names) == MOST_IN_MATRIX


def test_nothing_of_tests_that_have_no_single_label() -> None:
    several = RunFiles(Path(), videos=pd.DataFrame({"labels": ["1;2"], "top1": [1]}))
    assert bars_of(several) is None and confusions_of(several) is None
    assert bars_of(RunFiles(Path())) is None and confusions_of(RunFiles(Path())) is None
    assert bars_of(RunFiles(Path(), classes=pd.DataFrame({"name": ["a"], "other": [1]}))) is None
