"""Lists of videos: every way in which people write them, and plain sentences for those that cannot be read."""

import json
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slowfast_mvit.data.imagenet import read_images
from slowfast_mvit.data.kinetics import parse_label_names, read_list, read_split
from slowfast_mvit.data.lists import ListFormat
from slowfast_mvit.errors import UserError


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A dataset folder beside an empty working folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def put(root, split, text, *, files=True, **settings):
    """Write a list; by default also (empty) files for all its paths."""
    path = root / f"{split}.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if files:
        for name, _ in read_list(path, **settings):
            touch(root / name)
    return path


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def listed(root, text, separator=" ", columns=()):
    """Fields of a list of this content."""
    return read_list(put(root, "list", text, files=False), ListFormat(separator=separator, columns=tuple(columns)))


def refusal(call, *args, **kwargs):
    """What a user is told."""
    with pytest.raises(UserError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


# Lines


def test_plain_list(root):
    put(root, "train", "a/x.mp4 0\na/y.mp4 2\nb.mp4 1\n")
    videos = read_split(root, "train", num_classes=3)
    assert videos.paths.tolist() == [f"{root}/a/x.mp4", f"{root}/a/y.mp4", f"{root}/b.mp4"]
    assert videos.names.tolist() == ["a/x.mp4", "a/y.mp4", "b.mp4"]
    assert videos.labels.tolist() == [0, 2, 1] and videos.labels.dtype == np.int64
    assert (len(videos), videos.label_names, videos.source) == (3, (), f"{root}/train.csv")
    assert videos.paths.dtype.kind == "U"  # one block of memory that workers share, not a list of objects


@pytest.mark.parametrize("preferred", [" ", ",", "\t", ";"])
@pytest.mark.parametrize("separator", [" ", ",", "\t", ";"])
@pytest.mark.parametrize("header", ["", "path{}label"])
def test_each_separator_with_and_without_a_header(root, separator, preferred, header):
    text = f"{header.format(separator)}\na b, c.mp4{separator}3\nd;e f.mp4{separator}12\n"
    assert listed(root, text, preferred) == [("a b, c.mp4", "3"), ("d;e f.mp4", "12")]


@pytest.mark.parametrize("preferred", [" ", ","])
@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("header", ["", "video{}class_name"])
def test_names_as_labels_with_each_separator(root, separator, preferred, header):
    text = f"{header.format(separator)}\na b.mp4{separator}high jump\nc d.mp4{separator}run\n"
    assert listed(root, text, preferred) == [("a b.mp4", "high jump"), ("c d.mp4", "run")]


@pytest.mark.parametrize("preferred", [" ", ","])
def test_separators_inside_paths_are_no_separators(root, preferred):
    assert listed(root, "a,1.mp4 jump\nb c,2.mp4 run\n", preferred) == [("a,1.mp4", "jump"), ("b c,2.mp4", "run")]


def test_a_separator_of_ones_own(root):
    assert listed(root, "a b.mp4 | 1\nc.mp4|2\n", "|") == [("a b.mp4", "1"), ("c.mp4", "2")]
    assert listed(root, "a 1.mp4::x y\n", "::") == [("a 1.mp4", "x y")]


def test_quotes_byte_order_mark_blank_lines_and_carriage_returns(root):
    text = b'\xef\xbb\xbf"a, b.mp4","3"\r\n\r\n   \r\n"say ""hi"".mp4",4\r\n  c.mp4 , 5  \r\n'
    assert listed(root, text, ",") == [("a, b.mp4", "3"), ('say "hi".mp4', "4"), ("c.mp4", "5")]
    assert listed(root, '"a".mp4 1\nb".mp4 2\n') == [('"a".mp4', "1"), ('b".mp4', "2")]  # part of the names


def test_no_end_of_line_at_the_end(root):
    assert listed(root, "a.mp4 1\nb.mp4 2") == [("a.mp4", "1"), ("b.mp4", "2")]


def test_three_fields_by_columns(root):
    columns = ("path", "ignore", "label")
    assert listed(root, "a b.mp4 99 1\nc.mp4 98 0\n", " ", columns) == [("a b.mp4", "1"), ("c.mp4", "0")]
    text = "path,frames,label\na,b.mp4,99,1\n"
    assert listed(root, text, ",", columns) == listed(root, text, " ", columns) == [("a,b.mp4", "1")]


def test_label_first_by_columns(root):
    columns = ("label", "path")
    assert listed(root, "3 a b.mp4\n0 c.mp4\n", " ", columns) == [("a b.mp4", "3"), ("c.mp4", "0")]
    assert listed(root, "3 a,b.mp4\n0 c,d.mp4\n", " ", columns) == [("a,b.mp4", "3"), ("c,d.mp4", "0")]
    assert listed(root, "high jump,a b.mp4\nrun,c.mp4\n", " ", columns) == [("a b.mp4", "high jump"), ("c.mp4", "run")]
    assert listed(root, "1;7;a;b.mp4\n", ";", ("ignore", "label", "path")) == [("a;b.mp4", "7")]


def test_too_few_columns(root):
    path = put(root, "list", "a.mp4 9 1\n\nb.mp4 2\n", files=False)
    said = refusal(read_list, path, ListFormat(columns=("path", "ignore", "label")))
    assert said == f"{path}:3: expected 3 fields (path, ignore, label), got 'b.mp4 2'"


def test_a_class_may_be_called_action(root):
    assert listed(root, "a.mp4 action\nb.mp4 run\n") == [("a.mp4", "action"), ("b.mp4", "run")]
    assert listed(root, "clip action\nb.mp4 run\n") == [("b.mp4", "run")]


PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), min_size=1, max_size=30)


