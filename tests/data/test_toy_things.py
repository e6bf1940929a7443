"""The toy things are the shapes that their classes name, and go where these say; a set is made whole or again."""

from dataclasses import replace

import numpy as np
import pytest

from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.kinetics import read_split
from slowfast_mvit.data.toy_images import SHAPES
from slowfast_mvit.data.toy_things import CLASSES, ToyThings, film_thing, make_toy_things
from slowfast_mvit.data.video import open_video
from slowfast_mvit.errors import UserError

SMALL = ToyThings(num_train=11, num_val=2, num_test=3, num_frames=6, height=32, width=48)


def middle_of_change(film):
    """Column, in pixels, about which a frame differs from the film's mean, for the first and the last fifth."""
    grey = film.astype(float).mean(axis=3)
    away = np.abs(grey - np.median(grey, axis=0)).mean(axis=1)  # [T, W]
    away[away < np.quantile(away, 0.7)] = 0
    columns = (away * np.arange(away.shape[1])).sum(axis=1) / away.sum(axis=1)
    part = len(columns) // 5
    return columns[:part].mean(), columns[-part:].mean()


@pytest.mark.parametrize("name", CLASSES)
def test_things_go_where_they_are_named(name):
    moved = []
    for seed in range(5):
        first, last = middle_of_change(film_thing(CLASSES.index(name), ToyThings(), np.random.default_rng(seed)))
        moved.append(last - first)
    assert np.median(moved) > 5 if name.endswith("right") else np.median(moved) < -5


def test_classes():
    assert len(CLASSES) == 2 * len(SHAPES) and len(set(CLASSES)) == 10
    film = film_thing(4, ToyThings(), np.random.default_rng(1))
    assert film.shape == (40, 80, 96, 3) and film.dtype == np.uint8
    # With one seed, a direction is the other one's film backwards but for the noise.
    other = film_thing(5, ToyThings(), np.random.default_rng(1))
    assert np.abs(film.astype(int) - other[::-1]).mean() < 8 < np.abs(film.astype(int) - other).mean()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_toy_things(tmp_path_factory.mktemp("toy"), SMALL, processes=1)


def test_lists_and_files(made, tmp_path):
    for split, count in (("train", 11), ("val", 2), ("test", 3)):
        videos = read_split(made, split, num_classes=10)
        assert [videos.label_names[label] for label in videos.labels] == [CLASSES[i % 10] for i in range(count)]
    again = make_toy_things(tmp_path, SMALL, processes=1)
    for name in ("train/00000", "test/00002"):
        films = []
        for root in (made, again):
            with open_video(root / "videos" / f"{name}.mp4") as video:
                films.append(video.frames_at(range(6)))
        assert np.array_equal(*films)


def test_a_whole_set_is_kept_and_another_made(tmp_path):
    make_toy_things(tmp_path, SMALL, processes=1)
    stamp = (tmp_path / "train.csv").stat().st_mtime_ns
    make_toy_things(tmp_path, SMALL, processes=1)
    assert (tmp_path / "train.csv").stat().st_mtime_ns == stamp
    make_toy_things(tmp_path, replace(SMALL, num_train=4), processes=1)
    assert len((tmp_path / "train.csv").read_text().splitlines()) == 4


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="even extents, not 33x48"):
        replace(SMALL, height=33)
    (tmp_path / "train.csv").write_text("precious.mp4 1\n")
    with pytest.raises(UserError, match=r"train\.csv of another dataset"):
        make_toy_things(tmp_path, SMALL, processes=1)


def test_the_recipe_is_the_image_models_in_three_dimensions():
    """What inflation rests on: the same widths, strides and depth, and no class token."""
    image, video = (load_config(f"configs/Toy/MVITV2_TOY_{name}.yaml") for name in ("IMAGENET", "8x4_from_image"))
    assert len(CLASSES) == video.MODEL.NUM_CLASSES and not video.DATA.RANDOM_FLIP
    for key in ("EMBED_DIM", "DEPTH", "DIM_MUL", "POOL_KV_STRIDE_ADAPTIVE", "POOL_Q_STRIDE", "CLS_EMBED_ON"):
        assert getattr(image.MVIT, key) == getattr(video.MVIT, key)
    assert not video.MVIT.CLS_EMBED_ON and video.MVIT.PATCH_KERNEL[1:] == image.MVIT.PATCH_KERNEL
    last = f"checkpoints/checkpoint_epoch_{image.SOLVER.MAX_EPOCH:05d}.pyth"
    assert f"{image.OUTPUT_DIR}/{last}" == video.TRAIN.CHECKPOINT_FILE_PATH
