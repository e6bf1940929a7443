"""Key frames with people (AVA) and images with objects (COCO): numbered boxes on a picture, and what each is said to be."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from slowfast_mvit.build.ava_lists import annotated_rows, ava_actions, ava_list, truth_of
from slowfast_mvit.data.ava import AvaList
from slowfast_mvit.data.boxes_on_video import DrawnBox, draw_boxes
from slowfast_mvit.data.images import read_image
from slowfast_mvit.data.key_frames import KeyFrameSampling, read_clip
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.boxes import overlaps
from slowfast_mvit.report.accuracy import percent
from slowfast_mvit.report.files import RunFiles
from slowfast_mvit.report.looping import Budget, Looping, larger, looping, smaller

EACH = 4  # key frames that are shown of the best and of the worst; of images twice as many
SIDE = 480  # pixels of the longer one
_LETTERS = 24  # pixels of a box's number
MOST_BOXES = 8  # on a picture, those with the highest scores
MIN_SCORE = 0.5  # of objects that are drawn
_SAME = 0.5  # overlap from which a box is of an annotated person
CORNERS = ["x1", "y1", "x2", "y2"]
_TOP = 3  # actions that are named


@dataclass(frozen=True)
class BoxWords:
    """A box: what it is said to be with scores, and what is true; empty where nobody knows."""

    said: str
    truth: str = ""


@dataclass(frozen=True)
class BoxedPicture:
    """A picture with numbered boxes.

    Attributes:
        name: video and second, or the image.
        boxes: in the order of their numbers.
        more: boxes that are not shown.
        picture: None where there is none.
        problem: why there is none.
        link: address of a file with the same on it; empty without one.
    """

    name: str
    boxes: tuple[BoxWords, ...]
    more: int
    picture: Looping | None
    problem: str = ""
    link: str = ""


@dataclass(frozen=True)
class _Truth:
    """What is annotated at each key frame: boxes [n, 4] with the action of each, by name."""

    at: dict[tuple[str, int], tuple[np.ndarray, list[str]]]

    def of(self, place: tuple[str, int], box: np.ndarray) -> tuple[str, ...]:
        """The actions of the annotated person that a box shows; empty for nobody."""
        boxes, names = self.at.get(place, (np.empty((0, 4)), []))
        if not len(boxes):
            return ()
        overlap = overlaps(box[None], boxes)[0]
        best = overlap.max()
        return tuple(name for name, part in zip(names, overlap, strict=True) if part == best >= _SAME)


def people_of(run: RunFiles, budget: Budget) -> tuple[list[BoxedPicture], list[BoxedPicture], bool] | None:
    """The key frames of a test of boxes: the best, the worst, whether anything is annotated; None without a table of boxes.

    A key frame is as good as the share of its boxes whose best action is among those of the annotated person. Without
    annotations the best are those of which the model is most sure, and there are no worst.
    """
    if run.boxes is None or not len(run.boxes):
        return None
    keys = _keys(run)
    truth = _truth(run) if keys is not None else None
    places = zip(run.boxes["video"].tolist(), run.boxes["second"].astype(int).tolist(), strict=True)
    groups = dict(iter(run.boxes.groupby(pd.Series(list(places), run.boxes.index), sort=False)))
    sureness = {place: float(rows["score_1"].max()) for place, rows in groups.items()}
    if truth is None:
        best = sorted(groups, key=lambda place: -sureness[place])[: 2 * EACH]
        return [_key_frame(run, keys, place, groups[place], None, budget) for place in best], [], False
    good = {place: _share_right(rows, place, truth) for place, rows in groups.items() if place in truth.at}
    best = sorted(good, key=lambda place: (-good[place], -sureness[place]))[:EACH]
    worst = [place for place in sorted(good, key=lambda place: (good[place], -sureness[place])) if place not in best][
        :EACH
    ]
    best_shown, worst_shown = (
        [_key_frame(run, keys, place, groups[place], truth, budget) for place in places] for places in (best, worst)
    )
    return best_shown, worst_shown, True


def _share_right(rows: pd.DataFrame, place: tuple[str, int], truth: _Truth) -> float:
    corners = rows[CORNERS].to_numpy(dtype=np.float64)
    return float(np.mean([name in truth.of(place, box) for name, box in zip(rows["action_1"], corners, strict=True)]))


def _keys(run: RunFiles) -> AvaList | None:
    """The key frames of the test's lists; None, with a note, where they cannot be read."""
    try:
        if run.config is None:
            raise UserError(
                "the folder has no config that says where the test's videos are: their pictures are left out"
            )
        return ava_list(run.config, "test", run.label_names, must_exist=False)
    except (UserError, OSError) as error:
        run.notes.append(f"the test's lists cannot be read, so its key frames have no pictures: {error}")
        return None


