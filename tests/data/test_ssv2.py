"""Something-Something v2's lists in all their forms, and plain sentences for those that cannot be read."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slowfast_mvit.data.clips import MultiViewVideos, SegmentSampling
from slowfast_mvit.data.lists import ListFormat
from slowfast_mvit.data.ssv2 import has_ssv2, read_ssv2
from slowfast_mvit.errors import UserError

LEFT, RIGHT, FOLD = "Pushing [something] left", "Pushing [something] right", "Folding [something]"
MAP = {"Folding something": "0", "Pushing something left": "1", "Pushing something right": "2"}
RECORDS = [("74225", LEFT), ("9", FOLD), ("101", RIGHT), ("5", LEFT)]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A dataset folder beside an empty working folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def put_json(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def annotate(
    root, name="something-something-v2-train.json", records=RECORDS, labels="something-something-v2-labels.json"
):
    """Annotations and label map, as the official files are."""
    if labels:
        put_json(root / labels, MAP)
    content = [
        {"id": video, "label": "pushing a cup left", "template": template, "placeholders": ["a cup"]}
        for video, template in records
    ]
    return put_json(root / name, content)


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


VIDEOS = ("74225.webm", "9.mp4", "101.webm", "5.webm")


def refusal(root, split="train", num_classes=3, **settings):
    with pytest.raises(UserError) as caught:
        read_ssv2(root, split, num_classes=num_classes, **settings)
    return str(caught.value)


# Official annotations


@pytest.mark.parametrize("folder", ["20bn-something-something-v2", "videos", "."])
def test_official_annotations(root, folder):
    path = annotate(root)
    touch(root / folder, *VIDEOS)
    videos = read_ssv2(root, "train", num_classes=3)
    assert [Path(path) for path in videos.paths.tolist()] == [root / folder / name for name in VIDEOS]
    assert videos.names.tolist() == ["74225", "9", "101", "5"]
    assert videos.labels.tolist() == [1, 0, 2, 1] and videos.labels.dtype == np.int64
    assert videos.label_names == ("Folding something", "Pushing something left", "Pushing something right")
    assert (videos.source, videos.frames) == (str(path), None)
    assert videos.paths.dtype.kind == videos.names.dtype.kind == "U"


def test_prefix_is_the_folder_of_the_videos(root, tmp_path):
    annotate(root)
    touch(root / "videos", *VIDEOS)
    touch(tmp_path / "films", "74225.webm", "9.webm", "101.webm", "5.webm")
    videos = read_ssv2(root, "train", num_classes=3, form=ListFormat(prefix=str(tmp_path / "films")))
    assert videos.paths[1] == f"{tmp_path}/films/9.webm"


def test_webm_goes_before_mp4_and_folders_of_frames_will_do(root):
    annotate(root)
    touch(root / "videos", *VIDEOS, "9.webm")
    (root / "videos" / "5.webm").unlink()
    (root / "videos" / "5").mkdir()
    videos = read_ssv2(root, "train", num_classes=3)
    assert [path.rsplit("/", 1)[1] for path in videos.paths.tolist()] == ["74225.webm", "9.webm", "101.webm", "5"]


@pytest.mark.parametrize("labels", ["something-something-v2-labels.json", "labels.json"])
@pytest.mark.parametrize("name", ["something-something-v2-validation.json", "validation.json", "val.json"])
def test_names_of_files(root, name, labels):
    touch(root, *VIDEOS)
    annotate(root, "train.json", labels=labels)
    path = annotate(root, name, RECORDS[:2], labels=labels)
    assert len(read_ssv2(root, "train", num_classes=3)) == 4
    videos = read_ssv2(root, "val", num_classes=3)
    assert videos.names.tolist() == ["74225", "9"] and videos.source == str(path)


def test_label_maps_in_other_forms(root):
    """Numbers as numbers, brackets left in, ids that are numbers."""
    annotate(root, records=[])
    put_json(root / "something-something-v2-train.json", [{"id": 7, "template": LEFT}])
    put_json(root / "something-something-v2-labels.json", {RIGHT: 0, LEFT: 1})
    touch(root, "7.webm")
    videos = read_ssv2(root, "train", num_classes=2)
    assert (videos.labels.tolist(), videos.names.tolist()) == ([1], ["7"])
    assert videos.label_names == ("Pushing something right", "Pushing something left")


def test_names_of_a_checkpoint_number_the_labels(root):
    annotate(root)
    touch(root, *VIDEOS)
    names = ("Pushing something right", "Folding something", "Pushing something left")
    videos = read_ssv2(root, "train", num_classes=3, label_names=names)
    assert (videos.labels.tolist(), videos.label_names) == ([2, 1, 0, 2], names)
    (root / "something-something-v2-labels.json").unlink()
    assert read_ssv2(root, "train", num_classes=3, label_names=names).labels.tolist() == [2, 1, 0, 2]


# The test


def test_a_test_without_labels_is_the_validation(root):
    touch(root, *VIDEOS)
    annotate(root)
    assert not has_ssv2(root, "val")
    path = annotate(root, "something-something-v2-validation.json", RECORDS[2:])
    put_json(root / "something-something-v2-test.json", [{"id": "1420"}, {"id": "3"}])
    assert has_ssv2(root, "train") and has_ssv2(root, "val") and not has_ssv2(root, "test")
    videos = read_ssv2(root, "test", num_classes=3)
    assert (videos.names.tolist(), videos.source) == (["101", "5"], str(path))
    (root / "something-something-v2-test.json").unlink()
    assert not has_ssv2(root, "test")
    assert read_ssv2(root, "test", num_classes=3).source == str(path)


def test_a_test_with_labels_is_tested(root):
    touch(root, *VIDEOS)
    annotate(root, "something-something-v2-validation.json", RECORDS[2:])
    annotate(root, "something-something-v2-test.json", RECORDS[:1])
    assert has_ssv2(root, "test")
    assert read_ssv2(root, "test", num_classes=3).names.tolist() == ["74225"]


# Frame lists


def frame_list(root, name="train.csv", videos=("74225", "9", "101", "5"), quote='"', count=3):
    """PySlowFast's list: the frames of each video, here from the last to the first."""
    lines = ["original_vido_id video_id frame_id path labels\n"]
    for number, video in enumerate(videos):
        for frame in range(count, 0, -1):
            lines.append(f'{video} {number} {count - frame} {quote}{video}/{video}_{frame:06d}.jpg{quote} ""\n')
    (root / name).write_text("".join(lines))
    return root / name


