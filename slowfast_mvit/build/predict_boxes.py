"""What people do in videos of one's own: boxes from a list or a detector, scored by the code of the test."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from slowfast_mvit.build.ava import box_protocol, scored_boxes
from slowfast_mvit.build.ava_lists import ava_actions, scored_classes
from slowfast_mvit.build.detect_people import detect_people
from slowfast_mvit.build.draw_detections import draw_detections
from slowfast_mvit.build.evaluate import evaluate_videos, list_unreadable, load_tested
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.precision import set_precision
from slowfast_mvit.build.readiness import refuse_unbuilt
from slowfast_mvit.build.run import RunFolder, choose_device
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.ava import AvaList, keys_to_predict
from slowfast_mvit.data.ava_actions import Actions
from slowfast_mvit.data.given_videos import check_given
from slowfast_mvit.data.imagenet import image_suffixes
from slowfast_mvit.data.inputs import LIST_SUFFIXES
from slowfast_mvit.data.kinetics import VIDEO_SUFFIXES
from slowfast_mvit.data.video import open_video
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.errors import UserError, check_output
from slowfast_mvit.evaluation.ava_detections import boxes_table, write_detections
from slowfast_mvit.evaluation.ava_views import BoxResult
from slowfast_mvit.evaluation.predictions import write_csv

_KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.\w+)*")


@dataclass(frozen=True)
class Predicted:
    """What a prediction left.

    Attributes:
        files: that were written, each with what it holds.
        num_boxes: that were scored.
        problem: which key frames could not be read, in a sentence; empty if all could.
    """

    files: Mapping[Path, str]
    num_boxes: int
    problem: str


@dataclass(frozen=True)
class BoxModel:
    """A model that scores people in boxes.

    Attributes:
        model: with its weights, on its device.
        config: what its test would be; where the checkpoint has names of actions, without a label map.
        actions: names and numbers of the actions that its outputs stand for.
        device, precision: of its arithmetic.
    """

    model: nn.Module
    config: Config
    actions: Actions
    device: torch.device
    precision: str


def box_model(config: Config) -> BoxModel:
    """The model of a config of boxes, with the weights of its TEST.CHECKPOINT_FILE_PATH, on its device.

    Raises:
        UserError: what the user can mend; among others, a config of something else.
    """
    _refuse_others(config)
    refuse_unbuilt(config)
    device = choose_device(min(config.NUM_GPUS, 1))
    precision = set_precision(config, device, training=False)
    model = build_model(config)
    label_names = load_tested(config, model, RunFolder(Path(config.OUTPUT_DIR)), World(), None, random_weights=False)
    if label_names:
        config = replace(config, AVA=replace(config.AVA, LABEL_MAP_FILE=""))
    return BoxModel(model, config, ava_actions(config, label_names), device, precision)


def _refuse_others(config: Config) -> None:
    if config.TEST.DATASET != "ava":
        raise UserError(
            f"the config is not of boxes (TEST.DATASET is {config.TEST.DATASET}): give one whose TEST.DATASET is ava"
        )


def predict_boxes(
    given: Config | BoxModel,
    videos: Sequence[Path],
    output: Path,
    *,
    boxes: Path | None = None,
    detector: Path | None = None,
    draw: bool = False,
    stop_signal: Callable[[], int] = lambda: 0,
) -> Predicted:
    """Score every action of everybody in the boxes, on one device, and write it to a folder.

    Actions are called what the checkpoint says, else what AVA.LABEL_MAP_FILE or the box lists of the config say. Of AVA's keys
    DETECTION_SCORE_THRESH, FIRST_SECOND and the views of the test hold; its folders and truth are not for videos of one's own.

    Args:
        given: a model of :func:`box_model`, or its config, with its weights in TEST.CHECKPOINT_FILE_PATH.
        videos: files.
        output: the folder of ``detections.csv``, ``actions.csv``, with a detector ``boxes.csv``, and with ``draw``
            ``VIDEO_boxes.mp4``.
        boxes: a box list, annotated or detected.
        detector: weights of a person detector, in place of ``boxes``.
        draw: write the videos with boxes and actions on them.
        stop_signal: is asked now and then; gives the number of a signal to stop by, or 0.

    Raises:
        UserError: what the user can mend; among others, no key frame can be read.
        VideoError: a video is not there, or the detector cannot read it.
        Stopped: as ``stop_signal`` asked for.
    """
    assert (boxes is None) != (detector is None)
    if isinstance(given, Config):
        _refuse_others(given)
    check_output(output, "--output", folder=True)
    check_given(videos)
    if boxes is not None and not boxes.is_file():
        raise UserError(f"there is no box list {boxes}")
    ready = box_model(given) if isinstance(given, Config) else given
    config, actions, device = ready.config, ready.actions, ready.device
    classes = scored_classes(config, actions)
    files: dict[Path, str] = {}
    first_second = config.AVA.FIRST_SECOND
    if detector is not None:
        boxes, first_second = output / "boxes.csv", first_second or 0.0
        files[boxes] = f"{detect_people(config, videos, detector, boxes, device)} people of the detector"
    assert boxes is not None
    keys = keys_to_predict(
        boxes, videos, actions, min_score=config.AVA.DETECTION_SCORE_THRESH, first_second=first_second
    )
    protocol = box_protocol(config, validation=False)
    tested = evaluate_videos(
        config, ready.model.to(device), keys, protocol, device, ready.precision, "boxes", stop_signal=stop_signal
    )
    assert tested is not None and isinstance(tested.result, BoxResult)  # one process, and a list of boxes
    problem = list_unreadable(
        tested, keys.names, "key frames could not be read and have no detections", output / "unreadable.csv"
    )
    scored = scored_boxes(keys, tested.result)
    detections, table = output / "detections.csv", output / "actions.csv"
    write_detections(scored, classes, detections)
    write_csv(boxes_table(scored, classes), table)
    files |= {detections: "every box with every action, in AVA's format", table: "every box with its best actions"}
    if draw:
        files |= _draw(keys, tested.result, detections, {one.id: one.name for one in classes}, output)
    return Predicted(files, len(scored), problem)


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Inputs, and the list KEY VALUE KEY VALUE ... that follows them.

    Keys are in capitals, do not end as videos, images or lists do, and are the names of no file or folder here.
    """
    files = VIDEO_SUFFIXES | image_suffixes() | LIST_SUFFIXES
    is_key = [
        bool(_KEY.fullmatch(word)) and Path(word).suffix.lower() not in files and not Path(word).exists()
        for word in words
    ]
    count = is_key.index(True) if True in is_key else len(words)
    return list(words[:count]), list(words[count:])


def _draw(
    keys: AvaList, result: BoxResult, detections: Path, names: Mapping[int, str], output: Path
) -> dict[Path, str]:
    """Draw every video of which something was scored; returns the files."""
    drawn = {}
    _, firsts = np.unique(keys.key_videos[result.videos], return_index=True)
    for key in result.videos[firsts].tolist():
        place = int(keys.key_videos[key])
        video, name = Path(keys.videos.paths[place]), keys.videos.names[place]
        with open_video(video, "pyav") as reader:
            start = keys.start_of(key, float(reader.timestamps()[-1]))
        out = output / f"{video.stem}_boxes.mp4"
        count = draw_detections(video, detections, out, names=names, name=name, first_second=start)
        drawn[out] = f"{count} frames with boxes and actions"
    return drawn
