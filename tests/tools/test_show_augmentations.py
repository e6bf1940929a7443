"""The picture of augmented clips: what is on it is what the model is given."""

from pathlib import Path

import numpy as np
import pytest
import run_net
import torch
from PIL import Image

from slowfast_mvit.build.show_augmentations import augmentation_sheet
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data import contact_sheet
from slowfast_mvit.data.contact_sheet import SheetRow

AUG = ["AUG.ENABLE", "True", "AUG.NUM_SAMPLE", "2", "AUG.AA_TYPE", "rand-m7-n4-mstd0.5-inc1", "AUG.RE_PROB", "1.0"]
MIXUP = ["MIXUP.ENABLE", "True", "MODEL.LOSS_FUNC", "soft_cross_entropy"]
PLAIN = ["AUG.ENABLE", "False", "MIXUP.ENABLE", "False"]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[SheetRow]:
    """Rows of the sheets that are made."""
    seen: list[SheetRow] = []
    real = contact_sheet.contact_sheet

    def note(title, columns, rows):
        seen.extend(rows)
        return real(title, columns, rows)

    monkeypatch.setattr("slowfast_mvit.build.show_augmentations.contact_sheet", note)
    return seen


def test_the_command_writes_a_picture(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "out.png"
    command = ["--cfg", str(config_file), "--show-augmentations", str(picture), *AUG, *MIXUP]
    assert run_net.main(command) == 0
    assert f"{picture}: what the model is given" in capsys.readouterr().out
    image = Image.open(picture)
    assert image.mode == "RGB" and image.width > 900 and image.height > 8 * 128
    assert not (tmp_path / "run").exists()  # nothing is trained
    assert run_net.main([*command[:3], str(tmp_path / "out.xyz"), *AUG, *MIXUP]) == 2
    assert "end its name in .png or .jpg" in capsys.readouterr().err


def test_the_frames_are_the_models_input(
    config_file: Path, rows: list[SheetRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside what a training's first step gives its network, which the model of the run is made to keep."""
    overrides = [*AUG, *MIXUP, "TRAIN.BATCH_SIZE", "4"]
    config = load_config(str(config_file), overrides)
    augmentation_sheet(config)
    given: list[torch.Tensor] = []

    class StopError(Exception):
        pass

    def keep(model, video):
        given.append(video)
        raise StopError

    monkeypatch.setattr("slowfast_mvit.models.mvit.MViT.forward", keep)
    with pytest.raises(StopError):
        run_net.main(["--cfg", str(config_file), *overrides])
    mean, std = (torch.tensor(values).reshape(3, 1, 1, 1) for values in (config.DATA.MEAN, config.DATA.STD))
    assert len(rows) == len(given[0]) == 8
    for row, video in zip(rows, given[0], strict=True):
        pixels = ((video * std + mean) * 255).round().clamp(0, 255)[:, [0, 1, 3, 4, 6, 7]]
        assert np.array_equal(row.frames, pixels.movedim(0, -1).numpy().astype(np.uint8))


def test_words_beside_the_clips(config_file: Path, rows: list[SheetRow]) -> None:
    augmentation_sheet(load_config(str(config_file), [*AUG, *MIXUP]))
    assert [row.title.split(" ")[0] for row in rows] == [f"{number}." for number in range(1, 9)]
    assert all(row.title.split(" ")[1].startswith("videos/train/") for row in rows)
    said = [" ".join(row.lines) for row in rows]
    assert all(f"with row {8 - number})" in text for number, text in enumerate(said))
    assert all("copy 1 of 2" in text for text in said[::2]) and all("copy 2 of 2" in text for text in said[1::2])
    assert all("erased " in text for text in said) and any("Rel" in t or "x " in t for t in said)


def test_without_augmentation(config_file: Path, rows: list[SheetRow], toy_data: Path) -> None:
    augmentation_sheet(load_config(str(config_file), PLAIN))
    listed = dict(line.rsplit(" ", 1) for line in (toy_data / "train.csv").read_text().splitlines())
    assert len(rows) == 4
    for row in rows:
        assert row.lines[0] == listed[row.title.split(" ", 1)[1]] and len(row.lines) == 2


def test_colour_jitter_and_one_spared_copy(config_file: Path, rows: list[SheetRow]) -> None:
    overrides = [
        "AUG.ENABLE",
        "True",
        "AUG.NUM_SAMPLE",
        "2",
        "AUG.AA_TYPE",
        "",
        "AUG.RE_PROB",
        "1.0",
        "AUG.RE_SPLIT",
        "True",
    ]
    augmentation_sheet(load_config(str(config_file), overrides))
    said = [" ".join(row.lines) for row in rows]
    assert all(all(name in text for name in ("Brightness x", "Contrast x", "Color x")) for text in said)
    assert not any("erased" in text for text in said[::2]) and all("erased" in text for text in said[1::2])


def test_a_video_that_cannot_be_read_is_named(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    (tmp_path / "train.csv").write_text("bad.mp4 0\n")
    picture = tmp_path / "out.png"
    command = ["--cfg", str(config_file), "--show-augmentations", str(picture), "DATA.PATH_TO_DATA_DIR", str(tmp_path)]
    assert run_net.main([*command, *PLAIN]) == 2
    said = capsys.readouterr().err.strip()
    assert f"cannot read {tmp_path}/bad.mp4" in said and "\n" not in said and not picture.exists()
    (tmp_path / "train.csv").write_text("")
    assert run_net.main([*command, *PLAIN]) == 2
    assert "train.csv is empty" in capsys.readouterr().err


def test_a_picture_is_of_one_config(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "out.png"
    assert run_net.main(["--cfg", str(config_file), str(config_file), "--show-augmentations", str(picture)]) == 2
    assert "draws one picture, of one config" in capsys.readouterr().err and not picture.exists()


def test_a_sheet_of_images_and_long_names() -> None:
    frames = np.full((1, 32, 32, 3), (255, 0, 0), np.uint8)
    row = SheetRow(frames, "n01440764/" + "x" * 200, ("tench",))
    sheet = np.asarray(contact_sheet.contact_sheet("title", ["frame 0"], [row, row]))
    red = (sheet == (255, 0, 0)).all(axis=-1)
    assert red.sum() == 2 * 128 * 128  # four times as large
    left = np.flatnonzero(red.any(axis=0))[0]
    assert (sheet[red.any(axis=1), left - 8 : left] == 255).all()  # the words do not reach the frames
