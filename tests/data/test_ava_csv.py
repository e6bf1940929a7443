"""Box lists, AVA's and one's own, row by row and through pandas."""

import numpy as np
import pytest

from slowfast_mvit.data import ava_csv
from slowfast_mvit.data.ava_csv import describe, faults, read_boxes, usable
from slowfast_mvit.errors import UserError

TRUTH = """-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,80,1
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,9,1
-5KQ66BBWC4,0903,0.332,0.194,0.481,0.891,12,0
1j20qq1JyX4,0902,0,0.1,0.2,1,80,3
"""
DETECTED = """b,902,0.077,0.151,0.283,0.811,,0.996382
a,0903.0,0.332,0.194,0.481,0.891,12,0.2
a,0903,0.332,0.194,0.481,0.891,-1,1
"""
OWN = """video,second,x1,y1,x2,y2,action,score
kitchen,3,0.1,0.2,0.3,0.4,"cut, slowly",
kitchen,3,0.5,0.2,0.7,0.4,,
kitchen,4,0.1,0.2,0.3,0.4,stir,0.75
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="boxes.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def names(rows):
    return [rows.video_names[video] for video in rows.videos]


def actions(rows):
    return ["" if action < 0 else rows.action_names[action] for action in rows.actions]


def test_avas_annotated_boxes(write):
    rows = read_boxes(write(TRUTH), detected=False)
    assert names(rows) == ["-5KQ66BBWC4"] * 3 + ["1j20qq1JyX4"]
    assert rows.seconds.tolist() == [902, 902, 903, 902]
    assert rows.boxes[2].tolist() == [0.332, 0.194, 0.481, 0.891]
    assert actions(rows) == ["80", "9", "12", "80"]
    assert np.isnan(rows.scores).all()
    assert rows.lines.tolist() == [1, 2, 3, 4]


def test_both_kinds_at_once(write):
    rows = read_boxes(write(OWN), detected=None)
    assert names(rows) == ["kitchen"] * 3 and rows.seconds.tolist() == [3, 3, 4] and rows.lines.tolist() == [2, 3, 4]
    np.testing.assert_equal(rows.scores, [np.nan, np.nan, 0.75])
    without = read_boxes(write("video,second,x1,y1,x2,y2\nb,1,0,0,1,1\n"), detected=None)
    assert actions(without) == [""] and np.isnan(without.scores).all()
    # Without a header the number of fields tells.
    assert read_boxes(write(DETECTED), detected=None).scores.tolist() == [0.996382, 0.2, 1]
    assert np.isnan(read_boxes(write("b,1,0,0,1,1,7\n"), detected=None).scores).all()
    with pytest.raises(UserError, match=r"boxes.csv:3: score is 'x' and should be a number"):
        read_boxes(write(OWN.replace("0.4,,", "0.4,,x")), detected=None)


def test_avas_detected_boxes(write):
    rows = read_boxes(write(DETECTED), detected=True)
    assert names(rows) == ["b", "a", "a"]
    assert rows.seconds.tolist() == [902, 903, 903]
    assert actions(rows) == ["", "12", ""]
    assert rows.scores.tolist() == [0.996382, 0.2, 1]


@pytest.mark.parametrize(("text", "detected"), [(TRUTH, False), (DETECTED, True), ("7,1,0,0,1,1,2\n", False)])
def test_both_ways_of_reading_agree(write, monkeypatch, text, detected):
    path = write(text)
    plain = ava_csv._plain(path, detected)
    slow = ava_csv._row_by_row(path, detected)
    if plain is None:  # a name of digits alone, which pandas would take for a number
        assert slow.video_names == ("7",)
        return
    for name in vars(slow):
        np.testing.assert_array_equal(getattr(plain, name), getattr(slow, name))


@pytest.mark.parametrize(
    "text", ["0012,1,0,0,1,1,2\n", "a,1,0,0,1,1,2\n\nb,1,0,0,1,1,2\n", '"a",1,0,0,1,1,2\n', "a,1,0,0,1\n"]
)
def test_what_is_not_plain_is_read_row_by_row(write, text):
    assert ava_csv._plain(write(text), False) is None


def test_digits_and_gaps(write):
    rows = read_boxes(write("0012,1,0,0,1,1,2\n\n0013,1,0,0,1,1,2\n"), detected=False)
    assert names(rows) == ["0012", "0013"]
    assert rows.lines.tolist() == [1, 3]


def test_own_lists_hold_both_kinds(write):
    path = write(OWN)
    annotated, detected = read_boxes(path, detected=False), read_boxes(path, detected=True)
    assert actions(annotated) == ["cut, slowly", ""]
    assert annotated.lines.tolist() == [2, 3]
    assert (actions(detected), detected.scores.tolist(), detected.seconds.tolist()) == (["stir"], [0.75], [4])


def test_columns_of_own_lists_may_stand_anywhere(write):
    rows = read_boxes(
        write("\ufeffY2,x2,y1,x1,Second,person,Video\n0.4,0.3,0.2,0.1,7,5,a b\n"), detected=False
    )  # no action, no score
    assert (names(rows), rows.seconds.tolist(), rows.boxes.tolist()) == (["a b"], [7], [[0.1, 0.2, 0.3, 0.4]])
    assert actions(rows) == [""]


@pytest.mark.parametrize(
    ("text", "detected", "message"),
    [
        ("", False, r"is empty: it should hold lines of video,second"),
        ("video,second,x1,y1,x2,y2,action,score\n", False, "holds no annotated boxes$"),
        (OWN.replace("0.75", ""), True, "holds no detected boxes: all of its rows are without a score"),
        (
            "video,second,x1,y1,x2,y2,score\na,1,0,0,1,1,.5\n",
            False,
            "no annotated boxes: all of its rows are with a score",
        ),
        ("video,second,x1,x2,action\n", False, "its header 'video,second,x1,x2,action' lacks y1, y2"),
        (TRUTH + "a,902,0.1,0.2,0.3\n", False, r"boxes.csv:5: expected 7 fields \(video,.*, got 'a,902,0.1,0.2,0.3'"),
        (TRUTH.replace("0903", "903.5"), False, "csv:3: second is '903.5' and should be a whole number"),
        (TRUTH.replace("0903", "-3"), False, "csv:3: second is '-3' and should be a whole number from 0 on"),
        (OWN.replace(",3,", ",-3,"), False, "csv:2: second is '-3' and should be a whole number from 0 on"),
        (TRUTH.replace("0.194", "abc"), False, "csv:3: y1 is 'abc' and should be a number"),
        (TRUTH.replace("0.194", "nan"), False, "csv:3: y1 is 'nan' and should be a number"),
        (DETECTED.replace("0.2\n", "NaN\n"), True, "csv:2: score is 'NaN' and should be a number"),
        (DETECTED.replace("0.2\n", "\n"), True, "csv:2: score is '' and should be a number"),
        (OWN.replace("0.75", "nan"), True, "csv:4: score is 'nan' and should be a number"),
        (OWN.replace(",3,", ",3s,"), False, "csv:2: second is '3s' and should be a whole number"),
    ],
)
def test_bad_lists(write, text, detected, message):
    with pytest.raises(UserError, match=message):
        read_boxes(write(text), detected=detected)


def test_no_such_list(tmp_path):
    with pytest.raises(UserError, match=r"there is no box list .*none.csv: set AVA.ANNOTATION_DIR"):
        read_boxes(tmp_path / "none.csv", detected=True)


def test_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a\xff,1,0,0,1,1,3\n")
    with pytest.raises(UserError, match="is not a text file in UTF-8"):
        read_boxes(tmp_path / "a.csv", detected=False)


def test_faults(write):
    rows = read_boxes(
        write("a,1,0,0,1,1,,1\nb,1,-0.1,0,1,1,,0.5\nb,2,0.5,0,0.5,1,,2\nb,3,0,0.6,1,0.5,,-1\n"), detected=True
    )
    found = {cause.split(" (")[0]: chosen.tolist() for cause, chosen in faults(rows)}
    assert found == {
        "have corners outside 0..1": [False, True, False, False],
        "have no area": [False, False, True, True],
        "have a score outside 0..1": [False, False, True, True],
    }
    assert describe(rows, "are odd", np.array([False, False, True, True])) == (
        f"{rows.source}: 2 of 4 boxes are odd, the first in line 3: b at second 2, 0.5, 0, 0.5, 1, score 2"
    )


def test_usable_boxes_are_clipped(write):
    rows, left_out = usable(read_boxes(write("a,1,-0.004,0.1,1.009,0.2,1\n"), detected=False))
    assert (rows.boxes.tolist(), left_out) == ([[0, 0.1, 1, 0.2]], "")


def test_boxes_without_area_are_left_out(write):
    rows, left_out = usable(read_boxes(write("a,1,0.1,0.1,0.2,0.2,1\na,1,0.3,0.1,0.2,0.2,1\n"), detected=False))
    assert rows.lines.tolist() == [1]
    assert "1 of 2 boxes have no area" in left_out
    assert left_out.endswith("0.3, 0.1, 0.2, 0.2; they are left out")


@pytest.mark.parametrize(
    ("line", "detected", "message"),
    [
        ("a,1,12,30,50,90,1\n", False, "1 of 1 boxes have corners outside 0..1 .*not pixels"),
        ("a,1,0,0,1,1,,7\n", True, "have a score outside 0..1 .*TRAIN_GT_BOX_LISTS"),
    ],
)
def test_boxes_that_cannot_be_used(write, line, detected, message):
    with pytest.raises(UserError, match=message):
        usable(read_boxes(write(line), detected=detected))
