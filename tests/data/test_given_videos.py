"""Given video files under the names of box lists."""

import logging

import pytest

from slowfast_mvit.data.given_videos import check_given, given_videos
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.errors import UserError


@pytest.fixture
def files(tmp_path):
    (tmp_path / "other").mkdir()
    paths = [tmp_path / "a.mp4", tmp_path / "other" / "b.b.mkv"]
    for path in paths:
        path.write_bytes(b"0")
    return paths


def test_names_with_and_without_ending(files, caplog):
    check_given(files)
    videos = given_videos(files, ["x", "b.b.mkv", "a"], "list.csv")
    assert videos.names == ("b.b.mkv", "a") and videos.paths.tolist() == [str(files[1]), str(files[0])]
    assert not videos.are_folders and videos.frames is None and not caplog.records
    with caplog.at_level(logging.WARNING):
        assert given_videos(files, ["b.b"], "list.csv").paths.tolist() == [str(files[1])]
    assert f"list.csv has no boxes of {files[0]}" in caplog.text


def test_bad_input(files, tmp_path):
    with pytest.raises(UserError, match=r"list.csv has boxes of b, A, c ..., and none of a.mp4, b.b.mkv"):
        given_videos(files, ["b", "A", "c", "d"], "list.csv")
    twin = tmp_path / "other" / "a.webm"
    twin.write_bytes(b"0")
    with pytest.raises(UserError, match=r"a.mp4 and .*a.webm are both called a"):
        check_given([*files, twin])
    for path, said in ((tmp_path / "none.mp4", "no such file"), (tmp_path / "other", "it is a folder")):
        with pytest.raises(VideoError, match=said):
            check_given([path])
