"""The toy films move as their names say, the pairs are each other backwards, and a set is made whole or again."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.kinetics import read_split
from slowfast_mvit.data.toy import CLASSES, FPS, SPLITS, ToySet, make_toy_set, render
from slowfast_mvit.data.video import open_video
from slowfast_mvit.errors import UserError

SMALL = ToySet(num_train=9, num_val=2, num_test=2, num_frames=6, height=32, width=48)
RECIPES = sorted((Path(__file__).parents[2] / "configs" / "Toy").glob("*.yaml"))


class WithoutNoise:
    """A generator whose normal draws are 0."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def __getattr__(self, name):
        return getattr(self.rng, name)

    def standard_normal(self, size, dtype):
        return np.zeros(size, dtype)


def motion(film):
    """What moves the film best: 0 right, 1 down, 2 clockwise, 3 growing; and the sign and size of it, pixels per frame.

    Each of the four is fitted to the change from frame to frame alone (Lucas and Kanade's equations over the shape); the
    one that explains the most is the motion. "Clockwise" is as seen on a screen, where y points down: the right end of the
    rim goes down.
    """
    grey = film.astype(float).mean(axis=3)
    explained, speed = np.zeros(4), np.zeros(4)
    for before, after in pairwise(grey):
        moving = np.abs(after - before) > 1.5
        down, across = np.gradient((before + after) / 2)
        y, x = np.nonzero(moving)
        x, y = x - x.mean(), y - y.mean()
        gx, gy, change = across[moving], down[moving], (before - after)[moving]
        rim = np.hypot(x, y).max()
        for axis, along in enumerate((gx, gy, (gy * x - gx * y) / rim, (gx * x + gy * y) / rim)):
            explained[axis] += (along @ change) ** 2 / (along @ along)
            speed[axis] += (along @ change) / (along @ along)
    axis = int(explained.argmax())
    return axis, speed[axis] / (len(grey) - 1)


# axis of `motion` and sign
MOVES = {
    "move_left": (0, -1),
    "move_right": (0, 1),
    "move_up": (1, -1),
    "move_down": (1, 1),
    "turn_clockwise": (2, 1),
    "turn_counterclockwise": (2, -1),
    "grow": (3, 1),
    "shrink": (3, -1),
}


def test_the_measure_of_motion():
    """On a blob with a lobe, moved by hand: the measure itself knows left, up and clockwise."""

    def picture(x0=40.0, y0=40.0, turn=0.0, size=1.0):
        x, y = np.arange(80)[None, :] - x0, np.arange(80)[:, None] - y0
        right = (x - 12 * size * np.cos(turn)) ** 2 + (y - 12 * size * np.sin(turn)) ** 2
        left = (x + 12 * size * np.cos(turn)) ** 2 + (y + 12 * size * np.sin(turn)) ** 2
        bright = 250 * np.exp(-right / (60 * size**2)) + 120 * np.exp(-left / (60 * size**2))
        return np.minimum(bright, 255)[..., None].repeat(3, axis=2)

    for changed, axis, sign in [
        ({"x0": 39.5}, 0, -1),
        ({"y0": 39.5}, 1, -1),
        ({"turn": 0.03}, 2, 1),  # the right blob goes down
        ({"size": 1.03}, 3, 1),
    ]:
        found, speed = motion(np.stack([picture(), picture(**changed)]))
        assert found == axis and speed * sign > 0.2, changed


@pytest.mark.parametrize("name", CLASSES)
def test_films_move_as_they_are_named(name):
    axis, sign = MOVES[name]
    for seed in range(6):
        found, speed = motion(render(CLASSES.index(name), ToySet(), WithoutNoise(seed)))
        assert found == axis and speed * sign > 0.15, (seed, found, speed)


@pytest.mark.parametrize("label", range(8))
def test_pairs_are_each_other_backwards(label):
    for seed in range(4):
        film, partner = (render(each, ToySet(), WithoutNoise(seed)) for each in (label, label ^ 1))
        # Rounding may put a pixel of the rim on its other side.
        assert (film != partner[::-1]).any(axis=3).mean() < 1e-3
        assert (film != partner).any(axis=3).mean() > 0.02


def test_films():
    film = render(3, ToySet(), np.random.default_rng(1))
    assert film.shape == (48, 80, 96, 3) and film.dtype == np.uint8
    assert np.array_equal(film, render(3, ToySet(), np.random.default_rng(1)))
    assert not np.array_equal(film, render(3, ToySet(), np.random.default_rng(2)))
    calm = render(3, ToySet(), WithoutNoise(1))
    inner = (calm > 30) & (calm < 225)
    assert (film.astype(float) - calm)[inner].std() == pytest.approx(0.02 * 255, rel=0.05)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_toy_set(tmp_path_factory.mktemp("toy"), SMALL, processes=2)


