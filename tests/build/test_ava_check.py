"""AVA's files by config, and what the check of a dataset says of them."""

import csv
from dataclasses import replace
from pathlib import Path

import check_data
import pytest

from slowfast_mvit.build.ava_lists import annotated_rows, ava_actions, ava_list, scored_classes, truth_of
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.toy_ava import ACTIONS, ToyAva, make_toy_ava
from slowfast_mvit.errors import UserError

OWN = "video,second,x1,y1,x2,y2,action,score\nval_0002,1,0.1,0.1,0.5,0.5,wave,\nval_0002,2,0.1,0.1,0.5,0.5,sit,\n"
CONFIG = """
TRAIN: {DATASET: ava}
TEST: {DATASET: ava}
DETECTION: {ENABLE: True}
MODEL: {NUM_CLASSES: 8}
DATA: {NUM_FRAMES: 8, SAMPLING_RATE: 3, TRAIN_CROP_SIZE: 64, TEST_CROP_SIZE: 64, TRAIN_JITTER_SCALES: [64, 72]}
AVA:
  TRAIN_PREDICT_BOX_LISTS: [ava_train_predicted_boxes.csv]
  DETECTION_SCORE_THRESH: 0.8
"""


@pytest.fixture
def toy(tmp_path):
    return make_toy_ava(tmp_path / "toy", ToyAva(num_train=2, num_val=2, num_seconds=4), processes=1)


@pytest.fixture
def arguments(toy, tmp_path):
    (tmp_path / "ava.yaml").write_text(CONFIG)
    return [
        "--cfg", str(tmp_path / "ava.yaml"), "--workers", "1", "AVA.FRAME_DIR", str(toy / "videos"),
        "AVA.ANNOTATION_DIR", str(toy / "annotations"), "AVA.FRAME_LIST_DIR", str(toy / "frame_lists"),
        "OUTPUT_DIR", str(tmp_path / "run"),
    ]  # fmt: skip


@pytest.fixture
def config(arguments):
    return load_config(Path(arguments[1]), arguments[4:])


def changed(config, **keys):
    return replace(config, AVA=replace(config.AVA, **keys))


def test_lists_of_splits(config):
    assert [len(ava_list(config, split)) for split in ("train", "val", "test")] == [8, 2, 8]
    assert ava_list(config, "val").key_seconds.tolist() == [904, 904]  # every fourth second
    assert len(ava_list(changed(config, FULL_TEST_ON_VAL=True), "val")) == 8


def test_truth_has_a_row_for_each_action(config):
    truth = truth_of(annotated_rows(config), ava_actions(config))
    lines = (Path(config.AVA.ANNOTATION_DIR) / "ava_val_v2.2.csv").read_text().splitlines()
    fields = lines[3].split(",")
    assert len(truth) == len(lines)
    assert truth.at.video_names[truth.at.videos[3]] == fields[0]
    assert [truth.at.seconds[3], *truth.boxes[3], truth.actions[3]] == [float(field) for field in fields[1:7]]


def test_classes(config):
    assert [one.name for one in scored_classes(config, ava_actions(config))] == list(ACTIONS)
    assert ava_actions(config).names == ACTIONS


def test_classes_of_ones_own_lists(config, toy):
    (toy / "annotations" / "own.csv").write_text(OWN)
    own = changed(config, TRAIN_GT_BOX_LISTS=("own.csv",), GROUNDTRUTH_FILE="own.csv", LABEL_MAP_FILE="")
    own = replace(own, MODEL=replace(own.MODEL, NUM_CLASSES=2))
    actions = ava_actions(own)
    assert [(one.id, one.name) for one in scored_classes(own, actions)] == [(1, "sit"), (2, "wave")]
    assert truth_of(annotated_rows(own), actions).actions.tolist() == [2, 1]
    assert ava_actions(own, ("wave", "sit")).names == ("wave", "sit")  # a checkpoint's go first


@pytest.mark.parametrize("key", ["LABEL_MAP_FILE", "GROUNDTRUTH_FILE"])
def test_files_that_are_not_there(config, key):
    with pytest.raises(UserError, match=rf"there is no file .*/gone: set AVA.ANNOTATION_DIR and AVA.{key}"):
        ava_list(changed(config, **{key: "gone"}), "test")
    with pytest.raises(UserError, match=r"AVA.FRAME_DIR is not set: give the folder of the videos"):
        ava_list(changed(config, FRAME_DIR=""), "test")


def test_all_good(arguments, tmp_path, capsys):
    assert check_data.main(arguments) == 0
    said = capsys.readouterr().out
    assert "train: 2 of 2 found, 2 ok" in said
    assert "val boxes: 8 annotated key frames of 2 videos, seconds 901 to 904" in said
    assert "8 of 8 annotated key frames have such boxes" in said
    with (tmp_path / "run" / "data_check" / "actions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(ACTIONS)
    lines = Path(arguments[7], "ava_train_v2.2.csv").read_text().splitlines()
    assert [int(row["train_boxes"]) for row in rows] == [
        sum(line.split(",")[6] == str(number) for line in lines) for number in range(1, 9)
    ]


@pytest.mark.parametrize(
    ("line", "status", "sentence"),
    [
        ("val_0002,0903,0.6,0.1,0.5,0.5,1,0", 1, "boxes have no area (x1 >= x2 or y1 >= y2), the first in line"),
        ("val_0002,0903,64,10,90,50,1,0", 2, "boxes have corners outside 0..1"),
        ("val_0002,0903,0.1,0.1,0.5,0.5,99,0", 1, "the action 99 is out of range 1..8"),
        ("val_0002,0903.5,0.1,0.1,0.5,0.5,1,0", 2, "second is '0903.5' and should be a whole number"),
    ],
)
def test_bad_truth(arguments, toy, capsys, line, status, sentence):
    path = toy / "annotations" / "ava_val_v2.2.csv"
    path.write_text(path.read_text() + line + "\n")
    found = check_data.main(arguments)
    said = capsys.readouterr()
    assert sentence in said.out
    assert found == status


def test_seconds_without_frames_and_missing_videos(arguments, toy, capsys):
    for name in ("ava_val_v2.2.csv", "ava_val_predicted_boxes.csv"):
        path = toy / "annotations" / name
        path.write_text(
            path.read_text() + "val_0002,0990,0.1,0.1,0.5,0.5,1,0.95\nnowhere,0903,0.1,0.1,0.5,0.5,1,0.95\n"
        )
    assert check_data.main(arguments) == 1
    said = capsys.readouterr().out
    assert "val: 2 of 3 found, 2 ok, 1 missing" in said
    assert (
        "val: val_0002 has frames of seconds 900 to 904.9, and 1 of its 5 key seconds are not among them (990): set "
        "AVA.FIRST_SECOND"
    ) in said
