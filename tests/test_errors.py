"""Sentences about names that are nearly right, and about files that cannot be read or written."""

import pytest

from slowfast_mvit.errors import UserError, check_output, closest, reading

KNOWN = ("mvitv2_s", "x3d_m", "ResNet-50")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mvit_v2_s", "did you mean mvitv2_s?"),
        ("MViTv2-S", "did you mean mvitv2_s?"),
        ("X3D-M", "did you mean x3d_m?"),
        ("resnet_50", "did you mean ResNet-50?"),
        ("banana", "known are ResNet-50, mvitv2_s, x3d_m"),
    ],
)
def test_the_closest_name(name: str, said: str) -> None:
    assert closest(name, KNOWN) == said


def test_inputs_that_cannot_be_read(tmp_path):
    for name, said in (("none", "there is no file {}: check"), (".", "{} is a folder: give the file")):
        path = tmp_path / name
        with pytest.raises(UserError, match=f"^{said.format(path)}"), reading(path):
            path.read_text()
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "below"
    with pytest.raises(UserError, match=rf"^{path} cannot be read \(Not a directory\)"), reading(path):
        path.read_text()


def test_outputs_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    file, folder = tmp_path / "file", tmp_path / "folder"
    folder.mkdir()
    check_output(file, "--out")
    check_output(tmp_path / "new" / "deep", "--out", folder=True, inputs=[tmp_path / "none", file])
    for path, is_folder, said in (
        (file, True, f"{file} is not a folder; give --out another place"),
        (file / "a" / "b", False, f"{file} is not a folder; give --out another place"),
        (file / "a" / "b", True, f"{file} is not a folder; give --out another place"),
        (folder, False, "it is a folder; give --out the name of a file"),
    ):
        with pytest.raises(UserError, match=f"^{path} cannot be written: {said}$"):
            check_output(path, "--out", folder=is_folder)
    with pytest.raises(UserError, match="link is read, and would be overwritten: give --out another name"):
        check_output(tmp_path / "link", "--out", inputs=[folder, file])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


def test_folders_that_may_not_be_written_in(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda place, mode: place != tmp_path)  # root may write anywhere
    with pytest.raises(UserError, match=f"{tmp_path} may not be written in; give OUT another place"):
        check_output(tmp_path / "new" / "a.csv", "OUT")
