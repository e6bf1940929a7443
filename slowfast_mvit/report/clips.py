"""The best and the worst videos or images of a test, with what was said of them and what is true."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slowfast_mvit.build.data import videos_of
from slowfast_mvit.data.clips import open_listed
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.images import read_image
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.errors import UserError
from slowfast_mvit.report.accuracy import percent
from slowfast_mvit.report.files import RunFiles
from slowfast_mvit.report.looping import Budget, Looping, looping

EACH = 6  # videos that are shown of the best and of the worst
FRAMES = 12  # of a video, evenly spaced over all of it
SIDE = 160  # pixels of the longer one
_FASTEST, _SLOWEST = 80, 300  # milliseconds that a frame stands
_TOP = 3  # classes that are named


@dataclass(frozen=True)
class Clip:
    """A video of the test.

    Attributes:
        name: as the list spells it.
        truth: its label or labels.
        said: the best classes with their scores.
        right: for each of ``said``, whether it is true.
        picture: None where there is none.
        problem: why there is none.
    """

    name: str
    truth: str
    said: tuple[tuple[str, str], ...]
    right: tuple[bool, ...]
    picture: Looping | None
    problem: str = ""


@dataclass(frozen=True)
class Clips:
    """What is shown of a test.

    Attributes:
        best, worst: see :func:`best_and_worst`.
        any_wrong: whether ``worst`` are mistakes; else they are the least certain of the right ones.
    """

    best: tuple[Clip, ...]
    worst: tuple[Clip, ...]
    any_wrong: bool

    @property
    def moves(self) -> bool:
        """Whether any picture does."""
        return any(clip.picture is not None and clip.picture.moving for clip in (*self.best, *self.worst))


def clips_of(run: RunFiles, budget: Budget) -> Clips | None:
    """The best and the worst of a test with their pictures; None where there is no table of them.

    Without the videos the clips stand without pictures, and the run's notes say why.
    """
    if run.videos is None or not len(run.videos) or "top1_score" not in run.videos:
        return None
    table = judged(run.videos)
    best, worst, any_wrong = best_and_worst(table)
    picture = _pictures(run, budget)
    return Clips(
        tuple(_clip(table.iloc[row], picture) for row in best),
        tuple(_clip(table.iloc[row], picture) for row in worst),
        any_wrong,
    )


def judged(videos: pd.DataFrame) -> pd.DataFrame:
    """The table with ``truths`` (a frozenset of label numbers as text) and ``good``: the share of right ones, from 0 to 1.

    Of a video with one label, whether the best class is it. Of one with k labels, the share of its k best classes (5 at most)
    that are labels; NaN for one without labels.
    """
    if "label" in videos:
        truths = [frozenset({_number(label)}) - {""} for label in videos["label"]]
    else:
        labels = videos["labels"] if "labels" in videos else pd.Series("", videos.index)
        truths = [frozenset(filter(None, text.split(";"))) for text in labels]
    ranks = [rank for rank in range(1, 6) if f"top{rank}" in videos]
    tops = [[_number(top) for top in row] for row in videos[[f"top{rank}" for rank in ranks]].to_numpy(dtype=float)]
    good = [
        np.mean([one in truth for one in top[: len(truth)]]) if truth and top else np.nan
        for truth, top in zip(truths, tops, strict=True)
    ]
    return videos.assign(truths=pd.Series(truths, videos.index, dtype=object), good=good)


def best_and_worst(table: pd.DataFrame) -> tuple[list[int], list[int], bool]:
    """Rows to show, and whether the worst are mistakes.

    The best are right with the highest scores, one of each truth. The worst are wrong, those first that are most sure of it,
    one of each confusion; where nothing is wrong, the right ones of which the model was least sure.
    """
    known = table[table["good"].notna()]
    kinds = pd.Series([";".join(sorted(truth)) for truth in known["truths"]], known.index, dtype=object)
    taken = pd.Series([_number(top) for top in known["top1"]], known.index, dtype=object)
    right = known[known["good"] == 1].sort_values("top1_score", ascending=False, kind="stable")
    best = right[~kinds[right.index].duplicated()].index[:EACH].tolist()
    wrong = known[known["good"] < 1].sort_values(["good", "top1_score"], ascending=[True, False], kind="stable")
    pairs = kinds[wrong.index] + " " + taken[wrong.index]
    worst = wrong[~pairs.duplicated()].index[:EACH].tolist()
    if worst:
        return best, worst, True
    least = [row for row in right.index[::-1].tolist() if row not in best]
    return best, least[:EACH], False


def _number(value: object) -> str:
    """A label's number as text: 3 of 3.0; empty where there is none."""
    return "" if pd.isna(value) else f"{value:.0f}"  # type: ignore[call-overload]


