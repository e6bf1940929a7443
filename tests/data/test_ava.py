"""Lists of key frames from box lists: which boxes are one person, what they do, and which video they are of."""

import logging

import numpy as np
import pytest

from slowfast_mvit.data.ava import AvaFiles, keys_to_test, keys_to_train, read_annotated
from slowfast_mvit.data.ava_actions import Actions
from slowfast_mvit.errors import UserError

THREE = Actions(("walk", "", "sit"))
TRUTH = """b,0903,0.1,0.1,0.5,0.5,3,0
b,0902,0.1,0.1,0.5,0.5,1,0
b,0902,0.6,0.1,0.9,0.5,2,1
b,0902,0.1,0.1,0.5,0.5,3,0
a,0902,0.2,0.2,0.4,0.4,1,0
"""
DETECTED = """b,902,0.100,0.1,0.5,0.5,2,0.95
b,902,0.11,0.1,0.5,0.5,3,0.95
b,902,0.12,0.1,0.5,0.5,3,0.79
b,1000,0.12,0.1,0.5,0.5,3,0.99
"""


@pytest.fixture
def write(tmp_path):
    """Writes a box list, beside videos a and b."""
    for name in "ab":
        (tmp_path / f"{name}.mp4").touch()

    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.fixture
def files(tmp_path):
    def files(annotated=(), detected=(), **settings):
        return AvaFiles(tmp_path, tuple(annotated), tuple(detected), **settings)

    return files


def boxes_of(keys):
    """(video, second): [(x1, outputs of its actions, score)]."""
    return {
        (keys.video_name(k), int(keys.key_seconds[k])): [
            (float(keys.boxes[n, 0]), np.flatnonzero(keys.box_labels[n]).tolist(), round(float(keys.scores[n]), 3))
            for n in range(*keys.rows_of(k).indices(len(keys.boxes)))
        ]
        for k in range(len(keys))
    }


def known(found):
    """Without NaN, which equals nothing."""
    return {
        at: [(x, labels, None if score != score else score) for x, labels, score in boxes]
        for at, boxes in found.items()
    }


def test_boxes_with_the_same_corners_are_one_person(write, files):
    keys = keys_to_train(files([write("truth.csv", TRUTH)]), THREE)
    assert known(boxes_of(keys)) == {
        ("b", 902): [(0.1, [0, 2], None), (0.6, [1], None)],
        ("b", 903): [(0.1, [2], None)],
        ("a", 902): [(0.2, [0], None)],
    }
    assert keys.names.tolist() == ["b,0902", "b,0903", "a,0902"]  # videos as they first appear, seconds ascending
    assert keys.labels.tolist() == [[True, True, True], [False, False, True], [True, False, False]]
    assert (len(keys), keys.starts.tolist(), keys.label_names) == (3, [0, 2, 3, 4], THREE.names)
    assert keys.box_keys.tolist() == [0, 0, 1, 2]


def test_detected_boxes_join_the_annotated_ones(write, files):
    """The same corners in another spelling are the same person; low scores and unannotated seconds are left out."""
    keys = keys_to_train(files([write("truth.csv", TRUTH)], [write("detected.csv", DETECTED)], min_score=0.8), THREE)
    assert known(boxes_of(keys))["b", 902] == [(0.1, [0, 1, 2], None), (0.6, [1], None), (0.11, [2], 0.95)]
    assert set(boxes_of(keys)) == {("b", 902), ("b", 903), ("a", 902)}


def test_a_list_in_both_places_is_annotated(write, files):
    """PySlowFast's recipes name the truth among the detected boxes too, where a person's number would be a score."""
    truth = write("truth.csv", TRUTH)
    both, one = keys_to_train(files([truth], [truth], min_score=0.8), THREE), keys_to_train(files([truth]), THREE)
    assert known(boxes_of(both)) == known(boxes_of(one))


def test_bare_detections_take_the_labels_that_they_overlap(write, files):
    bare = """b,902,0.1,0.1,0.5,0.48,,0.9
b,902,0.1,0.1,0.5,0.46,,0.9
b,902,0.6,0.1,0.9,0.5,,0.9
a,903,0.2,0.2,0.4,0.4,,0.9
c,902,0.2,0.2,0.4,0.4,,0.9
"""
    # IoU with the first person: 0.38 / 0.4 = 0.95, then 0.36 / 0.4 = 0.9, which is not more than 0.9.
    keys = keys_to_train(files([write("truth.csv", TRUTH)], [write("bare.csv", bare)]), THREE)
    assert known(boxes_of(keys)) == {
        ("b", 902): [(0.1, [0, 2], None), (0.6, [1], None), (0.1, [0, 2], 0.9)],
        ("b", 903): [(0.1, [2], None)],
        ("a", 902): [(0.2, [0], None)],
    }


