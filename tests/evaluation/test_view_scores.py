"""Views of videos with different numbers of them: joined as by the test's evaluator, given out when whole, kept on the disk."""

import numpy as np
import pandas as pd
import pytest
import torch

from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.multiview import MultiViewEvaluator
from slowfast_mvit.evaluation.score_files import scored_clips, scored_videos, write_features, write_scores
from slowfast_mvit.evaluation.score_parts import ScoreParts
from slowfast_mvit.evaluation.view_scores import VideoScores, ViewCollector, joined_results
from tests.evaluation.test_multiview import protocol, scores

VIEWS = [(0, 0), (0, 1), (2, 0), (1, 0), (1, 1), (1, 2)]  # (video, clip)
NAMES = np.array(["a.mp4", "b.mp4", "c.mp4"])


def rows(count=6, classes=4):
    return torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(classes), count).astype(np.float32))


def collected(ensemble="sum", *, size=4, features=None, drop=None):
    """All views in batches of ``size``, which run across videos."""
    collector = ViewCollector(4, protocol(ensemble=ensemble), keep_probabilities=True)
    for video, clips in ((0, 2), (1, 3), (2, 1)):
        collector.expect(video, clips)
    if drop is not None:
        collector.drop(drop)
    found = []
    for start in range(0, 6, size):
        part = rows()[start : start + size]
        batch, probabilities = scores(part, views=VIEWS[start : start + size])
        found.append(
            list(collector.add(batch, probabilities, None if features is None else features[start : start + size]))
        )
    return found


@pytest.mark.parametrize("ensemble", ["sum", "max"])
def test_joined_as_in_the_test(ensemble):
    each = rows().double().numpy()
    found = [one for given in collected(ensemble) for one in given]
    assert [one.video_index for one in found] == [0, 2, 1]
    for one, places in zip(found, ([0, 1], [2], [3, 4, 5]), strict=True):
        expected = each[places].mean(axis=0) if ensemble == "sum" else each[places].max(axis=0)
        np.testing.assert_allclose(one.result.scores[0], expected, rtol=1e-12)
        assert np.array_equal(one.result.view_probabilities[0], rows().numpy()[places])
        evaluator = MultiViewEvaluator(3, 4, protocol(len(places), ensemble=ensemble), only=np.array([one.video_index]))
        evaluator.add(*scores(rows()[places], views=[VIEWS[place] for place in places]))
        assert np.array_equal(evaluator.result().top_classes, one.result.top_classes)


def test_given_out_when_whole():
    assert [[one.video_index for one in given] for given in collected(size=1)] == [[], [0], [2], [], [], [1]]
    assert [[one.video_index for one in given] for given in collected(size=6)] == [[0, 2, 1]]
    assert [[one.video_index for one in given] for given in collected(size=1, drop=1)] == [[], [0], [2], [], [], []]


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("ensemble", ["sum", "max"])
def test_a_video_that_is_cut_short_is_whole_by_the_clips_that_came(ensemble, early):
    """Of video 1 two clips of three come; that it is cut may be said before the last of them is counted."""
    collector = ViewCollector(4, protocol(ensemble=ensemble), keep_probabilities=True)
    collector.expect(1, 3)
    found = list(collector.add(*scores(rows()[:1], views=[(1, 0)])))
    if early:
        found += list(collector.cut(1, 2))
    assert not found
    found += list(collector.add(*scores(rows()[1:2], views=[(1, 1)])))
    if not early:
        assert not found
        found += list(collector.cut(1, 2))
    (one,) = found
    each = rows()[:2].double().numpy()
    np.testing.assert_allclose(one.result.scores[0], each.mean(axis=0) if ensemble == "sum" else each.max(axis=0))
    assert one.result.top_classes.shape == (1, 2, 4) and one.result.seconds.shape == (1, 2, 2)
    assert np.array_equal(one.result.view_probabilities[0], rows().numpy()[:2])
    assert collector.share(1) == 0  # nothing is open


def test_shares():
    collector = ViewCollector(4, protocol())
    collector.expect(1, 3)
    assert collector.share(1) == 0 and collector.share(5) == 0
    list(collector.add(*scores(rows(1), views=[(1, 0)])))
    assert collector.share(1) == pytest.approx(1 / 3)


def test_scores_that_are_not_finite():
    collector = ViewCollector(4, protocol())
    collector.expect(0, 1)
    with pytest.raises(UserError, match="not finite"):
        list(collector.add(*scores(torch.full((1, 4), float("nan")), views=[(0, 0)])))


def of_all(**settings):
    return sorted((one for given in collected(**settings) for one in given), key=lambda one: one.video_index)


