"""Lists in which a video has several labels, or none."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.data.kinetics import read_split
from slowfast_mvit.data.lists import ListFormat
from slowfast_mvit.data.multilabel import are_numbers, multi_hot, split_labels
from slowfast_mvit.errors import UserError


def read(root, text, split="train", **changed):
    (root / f"{split}.csv").write_text(text, encoding="utf-8")
    settings = {"num_classes": 5, "must_exist": False, "multi_label": True} | changed
    return read_split(root, split, **settings)


def refusal(root, text, **changed):
    with pytest.raises(UserError) as caught:
        read(root, text, **changed)
    return str(caught.value).replace(str(root), "SET")


@pytest.mark.parametrize(
    ("text", "labels"),
    [("3", ("3",)), ("3,17", ("3", "17")), ("run, high jump", ("run", "high jump")), ("", ()), (" ,4,", ("4",))],
)
def test_texts_of_labels(text, labels):
    assert split_labels(text) == labels


def test_numbers():
    assert all(map(are_numbers, ("3", "3,17", "-1,0", ""))) and not any(map(are_numbers, ("run", "3,run", "1.5")))


@given(st.lists(st.frozensets(st.integers(0, 6)), max_size=6))
def test_multi_hot_is_the_sets_of_labels(sets):
    hot = multi_hot([label for each in sets for label in each], [len(each) for each in sets], 7)
    assert hot.shape == (len(sets), 7) and hot.dtype == bool
    assert [frozenset(np.flatnonzero(row).tolist()) for row in hot] == sets


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ('a b.mp4 3,0\nc.mp4 4\nd.mp4 ""\n', {}),
        ('a b.mp4,"3,0"\nc.mp4,4\nd.mp4,""\n', {"form": ListFormat(separator=",")}),
        ('a b.mp4,"3,0"\nc.mp4,4\nd.mp4,""\n', {}),
        ('path\tlabels\na b.mp4\t3,0,3\nc.mp4\t4\nd.mp4\t""\n', {"form": ListFormat(separator="\t")}),
        (
            '3,0;7;a b.mp4\n4;7;c.mp4\n"";7;d.mp4\n',
            {"form": ListFormat(separator=";", columns=("label", "ignore", "path"))},
        ),
    ],
)
def test_numbered_lists(tmp_path, text, changed):
    videos = read(tmp_path, text, **changed)
    assert videos.names.tolist() == ["a b.mp4", "c.mp4", "d.mp4"] and videos.label_names == ()
    assert videos.labels.tolist() == [
        [True, False, False, True, False],
        [False, False, False, False, True],
        [False] * 5,
    ]


def test_folders_of_frames_have_no_ending(tmp_path):
    videos = read(tmp_path, 'clips/AB12C 3,1\nclips/D 2\nclips/E ""\n')
    assert videos.names.tolist() == ["clips/AB12C", "clips/D", "clips/E"]
    assert videos.labels.sum(axis=1).tolist() == [2, 1, 0]


def test_names_are_numbered_over_all_lists(tmp_path):
    (tmp_path / "test.csv").write_text("z.mp4 climb,sit\n")
    videos = read(tmp_path, "a.mp4 run,high jump\nb.mp4 run\n")
    assert videos.label_names == ("climb", "high jump", "run", "sit")
    assert [np.flatnonzero(row).tolist() for row in videos.labels] == [[1, 2], [2]]
    known = read(tmp_path, "a.mp4 run,high jump\n", label_names=("run", "sit", "high jump"))
    assert np.flatnonzero(known.labels[0]).tolist() == [0, 2]
    (tmp_path / "labels.json").write_text(json.dumps(["sit", "run", "high jump", "climb"]))
    assert np.flatnonzero(read(tmp_path, "a.mp4 run,high jump\n").labels[0]).tolist() == [1, 2]


def test_one_label_each_is_a_list_of_several_too(tmp_path):
    assert read(tmp_path, "a.mp4 2\nb.mp4 0\n").labels.argmax(axis=1).tolist() == [2, 0]
    assert read(tmp_path, "a.mp4 2\nb.mp4 0\n", multi_label=False).labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("text", "changed", "said"),
    [
        (
            "a.mp4 0\nb.mp4 1,7\n",
            {},
            "SET/train.csv: label 7 of b.mp4 is out of range 0..4 (1 such rows): mend the list",
        ),
        ("a.mp4 0,run\n", {}, "SET/train.csv: labels mix names with numbers (0); use one or the other"),
        ("a.mp4 run,fly\n", {"label_names": ("run",)}, "SET/train.csv: 1 unknown label names, for example fly; "),
        ("a.mp4 1\nb.mp4\n", {}, "SET/train.csv:2: expected 'path label', got 'b.mp4'"),
        # Lists of the other kind than the config says.
        (
            "a.mp4 0\nb.mp4 1,3\n",
            {"multi_label": False},
            "SET/train.csv: b.mp4 has several labels, 1,3: set DATA.MULTI_LABEL",
        ),
        (
            'a.mp4 0\nb.mp4 ""\n',
            {"multi_label": False},
            "SET/train.csv: b.mp4 has no label: take it off the list, or set DATA.",
        ),
    ],
)
def test_lists_that_are_refused(tmp_path, text, changed, said):
    assert refusal(tmp_path, text, **changed).startswith(said)


def test_folders_of_classes_have_one_label_each(tmp_path):
    (tmp_path / "train" / "run").mkdir(parents=True)
    (tmp_path / "train" / "run" / "a.mp4").touch()
    with pytest.raises(UserError, match=r"has no train.csv: DATA.MULTI_LABEL True needs one"):
        read_split(tmp_path, "train", num_classes=5, multi_label=True)


@pytest.mark.parametrize("separator", [" ", ",", "\t", ";"])
def test_quoted_labels_of_folders_of_frames(tmp_path, separator):
    """The first line, whose label alone has a comma, is no header."""
    found = read(
        tmp_path, f'a{separator}"4,1"\nsome b{separator}3\nc{separator}""\n', form=ListFormat(separator=separator)
    )
    assert found.names.tolist() == ["a", "some b", "c"]
    assert [np.flatnonzero(row).tolist() for row in found.labels] == [[1, 4], [3], []]


def test_labels_joined_by_something_else(tmp_path):
    assert "join several labels of a video by commas" in refusal(tmp_path, "a.mp4 3 1\nb.mp4 0 2\n")
