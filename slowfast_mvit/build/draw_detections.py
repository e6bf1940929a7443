"""The detections of a test on their video."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from slowfast_mvit.data.boxes_on_video import SUFFIXES, DrawnBox, write_with_boxes
from slowfast_mvit.data.video import open_video
from slowfast_mvit.errors import UserError, check_output
from slowfast_mvit.evaluation.ava_boxes import ActionBoxes
from slowfast_mvit.evaluation.ava_files import read_detections
from slowfast_mvit.evaluation.ava_label_map import read_label_map


def draw_detections(
    video: Path,
    detections: Path,
    out: Path,
    *,
    label_map: Path | None = None,
    names: Mapping[int, str] = MappingProxyType({}),
    name: str = "",
    first_second: float = 0.0,
    min_score: float = 0.3,
) -> int:
    """Write ``video`` with the boxes of a detections file and the names of their actions; returns the number of frames.

    A frame shows the key second that is nearest to it, if that is less than a second away.

    Args:
        video: a file.
        detections: AVA's file.
        out: the film to write, which ends in .mp4 or .mkv.
        label_map: names of the actions; without one, or where it lacks some, their numbers stand.
        names: of the actions, where there is no label map.
        name: of the video in the detections; by default that of the file, with or without its ending.
        first_second: what the detections call the time of the first frame, 900 for AVA's own cut files.
        min_score: actions below it are left out; a box of which none is left is drawn without words.

    Raises:
        UserError: files that cannot be read or written, a video that has no detections, or none within its length.
        VideoError: the video cannot be read.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise UserError(f"{out} cannot be written as a video: OUT must end in {' or '.join(SUFFIXES)}")
    check_output(out, "OUT", inputs=[video, detections, *([label_map] if label_map else [])])
    with open_video(str(video), "pyav") as reader:
        found = read_detections(detections)
        if label_map is not None:
            names = {one.id: one.name for one in read_label_map(label_map)}
        mine = _of_video(found, (name,) if name else (video.stem, video.name), detections)
        boxes = _by_second(mine, names, min_score)
        seconds = np.array(sorted(boxes))
        last = first_second + float(reader.timestamps()[-1])
        if not ((seconds > first_second - 1) & (seconds < last + 1)).any():
            raise UserError(
                f"{video} is of seconds {first_second:g} to {last:.1f}, and {detections} has boxes at seconds {seconds[0]} to "
                f"{seconds[-1]}: say what the first frame's time is called there (--first-second, 900 for AVA's cut files)"
            )

        def boxes_at(time: float) -> list[DrawnBox]:
            nearest = int(seconds[np.abs(seconds - (first_second + time)).argmin()])
            return boxes[nearest] if abs(nearest - first_second - time) < 1 else []

        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            return write_with_boxes(reader, boxes_at, out)
        except OSError as error:
            raise UserError(f"{out} cannot be written: {error.strerror or error}") from error


def _of_video(found: ActionBoxes, names: Sequence[str], path: Path) -> ActionBoxes:
    """Rows of a video that may have several names."""
    places = [place for place, name in enumerate(found.at.video_names) if name in names]
    if not places:
        others = ", ".join(found.at.video_names[:3])
        raise UserError(
            f"{path} has no detections of a video {names[0]!r}, but of {others or 'none'}: name it (--name)"
        )
    return found.rows(np.isin(found.at.videos, places))


def _by_second(found: ActionBoxes, names: Mapping[int, str], min_score: float) -> dict[int, list[DrawnBox]]:
    """The people of each second, their actions by falling score."""
    assert found.scores is not None
    lines: dict[tuple[int, tuple[float, ...]], list[str]] = {}
    for row in np.argsort(-found.scores, kind="stable").tolist():
        place = int(found.at.seconds[row]), tuple(found.boxes[row].tolist())
        words = lines.setdefault(place, [])
        if found.scores[row] >= min_score:
            action = int(found.actions[row])
            words.append(f"{names.get(action, action)} {found.scores[row]:.2f}")
    people: dict[int, list[DrawnBox]] = {}
    for second, corners in sorted(lines):  # so that neighbours in time have their colours by place
        people.setdefault(second, []).append(DrawnBox(corners, tuple(lines[second, corners])))  # type: ignore[arg-type]
    return people
