"""Names and first bytes of visitors' files."""

from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.data.toy import write_video
from slowfast_mvit.demo_page.accepted import HEAD_BYTES, file_name, refuse_content, refuse_name, shown_name
from slowfast_mvit.errors import UserError


@pytest.mark.parametrize(
    ("given", "kept", "shown"),
    [
        ("film.mp4", "film.mp4", "film.mp4"),
        ("val_0001.MP4", "val_0001.mp4", "val_0001.MP4"),
        ("../../etc/my film.mp4", "my_film.mp4", "my film.mp4"),
        ("C:\\films\\a.mkv", "a.mkv", "a.mkv"),
        ("/etc/passwd", "passwd", "passwd"),
        ("..", "_", ".."),
        (".mp4", "_mp4", ".mp4"),
        ("", "the_file", "the file"),
        ("a\0\n.mp4", "a.mp4", "a.mp4"),
        ("0.¡", "0", "0.¡"),
        ("тест.mp4", "тест.mp4", "тест.mp4"),
    ],
)
def test_names(given: str, kept: str, shown: str) -> None:
    assert file_name(given) == kept
    assert shown_name(given) == shown


@given(st.text())
def test_no_name_leads_anywhere(text: str) -> None:
    name = file_name(text)
    assert PurePosixPath(name).name == name and not name.startswith(".") and "\\" not in name
    assert 0 < len(name.encode()) <= 255 and name.isprintable()
    assert file_name(name) == name


def test_an_ending_may_be_long() -> None:
    assert file_name("a." + "b" * 300) == "a.bbbbbbbbb"


@pytest.mark.parametrize("name", ["list.txt", "list.csv", "a.mp4.txt", "a", "a.mp4/", "cat.jpg", ".mp4"])
def test_other_endings_than_videos(name: str) -> None:
    with pytest.raises(UserError, match="does not end as a video"):
        refuse_name(name, images=False)


def test_endings_of_images() -> None:
    refuse_name("a.JPG", images=True)
    for name in ("a.mp4", "a.eps", "a.txt"):
        with pytest.raises(UserError, match="does not end as an image"):
            refuse_name(name, images=True)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi", ".mkv", ".mov", ".mpg", ".ts", ".flv"])
def test_containers_that_are_written_are_taken(suffix: str, tmp_path: Path) -> None:
    import av

    path = tmp_path / f"film{suffix}"
    if suffix in (".mp4", ".webm"):
        write_video(path, np.zeros((4, 64, 64, 3), np.uint8))
    else:
        codec = {".mpg": "mpeg2video", ".flv": "flv"}.get(suffix, "libx264")
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            for _ in range(4):
                container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
            container.mux(stream.encode())
    refuse_content(path.read_bytes()[:HEAD_BYTES], path.name, images=False)


@pytest.mark.parametrize(
    "head",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n\0",
        b"ffconcat version 1.0\nfile /etc/passwd\n\0",
        b'<?xml version="1.0"?><MPD>',
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1",
        b"GIF89a",
        b"RIFF\0\0\0\0WAVE",
        b"G" + bytes(187) + b"H",
    ],
)
def test_text_and_others_are_refused(head: bytes) -> None:
    with pytest.raises(UserError, match=r"a\.mp4 does not begin as a video does"):
        refuse_content(head, "a.mp4", images=False)


def test_empty_files() -> None:
    for images in (False, True):
        with pytest.raises(UserError, match=r"a\.png is empty"):
            refuse_content(b"", "a.png", images=images)
