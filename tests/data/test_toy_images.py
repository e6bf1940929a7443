"""The toy images are what their folders say, differ in all else, and are made whole or again."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from slowfast_mvit.data.imagenet import read_images
from slowfast_mvit.data.images import read_image
from slowfast_mvit.data.toy_images import (
    CLASSES,
    SHAPES,
    TEXTURES,
    ToyImageSet,
    draw_image,
    inside,
    make_toy_images,
    pattern,
)
from slowfast_mvit.errors import UserError

SMALL = ToyImageSet(num_train=23, num_val=10, side=40)
AREAS = {"bar": 0.7 * 2, "disc": np.pi * 0.81, "ring": np.pi * (0.95**2 - 0.25), "triangle": 3 * np.sqrt(3) * 0.25}


def plane(size=401):
    axis = np.linspace(-1.2, 1.2, size, dtype=np.float32)
    return axis[None, :], axis[:, None]


@pytest.mark.parametrize("shape", AREAS)
def test_areas_of_shapes(shape):
    assert inside(shape, *plane()).mean() * 2.4**2 == pytest.approx(AREAS[shape], rel=0.02)


def test_symmetries_of_shapes():
    """A star is itself after a fifth of a turn, a triangle after a third, and neither after a half."""

    def turned(shape, angle):
        u, v = plane()
        return inside(shape, u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle))

    for shape, fold in [("star", 5), ("triangle", 3), ("bar", 2)]:
        differs = [(turned(shape, 0) ^ turned(shape, 2 * np.pi / k)).mean() for k in (fold, 2 * fold)]
        assert differs[0] < 0.004 < 0.05 < differs[1], shape


def test_patterns():
    """Stripes do not change along one direction, checks change along every one."""
    rng = np.random.default_rng(0)
    for name in TEXTURES:
        colours = pattern(name, *plane(), rng)
        assert colours.dtype == np.float32 and colours.min() >= 0 and colours.max() <= 1
        levels = np.unique(colours.reshape(-1, 3), axis=0)
        assert len(levels) == 2 and (levels[1] - levels[0] >= 0.35 - 1e-6).all()
        on = colours[..., 0] == levels[1, 0]
        assert 0.35 < on.mean() < 0.65
        edges = np.stack([np.diff(on, axis=0)[:, :-1].ravel(), np.diff(on, axis=1)[:-1].ravel()]).sum(axis=1)
        runs = [len(np.flatnonzero(np.diff(on[i]))) for i in range(0, 401, 40)]
        assert edges.sum() > 0 and max(runs) > 0
    striped = pattern("striped", *plane(), np.random.default_rng(1))
    # The corner counts: four levels meet nowhere in stripes, and somewhere in checks.
    assert _corners(striped) == 0 < _corners(pattern("checked", *plane(), np.random.default_rng(1)))


def _corners(colours):
    on = colours[..., 0] > colours[..., 0].mean()
    a, b, c, d = on[:-20, :-20], on[20:, :-20], on[:-20, 20:], on[20:, 20:]
    middle = on[10:-10, 10:-10]
    return int(((a == d) & (b == c) & (a != b) & (middle == a)).sum() > 800)


def test_images_differ_in_all_but_their_class():
    one, two = (draw_image(3, 80, np.random.default_rng(seed)) for seed in (1, 2))
    assert one.dtype == np.uint8 and one.shape[2] == 3 and one.shape != two.shape
    assert np.array_equal(one, draw_image(3, 80, np.random.default_rng(1)))
    assert all(60 <= extent <= 100 for extent in (*one.shape[:2], *two.shape[:2]))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_toy_images(tmp_path_factory.mktemp("toy"), SMALL, processes=2)


def pictures_of(root):
    return {path.relative_to(root).as_posix(): np.asarray(Image.open(path)) for path in sorted(root.rglob("*.JPEG"))}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def test_the_layout_is_imagenets(made):
    train, val = (read_images(made, split, num_classes=len(CLASSES)) for split in ("train", "val"))
    assert train.label_names == CLASSES and len(CLASSES) == len(SHAPES) * len(TEXTURES)
    assert np.bincount(train.labels).tolist() == [3] * 3 + [2] * 7 and val.labels.tolist() == list(range(10))
    assert not list(made.glob("*.csv"))


def test_files_hold_the_pictures_of_their_class(made):
    label = CLASSES.index("striped_ring")
    drawn = draw_image(label, SMALL.side, np.random.default_rng([SMALL.seed, label]))
    shown = np.asarray(read_image(str(made / "train" / "striped_ring" / f"{label:05d}.JPEG")))
    assert shown.shape == drawn.shape and np.abs(shown.astype(int) - drawn).mean() < 8


def test_the_seed_alone_makes_the_pixels(made, tmp_path):
    pictures = pictures_of(made)
    assert len({picture.tobytes() for picture in pictures.values()}) == 33
    assert same(pictures, pictures_of(make_toy_images(tmp_path / "again", SMALL, processes=1)))
    assert not same(pictures, pictures_of(make_toy_images(tmp_path / "other", replace(SMALL, seed=1), processes=1)))


def test_a_whole_set_is_kept_and_an_interrupted_one_made_again(made, tmp_path):
    stamps = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert make_toy_images(made, SMALL, processes=1) == made
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == stamps
    root = make_toy_images(tmp_path, SMALL, processes=1)
    (root / "val" / CLASSES[0] / "00000.JPEG").write_bytes(b"half")
    (root / "toy_images.json").write_text("unfinished")
    assert same(pictures_of(make_toy_images(root, SMALL, processes=1)), pictures_of(made))
    assert json.loads((root / "toy_images.json").read_text())["num_train"] == 23


def test_images_of_another_dataset_are_not_overwritten(tmp_path):
    (tmp_path / "train" / "n01440764").mkdir(parents=True)
    with pytest.raises(UserError, match="holds train of another dataset"):
        make_toy_images(tmp_path, SMALL, processes=1)


def test_a_set_of_fewer_images_leaves_none_of_the_larger(tmp_path):
    make_toy_images(tmp_path, SMALL, processes=1)
    make_toy_images(tmp_path, replace(SMALL, num_train=10), processes=1)
    assert len(read_images(tmp_path, "train", num_classes=10)) == 10


def test_labels_can_be_numbers_below_any_count(tmp_path):
    root = make_toy_images(tmp_path, replace(SMALL, num_classes=4), processes=1)
    images = read_images(root, "train", num_classes=4)
    assert images.labels.tolist() == [number % 10 % 4 for number in range(23)]
    assert len(read_images(root, "val", num_classes=1000)) == 10
