"""Rows come back as they were written, whatever is in them, and a cut table loses its last row alone."""

import csv

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slowfast_mvit.data.inspect import Inspection
from slowfast_mvit.data.inspection_table import COLUMNS, Row, Seen, append_rows, read_rows, write_rows
from slowfast_mvit.errors import UserError

GOOD = Inspection("ok", "", 96, 64, 40, 29.97, "h264", 90, 1.6, 0.0123)
TEXT = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=30)


def row(path="a.mp4", found=GOOD, **settings) -> Row:
    return Row(
        "train", path, "run", Seen(found, **{"kind": "pyav", "full": False, "size": 12, "mtime_ns": 99} | settings)
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(path=TEXT, label=TEXT, cause=TEXT, full=st.booleans(), size=st.integers(0, 2**60))
def test_rows_come_back(tmp_path, path, label, cause, full, size):
    rows = [
        Row("val", path, label, Seen(Inspection("unreadable", cause), "image", full, size, 2**60)),
        row(size=size),
    ]
    write_rows(tmp_path / "videos.csv", rows)
    assert list(read_rows(tmp_path / "videos.csv")) == rows


def test_names_that_are_no_unicode(tmp_path):
    rows = [row(path=b"caf\xe9.mp4".decode(errors="surrogateescape"))]
    write_rows(tmp_path / "videos.csv", rows)
    assert list(read_rows(tmp_path / "videos.csv")) == rows


def test_others_can_read_it(tmp_path):
    write_rows(tmp_path / "videos.csv", [row(), row("b, c.mp4", Inspection("missing", "no such file"))])
    with (tmp_path / "videos.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["width"], first["height"], first["fps"]) == ("96", "64", "29.97")
    assert (second["path"], second["width"], second["status"]) == ("b, c.mp4", "", "missing")
    assert not list(tmp_path.glob("*.part"))


def test_a_row_that_was_cut_is_left_out(tmp_path):
    path = tmp_path / "videos.csv"
    write_rows(path, [row("a.mp4"), row("b.mp4")])
    whole = path.read_bytes()
    last = whole.index(b"train,b.mp4")
    for end in range(last, len(whole) - 3):  # less the last digit and the end of the line
        path.write_bytes(whole[:end])
        assert [r.path for r in read_rows(path)] == ["a.mp4"]


def test_rows_are_added(tmp_path):
    path = tmp_path / "videos.csv"
    write_rows(path, [row("a.mp4")])
    with path.open("a", newline="") as file:
        append_rows(file, [row("b.mp4")])
        assert [r.path for r in read_rows(path)] == ["a.mp4", "b.mp4"]  # while the file is open


def test_no_table_and_a_foreign_one(tmp_path):
    assert list(read_rows(tmp_path / "videos.csv")) == []
    (tmp_path / "videos.csv").write_text("video,label\na.mp4,3\n")
    with pytest.raises(UserError, match="is not a table of this check"):
        list(read_rows(tmp_path / "videos.csv"))
    (tmp_path / "empty.csv").touch()
    assert list(read_rows(tmp_path / "empty.csv")) == [] and len(COLUMNS) == 17