@settings(max_examples=150, deadline=None)
@given(PATHS, st.integers(0, 10**6), st.sampled_from([" ", ",", "\t", ";", "|"]), st.booleans())
@example(" lead\u2028 and trail\x1c ", 3, " ", False)
@example('"quoted"', 0, ",", False)
@example("\ufeff", 0, " ", True)
@example("3", 3, ",", True)
def test_any_path_survives(tmp_path_factory, path, label, separator, three):
    folder = tmp_path_factory.getbasetemp() / "any_path"
    folder.mkdir(exist_ok=True)
    quoted = '"{}"'.format(path.replace('"', '""'))
    fields = [quoted, "7", str(label)] if three else [quoted, str(label)]
    file = folder / "list.csv"
    file.write_text(separator.join(fields) + "\n", encoding="utf-8", newline="")
    columns = ("path", "ignore", "label") if three else ()
    assert read_list(file, ListFormat(separator=separator, columns=columns)) == [(path, str(label))]


@settings(max_examples=100, deadline=None)
@given(st.lists(PATHS.filter(lambda p: p == p.strip() and not (p[0] == p[-1] == '"')), min_size=1, max_size=4))
@example(["x 5", "a  b.mp4"])
@example(["mid\x85\u2029dle", "a,b;c\td"])
def test_paths_without_quotes_survive(tmp_path_factory, paths):
    file = tmp_path_factory.getbasetemp() / "unquoted.csv"
    # The first path is plain, since a byte order mark at the very beginning is none of a path.
    file.write_text("".join(f"{p} {i}\n" for i, p in enumerate(["a.mp4", *paths])), encoding="utf-8", newline="")
    assert read_list(file) == [(p, str(i)) for i, p in enumerate(["a.mp4", *paths])]


# Labels


def test_names_are_numbered_in_sorted_order_over_all_lists(root):
    put(root, "train", "a.mp4 run\nb.mp4 crawl\n")
    put(root, "val", "c.mp4 walk\nd.mp4 run\n")
    put(root, "test", "e.mp4 jump\n")
    names = ("crawl", "jump", "run", "walk")
    for split, labels in (("train", [2, 0]), ("val", [3, 2]), ("test", [1])):
        videos = read_split(root, split, num_classes=4)
        assert (videos.label_names, videos.labels.tolist()) == (names, labels)


@pytest.mark.parametrize("stored", [["walk", "run", "jump"], {"run": 1, "jump": 2, "walk": 0}])
def test_the_label_file_numbers_names(root, stored):
    (root / "labels.json").write_text(json.dumps(stored))
    put(root, "train", "a.mp4 run\nb.mp4 jump\n")
    videos = read_split(root, "train", num_classes=3)
    assert videos.label_names == ("walk", "run", "jump") and videos.labels.tolist() == [1, 2]


def test_numbers_take_their_names_from_the_label_file(root):
    (root / "labels.json").write_text('["walk", "run", "jump"]')
    put(root, "train", "a.mp4 2\nb.mp4 0\n")
    videos = read_split(root, "train", num_classes=3)
    assert videos.label_names == ("walk", "run", "jump") and videos.labels.tolist() == [2, 0]