def test_the_overlap_must_be_more_than_nine_tenths(write, files):
    truth = write("truth.csv", "a,902,0,0,1,1,1\n")
    less, more = (write(name, f"a,902,0,0,1,{y},,1\n") for name, y in (("less.csv", 0.899), ("more.csv", 0.901)))
    assert len(keys_to_train(files([truth], [less]), THREE).boxes) == 1
    assert len(keys_to_train(files([truth], [more]), THREE).boxes) == 2


def test_keys_to_test(write, files):
    truth = read_annotated([write("truth.csv", TRUTH)])
    keys = keys_to_test(files(detected=[write("detected.csv", DETECTED)], min_score=0.8), THREE, truth)
    assert boxes_of(keys) == {("b", 902): [(0.1, [1], 0.95), (0.11, [2], 0.95)]}  # 1000 is past the annotated seconds
    alone = keys_to_test(files(detected=[write("detected.csv", DETECTED)], min_score=0.8), THREE)
    assert set(boxes_of(alone)) == {("b", 902), ("b", 1000)}


def test_some_key_frames(write, files):
    keys = keys_to_train(files([write("truth.csv", TRUTH)]), THREE)
    some = keys.chosen(keys.key_seconds % 2 == 0)
    assert known(boxes_of(some)) == {
        ("b", 902): [(0.1, [0, 2], None), (0.6, [1], None)],
        ("a", 902): [(0.2, [0], None)],
    }
    assert some.starts.tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("seconds", "duration", "start"),
    [
        ((902, 1798), 901.0, 900),  # AVA's frames, and files cut from minute 15
        ((902, 903), 5.0, 900),
        ((902, 1798), 5400.0, 0),  # a whole film
        ((902, 1801), 901.0, 0),
        ((1, 2), 3.0, 0),
        ((899, 902), 5.0, 0),
    ],
)
def test_where_videos_start(write, files, seconds, duration, start):
    rows = "".join(f"{video},{second},0,0,1,1,1\n" for video in "ab" for second in (seconds if video == "b" else (5,)))
    keys = keys_to_train(files([write("truth.csv", rows)]), THREE)
    first_of_b = keys.names.tolist().index(f"b,{min(seconds):04d}")
    assert keys.start_of(first_of_b, duration) == start
    assert keys.start_of(0, 1.0) == 0  # video a
    told = keys_to_train(files([write("truth.csv", rows)], first_second=12.5), THREE)
    assert told.start_of(first_of_b, duration) == 12.5


# Actions


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("4", r"t.csv: the action 4 is out of range 1..3 \(actions are counted from 1\)"),
        ("0", "the action 0 is out of range"),
        ("wlak", "unknown action 'wlak': did you mean walk"),
    ],
)
def test_unknown_actions(write, files, action, message):
    with pytest.raises(UserError, match=message):
        keys_to_train(files([write("t.csv", f"a,1,0,0,1,1,{action}\n")]), THREE)


# Files that do not belong together


def test_no_key_frame_in_common(write, files):
    truth = read_annotated([write("truth.csv", TRUTH)])
    with pytest.raises(
        UserError, match=r"no key frame \(video and second\) in common, as \('a', 77\) and \('a', 902\)"
    ):
        keys_to_test(files(detected=[write("d.csv", "a,77,0,0,1,1,,0.9\n")]), THREE, truth)


def test_no_lists_at_all(write, files):
    with pytest.raises(UserError, match=r"no boxes to train on: name their lists in AVA.TRAIN_GT_BOX_LISTS"):
        keys_to_train(files(), THREE)
    with pytest.raises(UserError, match=r"no boxes to test: name the lists .* in AVA.TEST_PREDICT_BOX_LISTS"):
        keys_to_test(files(), THREE)
    with pytest.raises(UserError, match=r"d.csv names no actions, and AVA.TRAIN_GT_BOX_LISTS is empty"):
        keys_to_train(files(detected=[write("d.csv", "a,902,0,0,1,1,,0.9\n")]), THREE)
    assert len(keys_to_train(files(detected=[write("d.csv", "a,902,0,0,1,1,2,0.9\n")]), THREE)) == 1


def test_scores_below_the_threshold(write, files):
    with pytest.raises(UserError, match=r"none of its 4 boxes has a score of at least 0.995, the best has 0.99: lower"):
        keys_to_test(files(detected=[write("d.csv", DETECTED)], min_score=0.995), THREE)


def test_what_is_left_out_is_said(write, files, caplog):
    with caplog.at_level(logging.WARNING):
        keys = keys_to_train(files([write("t.csv", TRUTH + "a,904,0.5,0.5,0.5,0.6,1,0\n")]), THREE)
    assert "t.csv: 1 of 6 boxes have no area" in caplog.text
    assert len(keys) == 3