@pytest.mark.parametrize("quote", ['"', ""])
def test_frame_lists(root, tmp_path, quote):
    annotate(root)
    path = frame_list(root, videos=("5", "101", "9", "74225"), quote=quote)  # another order than the annotations'
    frames = tmp_path / "frames"
    for video, _ in RECORDS:
        touch(frames / video)
    videos = read_ssv2(root, "train", num_classes=3, form=ListFormat(prefix=str(frames)))
    assert videos.names.tolist() == ["74225", "9", "101", "5"] and videos.labels.tolist() == [1, 0, 2, 1]
    assert videos.paths.tolist() == [f"{frames}/{video}" for video in videos.names]
    assert videos.frames is not None and len(videos.frames) == 4 and videos.source == str(path)
    assert list(videos.frames[2]) == [f"{frames}/101/101_{frame:06d}.jpg" for frame in (3, 2, 1)]


def test_frames_on_disk_in_the_order_of_the_list(root, paint, read_numbers):
    annotate(root, records=[("8", LEFT), ("7", FOLD)])
    frame_list(root, videos=("7", "8"), count=10)
    for video, first in (("7", 100), ("8", 200)):
        (root / video).mkdir()
        for frame in range(1, 13):  # two more than listed
            Image.fromarray(paint(first + frame, 64, 96)).save(root / video / f"{video}_{frame:06d}.jpg", quality=95)
    videos = read_ssv2(root, "train", num_classes=3)
    views = MultiViewVideos(videos, SegmentSampling(4, target_fps=10), num_clips=1)[0]
    # Frames 210 to 201; their places 1, 3, 5 and 8.
    assert read_numbers(views.frames[views.rows[0]].numpy()) == [209, 207, 205, 202]
    assert (views.label, views.seconds.tolist()) == (1, [[0.1, 0.8]])


def test_lines_of_a_video_may_stand_apart(root):
    annotate(root, records=[("1", LEFT), ("2", FOLD)])
    touch(root / "f")
    lines = [
        "original_vido_id video_id frame_id path labels",
        "1 0 0 f/a.jpg",
        "2 1 0 f/b.jpg 1,2",
        "",
        '1 0 1 "f/c d.jpg" ""',
    ]
    (root / "train.csv").write_text("\n".join(lines))
    videos = read_ssv2(root, "train", num_classes=3)
    assert [list(videos.frames[index]) for index in range(2)] == [
        [f"{root}/f/a.jpg", f"{root}/f/c d.jpg"],
        [f"{root}/f/b.jpg"],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "original_video_id video_id frame_id path labels\n1 0 0 a/f/1.jpg\n",
        '"original_vido_id" "video_id" "frame_id" "path" "labels"\n"1" "0" "0" "a/f/1.jpg" ""\n',
        " original_vido_id\tvideo_id\tframe_id\tpath\tlabels\r\n 1\t0\t 0\ta/f/1.jpg  \t'' \r\n\r\n",
    ],
    ids=["video", "quotes", "tabs"],
)
def test_lists_written_by_others(root, text):
    annotate(root, records=[("1", LEFT)])
    touch(root / "a" / "f")
    (root / "train.csv").write_text(text, newline="")
    videos = read_ssv2(root, "train", num_classes=3)
    assert videos.frames is not None and list(videos.frames[0]) == [f"{root}/a/f/1.jpg"]


