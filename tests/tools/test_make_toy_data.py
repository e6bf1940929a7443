"""make_toy_data.py: each kind of set by its name, and options that a kind does not have."""

import sys
from pathlib import Path

import make_toy_data
import pytest


def make(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["make_toy_data.py", *arguments])
    make_toy_data.main()


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (("--train", "2", "--val", "1", "--test", "1", "--frames", "4"), "videos/test/00000.mp4"),
        (
            ("--kind", "ssv2", "--train", "2", "--val", "1", "--frames", "4", "--height", "32"),
            "something-something-v2-labels.json",
        ),
        (("--kind", "imagenet", "--train", "10", "--val", "10", "--side", "24"), "val/striped_disc"),
        (
            ("--kind", "coco", "--train", "2", "--val", "1", "--side", "64"),
            "annotations/instances_val2017.json",
        ),
        (("--kind", "ava", "--train", "1", "--val", "1", "--seconds", "1"), "annotations/ava_val_predicted_boxes.csv"),
    ],
)
def test_kinds(
    arguments: tuple[str, ...],
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(monkeypatch, str(tmp_path), *arguments)
    assert (tmp_path / file).exists()
    assert capsys.readouterr().out.startswith(f"{tmp_path}: Toy")


@pytest.mark.parametrize(("kind", "option"), [("ssv2", "--test"), ("kinetics", "--side"), ("imagenet", "--frames")])
def test_options_of_another_kind(
    kind: str,
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        make(monkeypatch, str(tmp_path), "--kind", kind, option, "5")
    assert caught.value.code == 2
    assert f"a toy set of kind {kind} has no {option}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["kinetics", "ssv2", "imagenet", "things"])
def test_a_mistake_is_one_sentence(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train.csv", "something-something-v2-train.json"):
        (tmp_path / name).write_text("of another dataset")
    (tmp_path / "train").mkdir()
    with pytest.raises(SystemExit) as caught:
        make(monkeypatch, str(tmp_path), "--kind", kind)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} holds ")
    assert (tmp_path / "train.csv").read_text() == "of another dataset"
