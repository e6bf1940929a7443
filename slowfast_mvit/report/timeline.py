"""Scores along time: which label is the best from when to when, and curves of some labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slowfast_mvit.report.accuracy import percent
from slowfast_mvit.report.chart import Curve

MOST_SPANS = 60  # rows of a table


@dataclass(frozen=True)
class Span:
    """Places one after the other with one best label: when, the label, its highest score among them, how many they are."""

    time: str
    label: str
    score: float
    count: int

    @property
    def words(self) -> tuple[str, str, str]:
        """From when to when, the label, the score."""
        return self.time, self.label, percent(self.score)


@dataclass(frozen=True)
class Timeline:
    """Labels with scores at n places of a video, in the order of time.

    Attributes:
        starts, ends: float64 [n] in seconds.
        scores: a row for each label that is known at a place: ``place`` (0 to n - 1), ``label``, ``score``.
        counted: times are whole seconds as box lists count them.
    """

    starts: np.ndarray
    ends: np.ndarray
    scores: pd.DataFrame
    counted: bool = False

    def __len__(self) -> int:
        return len(self.starts)

    def best(self) -> pd.DataFrame:
        """The best label of each place, by place."""
        order = self.scores.sort_values(["place", "score"], ascending=[True, False], kind="stable")
        return order.drop_duplicates("place").set_index("place")

    def spans(self) -> list[Span]:
        """Places with one best label joined, in order."""
        best = self.best()
        changes = (best["label"] != best["label"].shift()).cumsum()
        return [
            Span(
                self.time(rows.index.tolist()),
                str(rows["label"].iloc[0]),
                float(rows["score"].max()),
                len(rows),
            )
            for _, rows in best.groupby(changes, sort=True)
        ]

    def time(self, places: Sequence[int]) -> str:
        """From when to when some places are, in words."""
        start, end = float(self.starts[places].min()), float(self.ends[places].max())
        if self.counted:
            return f"second {start:.0f}" + (f" to {end:.0f}" if end > start else "")
        if end < 60:
            return f"{round(start, 1):g} to {round(end, 1):g} s"
        return f"{_clock(start)} to {_clock(end)}"

    def curve(self, label: str, most: float = 0.0) -> Curve:
        """The label's score in percent at the middle of each place, 0 where it is not known; the axis goes up to ``most``."""
        y = np.zeros(len(self))
        mine = self.scores[self.scores["label"] == label]
        y[mine["place"].to_numpy(dtype=np.int64)] = 100 * mine["score"].to_numpy(dtype=np.float64)
        x = (self.starts + self.ends) / 2
        return Curve(label, "second", tuple(x.tolist()), tuple(y.tolist()), " %", whole=self.counted, shown=(0.0, most))


def _clock(second: float) -> str:
    """As in ``1:02:03.5``."""
    minutes, tenths = divmod(round(10 * second), 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{tenths // 10:02}.{tenths % 10}"


def ranked(table: pd.DataFrame, label: str, score: str) -> pd.DataFrame:
    """Columns of ranks as rows: ``row`` (of the table, 0 ...), ``rank`` (1 ...), ``label``, ``score``; without empty ones.

    Args:
        table: with the best labels of each row.
        label, score: names of the columns with ``{}`` for the rank, as ``top{}_score``. Without the column ``label`` (or an
            empty name in it) of a table of clips, a label is called by its number.
    """
    parts = []
    for rank in range(1, 6):
        if score.format(rank) not in table:
            break
        names = table.get(label.format(rank), pd.Series("", table.index))
        if f"top{rank}" in table:
            numbers = table[f"top{rank}"]
            names = names.where(names != "", "class " + numbers.map(lambda number: f"{number:.0f}"))
        parts.append(
            pd.DataFrame(
                {
                    "row": np.arange(len(table)),
                    "rank": rank,
                    "label": names.to_numpy(),
                    "score": table[score.format(rank)].to_numpy(dtype=np.float64),
                }
            )
        )
    joined = pd.concat(parts, ignore_index=True)
    return joined[joined["score"].notna() & (joined["label"] != "")]
