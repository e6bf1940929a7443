"""AVA's CSV files: exact numbers from any spelling, and a sentence with the line for what is wrong."""

import numpy as np
import pytest

from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation import ava_files
from slowfast_mvit.evaluation.ava_files import read_detections, read_exclusions, read_truth

ROW = "1j20qq1JyX4,0902,0.002,0.118,0.714,0.977,12,0.1234"


def write(tmp_path, *lines, end="\n", name="file.csv"):
    path = tmp_path / name
    path.write_bytes(end.join([*lines, ""]).encode())
    return path


def columns(table):
    names = [table.at.video_names[place] for place in table.at.videos]
    scores = [None] * len(table) if table.scores is None else table.scores.tolist()
    return list(
        zip(names, table.at.seconds.tolist(), table.boxes.tolist(), table.actions.tolist(), scores, strict=True)
    )


def test_detections(tmp_path):
    found = read_detections(write(tmp_path, ROW, "b,1798,0,0.25,1,1,3,1"))
    assert columns(found) == [
        ("1j20qq1JyX4", 902, [0.002, 0.118, 0.714, 0.977], 12, 0.1234),
        ("b", 1798, [0.0, 0.25, 1.0, 1.0], 3, 1.0),
    ]
    assert (found.boxes.dtype, found.scores.dtype, found.actions.dtype) == (np.float64, np.float64, np.int32)


@pytest.mark.parametrize("second", ["0902", "902", "902.0", " 902", "9.02e2"])
@pytest.mark.parametrize("person", ["", ",17", ",0"])
def test_truth_with_and_without_persons(tmp_path, second, person):
    truth = read_truth(write(tmp_path, f"a,{second},0.1,0.2,0.3,0.4,80{person}"))
    assert columns(truth) == [("a", 902, [0.1, 0.2, 0.3, 0.4], 80, None)]


def test_persons_in_some_rows(tmp_path):
    truth = read_truth(write(tmp_path, "a,1,0,0,1,1,80", "a,2,0,0,1,1,80,5"))
    assert truth.at.seconds.tolist() == [1, 2]
    assert len(read_truth(write(tmp_path, "a,2,0,0,1,1,80,5", "a,1,0,0,1,1,80"))) == 2


def test_exclusions(tmp_path):
    excluded = read_exclusions(write(tmp_path, "a,0902", "b,903", "a,904"))
    assert excluded.video_names == ("a", "b")
    assert excluded.videos.tolist() == [0, 1, 0] and excluded.seconds.tolist() == [902, 903, 904]
    with pytest.raises(UserError, match=r"line 1: 3 fields where video,second are expected"):
        read_exclusions(write(tmp_path, "a,902,0.1"))


@pytest.mark.parametrize("names", [["0001", "07"], ["NA", "null", ""], ["True", "1e5"], ["a b", "ü"], ['"a,b"', "c"]])
def test_names_of_videos_stay_as_they_are(tmp_path, names):
    rows = [f"{name},1,0,0,1,1,1,0.5" for name in names]
    assert read_detections(write(tmp_path, *rows)).at.video_names == tuple(name.strip('"') for name in sorted(names))


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        ([ROW, "", "   ", ROW], "\n"),
        ([ROW, ROW], "\r\n"),
        (["\ufeff" + ROW, ROW], "\n"),
        (["video,second,x1,y1,x2,y2,action_id,score", ROW, ROW], "\n"),
        (
            ["video_id,middle_frame_timestamp,person_box_x1,person_box_y1,person_box_x2,person_box_y2,id,s", ROW, ROW],
            "\r\n",
        ),
        ([ROW.replace("1j20qq1JyX4", '"1j20qq1JyX4"'), ROW], "\n"),
        ([ROW, ROW], "\r"),
    ],
)
def test_other_forms(tmp_path, lines, end):
    assert columns(read_detections(write(tmp_path, *lines, end=end))) == columns(
        read_detections(write(tmp_path, ROW, ROW))
    )


def test_no_rows(tmp_path):
    for lines in ([], ["", ""], ["video,second,x1,y1,x2,y2,action_id,score"]):
        found = read_detections(write(tmp_path, *lines))
        assert len(found) == 0 and found.boxes.shape == (0, 4) and found.scores.shape == (0,)
    (tmp_path / "none").touch()
    assert len(read_truth(tmp_path / "none")) == len(read_exclusions(tmp_path / "none")) == 0