def test_names_that_are_numbers(root):
    (root / "labels.json").write_text('["10", "2", "1"]')
    put(root, "train", "a.mp4 2\nb.mp4 10\n")
    assert read_split(root, "train", num_classes=3).labels.tolist() == [1, 0]


def test_names_of_a_checkpoint_come_first(root):
    (root / "labels.json").write_text('["jump", "run"]')
    put(root, "val", "a.mp4 run\nb.mp4 jump\n")
    videos = read_split(root, "val", num_classes=3, label_names=["run", "walk", "jump"])
    assert videos.label_names == ("run", "walk", "jump") and videos.labels.tolist() == [0, 2]


def test_unknown_names(root):
    path = put(root, "val", "".join(f"{name}.mp4 {name}\n" for name in "gfedcba"))
    said = refusal(read_split, root, "val", num_classes=9, label_names=["a", "z"])
    assert said.startswith(f"{path}: 6 unknown label names, for example b, c, d, e, f; the names in force")
    assert "begin with a, z" in said


@pytest.mark.parametrize("stored", ['{"run": 1, "jump": 2}', '{"run": 0, "jump": 0}', '["run", 3]', "3", "[", "\xff"])
def test_bad_label_file(root, stored):
    (root / "labels.json").write_bytes(stored.encode("latin-1"))
    put(root, "train", "a.mp4 run\n")
    said = refusal(read_split, root, "train", num_classes=3)
    wanted = f"{root}/labels.json should be a JSON list of names, or an object from name to number: "
    assert said.startswith(wanted)


def test_parse_label_names():
    assert parse_label_names({"b": 0, "a": 1}) == ("b", "a")
    assert parse_label_names(["b", "a"]) == ("b", "a")
    with pytest.raises(ValueError, match="without gaps"):
        parse_label_names({"b": 0, "a": 2})


@pytest.mark.parametrize(("label", "classes"), [("3", 3), ("-1", 3), ("400", 400)])
def test_label_out_of_range(root, label, classes):
    path = put(root, "train", f"a.mp4 0\nb.mp4 {label}\nc.mp4 {label}\n")
    assert refusal(read_split, root, "train", num_classes=classes) == (
        f"{path}: label {label} of b.mp4 is out of range 0..{classes - 1} (2 such rows): "
        "mend the list or set MODEL.NUM_CLASSES"
    )


def test_more_names_than_classes(root):
    path = put(root, "train", "a.mp4 run\nb.mp4 walk\n")
    said = refusal(read_split, root, "train", num_classes=1)
    assert said.startswith(f"{path}: label 1 of b.mp4 is out of range 0..0 (1 such rows)")


# Folders


def test_folder_per_class(root):
    for name in (
        "train/run/b.mp4",
        "train/run/a.MKV",
        "train/high jump/c d.webm",
        "train/run/notes.txt",
        "train/x.mp4",
    ):
        touch(root / name)
    (root / "train" / "run" / "frames").mkdir()
    touch(root / "val" / "walk" / "z.avi")
    videos = read_split(root, "train", num_classes=3)
    assert videos.names.tolist() == ["high jump/c d.webm", "run/a.MKV", "run/b.mp4", "run/frames"]
    assert videos.paths.tolist() == [f"{root}/train/{name}" for name in videos.names]
    assert videos.label_names == ("high jump", "run", "walk")
    assert videos.labels.tolist() == [0, 1, 1, 1] and videos.source == f"{root}/train"
    assert read_split(root, "val", num_classes=3).labels.tolist() == [2]


def test_a_list_goes_before_a_folder(root):
    touch(root / "train" / "run" / "b.mp4")
    put(root, "train", "a.mp4 0\n")
    assert read_split(root, "train", num_classes=1).names.tolist() == ["a.mp4"]


def test_folder_of_numbers(root):
    for name in ("train/10/a.mp4", "train/2/b.mp4"):
        touch(root / name)
    videos = read_split(root, "train", num_classes=11)
    assert videos.names.tolist() == ["10/a.mp4", "2/b.mp4"] and videos.labels.tolist() == [10, 2]


def test_folder_without_videos(root):
    (root / "train" / "run").mkdir(parents=True)
    said = refusal(read_split, root, "train", num_classes=1)
    assert said == f"{root}/train holds no videos: expected {root}/train/<class>/<video>.mp4"


# Where the paths lead


