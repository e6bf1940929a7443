"""Boxes from other tools: frames, corners and actions against numbers worked by hand."""

import json
import math
import re

import pytest

from slowfast_mvit.data.ava_csv import read_boxes
from slowfast_mvit.data.tracks import TrackBox, at_whole_seconds, read_coco, read_cvat, write_box_list
from slowfast_mvit.errors import UserError

COCO = {
    "videos": [{"id": 1, "name": "clips/kitchen.mp4"}],
    "categories": [{"id": 7, "name": "cut"}, {"id": 9, "name": "stir, fast"}],
    "images": [
        {"id": 1, "video_id": 1, "frame_id": 50, "width": 200, "height": 100, "file_name": "x.jpg"},
        {"id": 2, "width": 100, "height": 100, "file_name": "hall/take2_000075.jpg"},
    ],
    "annotations": [
        {"image_id": 1, "category_id": 7, "bbox": [20, 10, 100, 50], "track_id": 1},
        {"image_id": 2, "category_id": 9, "bbox": [0, 0, 50, 100], "score": 0.25},
    ],
}
NOTE = COCO["annotations"][0]
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>3</id><name>my task</name>{frames}
<original_size><width>200</width><height>100</height></original_size><source>kitchen.mp4</source></task></meta>
<track id="0" label="person">
<box frame="0" outside="0" xtl="0" ytl="10" xbr="100" ybr="60"><attribute name="does">cut</attribute></box>
<box frame="4" outside="0" xtl="40" ytl="10" xbr="140" ybr="100"><attribute name="does">stir</attribute></box>
<box frame="6" outside="1" xtl="40" ytl="10" xbr="140" ybr="100"/>
</track></annotations>
"""


@pytest.fixture
def coco(tmp_path):
    def write(**changes):
        (tmp_path / "tracks.json").write_text(json.dumps({**COCO, **changes}))
        return tmp_path / "tracks.json"

    return write


@pytest.fixture
def cvat(tmp_path):
    def write(text=CVAT, frames=""):
        (tmp_path / "tracks.xml").write_text(text.replace("{frames}", frames))
        return tmp_path / "tracks.xml"

    return write


def test_coco(coco):
    assert list(read_coco(coco())) == [
        TrackBox("kitchen", 50, 0.1, 0.1, 0.6, 0.6, "cut"),
        TrackBox("hall", 75, 0.0, 0.0, 0.5, 1.0, "stir, fast", 0.25),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": [{"id": 1, "width": 9, "height": 9, "file_name": "1.jpg"}]},
            "entry 1 of images (id 1) does not tell its video and frame",
        ),
        ({"images": []}, "entry 1 of annotations: image_id 1 is not in images"),
        ({"categories": []}, "entry 1 of annotations: category_id 7 is not in categories"),
        ({"videos": []}, "entry 1 of images (id 1): video_id 1 is not in videos"),
        (
            {"annotations": [{**NOTE, "bbox": [1, 2, 3]}]},
            "bbox is [1, 2, 3] and should be 4 numbers (x, y, width, height)",
        ),
        ({"annotations": [NOTE, {**NOTE, "id": 30, "bbox": None}]}, "entry 2 of annotations (id 30): bbox is None and"),
        ({"annotations": [{**NOTE, "bbox": [1, 2, 3, math.nan]}]}, "bbox is [1, 2, 3, nan] and should be 4 numbers"),
        ({"annotations": [{**NOTE, "score": "high"}]}, "score is 'high' and should be a number"),
        ({"annotations": [{**NOTE, "image_id": [1]}]}, "image_id is [1] and should be a number or a name"),
        ({"annotations": [{"id": 30, "image_id": 1}]}, "entry 1 of annotations (id 30) has no bbox: it needs one"),
        ({"annotations": [7]}, "entry 1 of annotations should be an object, and is 7"),
        ({"annotations": 7}, "annotations should be a list of objects"),
        ({"videos": [{"id": 1}]}, "entry 1 of videos (id 1) has no file_name"),
        (
            {"images": [{"id": 1, "width": 0, "height": 9, "file_name": "a/1.jpg"}]},
            "width is 0 and should be more than 0",
        ),
        ({"images": [{**COCO["images"][0], "frame_id": 1.5}]}, "frame_id is 1.5 and should be a whole number"),
    ],
)
def test_bad_coco(coco, changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        list(read_coco(coco(**changes)))


def test_a_byte_order_mark(coco):
    path = coco()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(list(read_coco(path))) == 2


def test_other_json(tmp_path):
    for text, message in (
        ("[1]", "should be a JSON object with images"),
        ("{", "is not a JSON file"),
        ("\xff", "is not a JSON file"),
    ):
        (tmp_path / "a.json").write_text(text, encoding="latin-1")
        with pytest.raises(UserError, match=message):
            list(read_coco(tmp_path / "a.json"))


def test_cvat_boxes_are_interpolated(cvat):
    boxes = list(read_cvat(cvat()))
    assert [box.frame for box in boxes] == [0, 1, 2, 3, 4, 5]
    assert {box.video for box in boxes} == {"kitchen"}
    assert {box.action for box in boxes} == {"person"}
    assert boxes[0][2:6] == (0, 0.1, 0.5, 0.6)
    assert boxes[2][2:6] == pytest.approx((0.1, 0.1, 0.6, 0.8))  # half way from frame 0 to frame 4
    assert boxes[5][2:6] == boxes[4][2:6] == (0.2, 0.1, 0.7, 1.0)  # until it is outside


def test_cvat_actions_by_an_attribute(cvat):
    assert [box.action for box in read_cvat(cvat(), "does")] == ["cut"] * 4 + ["stir"] * 2
    assert {box.action for box in read_cvat(cvat(), "is")} == {""}


def test_cvat_tasks_that_begin_later_and_leave_frames_out(cvat):
    frames = "<start_frame>100</start_frame><frame_filter>step=5</frame_filter>"
    assert [box.frame for box in read_cvat(cvat(frames=frames))] == [100, 105, 110, 115, 120, 125]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("<track", "<image"), "is not an XML file"),
        (("task>", "project>"), "holds no tracks of one task: export each task"),
        (('xtl="40"', ""), "the box at frame 4 has no number for 'xtl'"),
        (("<width>200</width>", ""), "original_size has no width and height"),
    ],
)
def test_bad_cvat(cvat, change, message):
    with pytest.raises(UserError, match=message):
        list(read_cvat(cvat(CVAT.replace(*change))))


def box_at(frame):
    return TrackBox("v", frame, 0.1, 0.2, 0.3, 0.4, "cut")


def test_whole_seconds():
    converted = at_whole_seconds(map(box_at, range(76)), 25)
    assert [(second, box.frame) for _, second, box in converted.rows] == [(0, 0), (1, 25), (2, 50), (3, 75)]
    assert converted.left_out == 72
    # 29.97 frames a second: second 3 is at frame 89.91
    assert [box.frame for *_, box in at_whole_seconds(map(box_at, range(100)), 29.97).rows] == [0, 30, 60, 90]
    assert [box.frame for *_, box in at_whole_seconds(map(box_at, range(40)), 25, first_frame=1).rows] == [1, 26]


def test_no_whole_seconds():
    with pytest.raises(UserError, match="none of the 2 boxes lies at a whole second of 25 frames a second"):
        at_whole_seconds([box_at(3), box_at(7)], 25)
    with pytest.raises(UserError, match="the frame rate 0 must be more than 0"):
        at_whole_seconds([box_at(3)], 0)


def test_what_is_written_is_read(coco, tmp_path):
    write_box_list(tmp_path / "boxes.csv", at_whole_seconds(read_coco(coco()), 25))
    annotated = read_boxes(tmp_path / "boxes.csv", detected=False)
    detected = read_boxes(tmp_path / "boxes.csv", detected=True)
    assert (annotated.video_names, annotated.seconds.tolist(), annotated.action_names) == (("kitchen",), [2], ("cut",))
    assert annotated.boxes.tolist() == [[0.1, 0.1, 0.6, 0.6]]
    assert (detected.seconds.tolist(), detected.scores.tolist(), detected.action_names) == (
        [3],
        [0.25],
        ("stir, fast",),
    )