def test_a_file_without_a_last_line_end(tmp_path):
    (tmp_path / "one").write_text(f"{ROW}\n{ROW}")
    assert len(read_detections(tmp_path / "one")) == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,902.5,0,0,1,1,1,0.5", "second is 902.5, which is not a whole number"),
        ("a,noon,0,0,1,1,1,0.5", "second is 'noon', which is not a number"),
        ("a,00:15:02,0,0,1,1,1,0.5", "second is '00:15:02', which is not a number"),
        ("a,1e300,0,0,1,1,1,0.5", "second is 1e300, which is not a whole number"),
        ("a,902,0,0,1,1,stand,0.5", "action_id is 'stand', which is not a number"),
        ("a,902,0,0,1,1,,0.5", "action_id is '', which is not a number"),
        ("a,902,0,0,1,1,1.5,0.5", "action_id is 1.5, which is not a whole number"),
        ("a,902,0,zero,1,1,1,0.5", "y1 is 'zero', which is not a number"),
        ("a,902,0,inf,1,1,1,0.5", "y1 is inf, which is not a finite number"),
        ("a,902,0,0,1,1,1,nan", "score is nan, which is not a finite number"),
        ("a,902,0,0,1,1,1,NaN", "score is NaN, which is not a finite number"),
        ("a,902,0,0,1,1,1,", "score is '', which is not a number"),
        ("a,902,0,0,1,1,1", "7 fields where video,second,x1,y1,x2,y2,action_id,score are expected"),
        ("a,902,0,0,1,1,1,0.5,9", "9 fields where video,second,x1,y1,x2,y2,action_id,score are expected"),
        ("a 902 0 0 1 1 1 0.5", "1 fields where video,second,x1,y1,x2,y2,action_id,score are expected"),
    ],
)
@pytest.mark.parametrize("line", [1, 3, 2000])
def test_what_is_wrong_has_its_line(tmp_path, monkeypatch, row, said, line):
    monkeypatch.setattr(ava_files, "_PIECE", 1 << 12)
    path = write(tmp_path, *[ROW] * (line - 1), row, ROW)
    with pytest.raises(UserError) as caught:
        read_detections(path)
    assert str(caught.value) == f"{path}, line {line}: {said}"


def test_truth_of_a_wrong_length(tmp_path):
    for fields in (6, 9):
        row = ",".join(["a", *["1"] * (fields - 1)])
        with pytest.raises(
            UserError, match=rf"line 2: {fields} fields where video,second,.*,action_id\[,person_id\] are"
        ):
            read_truth(write(tmp_path, "a,1,0,0,1,1,80", row))


def test_a_header_in_another_order(tmp_path):
    path = write(tmp_path, "video,second,x1,x2,y1,y2,action_id,score", ROW)
    with pytest.raises(
        UserError, match=r"file.csv, line 1: the columns are video,second,x1,x2,y1,y2,action_id,score where"
    ):
        read_detections(path)


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match=r"binary: no text in UTF-8 \(invalid start byte\): give a CSV file$"):
        read_detections(tmp_path / "binary")
    (tmp_path / "latin").write_bytes(ROW.encode() + b"\n\xfc" + ROW.encode())
    with pytest.raises(UserError, match=r"latin: no text in UTF-8"):
        read_detections(tmp_path / "latin")
    with pytest.raises(UserError, match=r"there is no file .*missing: check"):
        read_detections(tmp_path / "missing")


@pytest.mark.parametrize("form", ["%.9g", "%.4f", "%r", "%.25f"])
def test_numbers_are_the_nearest_in_pieces_of_any_size(tmp_path, monkeypatch, form):
    """As Python reads them, so that IoUs of just the threshold and equal scores are the same."""
    monkeypatch.setattr(ava_files, "_PIECE", 10_000)
    values = np.random.default_rng(0).random((2000, 5)) ** 9
    texts = [[form % float(value) for value in row] for row in values]
    rows = [f"v{i % 7},{i % 97 + 900},{','.join(row[:4])},{i % 60 + 1},{row[4]}" for i, row in enumerate(texts)]
    found = columns(read_detections(write(tmp_path, *rows)))
    assert found == [
        (f"v{i % 7}", i % 97 + 900, [float(text) for text in row[:4]], i % 60 + 1, float(row[4]))
        for i, row in enumerate(texts)
    ]
    quoted = columns(read_detections(write(tmp_path, *rows[:-1], rows[-1].replace("v", '"v').replace(",", '",', 1))))
    assert quoted == found  # row by row