def test_prefix_goes_before_every_path(root, tmp_path):
    touch(tmp_path / "films" / "a.mp4")
    touch(root / "a.mp4")
    put(root, "train", "a.mp4 0\n")
    videos = read_split(root, "train", num_classes=1, form=ListFormat(prefix=str(tmp_path / "films")))
    assert videos.paths.tolist() == [f"{tmp_path}/films/a.mp4"] and videos.names.tolist() == ["a.mp4"]


def test_paths_from_the_working_folder(root, tmp_path):
    touch(tmp_path / "work" / "clips" / "a.mp4")
    put(root, "train", "clips/a.mp4 0\n", files=False)
    assert read_split(root, "train", num_classes=1).paths.tolist() == ["clips/a.mp4"]
    touch(root / "clips" / "a.mp4")  # the dataset folder goes before
    assert read_split(root, "train", num_classes=1).paths.tolist() == [f"{root}/clips/a.mp4"]


def test_absolute_paths(root, tmp_path):
    touch(tmp_path / "far" / "a.mp4")
    put(root, "train", f"{tmp_path}/far/a.mp4 0\n", files=False)
    for prefix in ("", str(root)):
        assert read_split(root, "train", num_classes=1, form=ListFormat(prefix=prefix)).paths.tolist() == [
            f"{tmp_path}/far/a.mp4"
        ]


def test_missing_files_are_counted_and_five_named(root):
    path = put(root, "train", "here.mp4 0\n" + "".join(f"gone/{i}.mp4 0\n" for i in range(7)), files=False)
    touch(root / "here.mp4")
    examples = ", ".join(f"{root}/gone/{i}.mp4" for i in range(5))
    assert refusal(read_split, root, "train", num_classes=1) == (
        f"{path}: 7 of 8 files do not exist, for example {examples}: set DATA.PATH_PREFIX to the folder "
        "that the list's paths are relative to, or take them off the list"
    )


# Nothing to read


def test_missing_dataset_folder(tmp_path):
    said = refusal(read_split, tmp_path / "no", "train", num_classes=1)
    assert said == f"the dataset folder {tmp_path}/no does not exist: set DATA.PATH_TO_DATA_DIR"
    touch(tmp_path / "file")
    assert "does not exist" in refusal(read_split, tmp_path / "file", "train", num_classes=1)


def test_no_list(root):
    said = refusal(read_split, root, "val", num_classes=1)
    assert said == f"{root} has neither val.csv nor a folder val/ with one folder per class"


@pytest.mark.parametrize("text", ["", "\n \n\t\r\n", "\ufeff"])
def test_empty_list(root, text):
    path = put(root, "train", text, files=False)
    said = refusal(read_split, root, "train", num_classes=1)
    assert said == f"{path} is empty: it should hold one 'path label' per line"


@pytest.mark.parametrize("text", ["path label\n", "path,label", "\nvideo\tclass_id\n\n"])
def test_header_only(root, text):
    path = put(root, "train", text, files=False)
    assert refusal(read_split, root, "train", num_classes=1) == f"{path} holds a header but no videos"


def test_line_without_label(root):
    path = put(root, "train", "a.mp4 0\n\nb.mp4\nc.mp4 1\n", files=False)
    assert refusal(read_split, root, "train", num_classes=2) == f"{path}:3: expected 'path label', got 'b.mp4'"
    path = put(root, "train", "a.mp4,0\n,1\n", files=False)
    assert refusal(read_list, path, ListFormat(separator=",")) == f"{path}:2: expected 'path,label', got ',1'"


def test_not_utf_8(root):
    path = put(root, "train", "Gr\xfc\xdfe.mp4 0\n".encode("latin-1"), files=False)
    said = refusal(read_split, root, "train", num_classes=1)
    assert re.fullmatch(rf"{re.escape(str(path))} is not a text file in UTF-8 \(invalid start byte at byte 2\)", said)


# Names and numbers


def test_a_split_of_numbers_beside_a_split_of_names(root):
    put(root, "train", "a.mp4 cat\nb.mp4 dog\n")
    put(root, "test", "c.mp4 1\nd.mp4 0\n")
    for split in ("train", "test"):
        said = refusal(read_split, root, split, num_classes=400)
        assert "cat, dog" in said if split == "test" else "0, 1" in said


def test_numbers_with_a_point_are_neither(root):
    put(root, "train", "a.mp4 1.0\nb.mp4 10.0\n")
    assert refusal(read_split, root, "train", num_classes=400).endswith("1.0 is neither a whole number nor a name")


