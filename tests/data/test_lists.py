"""Lists in little memory, and whether their files are there."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.data.lists import FrameLists, base_folder, check_files, pack_frames
from slowfast_mvit.errors import UserError

PATHS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n/"), min_size=1), min_size=1)


@given(st.lists(PATHS, min_size=1, max_size=5))
def test_frame_lists_give_back_what_they_took(videos):
    frames = FrameLists([pack_frames(paths) for paths in videos])
    assert len(frames) == len(videos)
    assert [frames[index] for index in range(len(frames))] == videos


def test_paths_of_frames_begin_with_the_folder():
    frames = FrameLists([pack_frames(["1/a.jpg", "/far/b.jpg"])], "/data")
    assert frames[0] == ["/data/1/a.jpg", "/far/b.jpg"]


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