def test_paths_with_spaces(root):
    annotate(root, records=[("1", LEFT)])
    touch(root / "my frames")
    lines = [
        "original_vido_id video_id frame_id path labels",
        '1 0 0 my frames/a 1.jpg ""',
        '1 0 1 "my frames/2.jpg" ""',
    ]
    (root / "train.csv").write_text("\n".join(lines))
    videos = read_ssv2(root, "train", num_classes=3)
    assert videos.frames is not None and list(videos.frames[0]) == [
        f"{root}/my frames/a 1.jpg",
        f"{root}/my frames/2.jpg",
    ]


def test_file_names_that_are_no_text(root, paint, read_numbers):
    annotate(root, records=[("1", LEFT)])
    lines = b'original_vido_id video_id frame_id path labels\n1 0 0 f/\xfc.png ""\n'
    (root / "train.csv").write_bytes(lines)
    (root / "f").mkdir()
    Image.fromarray(paint(77, 64, 96)).save(root / "f" / os.fsdecode(b"\xfc.png"))
    views = MultiViewVideos(read_ssv2(root, "train", num_classes=3), SegmentSampling(1), num_clips=1)[0]
    assert read_numbers(views.frames.numpy()) == [77]


def test_a_test_by_frame_lists_is_the_validation(root):
    annotate(root, "validation.json")
    path = frame_list(root, "val.csv")
    frame_list(root, "test.csv", videos=("77",))
    for video, _ in RECORDS:
        touch(root / video)
    assert has_ssv2(root, "val") and not has_ssv2(root, "test")
    assert read_ssv2(root, "test", num_classes=3).source == str(path)


def test_frames_of_videos_without_labels_are_passed_over(root):
    annotate(root, records=RECORDS[:2])
    frame_list(root)
    touch(root / "74225"), touch(root / "9")
    videos = read_ssv2(root, "train", num_classes=3)
    assert videos.names.tolist() == ["74225", "9"]


# Lists of one's own


def test_own_lists(root):
    touch(root, "a.mp4", "b c.mp4", "d.mp4")
    (root / "train.csv").write_text("a.mp4 0\nb c.mp4 2\n")
    (root / "val.csv").write_text("d.mp4,1\n")
    (root / "extra.csv").write_text("ignored\n")
    videos = read_ssv2(root, "train", num_classes=5)
    assert (videos.names.tolist(), videos.labels.tolist()) == (["a.mp4", "b c.mp4"], [0, 2])
    assert not has_ssv2(root, "test") and read_ssv2(root, "test", num_classes=3).labels.tolist() == [1]
    (root / "test.csv").write_text("a.mp4 1\n")
    put_json(root / "test.json", [{"id": "1420"}])  # ids without labels beside it
    assert has_ssv2(root, "test") and read_ssv2(root, "test", num_classes=3).names.tolist() == ["a.mp4"]


def test_own_lists_may_name_the_templates(root):
    put_json(root / "something-something-v2-labels.json", MAP)
    touch(root, "a.mp4", "b.mp4")
    (root / "train.csv").write_text("a.mp4,Pushing something right\nb.mp4,Folding something\n")
    videos = read_ssv2(root, "train", num_classes=3)
    assert videos.labels.tolist() == [2, 0] and videos.label_names == tuple(MAP)


def test_an_own_list_goes_before_annotations(root):
    annotate(root)
    touch(root, "a.mp4")
    (root / "train.csv").write_text("a.mp4 1\n")
    assert read_ssv2(root, "train", num_classes=3).names.tolist() == ["a.mp4"]


def test_folder_per_class(root):
    touch(root / "train" / "fold", "a.webm")
    touch(root / "train" / "push", "b.webm")
    touch(root / "val" / "push", "c.webm")
    assert has_ssv2(root, "val") and not has_ssv2(root, "test")
    assert read_ssv2(root, "train", num_classes=2).names.tolist() == ["fold/a.webm", "push/b.webm"]
    assert read_ssv2(root, "test", num_classes=2).labels.tolist() == [1]
    touch(root / "test" / "fold", "d.webm")
    assert has_ssv2(root, "test") and read_ssv2(root, "test", num_classes=2).names.tolist() == ["fold/d.webm"]


def test_a_folder_called_test_beside_annotations_is_none(root):
    annotate(root, "validation.json")
    touch(root / "test", "notes.txt")
    assert not has_ssv2(root, "test")