def _truth(run: RunFiles) -> _Truth | None:
    assert run.config is not None
    try:
        rows = annotated_rows(run.config)
        if rows is None:
            return None
        actions = ava_actions(run.config, run.label_names)
        truth = truth_of(rows, actions)
    except (UserError, OSError) as error:
        run.note(error)
        return None
    names = [actions.names[action - 1] or str(action) for action in truth.actions.tolist()]
    at: dict[tuple[str, int], tuple[list[np.ndarray], list[str]]] = {}
    for row, (video, second) in enumerate(zip(truth.at.videos.tolist(), truth.at.seconds.tolist(), strict=True)):
        boxes, said = at.setdefault((truth.at.video_names[video], second), ([], []))
        boxes.append(truth.boxes[row])
        said.append(names[row])
    return _Truth({place: (np.stack(boxes), said) for place, (boxes, said) in at.items()})


def _key_frame(
    run: RunFiles,
    keys: AvaList | None,
    place: tuple[str, int],
    rows: pd.DataFrame,
    truth: _Truth | None,
    budget: Budget,
) -> BoxedPicture:
    shown = rows.sort_values("score_1", ascending=False, kind="stable")[:MOST_BOXES]
    corners = shown[CORNERS].to_numpy(dtype=np.float64)
    words = []
    for (_, row), box in zip(shown.iterrows(), corners, strict=True):
        said = actions_said(row)
        true = "" if truth is None else ", ".join(truth.of(place, box)) or "nobody is annotated here"
        words.append(BoxWords(said, true))
    name = f"{place[0]}, second {place[1]}"
    try:
        frame: np.ndarray | str = _frame_at(run, keys, place)
    except VideoError as error:
        run.notes.append(str(error))
        frame = f"no picture: {error.cause}"
    return boxed(name, frame, corners, words, len(rows) - len(shown), budget)


def actions_said(row: pd.Series) -> str:
    """The best actions of a box with their scores."""
    ranks = [rank for rank in range(1, _TOP + 1) if row.get(f"action_{rank}")]
    return ", ".join(f"{row[f'action_{rank}']} {percent(row[f'score_{rank}'])}" for rank in ranks)


def _frame_at(run: RunFiles, keys: AvaList | None, place: tuple[str, int]) -> np.ndarray | str:
    if keys is None or run.config is None:
        return "no picture"
    found = [k for k in np.flatnonzero(keys.key_seconds == place[1]).tolist() if keys.video_name(k) == place[0]]
    if not found:
        return "no picture: the test's lists have no such key frame any more"
    data = run.config.DATA
    return read_clip(keys, found[0], KeyFrameSampling(1, 1, float(data.TARGET_FPS)), data.DECODING_BACKEND)[0][0]


def objects_of(run: RunFiles, budget: Budget) -> list[BoxedPicture] | None:
    """Images of a detection test with their objects, evenly spaced over the file; None without a table of objects."""
    if run.objects is None:
        return None
    sure = run.objects[run.objects["score"] >= MIN_SCORE]
    images = list(dict.fromkeys(sure["image"]))
    chosen = (
        [images[place] for place in np.unique(np.linspace(0, len(images) - 1, 2 * EACH).round().astype(int))]
        if images
        else []
    )
    folder = _image_folder(run)
    return [_image(run, folder, name, sure[sure["image"] == name], budget) for name in chosen]


def _image_folder(run: RunFiles) -> Path | None:
    if run.config is None:
        run.notes.append("the folder has no config that says where the test's images are: their pictures are left out")
        return None
    return Path(run.config.DATA.PATH_TO_DATA_DIR) / run.config.COCO.VAL_IMAGES


def _image(run: RunFiles, folder: Path | None, name: str, rows: pd.DataFrame, budget: Budget) -> BoxedPicture:
    shown = rows.sort_values("score", ascending=False, kind="stable")[:MOST_BOXES]
    words = [BoxWords(f"{label} {percent(score)}") for label, score in zip(shown["label"], shown["score"], strict=True)]
    corners = shown[CORNERS].to_numpy(dtype=np.float64)
    found: np.ndarray | str = "no picture"
    if folder is not None:
        try:
            found = np.asarray(read_image(str(folder / name)))
            height, width = found.shape[:2]
            corners = corners / np.array([width, height, width, height])
        except VideoError as error:
            run.notes.append(str(error))
            found = f"no picture: {error.cause}"
    return boxed(name, found, corners, words, len(rows) - len(shown), budget)


def boxed(
    name: str,
    frame: np.ndarray | str,
    corners: np.ndarray,
    words: Sequence[BoxWords],
    more: int,
    budget: Budget,
) -> BoxedPicture:
    """The picture with numbers in the boxes; ``corners`` [n, 4] are parts of its width and height.

    A text in place of the frame says why there is none. ``more`` boxes are not shown.
    """
    if isinstance(frame, str):
        return BoxedPicture(name, tuple(words), more, None, frame)
    boxes = [DrawnBox(tuple(box), (str(number),)) for number, box in enumerate(corners.tolist(), 1)]
    picture = looping([draw_boxes(larger(smaller(frame, SIDE), SIDE), boxes, letters=_LETTERS)], 0, SIDE)
    if not budget.take(picture):
        return BoxedPicture(name, tuple(words), more, None, "no picture: the page has enough of them")
    return BoxedPicture(name, tuple(words), more, picture)
