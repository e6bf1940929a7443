"""Pictures of where a model looks: real videos and images in, films and sheets out."""

import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import visualize as tool
from PIL import Image

from slowfast_mvit.build import visualize as drawing
from slowfast_mvit.build.given_model import GivenModel
from slowfast_mvit.build.model import build_model
from slowfast_mvit.build.visualize import covering_clips, middle_crop, visualize
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.clips import ClipSampling, SegmentSampling
from slowfast_mvit.data.toy import write_video
from slowfast_mvit.data.video import open_video
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.baselines import create_baseline
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.ops.spatial import CropBox
from tests.models.small import CASES, randomize


def given(name: str, size: tuple[int, ...], sampling=None, labels=("a", "b", "c", "d", "e")) -> GivenModel:
    model = MViT(CASES[name], 5)
    randomize(model)
    return GivenModel(model.eval(), "tiny", size, (0.45,) * 3, (0.225,) * 3, sampling, "softmax", labels, "tiny.pyth")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """70 frames of 48 x 80 pixels."""
    path = tmp_path / "film.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 256, (70, 48, 80, 3), dtype=np.uint8))
    return path


def test_a_video_by_a_config(config_file: Path, film: Path, tmp_path: Path, capsys) -> None:
    model = build_model(load_config(config_file, []))
    randomize(model)
    names = [f"name {number}" for number in range(8)]
    torch.save({"model_state": model.state_dict(), "label_names": names}, tmp_path / "w.pyth")
    out = tmp_path / "new" / "maps"
    status = tool.main(
        [
            str(film),
            "--cfg",
            str(config_file),
            "--weights",
            str(tmp_path / "w.pyth"),
            "--output",
            str(out),
            "NUM_GPUS",
            "0",
        ]
    )
    said = capsys.readouterr()
    assert status == 0, said.err
    paths = [out / f"film_{end}" for end in ("rollout.mp4", "grad_cam.mp4", "maps.png")]
    assert sorted(out.iterdir()) == sorted(paths)
    assert said.out.splitlines()[0] == f"{paths[0]}: 70 frames with attention rollout"
    drawn = []
    for path in paths[:2]:
        with open_video(film) as before, open_video(path) as after:
            assert (after.num_frames, after.height, after.width) == (70, 48, 80)
            assert np.abs(after.timestamps() - before.timestamps()).max() < 1e-3
            drawn.append(after.frames_at([0, 69]))
            plain = before.frames_at([0, 69])
            # The sides were not seen: dark; the middle is coloured.
            assert drawn[-1][:, :, :14].mean() < 0.5 * plain[:, :, :14].mean() < drawn[-1][:, :, 20:60].mean()
    assert not np.array_equal(*drawn)
    with Image.open(paths[2]) as sheet:
        assert sheet.width > 6 * 112 and sheet.height > 3 * 48


@pytest.mark.parametrize("name", ["image", "image, class token"])
def test_an_image(name: str, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "cat.png")
    files = visualize(tmp_path / "cat.png", given(name, (64, 64)), tmp_path / "maps", of_class="d")
    assert [path.name for path in files] == ["cat_rollout.png", "cat_grad_cam.png", "cat_maps.png"]
    for path in list(files)[:2]:
        with Image.open(path) as drawn:
            assert drawn.size == (70, 90)
            pixels = np.array(drawn)
        # 70 x 70 pixels of the middle were seen.
        assert np.array_equal(pixels[:10], (picture[:10] * np.float32(0.35)).astype(np.uint8))
        assert not np.array_equal(pixels[10:80], picture[10:80])


def test_the_heat_is_where_the_map_is_and_when(film: Path, tmp_path: Path, monkeypatch) -> None:
    def looks_at_a_corner(model, x):
        maps = torch.zeros(1, 4, 16, 16)
        maps[:, -1, -4:, -4:] = 1  # the last frames, below on the right
        return maps

    monkeypatch.setattr(drawing, "rollout", looks_at_a_corner)
    one = given("video", (8, 64, 64), ClipSampling(8, 8))
    visualize(film, one, tmp_path, of_class="0" if not one.labels else "a")
    with open_video(film) as before, open_video(tmp_path / "film_rollout.mp4") as after:
        places = [0, 63]
        change = np.abs(after.frames_at(places).astype(int) - before.frames_at(places)).mean(axis=3)
    # The crop is columns 16 to 63. H.264 changes noise a little everywhere.
    assert change[1, 40:, 55:63].mean() > 2 * change[1, :30, 17:45].mean()
    assert change[0, 40:, 55:63].mean() < 1.3 * change[0, :30, 17:45].mean()


