"""The toy set in AVA's layout: what its files say is what its videos show."""

from pathlib import Path

import numpy as np
import pytest

from slowfast_mvit.data.ava import AvaFiles, keys_to_test, keys_to_train, read_annotated
from slowfast_mvit.data.ava_actions import actions_of
from slowfast_mvit.data.key_frames import KeyFrameSampling, KeyFrameViews
from slowfast_mvit.data.toy_ava import ACTIONS, FPS, SCORE, Actor, ToyAva, make_toy_ava, render
from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.boxes import overlaps

SMALL = ToyAva(num_train=6, num_val=4, num_seconds=3, frames=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_toy_ava(tmp_path_factory.mktemp("toy_ava"), SMALL, processes=2)


def files(root, split, pictures="videos"):
    boxes = root / "annotations"
    return AvaFiles(
        frame_dir=root / pictures,
        annotated=(boxes / f"ava_{split}_v2.2.csv",),
        detected=(boxes / f"ava_{split}_predicted_boxes.csv",),
        frame_lists=(root / "frame_lists" / f"{split}.csv",),
        min_score=SCORE,
    )


@pytest.mark.parametrize("pictures", ["videos", "frames"])
def test_the_set_is_read_as_avas(made, pictures):
    actions = actions_of(len(ACTIONS), label_map=dict(enumerate(ACTIONS, 1)))
    train = keys_to_train(files(made, "train", pictures), actions)
    assert len(train) == SMALL.num_train * SMALL.num_seconds
    assert train.names[:4].tolist() == ["train_0000,0901", "train_0000,0902", "train_0000,0903", "train_0001,0901"]
    assert np.isin(train.box_labels.sum(axis=1), (1, 2)).all()  # a motion, and sometimes blinking
    assert (train.videos.frames is not None) == (pictures == "frames")
    own = np.isnan(train.scores)
    assert own.any()
    assert (~own).any()


def test_videos_and_frames_show_the_same(made):
    actions = actions_of(len(ACTIONS))
    truth = read_annotated(files(made, "val").annotated)
    views = [
        KeyFrameViews(keys_to_test(files(made, "val", pictures), actions, truth), KeyFrameSampling(8, 3))
        for pictures in ("videos", "frames")
    ]
    for index in range(len(views[0])):
        one, other = (each[index].frames.float() for each in views)
        assert (one - other).abs().mean() < 6  # H.264 against JPEG


def test_detections_are_noisy(made):
    truth = read_annotated(files(made, "val").annotated)
    rows = truth[0]
    everything = keys_to_test(AvaFiles(made / "videos", detected=files(made, "val").detected), actions_of(8), truth)
    good = keys_to_test(files(made, "val"), actions_of(8), truth)
    assert len(everything.boxes) > len(good.boxes)  # some are below the threshold
    for k in range(len(good)):
        name, second = good.video_name(k), good.key_seconds[k]
        there = np.array([rows.video_names[v] == name for v in rows.videos]) & (rows.seconds == second)
        best = overlaps(good.boxes[good.rows_of(k)], rows.boxes[there]).max(axis=1)
        assert ((best > 0.6) | (best < 0.5)).all()
        assert best.max() > 0.75


def one(motion, blinks=False):
    return Actor((96.0, 48.0), 18.0, 0.3, look=7, motions=(motion,), blinks=(blinks,))


def shape_of(film, frame):
    """Centre and size of the bright shape in a frame, and its light."""
    bright = film[frame].astype(float).mean(axis=2) > 120
    rows, columns = np.nonzero(bright)
    return columns.mean(), rows.mean(), np.sqrt(bright.sum()), film[frame][bright].mean()


@pytest.mark.parametrize(
    ("motion", "expected"),
    [("move left", (-1, 0, 0)), ("move right", (1, 0, 0)), ("move up", (0, -1, 0)), ("move down", (0, 1, 0)),
     ("grow", (0, 0, 1)), ("shrink", (0, 0, -1)), ("keep still", (0, 0, 0))],
)  # fmt: skip
def test_motions_are_what_they_are_called(motion, expected):
    toy = ToyAva(num_seconds=1)
    film = render((one(ACTIONS.index(motion)),), toy, np.random.default_rng(0))
    assert film.shape == (2 * FPS, 96, 192, 3)
    before, key, after = (shape_of(film, frame) for frame in (FPS - 6, FPS, FPS + 6))
    assert key[:2] == pytest.approx((96, 48), abs=4)  # at home, whatever it does
    change = np.array(after[:3]) - np.array(before[:3])
    assert np.sign(np.where(np.abs(change) < 3, 0, change)).tolist() == list(expected)


def test_blinking():
    film = render((one(6, blinks=True),), ToyAva(num_seconds=1), np.random.default_rng(0))
    steady = render((one(6),), ToyAva(num_seconds=1), np.random.default_rng(0))
    light = film[8:23, 40:56, 88:104].mean(axis=(1, 2, 3))
    assert light.max() / light.min() > 1.8
    still = steady[8:23, 40:56, 88:104].mean(axis=(1, 2, 3))
    assert still.max() / still.min() < 1.1


def test_the_same_seed_makes_the_same_files(made, tmp_path):
    again = make_toy_ava(tmp_path / "again", SMALL, processes=1)
    names = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    assert len(names) > 300
    assert all((made / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_a_foreign_set_is_not_overwritten(tmp_path):
    boxes = tmp_path / "annotations" / "mine.csv"
    boxes.parent.mkdir()
    boxes.write_text("a,1,0,0,1,1,1\n")
    with pytest.raises(UserError, match=r"holds mine\.csv of another dataset"):
        make_toy_ava(tmp_path, SMALL)
    assert [path for path in Path(tmp_path).rglob("*") if path.is_file()] == [boxes]


def test_odd_extents_are_refused():
    with pytest.raises(UserError, match="need even extents, not 95x192"):
        ToyAva(height=95)
