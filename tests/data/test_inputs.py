"""What the words of a command mean: files, folders, patterns and lists."""

import os

import numpy as np
import pytest
from PIL import Image

from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.inputs import find_inputs, list_files
from slowfast_mvit.errors import UserError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder with a few files that need not be readable."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.mp4", "films/a.MKV", "films/deep/c.mov", "films/notes.txt", "films/.hidden.mp4", "films/d.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(*words, **settings):
    return find_inputs(words, **settings).names.tolist()


def test_files_folders_and_patterns(here):
    assert names("b.mp4", "films") == ["b.mp4", "films/a.MKV", "films/deep/c.mov"]
    assert names("films/**/*.mov", "b.mp4") == ["films/deep/c.mov", "b.mp4"]
    assert names("f*") == ["films/a.MKV", "films/deep/c.mov"]  # a pattern of folders
    assert names(here / "b.mp4") == [str(here / "b.mp4")]
    found = find_inputs(["b.mp4"])
    assert found.paths.tolist() == ["b.mp4"] and found.labels.tolist() == [0] and found.label_names == ()


def test_each_file_once(here):
    assert names("b.mp4", ".", here / "b.mp4") == ["b.mp4", "./films/a.MKV", "./films/deep/c.mov"]


def test_linked_folders_are_in_a_folder_once_and_hidden_ones_are_not(here):
    other = here / "elsewhere"
    other.mkdir()
    (other / "z.mp4").touch()
    (other / "round").symlink_to(here / "films")  # and back again
    (here / "films" / "link").symlink_to(other)
    (here / "films" / ".thumbs").mkdir()
    (here / "films" / ".thumbs" / "t.mp4").touch()
    assert names("films") == ["films/a.MKV", "films/deep/c.mov", "films/link/z.mp4"]


def test_a_folder_below_that_cannot_be_read_is_no_empty_one(here, monkeypatch):
    plain = os.scandir

    def refused(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return plain(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(UserError, match=r"films/deep cannot be read \(Permission denied\)"):
        names("films")


@pytest.mark.parametrize("text", ["video\na.MKV\ndeep/c.mov\n", '"a.MKV"\r\n"deep/c.mov"\r\n'])
def test_lists_of_paths_alone_as_tables_write_them(here, text):
    (here / "films" / "list.csv").write_text(text)
    assert names("films/list.csv") == ["a.MKV", "deep/c.mov"]


def test_a_file_that_looks_like_a_pattern(here):
    (here / "a[1].mp4").touch()
    assert names("a[1].mp4") == ["a[1].mp4"]


@pytest.mark.parametrize(
    "text",
    [
        "a.MKV\ndeep/c.mov\n",
        "a.MKV 0\ndeep/c.mov 3\n",
        "path,label\na.MKV,walk\ndeep/c.mov,run\n",
        '\ufeffa.MKV 0,2\ndeep/c.mov ""\n',
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_lists(here, text, suffix):
    """Relative to their folder; a name keeps its spelling, spaces too."""
    (here / "films" / f"list{suffix}").write_text(text, encoding="utf-8")
    found = find_inputs([f"films/list{suffix}"])
    assert found.names.tolist() == ["a.MKV", "deep/c.mov"]
    assert found.paths.tolist() == ["films/a.MKV", "films/deep/c.mov"]
    assert list_files([f"films/list{suffix}", "b.mp4"]) == [here.relative_to(here) / f"films/list{suffix}"]


def test_lists_of_the_working_folder_and_names_with_spaces(here):
    (here / "my film.mp4").touch()
    (here / "films" / "list.txt").write_text("b.mp4\nmy film.mp4\n")
    assert find_inputs(["films/list.txt"]).paths.tolist() == ["b.mp4", "my film.mp4"]


def test_images(here):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(here / "x.jpg")
    found = find_inputs([".", "films"], images=True)
    assert isinstance(found, ImageList)
    assert found.names.tolist() == ["./films/d.png", "./x.jpg"]
    assert [os.path.normpath(found.path(index)) for index in range(2)] == ["films/d.png", "x.jpg"]


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        (["none.mp4"], {}, "there is no file or folder none.mp4"),
        (["*.avi"], {}, r"no file fits the pattern \*.avi"),
        (["films/d.png"], {}, "is an image, and the model is one for video"),
        (["b.mp4"], {"images": True}, "is a video, and the model is one for images"),
        (["films/deep"], {"images": True}, "the folder films/deep holds no images"),
        (["films/notes.txt"], {}, "notes.txt is empty"),
        (["films/*.png"], {}, "holds no videos"),
    ],
)
def test_words_that_mean_nothing(words, settings, said):
    with pytest.raises(UserError, match=said):
        find_inputs(words, **settings)