def test_labels_with_spaces_after_a_video(root):
    assert listed(root, "a b.mp4 playing guitar\nc.webm juggling\n") == [
        ("a b.mp4", "playing guitar"),
        ("c.webm", "juggling"),
    ]


def test_a_header_of_named_labels(root):
    assert listed(root, "video,verb\nx.mp4,run\n") == [("x.mp4", "run")]


def test_a_folder_video_of_a_class_called_action_is_no_header(root):
    assert listed(root, "vid1 action\nvid2 rest\n") == [("vid1", "action"), ("vid2", "rest")]


def test_an_empty_separator(root):
    assert "DATA.PATH_LABEL_SEPARATOR is empty" in refusal(listed, root, "a.mp4 1\n", "")


def test_rows_are_skipped_at_the_top_of_every_list(root):
    put(root, "train", "made by hand\n\na.mp4 run\nb.mp4 jump\n", files=False)
    put(root, "val", "# 1\n# 2\nc.mp4 walk\n", files=False)
    for name in "abc":
        touch(root / f"{name}.mp4")
    videos = read_split(
        root, "train", num_classes=3, form=ListFormat(skip_rows=2)
    )  # blank lines count: they are lines of the file
    assert videos.names.tolist() == ["a.mp4", "b.mp4"] and videos.label_names == ("jump", "run", "walk")
    assert read_split(root, "val", num_classes=3, form=ListFormat(skip_rows=2)).labels.tolist() == [2]
    put(root, "val", "# 1\n# 2\npath label\nc.mp4 0\nd.mp4\n", files=False)
    said = refusal(read_split, root, "val", num_classes=3, form=ListFormat(skip_rows=2))
    assert said == f"{root}/val.csv:5: expected 'path label', got 'd.mp4'"  # numbers are those of the file


def test_a_list_that_is_skipped_whole(root):
    path = put(root, "train", "a.mp4 0\nb.mp4 1\n", files=False)
    said = refusal(read_list, path, form=ListFormat(skip_rows=2))
    assert said == f"{path} has no lines after the 2 that DATA.SKIP_ROWS leaves out"


def test_missing_files_may_be_listed_where_they_are_looked_for_later(root):
    put(root, "train", "a.mp4 0\ngone.mp4 1\n", files=False)
    touch(root / "a.mp4")
    videos = read_split(root, "train", num_classes=2, must_exist=False)
    assert videos.paths.tolist() == [f"{root}/a.mp4", f"{root}/gone.mp4"]


@pytest.mark.parametrize(
    "text", ["a.mp4 12 1\nb.mp4 40 0\n", "a.mp4\t12\t1\nb.mp4\t40\t0\n", "a.mp4;12;1\nb.mp4;40;0\n"]
)
def test_further_fields_are_no_names_of_labels(root, text):
    (root / "train.csv").write_text(text)
    with pytest.raises(
        UserError, match=r"after a\.mp4 comes '12.+1', which is no label: name the fields .* DATA\.LIST_COLUMNS"
    ):
        read_split(root, "train", num_classes=2, must_exist=False)
    separator = text[5]
    found = read_split(
        root, "train", num_classes=2, must_exist=False, form=ListFormat("", separator, ("path", "ignore", "label"))
    )
    assert (found.names.tolist(), found.labels.tolist()) == (["a.mp4", "b.mp4"], [1, 0])


def test_names_of_labels_may_be_numbers_where_they_are_known(root):
    (root / "labels.json").write_text(json.dumps(["1 2", "3 4"]))
    put(root, "train", "a.mp4 3 4\nb.mp4 1 2\n")
    assert read_split(root, "train", num_classes=2).labels.tolist() == [1, 0]


def test_folders_called_by_numbers_are_names(root):
    for name in ("1 2/a.mp4", "10/b.mp4x", "3 4/c.mp4"):
        touch(root / "train" / name)
    found = read_split(root, "train", num_classes=2)
    assert found.label_names == ("1 2", "3 4") and found.labels.tolist() == [0, 1]


@pytest.mark.parametrize("read", [read_split, read_images])
def test_a_prefix_without_a_list_is_refused(root, read):
    touch(root / "train" / "a" / "1.mp4"), touch(root / "train" / "a" / "1.jpg")
    assert len(read(root, "train", num_classes=1)) == 1
    with pytest.raises(
        UserError, match=r"^DATA\.PATH_PREFIX /videos goes before the paths of .*/set/train\.csv, which does not"
    ):
        read(root, "train", num_classes=1, form=ListFormat(prefix="/videos"))