# What cannot be read


def test_no_dataset(root, tmp_path):
    assert refusal(tmp_path / "no") == f"the dataset folder {tmp_path}/no does not exist: set DATA.PATH_TO_DATA_DIR"
    for split, file in (("train", "train"), ("val", "validation"), ("test", "validation")):
        name = "val" if split == "test" else split
        assert refusal(root, split) == (
            f"{root} has neither something-something-v2-{file}.json nor {name}.csv nor a folder {name}/ with one folder "
            "per class"
        )


def test_missing_videos_are_counted_and_five_named(root):
    path = annotate(root, records=[(str(number), LEFT) for number in range(9)])
    touch(root / "videos", "3.webm", "8.webm")
    assert refusal(root) == (
        f"{path}: 7 of 9 videos are not in {root}/videos, for example 0.webm, 1.webm, 2.webm, 4.webm, 5.webm: set "
        "DATA.PATH_PREFIX to the folder of the videos, or take them off the list"
    )
    assert "9 of 9 videos are not in /nowhere, " in refusal(root, form=ListFormat(prefix="/nowhere"))
    videos = read_ssv2(root, "train", num_classes=3, must_exist=False)
    assert videos.paths[[0, 3]].tolist() == [f"{root}/videos/0.webm", f"{root}/videos/3.webm"]


def test_unknown_templates(root):
    path = annotate(
        root, records=[("1", LEFT), ("2", "Eating [something]"), ("3", "Eating [something]"), ("4", "A [b]")]
    )
    assert refusal(root) == (
        f"{path}: 2 unknown templates, for example A b; Eating something; the names in force (of a checkpoint, "
        "TENSORBOARD.CLASS_NAMES_PATH or something-something-v2-labels.json) begin with Folding something; Pushing something "
        "left; Pushing something right: take the label map and the annotations of one release"
    )


def test_other_classes_than_the_models(root):
    path = annotate(root)
    touch(root, *VIDEOS)
    for count in (2, 174):
        assert refusal(root, num_classes=count) == (
            f"{path} has 3 classes by its label map, and MODEL.NUM_CLASSES is {count}: set it to 3"
        )


def test_no_label_map(root):
    annotate(root, labels="")
    assert refusal(root) == f"{root} has no label map: put something-something-v2-labels.json there"


@pytest.mark.parametrize(
    "stored", ['{"a": "0", "b": "2"}', '{"a": "0", "b": 0}', '{"a": "x"}', '{"a": true}', "[1]", "{"]
)
def test_bad_label_maps(root, stored):
    annotate(root)
    (root / "something-something-v2-labels.json").write_text(stored)
    assert refusal(root).startswith(
        f"{root}/something-something-v2-labels.json should be a JSON list of names, or an object"
    )


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("{", "is not a JSON file: "),
        ("\xff", "is not a JSON file: "),
        ("{}", "should be a JSON list of objects with id and template"),
        ('["1"]', "should be a JSON list of objects with id and template"),
        ('[{"template": "A"}]', "should be a JSON list of objects with id and template"),
        ("[]", "is empty"),
        (
            '[{"id": 5, "template": "Folding [it]"}, {"id": 6}, {"id": 7}]',
            ": 2 of 3 records have no template, the first is 6",
        ),
    ],
)
def test_bad_annotations(root, stored, said):
    path = annotate(root)
    path.write_bytes(stored.encode("latin-1"))
    told = refusal(root)
    assert told.startswith(str(path)) and said in told


def test_frame_lists_without_annotations(root):
    path = frame_list(root)
    assert (
        refusal(root) == f"{path} lists frames, and not their labels: put something-something-v2-train.json beside it"
    )


def test_videos_without_frames(root):
    annotate(root)
    path = frame_list(root, videos=("9", "101"))
    assert refusal(root) == (
        f"{path}: 2 of the 4 videos of something-something-v2-train.json have no frames, for example 74225, 5: take the two "
        "files of one release, or take them off something-something-v2-train.json"
    )


def test_missing_folders_of_frames(root):
    annotate(root)
    path = frame_list(root)
    touch(root / "9"), touch(root / "5")
    assert refusal(root).startswith(
        f"{path}: 2 of 4 files do not exist, for example {root}/74225, {root}/101: set DATA.PATH_PREFIX"
    )


def test_bad_lines_of_frame_lists(root):
    annotate(root)
    path = frame_list(root)
    path.write_text(path.read_text() + "1 2 3\n")
    assert refusal(root) == (f"{path}:14: expected 'original_vido_id video_id frame_id path labels', got '1 2 3\\n'")
    path.write_text("original_vido_id video_id frame_id path labels\n")
    assert refusal(root) == f"{path} holds a header but no frames"
