"""Lists in little memory, and whether their files are there."""

import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.data import lists
from slowfast_mvit.data.lists import FrameLists, base_folder, check_files, pack_frames
from slowfast_mvit.errors import UserError

PATHS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n/"), min_size=1), min_size=1)


@given(st.lists(PATHS, min_size=1, max_size=5))
def test_frame_lists_give_back_what_they_took(videos):
    frames = FrameLists([pack_frames(paths) for paths in videos])
    assert len(frames) == len(videos)
    assert [list(frames[index]) for index in range(len(frames))] == videos


def test_paths_of_frames_begin_with_the_folder():
    frames = FrameLists([pack_frames(["1/a.jpg", "/far/b.jpg"])], "/data")
    assert list(frames[0]) == ["/data/1/a.jpg", "/far/b.jpg"]
    assert (len(frames[0]), frames[0][-1], list(frames[0][:1])) == (2, "/far/b.jpg", ["/data/1/a.jpg"])


def test_only_paths_that_are_asked_for_are_joined(monkeypatch):
    """A film's list has 27,000 paths, of which a clip opens 32."""
    frames, joined, real = FrameLists([pack_frames([f"{i}.jpg" for i in range(27_000)])], "/data"), [], os.path.join
    monkeypatch.setattr(lists.os.path, "join", lambda *parts: joined.append(parts) or real(*parts))
    paths = frames[0]
    assert [paths[i] for i in (26_999, 5)] == ["/data/26999.jpg", "/data/5.jpg"] and len(joined) == 2


def test_frame_lists_are_small():
    """2,000 videos of 100 frames: 6 MB as text, 19 MB as Python strings; workers get them in one block."""
    packed = [
        pack_frames([f"{video}/{video}_{frame:06d}.jpg" for frame in range(1, 101)]) for video in range(100000, 102000)
    ]
    frames = FrameLists(packed)
    assert len(pickle.dumps(frames)) < 2000 * 320
    assert frames[1999][99] == "101999/101999_000100.jpg"


def test_where_paths_begin(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    root = tmp_path / "set"
    assert base_folder(root, "/films", "a.mp4") == "/films"
    assert base_folder(root, "", "a.mp4") == ""
    assert base_folder(root, "", "b.mp4") == str(root)
    (root / "a.mp4").touch()
    assert base_folder(root, "", "a.mp4") == str(root)


def test_missing_files(tmp_path):
    (tmp_path / "a.mp4").touch()
    check_files([f"{tmp_path}/a.mp4"], tmp_path / "list.csv")
    with pytest.raises(
        UserError, match=r"list\.csv: 2 of 3 files do not exist, for example .*/b\.mp4, .*/no/c\.mp4: set"
    ):
        check_files([f"{tmp_path}/{name}" for name in ("a.mp4", "b.mp4", "no/c.mp4")], tmp_path / "list.csv")
