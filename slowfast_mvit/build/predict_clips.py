"""What happens in given videos, or what given images show: tables, probabilities, features, and the labels drawn on them."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from slowfast_mvit.batches import UnreadableVideo
from slowfast_mvit.build.fingerprint import hash_weights
from slowfast_mvit.build.predict_model import ReadyModel
from slowfast_mvit.build.predict_scores import HEAD_INPUT, Looks, Scoring, find_layer, score, scoring_of
from slowfast_mvit.data.boxes_on_video import draw_lines, write_drawn
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.images import read_image
from slowfast_mvit.data.inputs import list_files
from slowfast_mvit.data.video import VideoError, open_video
from slowfast_mvit.errors import UserError, check_output
from slowfast_mvit.evaluation.predictions import replacing, unreadable_table, write_csv
from slowfast_mvit.evaluation.score_files import (
    check_features,
    scored_clips,
    scored_videos,
    write_features,
    write_scores,
)
from slowfast_mvit.evaluation.score_parts import ScoreParts
from slowfast_mvit.evaluation.view_scores import VideoScores

_LOG = logging.getLogger(__name__)
_LINES = 3  # labels that are drawn
_LONGEST_STEM = 200  # bytes of the name of a drawn file that are its input's: file systems take 255
_PARTS = "unfinished"


@dataclass(frozen=True)
class Wanted:
    """What is to be written beside the tables.

    Attributes:
        probabilities: an NPZ of all of them, or None.
        features: an NPZ or a Parquet file of what ``layer`` gives, or None.
        layer: name of a module; by default the input of the head.
        draw: the files with their labels on them.
    """

    probabilities: Path | None = None
    features: Path | None = None
    layer: str | None = None
    draw: bool = False


@dataclass(frozen=True)
class Written:
    """What a prediction left.

    Attributes:
        files: that were written, each with what it holds.
        problem: which files could not be read to their end, or drawn, in a sentence; empty if all could.
    """

    files: Mapping[Path, str]
    problem: str


def check_wanted(output: Path, words: Sequence[str], wanted: Wanted) -> None:
    """Refuse places that cannot be written to, before any work.

    Raises:
        UserError: see :func:`slowfast_mvit.errors.check_output` and :func:`check_features`.
    """
    check_output(output, "--output", folder=True)
    lists = list_files(words)
    for name in ("clips.csv", "videos.csv", "unreadable.csv"):
        check_output(output / name, "--output", inputs=lists)
    if wanted.probabilities is not None:
        check_output(wanted.probabilities, "--probabilities", inputs=[*lists, *map(Path, words)])
        if wanted.probabilities.suffix.lower() != ".npz":
            raise UserError(f"{wanted.probabilities} must end in .npz: give --probabilities such a name")
    if wanted.features is not None:
        check_features(wanted.features)
        check_output(wanted.features, "--features", inputs=[*lists, *map(Path, words)])
    elif wanted.layer is not None:
        raise UserError(f"--layer {wanted.layer} is of features: say with --features where they go")
    files = {"--probabilities": wanted.probabilities, "--features": wanted.features}
    places = {option: os.path.realpath(file) for option, file in files.items() if file is not None}
    if len(set(places.values())) < len(places):
        raise UserError(f"--probabilities and --features are both {wanted.features}: give one of them another name")
    for option, place in places.items():
        if os.path.dirname(place) == os.path.realpath(output / _PARTS):  # noqa: PTH120
            raise UserError(f"{place} is among the parts, which are removed at the end: give {option} another place")


def predict_clips(ready: ReadyModel, words: Sequence[str], output: Path, looks: Looks, wanted: Wanted) -> Written:
    """Score files and write ``clips.csv``, ``videos.csv`` and what else is wanted into a folder.

    Files that cannot be read are listed in ``unreadable.csv``, the others are written; so are the windows before the first
    damage of a video, which is listed too. Scores of finished videos are kept in
    ``unfinished/`` until everything is written: started again, the same command goes on from them.

    Args:
        ready: the model.
        words: files, folders, patterns, list files; see :func:`slowfast_mvit.data.inputs.find_inputs`.
        output: the folder.
        looks: how videos are looked at.
        wanted: what else is written.

    Raises:
        UserError: what the user can mend; among others, none of the files can be read.
    """
    check_wanted(output, words, wanted)
    layer = None if wanted.features is None else wanted.layer or HEAD_INPUT
    if layer not in (None, HEAD_INPUT):
        find_layer(ready.model, str(layer))
    scoring = scoring_of(ready, words, looks)
    inputs = scoring.inputs
    drawn = _drawn_files(inputs, output, words) if wanted.draw else []
    parts = ScoreParts(output / _PARTS)
    keep = wanted.probabilities is not None or wanted.draw
    keys = _keys(scoring, f"{layer} {keep}")
    scores = parts.read({key: place for place, key in keys.items()})
    if scores:
        _LOG.info("%d of %d files are finished already", len(scores), len(inputs))
    unreadable: list[UnreadableVideo] = []
    damaged: set[int] = set()

    def finish(one: VideoScores) -> None:
        scores.append(one)
        if one.video_index not in damaged:  # which are to be named again next time
            parts.add(keys[one.video_index], one)

    def give_up(video: UnreadableVideo) -> None:
        _LOG.warning("cannot read %s with %s: %s", video.path, video.backend, video.cause)
        unreadable.append(video)
        damaged.add(video.video_index)

    finished = {one.video_index for one in scores}
    rest = [place for place in range(len(inputs)) if place not in finished]
    try:
        score(scoring, rest, finished=finish, unreadable=give_up, keep_probabilities=keep, layer=layer)
    finally:
        parts.keep()
    scores.sort(key=lambda one: one.video_index)
    problem = _unreadable(scoring, unreadable, {one.video_index for one in scores}, output / "unreadable.csv")
    if not scores:
        raise UserError(problem)
    files = _write(scoring, scores, output, wanted)
    not_drawn = []
    for one in scores if drawn else ():
        out = drawn[one.video_index]
        try:
            files[out] = _draw(scoring, one, out)
        except VideoError as error:  # of a frame that no clip has
            _LOG.warning("%s is not drawn: %s", error.path, error.cause)
            not_drawn.append(error)
    if not_drawn:
        first = f"{not_drawn[0].path} ({not_drawn[0].cause})"
        said = f"{len(not_drawn)} damaged files are not drawn, for example {first}"
        problem = f"{problem}; {said}" if problem else said
    parts.remove()
    return Written(files, problem)


def _keys(scoring: Scoring, asked: str) -> dict[int, str]:
    """For each file that is there, what its scores follow from: a hash over model, ways of looking, place, size and time."""
    ready, paths = scoring.ready, _paths(scoring.inputs)
    task = ready.config.MODEL
    run = f"{hash_weights(ready.model)} {ready.precision} {task.HEAD_ACT} {scoring.looks} {asked}"
    keys = {}
    for place, path in enumerate(paths):
        try:
            state = os.stat(path)  # noqa: PTH116 - a Path per file is slow
            said = f"{run}\n{os.path.realpath(path)}\n{state.st_size} {state.st_mtime_ns}"
        except OSError:
            said = f"{run}\n{path}"  # it cannot be read, so that nothing is ever kept of it
        keys[place] = hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()
    return keys


def _paths(inputs: object) -> list[str]:
    if isinstance(inputs, ImageList):
        return [inputs.path(index) for index in range(len(inputs))]
    return list(getattr(inputs, "paths").tolist())  # noqa: B009


def _unreadable(scoring: Scoring, unreadable: Sequence[UnreadableVideo], scored: Set[int], listed: Path) -> str:
    """Write the list of files that could not be read, or not to their end, and say it; ``scored`` are those with scores."""
    if not unreadable:
        listed.unlink(missing_ok=True)  # of an earlier prediction in this folder
        return ""
    write_csv(unreadable_table(unreadable, scoring.inputs.names), listed)
    cut, of_all = sum(video.video_index in scored for video in unreadable), len(scoring.inputs)
    said = []
    if cut < len(unreadable):
        said.append(f"{len(unreadable) - cut} of {of_all} files could not be read and have no scores")
    if cut:
        said.append(f"{cut} of {of_all} files are damaged and have scores up to that place alone")
    first = unreadable[0]
    return f"{', '.join(said)}, for example {first.path} ({first.cause}): see {listed}"


def _write(scoring: Scoring, scores: Sequence[VideoScores], output: Path, wanted: Wanted) -> dict[Path, str]:
    names, label_names = scoring.inputs.names, scoring.ready.label_names
    clips, videos = output / "clips.csv", output / "videos.csv"
    clips_table = scored_clips(scores, names, label_names)
    write_csv(clips_table, clips)
    write_csv(scored_videos(scores, names, label_names), videos)
    what = "images" if scoring.ready.images else "videos"
    files = {clips: f"{len(clips_table)} clips with their best labels", videos: f"{len(scores)} {what}, clips joined"}
    if wanted.probabilities is not None:
        write_scores(scores, names, wanted.probabilities)
        files[wanted.probabilities] = "all probabilities"
    if wanted.features is not None:
        write_features(scores, names, wanted.features)
        files[wanted.features] = f"features of {wanted.layer or HEAD_INPUT}"
    return files


def _drawn_files(inputs: object, output: Path, words: Sequence[str]) -> list[Path]:
    """For each file where it is drawn: names of their own, none of which is a file that is read."""
    suffix = "_labels.png" if isinstance(inputs, ImageList) else "_labels.mp4"
    paths, taken, files = [Path(path) for path in _paths(inputs)], set(), []
    numbers: Counter[str] = Counter()
    for path in paths:
        stem = os.fsencode(path.stem)[:_LONGEST_STEM].decode(errors="replace")
        name = stem
        while name.casefold() in taken:  # some file systems do not tell A from a
            numbers[stem.casefold()] += 1
            name = f"{stem}_{numbers[stem.casefold()] + 1}"
        taken.add(name.casefold())
        files.append(output / f"{name}{suffix}")
    read = {os.path.realpath(path) for path in paths}
    for file in files:
        if os.path.realpath(file) in read:
            raise UserError(f"{file} is read, and would be overwritten: give --output another place")
        check_output(file, "--output")
    return files


def _draw(scoring: Scoring, scores: VideoScores, out: Path) -> str:
    """Draw one file with its labels; returns what was drawn."""
    lines, middles = _lines(scoring, scores)
    path = _paths(scoring.inputs)[scores.video_index]
    if isinstance(scoring.inputs, ImageList):
        picture = draw_lines(np.asarray(read_image(path)), lines[0])
        with replacing(out) as file:
            Image.fromarray(picture).save(file, format="PNG")
        return "the image with its labels"

    def drawn(second: float, frame: np.ndarray) -> np.ndarray:
        return draw_lines(frame, lines[int(np.abs(middles - second).argmin())])

    with open_video(path, "pyav") as reader:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            count = write_drawn(reader, drawn, out)
        except OSError as error:
            raise UserError(f"{out} cannot be written: {error.strerror or error}") from error
    return f"{count} frames with the labels of their time"


def _lines(scoring: Scoring, scores: VideoScores) -> tuple[list[list[str]], np.ndarray]:
    """For each clip its best labels with their scores, crops joined, and the middle of its time."""
    names = scoring.ready.label_names
    each, seconds = scores.clip_scores(scoring.protocol.ensemble)
    best = np.argsort(-each, axis=1, kind="stable")[:, :_LINES]
    lines = [
        [f"{names[label] if label < len(names) else label} {row[label]:.2f}" for label in labels]
        for row, labels in zip(each, best.tolist(), strict=True)
    ]
    return lines, seconds.mean(axis=1)