def test_crops_and_clips() -> None:
    assert middle_crop(48, 80, 64, 64) == CropBox(0, 16, 48, 48)
    assert middle_crop(80, 48, 32, 64) == CropBox(28, 0, 24, 48)
    assert middle_crop(224, 160, 224, 160) == CropBox(0, 0, 224, 160)

    class Film:
        num_frames, fps = 100, Fraction(30)

    one = given("video", (4, 64, 64), ClipSampling(4, 8, use_offset=False))
    # A clip spans 32 frames: four cover 100, from frame 0, 22, 44 and 66.
    places = covering_clips(one, Film())  # type: ignore[arg-type]
    assert places.tolist() == [[start + step for step in (0, 10, 20, 31)] for start in (0, 22, 44, 66)]
    spread = covering_clips(given("video", (4, 64, 64), SegmentSampling(4)), Film())  # type: ignore[arg-type]
    assert spread.shape == (1, 4)


def test_the_clips_of_a_long_video_are_not_kept(film: Path, tmp_path: Path, monkeypatch) -> None:
    """Five clips cover 70 frames; the one before, and the last of the first round, may be there when the next is made."""
    alive, plain = [], drawing._fit

    def fit(*arguments):
        made = plain(*arguments)
        alive.append(weakref.ref(made))
        assert sum(one() is not None for one in alive) <= 3
        return made

    monkeypatch.setattr(drawing, "_fit", fit)
    visualize(film, given("video", (8, 64, 64), ClipSampling(8, 2)), tmp_path / "maps")
    assert len(alive) == 2 * 5


def test_a_film_that_breaks_off_leaves_no_half_a_film(film: Path, tmp_path: Path, monkeypatch) -> None:
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(drawing, "heat_on_frame", stop)
    monkeypatch.setattr(tool, "given_by_name", lambda *words, **more: given("video", (8, 64, 64), ClipSampling(8, 4)))
    assert tool.main([str(film), "--model=a", "--weights=b", f"--output={tmp_path / 'maps'}"]) == 130
    assert list((tmp_path / "maps").iterdir()) == []


def test_mistakes(film: Path, tmp_path: Path, capsys) -> None:
    video = given("video", (8, 64, 64), ClipSampling(8, 4))
    with pytest.raises(UserError, match=r"there is no class 'f'; known are a, b, c, d, e"):
        visualize(film, video, tmp_path, of_class="f")
    with pytest.raises(UserError, match=r"there is no class 5: give a number from 0 to 4 \(--class\)"):
        visualize(film, video, tmp_path, of_class="5")
    with pytest.raises(UserError, match="no Grad-CAM of block 9"):
        visualize(film, video, tmp_path, block=9)
    with pytest.raises(UserError, match="is not a folder; give --output another place"):
        visualize(film, video, film / "maps")
    other = GivenModel(create_baseline("x3d_xs"), "x3d_xs", (4, 160, 160), (0,), (1,), None, "softmax", (), "")
    with pytest.raises(UserError, match="is for MViTs that score whole clips or images, and x3d_xs is none"):
        visualize(film, other, tmp_path)
    assert list(tmp_path.iterdir()) == [film]
    assert (
        tool.main([str(film), "--model=mvitv2_t", "--weights=w.pyth", f"--output={tmp_path / 'm'}", "NUM_GPUS", "0"])
        == 2
    )
    assert "NUM_GPUS is a key of a config, and --model has none" in capsys.readouterr().err
    arguments = ["--model", "mvitv2_tt", "--weights", "w.pyth", "--output", str(tmp_path / "maps")]
    assert tool.main([str(film), *arguments]) == 2
    assert capsys.readouterr().err == "error: there is no classifier 'mvitv2_tt'; did you mean mvitv2_t?\n"
