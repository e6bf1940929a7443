"""Views cut and joined: against a straight computation, and by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from slowfast_mvit.batches import ClipBatch, VideoViews
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.multiview import MultiViewEvaluator, ViewProtocol, batches_of_views

MEAN, STD = (0.45, 0.4, 0.5), (0.225, 0.2, 0.25)
CPU = torch.device("cpu")


def protocol(num_clips=2, num_crops=1, short_side=20, crop_size=16, ensemble="sum"):
    return ViewProtocol(num_clips, num_crops, short_side, crop_size, MEAN, STD, ensemble)


def video(index=0, height=24, width=33, num_clips=2, num_frames=3, unique=4):
    rng = np.random.default_rng(index)
    return VideoViews(
        video_index=index,
        label=10 + index,
        frames=torch.from_numpy(rng.integers(0, 256, (unique, height, width, 3), np.uint8)),
        rows=torch.from_numpy(rng.integers(0, unique, (num_clips, num_frames))),
        seconds=torch.from_numpy(rng.uniform(0, 9, (num_clips, 2))),
    )


def scores(rows, clips=None, views=None, num_crops=1, labels=None):
    """A batch of views that nobody looks at, and their probabilities; `views` are (video, view)."""
    count = len(rows)
    where = torch.tensor(views)
    batch = ClipBatch(
        video=torch.zeros(count, 3, 1, 1, 1),
        labels=torch.zeros(count).long() if labels is None else torch.tensor(labels),
        video_index=where[:, 0],
        clip_index=where[:, 1] // num_crops,
        crop_index=where[:, 1] % num_crops,
        start_sec=where[:, 1].double() + 0.25,
        end_sec=where[:, 1].double() + 0.75,
    )
    return batch, torch.as_tensor(rows)


# The protocol's words


def test_protocol_in_words():
    text = str(ViewProtocol(5, 1, 256, 224, MEAN, STD))
    assert text == "5 clips x 1 crop, short side 256, crop 224, sum"
    text = str(ViewProtocol(1, 3, 312, 312, MEAN, STD, "max"))
    assert text == "1 clip x 3 crops, short side 312, crop 312, max"
    assert ViewProtocol(5, 3, 224, 224, MEAN, STD).num_views == 15


# Cutting


def straight_view(views, rows, crop, num_crops, short_side, crop_size):
    """One view as the definition says: normalise the clip, resize it whole, crop it."""
    clip = views.frames[rows].float().permute(0, 3, 1, 2) / 255
    clip = (clip - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    height, width = clip.shape[-2:]
    longer = int(max(height, width) / min(height, width) * short_side)
    size = (short_side, longer) if height <= width else (longer, short_side)
    clip = F.interpolate(clip, size=size, mode="bilinear", align_corners=False, antialias=False)
    free_y, free_x = size[0] - crop_size, size[1] - crop_size
    top, left = -(-free_y // 2), -(-free_x // 2)  # the middle, rounded up
    if num_crops == 3 and crop != 1:
        if height > width:
            top = (0, None, free_y)[crop]
        else:
            left = (0, None, free_x)[crop]
    return clip[..., top : top + crop_size, left : left + crop_size].movedim(1, 0)


@pytest.mark.parametrize("size", [(24, 33), (33, 24), (20, 20), (20, 31), (61, 47)], ids=str)
@pytest.mark.parametrize(("num_crops", "short_side"), [(1, 20), (1, 16), (3, 16), (3, 20)])
def test_views_equal_the_straight_computation(size, num_crops, short_side):
    views = video(3, *size)
    (batch,) = batches_of_views([views], protocol(2, num_crops, short_side), 99, CPU)
    assert batch.video.dtype == torch.float32 and batch.video.shape == (2 * num_crops, 3, 3, 16, 16)
    for row, (clip, crop) in enumerate(np.ndindex(2, num_crops)):
        expected = straight_view(views, views.rows[clip], crop, num_crops, short_side, 16)
        torch.testing.assert_close(batch.video[row], expected, rtol=0, atol=1e-6)
        assert (batch.clip_index[row], batch.crop_index[row]) == (clip, crop)
        assert (batch.start_sec[row], batch.end_sec[row]) == tuple(views.seconds[clip])


def test_three_crops_of_a_wide_frame_by_hand():
    frames = torch.arange(8, dtype=torch.uint8).view(1, 1, 8, 1).expand(1, 4, 8, 3) * 10
    views = VideoViews(0, 0, frames.contiguous(), torch.zeros(1, 1).long(), torch.zeros(1, 2).double())
    by_bytes = ViewProtocol(1, 3, 4, 3, (0.0,) * 3, (1 / 255,) * 3)
    (batch,) = batches_of_views([views], by_bytes, 9, CPU)
    columns = batch.video[:, 0, 0, 0].round().int().tolist()
    assert columns == [[0, 10, 20], [30, 40, 50], [50, 60, 70]]  # ceil(5 / 2) = 3


def test_batches_run_across_videos():
    films = [video(index) for index in (4, 7, 2)]
    batches = list(batches_of_views(iter(films), protocol(2, 3, 16), 4, CPU))
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 2]
    joined = {
        name: torch.cat([getattr(batch, name) for batch in batches]).tolist()
        for name in ("video_index", "labels", "clip_index", "crop_index", "start_sec", "end_sec")
    }
    assert joined["video_index"] == [4] * 6 + [7] * 6 + [2] * 6
    assert joined["labels"] == [14] * 6 + [17] * 6 + [12] * 6
    assert joined["clip_index"] == [0, 0, 0, 1, 1, 1] * 3
    assert joined["crop_index"] == [0, 1, 2] * 6
    assert joined["start_sec"] == [float(film.seconds[k, 0]) for film in films for k in (0, 0, 0, 1, 1, 1)]
    assert joined["end_sec"] == [float(film.seconds[k, 1]) for film in films for k in (0, 0, 0, 1, 1, 1)]
    (whole,) = batches_of_views(films, protocol(2, 3, 16), 18, CPU)
    assert torch.equal(torch.cat([batch.video for batch in batches]), whole.video)


def test_views_are_cut_as_they_are_needed():
    """The memory of a test does not grow with its list."""
    taken = []

    def films():
        for index in range(100):
            taken.append(index)
            yield video(index)

    batches = batches_of_views(films(), protocol(), 3, CPU)
    next(batches)
    assert len(taken) == 2
    assert list(batches_of_views([], protocol(), 3, CPU)) == []


def test_a_crop_larger_than_the_frame():
    with pytest.raises(ValueError, match="a crop of 16 pixels does not fit into a frame of 12x16"):
        list(batches_of_views([video(0, 24, 33)], protocol(short_side=12), 1, CPU))


# Joining


ROWS = [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.25, 0.625, 0.125], [0.0, 0.125, 0.875]]
VIEWS = [(0, 0), (0, 1), (1, 0), (1, 1)]


def evaluator(ensemble="sum", num_videos=2, num_classes=3, **kwargs):
    return MultiViewEvaluator(num_videos, num_classes, protocol(ensemble=ensemble), **kwargs)


@pytest.mark.parametrize(
    ("ensemble", "expected"),
    [
        ("sum", [[0.3125, 0.5, 0.1875], [0.125, 0.375, 0.5]]),  # over the two views
        ("max", [[0.5, 0.75, 0.25], [0.25, 0.625, 0.875]]),
    ],
)
def test_sum_and_max_by_hand(ensemble, expected):
    collector = evaluator(ensemble, keep_probabilities=True)
    collector.add(*scores(ROWS, views=VIEWS, labels=[1, 1, 0, 0]))
    result = collector.result()
    assert result.scores.tolist() == expected and result.scores.dtype == np.float64
    assert result.videos.tolist() == [0, 1] and result.labels.tolist() == [1, 0]
    assert result.view_probabilities.tolist() == [ROWS[:2], ROWS[2:]]
    assert result.top_classes.tolist()[1] == [[1, 0, 2], [2, 1, 0]]
    assert result.top_scores.tolist()[1] == [[0.625, 0.25, 0.125], [0.875, 0.125, 0.0]]
    assert result.seconds.tolist() == [[[0.25, 0.75], [1.25, 1.75]]] * 2
    classes, best = result.top(2)
    assert classes.tolist() == [[1, 0], [2, 1]]
    assert best.tolist() == [sorted(row)[:0:-1] for row in expected]
    assert (result.accuracy(1), result.accuracy(2), result.accuracy(3)) == (50, 50, 100)


def test_probabilities_are_not_kept_unasked():
    collector = evaluator()
    collector.add(*scores(ROWS, views=VIEWS))
    assert collector.result().view_probabilities is None


def test_ties_go_to_the_lower_class():
    collector = evaluator(num_videos=1)
    collector.add(*scores([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]], views=[(0, 0), (0, 1)]))
    assert collector.result().top(3)[0].tolist() == [[0, 1, 2]]
    many = MultiViewEvaluator(1, 400, protocol(1))  # more than a sort of a few items happens to keep in order
    many.add(*scores([[0.0, 1 / 200] * 200], views=[(0, 0)]))
    assert many.result().top(5)[0].tolist() == [[1, 3, 5, 7, 9]]


@pytest.mark.parametrize("ensemble", ["sum", "max"])
def test_a_view_counts_once(ensemble):
    collector, plain = evaluator(ensemble), evaluator(ensemble)
    plain.add(*scores(ROWS, views=VIEWS))
    collector.add(*scores([*ROWS, [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], views=[*VIEWS, (0, 1), (1, 0)]))
    collector.add(*scores([[1.0, 0.0, 0.0]], views=[(0, 0)], labels=[2]))
    one, other = collector.result(), plain.result()
    assert one.scores.tolist() == other.scores.tolist() and one.labels.tolist() == [0, 0]
    assert one.top_classes.tolist() == other.top_classes.tolist()


@pytest.mark.parametrize("ensemble", ["sum", "max"])
def test_order_of_arrival_changes_nothing(ensemble):
    rng = np.random.default_rng(0)
    views = [(v, k) for v in range(6) for k in range(6)]
    rows = torch.softmax(torch.from_numpy(rng.normal(0, 4, (36, 9))), dim=1).float()
    results = []
    for order in [np.arange(36), *(rng.permutation(36) for _ in range(4))]:
        collector = MultiViewEvaluator(6, 9, protocol(2, 3, 16, ensemble=ensemble), keep_probabilities=True)
        for part in np.array_split(order, 7):
            chosen = [views[i] for i in part]
            collector.add(*scores(rows[part], views=chosen, num_crops=3, labels=[v + 1 for v, _ in chosen]))
        results.append(collector.result())
    for other in results[1:]:
        np.testing.assert_allclose(other.scores, results[0].scores, rtol=1e-12, atol=0)
        for name in ("videos", "labels", "top_classes", "top_scores", "seconds", "view_probabilities"):
            np.testing.assert_array_equal(getattr(other, name), getattr(results[0], name))
    expected = rows.double().view(6, 6, 9).numpy()
    np.testing.assert_allclose(results[0].scores, expected.mean(1) if ensemble == "sum" else expected.max(1), rtol=1e-9)


def test_half_precision_probabilities():
    collector = evaluator()
    batch, rows = scores(ROWS, views=VIEWS)
    collector.add(batch, rows.bfloat16())
    assert collector.result().scores.tolist() == [[0.3125, 0.5, 0.1875], [0.125, 0.375, 0.5]]


def test_a_missing_view_is_an_error():
    collector = evaluator(num_videos=3)
    collector.add(*scores(ROWS, views=[(0, 0), (0, 1), (1, 0), (2, 1)]))
    with pytest.raises(UserError, match=r"^2 views were not tested, the first is view 1 of video 1$"):
        collector.result()
    with pytest.raises(UserError, match=r"^1 views were not tested, the first is view 0 of video 2$"):
        collector.result(unreadable=[1])


def test_unreadable_videos_are_left_out():
    collector = evaluator(num_videos=3)
    collector.add(*scores(ROWS, views=[(0, 0), (0, 1), (2, 0), (2, 1)], labels=[1, 1, 2, 2]))
    result = collector.result(unreadable=iter([1]))
    assert result.videos.tolist() == [0, 2] and result.labels.tolist() == [1, 2]
    assert result.scores.tolist() == [[0.3125, 0.5, 0.1875], [0.125, 0.375, 0.5]] and result.accuracy(1) == 100
    for array in (result.top_classes, result.top_scores, result.seconds):
        assert len(array) == 2


def test_no_video_at_all():
    result = evaluator(num_videos=2).result(unreadable=[0, 1])
    assert len(result.videos) == 0 and np.isnan(result.accuracy(1)) and result.scores.shape == (0, 3)


@pytest.mark.parametrize(("num_classes", "kept"), [(2, 2), (5, 5), (7, 5)])
def test_as_many_best_classes_as_there_are(num_classes, kept):
    collector = MultiViewEvaluator(1, num_classes, protocol(1))
    collector.add(*scores(torch.eye(num_classes)[:1], views=[(0, 0)]))
    result = collector.result()
    assert result.top_classes.shape == result.top_scores.shape == (1, 1, kept)
    assert result.top(5)[0].shape == (1, kept) and result.accuracy(5) == 100


def test_an_unknown_ensemble():
    collector = evaluator("mean")
    with pytest.raises(ValueError, match=r"DATA\.ENSEMBLE_METHOD is 'mean'; it must be sum or max"):
        collector.add(*scores(ROWS, views=VIEWS))


# Several labels


@pytest.mark.parametrize("ensemble", ["sum", "max"])
def test_several_labels_are_kept_per_video(ensemble):
    hot = [[True, False, True], [False, False, False]]
    evaluator = MultiViewEvaluator(3, 3, protocol(ensemble=ensemble), multi_label=True)
    rows = [[0.9, 0.2, 0.5], [0.1, 0.3, 0.7], [0.2, 0.6, 0.6], [0.4, 0.2, 0.0]]
    views = [(0, 0), (2, 1), (0, 1), (2, 0)]
    evaluator.add(*scores(rows, views=views, labels=[hot[0], hot[1], hot[0], hot[1]]))
    found = evaluator.result(unreadable=[1])
    assert found.labels.dtype == bool and found.labels.tolist() == hot
    joined = {"sum": [[0.55, 0.4, 0.55], [0.25, 0.25, 0.35]], "max": [[0.9, 0.6, 0.6], [0.4, 0.3, 0.7]]}[ensemble]
    np.testing.assert_allclose(found.scores, joined, rtol=1e-6)


def test_rows_of_labels_go_through_the_cutting():
    row = np.array([False, True])
    videos = [replace(video(i), label=row if i else ~row) for i in range(2)]
    (batch,) = batches_of_views(videos, protocol(), 4, CPU)
    assert batch.labels.tolist() == [[True, False]] * 2 + [[False, True]] * 2


# Rows of finished videos, out of one evaluator and into another


def filled(views, num_videos=4, num_crops=1, only=None, ensemble="sum", **kwargs):
    """An evaluator that has counted these views, (video, view); what it is given follows from them alone."""
    collector = MultiViewEvaluator(num_videos, 3, protocol(ensemble=ensemble), only=only, **kwargs)
    rows = [torch.softmax(torch.tensor([v * 1.0, k * 2.0, v * k * 3.0]), 0).tolist() for v, k in views]
    labels = [v % 3 for v, _ in views]
    if kwargs.get("multi_label"):
        labels = [[label == place for place in range(3)] for label in labels]
    if views:
        collector.add(*scores(rows, views=views, labels=labels))
    return collector


def assert_same(one, other):
    for name, array in vars(one).items():
        np.testing.assert_array_equal(getattr(other, name), array)


EVERY = [(v, k) for v in range(4) for k in range(2)]


@pytest.mark.parametrize("ensemble", ["sum", "max"])
@pytest.mark.parametrize("kwargs", [{}, {"keep_probabilities": True}, {"multi_label": True}], ids=str)
def test_shares_joined_are_the_whole_to_the_bit(ensemble, kwargs):
    whole = filled(EVERY, ensemble=ensemble, **kwargs).result()
    odd = filled([view for view in EVERY if view[0] % 2], only=np.array([1, 3]), ensemble=ensemble, **kwargs)
    assert odd.totals.shape == (2, 3) and odd.finished().tolist() == [1, 3]
    even = filled([view for view in EVERY if not view[0] % 2], ensemble=ensemble, **kwargs)
    assert even.finished().tolist() == [0, 2]
    even.add_rows(odd.rows(np.array([3])))
    even.add_rows(odd.rows(np.array([1])))
    assert_same(whole, even.result())


def test_rows_are_of_finished_videos_only():
    collector = filled([(2, 0), (0, 1), (2, 1), (3, 0)])
    assert collector.finished().tolist() == [2]
    rows = collector.rows(collector.finished())
    assert (len(rows), rows.videos.tolist(), rows.labels.tolist()) == (1, [2], [2])
    assert rows.seconds.tolist() == [[[0.25, 0.75], [1.25, 1.75]]] and rows.probabilities is None
    collector.totals[2] = 0  # they are copies
    assert rows.totals.sum() == pytest.approx(2)
    with pytest.raises(AssertionError, match="missing"):
        collector.rows(np.array([0]))


def test_a_video_counts_once_whoever_gives_it():
    whole = filled(EVERY).result()
    rows = filled(EVERY).rows(np.arange(4))
    collector = filled([(0, 0), (0, 1), (1, 1)])  # one video finished, one begun
    wrong = replace(rows, totals=rows.totals + 7)
    collector.add_rows(wrong.of(np.array([0])))
    collector.add_rows(rows)
    collector.add_rows(wrong)
    twice = rows.of(np.array([3, 0, 3]))
    collector.add_rows(twice)
    assert_same(whole, collector.result())
    collector.add(*scores([[1.0, 0.0, 0.0]], views=[(1, 0)]))
    assert_same(whole, collector.result())


def test_an_evaluator_without_videos():
    nothing = filled([], only=np.arange(0))
    assert nothing.finished().tolist() == [] and len(nothing.rows(nothing.finished())) == 0
    collector = filled(EVERY)
    collector.add_rows(nothing.rows(nothing.finished()))
    assert_same(filled(EVERY).result(), collector.result())


def test_videos_of_others_are_a_bug():
    collector = filled([], only=np.array([1, 3]))
    for video in (0, 2, 4):
        with pytest.raises(AssertionError, match="not this evaluator's"):
            collector.add(*scores([[1.0, 0.0, 0.0]], views=[(video, 0)]))
    collector.add(*scores([[1.0, 0.0, 0.0]], views=[(3, 1)]))
    with pytest.raises(UserError, match=r"^3 views were not tested, the first is view 0 of video 1$"):
        collector.result()
    with pytest.raises(UserError, match=r"^1 views were not tested, the first is view 0 of video 3$"):
        collector.result(unreadable=[1])