def test_tables():
    label_names = ["w", "x", "y", "z"]
    clips, videos = scored_clips(of_all(), NAMES, label_names), scored_videos(of_all(), NAMES, label_names)
    assert clips.columns[:6].tolist() == ["video", "clip_index", "crop_index", "start_sec", "end_sec", "top1"]
    assert clips["video"].tolist() == ["a.mp4"] * 2 + ["b.mp4"] * 3 + ["c.mp4"]
    assert clips["clip_index"].tolist() == [0, 1, 0, 1, 2, 0]
    assert clips["top1"].tolist() == rows()[[0, 1, 3, 4, 5, 2]].argmax(dim=1).tolist()
    assert videos["num_views"].tolist() == [2, 3, 1] and "label" not in videos
    assert videos["top1_name"].tolist() == [label_names[label] for label in videos["top1"]]
    assert [len(result.videos) for result in joined_results(of_all())] == [1, 1, 1]
    assert [len(result.videos) for result in joined_results([of_all()[0]] * 3)] == [3]


def test_files(tmp_path):
    features = np.arange(12, dtype=np.float32).reshape(6, 2)
    found = of_all(features=features)
    write_scores(found, NAMES, tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as stored:
        assert stored["view_video"].tolist() == [0, 0, 1, 1, 1, 2]
        assert np.array_equal(stored["views"], rows().numpy()[[0, 1, 3, 4, 5, 2]])
    write_features(found, NAMES, tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz") as stored:
        assert np.array_equal(stored["features"], features[[0, 1, 3, 4, 5, 2]])
        assert stored["video"].tolist() == ["a.mp4"] * 2 + ["b.mp4"] * 3 + ["c.mp4"]
    pytest.importorskip("pyarrow")
    write_features(found, NAMES, tmp_path / "f.parquet")
    table = pd.read_parquet(tmp_path / "f.parquet")
    assert table.columns.tolist() == ["video", "clip_index", "crop_index", "start_sec", "end_sec", "features"]
    assert np.array_equal(np.stack(table["features"]), features[[0, 1, 3, 4, 5, 2]])


def test_features_of_several_shapes(tmp_path):
    one, other = of_all(features=np.zeros((6, 2), np.float32))[:2]
    other = VideoScores(other.result, np.zeros((3, 5), np.float32))
    with pytest.raises(UserError, match="choose another layer"):
        write_features([one, other], NAMES, tmp_path / "f.npz")


def assert_same(found, expected):
    assert found.arrays().keys() == expected.arrays().keys()
    for name, array in expected.arrays().items():
        assert np.array_equal(found.arrays()[name], array), name


def test_parts_come_back_under_their_new_places(tmp_path):
    found = of_all(features=np.zeros((6, 2), np.float32))
    parts = ScoreParts(tmp_path / "parts", seconds=1e9)
    for key, one in zip("abc", found, strict=True):
        parts.add(key, one)
    assert not (tmp_path / "parts").exists()
    parts.keep()
    parts.keep()  # nothing new
    assert len(list((tmp_path / "parts").iterdir())) == 1
    again = ScoreParts(tmp_path / "parts").read({"c": 7, "a": 9, "other": 1})
    assert [one.video_index for one in again] == [7, 9]
    assert_same(again[0], found[2])
    assert_same(again[1], found[0])
    parts.remove()
    assert not (tmp_path / "parts").exists()


def test_parts_are_written_every_few_seconds_and_damaged_ones_passed(tmp_path):
    found = of_all()
    parts = ScoreParts(tmp_path, seconds=0)
    parts.add("a", found[0])
    first = next(iter(tmp_path.iterdir()))
    parts.add("b", found[1])
    assert len(list(tmp_path.iterdir())) == 2
    first.write_bytes(first.read_bytes()[:-50])
    assert [one.video_index for one in parts.read({"a": 0, "b": 1})] == [1]
    np.savez(first, of_somebody=np.zeros(3))  # without keys
    assert [one.video_index for one in parts.read({"a": 0, "b": 1})] == [1]
    (tmp_path / "others.txt").touch()
    parts.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["others.txt"]


def test_a_part_of_many_videos_has_few_arrays(tmp_path):
    """Fast models of images finish thousands between two parts, and each array of an NPZ costs time."""
    parts, (two, three, one) = ScoreParts(tmp_path, seconds=1e9), of_all()
    given = [two, three, one, two, one] * 200
    for number, scored in enumerate(given):
        parts.add(f"key {number}", scored)
    parts.keep()
    with np.load(next(tmp_path.iterdir())) as stored:
        assert len(stored.files) == 3 * (1 + len(two.arrays()))
    found = parts.read({f"key {number}": number for number in range(1000)})
    assert [each.video_index for each in found] == list(range(1000))
    for each, expected in zip(found, given, strict=True):
        assert_same(each, expected)