def frames_of(root):
    """All pictures of a set by their file."""
    found = {}
    for path in sorted(root.rglob("*.mp4")):
        with open_video(path) as video:
            found[path.relative_to(root).as_posix()] = video.frames_at(range(video.num_frames))
    return found


def same_frames(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def test_lists_are_complete(made):
    for split, count in zip(SPLITS, (9, 2, 2), strict=True):
        lines = (made / f"{split}.csv").read_text().splitlines()
        assert lines == [f"videos/{split}/{i:05d}.mp4 {CLASSES[i % 8]}" for i in range(count)]
        assert len(list((made / "videos" / split).iterdir())) == count
        videos = read_split(made, split, num_classes=8)
        assert videos.label_names == tuple(sorted(CLASSES))
        assert [videos.label_names[label] for label in videos.labels] == [CLASSES[i % 8] for i in range(count)]


def test_files_hold_the_films_of_their_labels(made):
    number = 0
    for split, count in zip(SPLITS, (9, 2, 2), strict=True):
        for i in range(count):
            film = render(i % 8, SMALL, np.random.default_rng([SMALL.seed, number])).astype(float)
            with open_video(made / "videos" / split / f"{i:05d}.mp4") as video:
                assert (video.num_frames, video.height, video.width, video.fps) == (6, 32, 48, FPS)
                seen = video.frames_at(range(6))
            assert np.abs(seen - film).mean() < 12  # less than half of what another film is away
            number += 1


def test_the_seed_alone_makes_the_pixels(made, tmp_path):
    frames = frames_of(made)
    assert len(frames) == 13 and len({film.tobytes() for film in frames.values()}) == 13
    assert same_frames(frames, frames_of(make_toy_set(tmp_path / "again", SMALL, processes=1)))
    assert not same_frames(frames, frames_of(make_toy_set(tmp_path / "other", replace(SMALL, seed=1), processes=1)))


def stamps(root):
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in root.rglob("*") if path.is_file()}


def test_a_whole_set_is_kept(made):
    before = stamps(made)
    assert make_toy_set(made, SMALL, processes=1) == made and stamps(made) == before


@pytest.mark.parametrize("manifest", ["unfinished", "", '{"num_train": 9'])
def test_an_interrupted_set_is_made_again(made, tmp_path, manifest):
    root = make_toy_set(tmp_path, SMALL, processes=1)
    (root / "videos/train/00003.mp4").write_bytes(b"half")
    (root / "test.csv").unlink()
    (root / "toy.json").write_text(manifest)
    make_toy_set(root, SMALL, processes=1)
    assert same_frames(frames_of(root), frames_of(made))
    assert (root / "test.csv").read_text() == (made / "test.csv").read_text()
    assert json.loads((root / "toy.json").read_text())["num_train"] == 9


def test_the_mark_of_a_whole_set_is_set_last(tmp_path, monkeypatch):
    root = make_toy_set(tmp_path, SMALL, processes=1)
    real = Path.write_text

    def fail_at_lists(path, *args, **kwargs):
        if path.name == "val.csv":
            raise OSError("disk full")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", fail_at_lists)
    with pytest.raises(OSError, match="disk full"):
        make_toy_set(root, replace(SMALL, seed=5), processes=1)
    assert (root / "toy.json").read_text() == "unfinished"


def test_lists_of_another_dataset_are_not_overwritten(tmp_path):
    (tmp_path / "train.csv").write_text("precious.mp4 1\n")
    with pytest.raises(UserError, match=r"train\.csv of another dataset"):
        make_toy_set(tmp_path, SMALL, processes=1)
    assert (tmp_path / "train.csv").read_text() == "precious.mp4 1\n"


def test_odd_extents_are_refused():
    with pytest.raises(UserError, match="even extents, not 81x96"):
        ToySet(height=81)


def test_labels_can_be_numbers_below_any_count(tmp_path):
    root = make_toy_set(tmp_path, replace(SMALL, num_classes=3), processes=1)
    labels = [line.rsplit(" ", 1)[1] for line in (root / "train.csv").read_text().splitlines()]
    assert labels == [str(number % 8 % 3) for number in range(9)]


def test_other_parameters_make_another_set(tmp_path):
    make_toy_set(tmp_path, SMALL, processes=1)
    make_toy_set(tmp_path, replace(SMALL, num_train=3, num_frames=4), processes=1)
    assert len((tmp_path / "train.csv").read_text().splitlines()) == 3
    with open_video(tmp_path / "videos/val/00000.mp4") as video:
        assert video.num_frames == 4


def test_there_are_toy_recipes():
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_toy_recipes_of_videos_do_not_flip(path):
    """A mirrored direction is another class."""
    config = load_config(str(path), [])
    assert config.DATA.RANDOM_FLIP is (config.TRAIN.DATASET in ("imagenet", "coco"))


def test_the_recipe_has_the_classes_of_the_set():
    config = load_config(str(RECIPES[0].with_name("MVITV2_TOY_8x4.yaml")), [])
    assert len(CLASSES) == config.MODEL.NUM_CLASSES
