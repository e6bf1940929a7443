"""The films show their events in the order of their labels, pairs are each other backwards, the files are as official ones."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from slowfast_mvit.config.load import load_config
from slowfast_mvit.data import toy_ssv2
from slowfast_mvit.data.ssv2 import has_ssv2, read_ssv2
from slowfast_mvit.data.toy_ssv2 import FPS, TEMPLATES, ToySsv2, make_toy_ssv2, render
from slowfast_mvit.data.video import open_video
from slowfast_mvit.errors import UserError

SMALL = ToySsv2(num_train=9, num_val=3, num_frames=8, height=32, width=48)
RECIPE = Path(__file__).parents[2] / "configs" / "Toy" / "MVITV2_TOY_SSV2_8x4.yaml"


class WithoutNoise:
    """A generator whose normal draws are 0."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def __getattr__(self, name):
        return getattr(self.rng, name)

    def standard_normal(self, size, dtype):
        return np.zeros(size, dtype)


def events(label, seed):
    """What happens in a film, in order, by where the shape is in each frame; the ground is seen elsewhere in the film."""
    film = render(label, ToySsv2(num_frames=48), WithoutNoise(seed)).astype(int)
    ground = (
        np.median(film, axis=0) if label < 4 else film[0 if not label % 2 else -1]
    )  # there the shape is away at an end
    away = np.abs(film - ground).sum(axis=3) > 20
    places = [np.argwhere(frame).mean(axis=0) if frame.sum() > 15 else None for frame in away]
    seen = []
    for before, after in zip(places[:-4:4], places[4::4], strict=True):
        if (before is None) != (after is None):
            seen.append("appears" if before is None else "vanishes")
        elif before is not None:
            down, right = after - before
            if max(abs(down), abs(right)) > 2:
                ways = ("down", "up") if abs(down) > abs(right) else ("right", "left")
                seen.append(ways[0] if (down if abs(down) > abs(right) else right) > 0 else ways[1])
    return seen


EVENTS = (
    ("left", "up"),
    ("down", "right"),
    ("up", "left"),
    ("right", "down"),
    ("appears", "left"),
    ("right", "vanishes"),
    ("appears", "up"),
    ("down", "vanishes"),
)


@pytest.mark.parametrize("label", range(8))
def test_events_come_in_the_order_of_the_label(label):
    first, second = EVENTS[label]
    for seed in range(6):
        seen = events(label, seed)
        assert seen.index(first) < seen.index(second), (seed, seen)
        assert seen[0] == first and seen[-1] == second, (seed, seen)


@pytest.mark.parametrize("label", [0, 2, 4, 6])
def test_pairs_are_each_other_backwards(label):
    """The same frames in another order: no frame, and no bag of frames, tells one of a pair from the other."""
    for seed in range(4):
        film, partner = (render(each, ToySsv2(), WithoutNoise(seed)) for each in (label, label + 1))
        assert (film != partner[::-1]).any(
            axis=3
        ).mean() < 1e-3  # rounding may put a pixel of the rim on its other side
        assert (film != partner).any(axis=3).mean() > 0.02


@pytest.mark.parametrize("label", range(8))
def test_the_shape_is_brighter_than_the_ground(label):
    """Every pixel is of either; that the shape is hard to find would leave it to the seed whether a model learns."""
    film = render(label, ToySsv2(), WithoutNoise(label))
    dark, bright = film <= 102, film >= 153
    assert (dark | bright).all() and (dark.all(axis=3) | bright.all(axis=3)).all()
    assert 0.03 < bright.mean() < 0.25


def test_films():
    film = render(3, ToySsv2(), np.random.default_rng(1))
    assert film.shape == (36, 80, 96, 3) and film.dtype == np.uint8
    assert np.array_equal(film, render(3, ToySsv2(), np.random.default_rng(1)))
    assert not np.array_equal(film, render(3, ToySsv2(), np.random.default_rng(2)))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_toy_ssv2(tmp_path_factory.mktemp("toy"), SMALL, processes=2)


