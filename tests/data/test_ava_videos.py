"""Where the pictures of AVA's videos are found: files, frame lists, folders."""

import logging
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from slowfast_mvit.data import ava_videos
from slowfast_mvit.data.ava_videos import find_videos
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.data.video_frames import FrameFolderReader
from slowfast_mvit.errors import UserError

HEADER = "original_vido_id video_id frame_id path labels\n"


@pytest.fixture
def frame_list(tmp_path):
    def write(name, *videos):
        lines = [f'{video} 0 {i} {video}/{video}_{i + 1:06d}.jpg ""\n' for video in videos for i in range(3)]
        (tmp_path / name).write_text(HEADER + "".join(lines))
        return tmp_path / name

    return write


def test_video_files(tmp_path):
    for name in ("a.mkv", "b.MP4", "b.txt", "c.webm"):
        (tmp_path / name).touch()
    videos = find_videos(tmp_path, ["b", "a"])
    assert videos.names == ("b", "a")
    assert videos.paths.tolist() == [str(tmp_path / "b.MP4"), str(tmp_path / "a.mkv")]
    assert (videos.are_folders, videos.frames) == (False, None)
    assert find_videos(tmp_path, ["c.webm"]).paths.tolist() == [str(tmp_path / "c.webm")]  # named with its ending


def test_files_go_before_frame_lists(tmp_path, frame_list):
    (tmp_path / "a.mp4").touch()
    assert find_videos(tmp_path, ["a"], [frame_list("train.csv", "a")]).frames is None


def test_frame_lists(tmp_path, frame_list, caplog):
    for name in "abc":
        (tmp_path / name).mkdir()
    lists = [frame_list("one.csv", "b"), frame_list("two.csv", "c", "a"), tmp_path / "none.csv"]
    with caplog.at_level(logging.WARNING):
        videos = find_videos(tmp_path, ["a", "b", "x"], lists)
    assert videos.names == ("b", "a")  # in the order of the lists
    assert videos.paths.tolist() == [str(tmp_path / "b"), str(tmp_path / "a")]
    assert list(videos.frames[1]) == [str(tmp_path / "a" / f"a_{i:06d}.jpg") for i in (1, 2, 3)]
    assert "lacks 1 of the 3 videos of the box lists, which are left out, for example x" in caplog.text


def test_folders_without_frame_lists(tmp_path):
    (tmp_path / "a").mkdir()
    for i in range(3):
        Image.new("RGB", (8, 6)).save(tmp_path / "a" / f"{i}.png")
    videos = find_videos(tmp_path, ["a"])
    with videos.open(0, "pyav", 25) as reader:
        assert (reader.num_frames, reader.fps, reader.frames_at([2]).shape) == (3, 25, (1, 6, 8, 3))


def test_a_folder_is_listed_once_for_all_of_its_key_frames(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    for i in (9, 10):
        Image.new("RGB", (8, 6)).save(tmp_path / "a" / f"{i}.png")
    videos, listed = find_videos(tmp_path, ["a"]), []
    monkeypatch.setattr(
        ava_videos, "FrameFolderReader", lambda path, real=FrameFolderReader: listed.append(path) or real(path)
    )
    for _ in range(3):
        with videos.open(0, "pyav", 30) as reader:
            assert [Path(file).name for file in reader.files] == ["9.png", "10.png"]
    assert len(listed) == 1
    Image.new("RGB", (8, 6)).save(tmp_path / "a" / "11.png")
    os.utime(tmp_path / "a", (1, 1))
    assert videos.open(0, "pyav", 30).num_frames == 3
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(VideoError, match="there is no such folder"):
        videos.open(0, "pyav", 30)


def test_frame_lists_of_other_videos(tmp_path, frame_list):
    listed = frame_list("train.csv", "x", "y")
    with pytest.raises(
        UserError, match=r"none of its 2 videos \(x, y ...\) is in the box lists \(a, b ...\): they are of"
    ):
        find_videos(tmp_path, ["a", "b"], [listed])


def test_missing_frame_folder(tmp_path, frame_list):
    listed = frame_list("train.csv", "a", "b")
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match=r"the frames of 1 of its 2 videos are not in .*/b: set AVA.FRAME_DIR"):
        find_videos(tmp_path, ["a", "b"], [listed])
    assert find_videos(tmp_path, ["a", "b"], [listed], must_exist=False).names == ("a", "b")


def test_missing_videos(tmp_path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match=r"2 of the 3 videos of the box lists are not there, .* for example b, c: set"):
        find_videos(tmp_path, ["a", "b", "c"])
    assert find_videos(tmp_path, ["a", "b"], must_exist=False).paths[1] == str(tmp_path / "b.mp4")
    with pytest.raises(UserError, match=r"there is no folder of videos or frames .*: set AVA.FRAME_DIR"):
        find_videos(tmp_path / "nowhere", ["a"])


def test_a_video_in_two_frame_lists(tmp_path, frame_list):
    with pytest.raises(UserError, match=r"two.csv: the video a is in another frame list of the same split as well"):
        find_videos(tmp_path, ["a"], [frame_list("one.csv", "a"), frame_list("two.csv", "a")])