def _clip(row: pd.Series, picture: Callable[[str], Looping | str]) -> Clip:
    ranks = [rank for rank in range(1, _TOP + 1) if f"top{rank}" in row and pd.notna(row[f"top{rank}"])]
    said = tuple((_named(row, f"top{rank}"), percent(row[f"top{rank}_score"])) for rank in ranks)
    right = tuple(_number(row[f"top{rank}"]) in row["truths"] for rank in ranks)
    name = str(row["video"])
    found = picture(name)
    shown, problem = (None, found) if isinstance(found, str) else (found, "")
    return Clip(name, _truth(row), said, right, shown, problem)


def _named(row: pd.Series, column: str) -> str:
    return str(row.get(f"{column}_name") or f"class {_number(row[column])}")


def _truth(row: pd.Series) -> str:
    if "label" in row:
        return str(row.get("label_name") or f"class {_number(row['label'])}")
    names = str(row.get("label_names") or "").replace(";", ", ")
    return names or ", ".join(f"class {label}" for label in sorted(row["truths"])) or "no label"


def _pictures(run: RunFiles, budget: Budget) -> Callable[[str], Looping | str]:
    """What gives the picture of a video by its name, or says why there is none."""
    try:
        if run.config is None:
            raise UserError(
                "the folder has no config that says where the test's videos are: their pictures are left out"
            )
        videos = videos_of(run.config, "test", run.label_names, must_exist=False)
    except (UserError, OSError) as error:
        run.notes.append(f"the test's list cannot be read, so its videos have no pictures: {error}")
        return lambda name: "no picture"
    return lambda name: _picture(run, videos, name, budget)


def _picture(run: RunFiles, videos: VideoList | ImageList, name: str, budget: Budget) -> Looping | str:
    assert run.config is not None
    places = np.flatnonzero(videos.names == name)
    if not len(places):
        return "no picture: the test's list has no such entry any more"
    try:
        frames, milliseconds = _frames(run, videos, int(places[0]))
    except VideoError as error:
        run.notes.append(str(error))
        return f"no picture: {error.cause}"
    found = looping(frames, milliseconds, SIDE)
    return found if budget.take(found) else "no picture: the page has enough of them"


def _frames(run: RunFiles, videos: VideoList | ImageList, index: int) -> tuple[Sequence[np.ndarray], int]:
    """Frames uint8 RGB [n, H, W, 3], and how many milliseconds each stands. An image is one frame."""
    assert run.config is not None
    if isinstance(videos, ImageList):
        return [np.asarray(read_image(videos.path(index)))], 0
    data = run.config.DATA
    with open_listed(videos, index, data.DECODING_BACKEND, data.TARGET_FPS) as reader:
        count = min(FRAMES, reader.num_frames)
        frames = reader.frames_at(np.linspace(0, reader.num_frames - 1, count).round().astype(np.int64))
        seconds = float(reader.timestamps()[-1])
    return list(frames), int(np.clip(1000 * seconds / max(count, 1), _FASTEST, _SLOWEST))