def test_files_are_as_the_official_ones(made):
    labels = json.loads((made / "something-something-v2-labels.json").read_text())
    assert labels["Moving something left then up"] == "0" and len(labels) == 8
    train = json.loads((made / "something-something-v2-train.json").read_text())
    assert train[0] == {
        "id": "1",
        "label": "moving something left then up",
        "template": "Moving [something] left then up",
        "placeholders": ["something"],
    }
    assert [record["id"] for record in train] == [str(number) for number in range(1, 10)]
    validation = json.loads((made / "something-something-v2-validation.json").read_text())
    assert [(record["id"], record["template"]) for record in validation] == [
        (str(10 + number), TEMPLATES[number]) for number in range(3)
    ]
    assert sorted(path.name for path in (made / "20bn-something-something-v2").iterdir()) == sorted(
        f"{number}.webm" for number in range(1, 13)
    )


def test_the_set_is_read_by_the_official_rules(made):
    videos = read_ssv2(made, "train", num_classes=8)
    assert videos.labels.tolist() == [*range(8), 0]
    assert videos.label_names == tuple(template.replace("[", "").replace("]", "") for template in TEMPLATES)
    assert not has_ssv2(made, "test") and len(read_ssv2(made, "test", num_classes=8)) == 3
    for index, (path, label) in enumerate(zip(videos.paths, videos.labels, strict=True)):
        film = render(int(label), SMALL, np.random.default_rng([SMALL.seed, index])).astype(float)
        with open_video(path) as video:
            assert (video.num_frames, video.height, video.width, video.fps, video.codec) == (8, 32, 48, FPS, "vp9")
            assert np.abs(video.frames_at(range(8)) - film).mean() < 12


def test_without_an_encoder_for_vp9_the_videos_are_mp4(tmp_path, monkeypatch):
    def no_codec(name, mode):
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(toy_ssv2.av, "Codec", no_codec)
    root = make_toy_ssv2(tmp_path, replace(SMALL, num_train=1, num_val=1), processes=1)
    videos = read_ssv2(root, "train", num_classes=8)
    assert [Path(path).name for path in videos.paths] == ["1.mp4"]
    with open_video(videos.paths[0]) as video:
        assert video.codec == "h264"


@pytest.mark.parametrize(("num_classes", "labels"), [(3, [0, 1, 2, 0, 1, 2, 0, 1, 2]), (20, [*range(8), 0])])
def test_any_number_of_classes(tmp_path, num_classes, labels):
    root = make_toy_ssv2(tmp_path, replace(SMALL, num_classes=num_classes), processes=1)
    videos = read_ssv2(root, "train", num_classes=num_classes)
    assert videos.labels.tolist() == labels and len(videos.label_names) == num_classes


def test_a_whole_set_is_kept_and_another_is_made_again(tmp_path):
    toy = replace(SMALL, num_train=2, num_val=1)
    video = tmp_path / "20bn-something-something-v2" / "1.webm"
    make_toy_ssv2(tmp_path, toy, processes=1)
    first = video.stat().st_mtime_ns
    make_toy_ssv2(tmp_path, toy, processes=1)
    assert video.stat().st_mtime_ns == first
    (tmp_path / "toy_ssv2.json").write_text("unfinished")
    make_toy_ssv2(tmp_path, toy, processes=1)
    assert video.stat().st_mtime_ns > first
    before = video.read_bytes()
    make_toy_ssv2(tmp_path, replace(toy, seed=1), processes=1)
    assert video.read_bytes() != before


def test_annotations_of_another_dataset_are_not_overwritten(tmp_path):
    (tmp_path / "something-something-v2-train.json").write_text("[]")
    with pytest.raises(UserError, match=r"something-something-v2-train\.json of another dataset"):
        make_toy_ssv2(tmp_path, SMALL, processes=1)


def test_odd_extents_are_refused():
    with pytest.raises(UserError, match="even extents, not 81x96"):
        ToySsv2(height=81)


def test_the_recipe():
    config = load_config(str(RECIPE), [])
    assert config.DATA.RANDOM_FLIP is False  # a mirrored move is another class
    assert config.TRAIN.DATASET == config.TEST.DATASET == "ssv2" and len(TEMPLATES) == config.MODEL.NUM_CLASSES
    assert (config.TEST.NUM_ENSEMBLE_VIEWS, config.TEST.NUM_SPATIAL_CROPS) == (1, 3)
