"""Images in batches of one size, and what is found in them, through files and processes."""

import math

import numpy as np
import pytest
import torch

from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.coco_found import ObjectRows, coco_results, objects_table
from slowfast_mvit.evaluation.coco_merge import Thinning
from slowfast_mvit.evaluation.coco_views import ObjectEvaluator, ObjectProtocol, ViewsBatch, batches_of_images
from slowfast_mvit.evaluation.journal import Journal
from slowfast_mvit.evaluation.mask_codes import mask_of
from slowfast_mvit.pictures import Detections, DetectionViews

CPU = torch.device("cpu")


def views(index: int, *sizes: tuple[int, int]) -> DetectionViews:
    images = tuple(torch.full((3, *size), index + 1, dtype=torch.uint8) for size in sizes)
    return DetectionViews(index, images, height=100 + index, width=200)


# Batches


def test_images_of_one_padded_size_share_a_batch() -> None:
    """60 x 90 and 64 x 70 are both padded to 64 x 96; 65 rows are not."""
    images = [views(0, (60, 90)), views(1, (65, 90)), views(2, (64, 70)), views(3, (33, 65)), views(4, (60, 90))]
    batches = list(batches_of_images(images, 2, CPU))
    assert [batch.video_index.tolist() for batch in batches] == [[0, 2], [3, 4], [1]]
    first = batches[0].views[0]
    assert first.images.shape == (2, 3, 64, 96) and first.sizes.tolist() == [[60, 90], [64, 70]]
    assert batches[0].files.tolist() == [[100, 200], [102, 200]]
    assert (first.images[0, :, :60, :90] == 1).all() and first.images[0].sum() == 3 * 60 * 90
    assert (first.images[1, :, :64, :70] == 3).all() and first.images[1].sum() == 3 * 3 * 64 * 70


def test_images_share_a_batch_if_all_their_views_do() -> None:
    images = [views(0, (32, 32), (64, 64)), views(1, (32, 32), (64, 65)), views(2, (31, 32), (63, 64))]
    batches = list(batches_of_images(images, 2, CPU))
    assert [batch.video_index.tolist() for batch in batches] == [[0, 2], [1]]
    assert [view.images.shape[-2:] for view in batches[0].views] == [(32, 32), (64, 64)]
    assert batches[0].views[1].video_index.tolist() == [0, 2]


def test_few_images_wait() -> None:
    """Twelve sizes in batches of 2: with the eighth image the largest group, of one, goes."""
    coming = iter([views(i, (32 * (i + 1), 32)) for i in range(12)])
    batches = batches_of_images(coming, 2, CPU)
    next(batches)
    assert next(coming).video_index == 8
    assert sum(len(batch.video_index) for batch in batches) == 12 - 2  # the first, and the one that was taken here


# What is found


def detections(*rows: tuple[float, int, tuple[float, ...]]) -> Detections:
    """Of score, label and box, each with a mask whose left half is there."""
    scores, labels, boxes = zip(*rows, strict=True) if rows else ((), (), ())
    mask = torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 4)
    return Detections(
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(scores),
        torch.tensor(labels, dtype=torch.int64),
        mask.expand(len(rows), 4, 4),
    )


FOUND = [
    detections((0.75, 2, (10.0, 20.0, 50.0, 60.0)), (0.1, 1, (0.0, 0.0, 8.0, 8.0))),
    detections(),
    detections((0.3, 1, (100.125, 40.0, 150.5, 70.25))),
]


def batch(*places: int) -> ViewsBatch:
    return next(batches_of_images([views(place, (32, 64)) for place in places], len(places), CPU))


def evaluated(*places: int, only: np.ndarray | None = None) -> ObjectEvaluator:
    evaluator = ObjectEvaluator(3, only=only)
    for place in places:
        evaluator.add(batch(place), [FOUND[place]])
    return evaluator


def test_results_are_cocos() -> None:
    result = evaluated(2, 0, 1).result()
    assert result.videos.tolist() == [0, 1, 2]
    entries = coco_results(result, [30, 10, 20], [1, 18])
    assert [(entry["image_id"], entry["category_id"]) for entry in entries] == [(30, 18), (30, 1), (20, 1)]
    assert [entry["score"] for entry in entries] == [0.75, 0.1, 0.3]  # and not 0.10000000149
    assert [entry["bbox"] for entry in entries] == [[10, 20, 40, 40], [0, 0, 8, 8], [100.125, 40, 50.375, 30.25]]
    assert [entry["segmentation"]["size"] for entry in entries] == [[100, 200], [100, 200], [102, 200]]
    mask = mask_of(entries[0]["segmentation"]["counts"].encode(), 100, 200)
    rows, columns = mask.nonzero()
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (10, 30, 20, 60)  # the left half
    assert 0.9 * 800 < mask.sum() <= 800  # corners are round


def test_table() -> None:
    table = objects_table(evaluated(0, 1, 2).result(), ["a.jpg", "b.jpg", "c.jpg"], ["person", "dog"])
    assert table.columns.tolist() == ["image", "label", "score", "x1", "y1", "x2", "y2"]
    assert table["image"].tolist() == ["a.jpg", "a.jpg", "c.jpg"]
    assert table["label"].tolist() == ["dog", "person", "person"]
    assert table[["x1", "y1", "x2", "y2"]].to_numpy().tolist()[2] == [100.125, 40, 150.5, 70.25]
    assert len(objects_table(evaluated(1).result([0, 2]), ["a", "b", "c"], [])) == 0


def same(one: ObjectRows, other: ObjectRows) -> bool:
    return all(np.array_equal(value, getattr(other, name)) for name, value in vars(one).items())


def test_rows_go_to_another_evaluator() -> None:
    share = evaluated(0, 2, only=np.array([0, 2]))
    rows = share.rows(share.finished())
    assert rows.videos.tolist() == [0, 2] and rows.counts.tolist() == [2, 1]
    assert same(rows.of(np.array([False, True])), evaluated(2).rows(np.array([2])))
    assert same(rows.of(np.array([1, 0])).of(np.array([1, 0])), rows)
    assert len(rows.of(np.array([], dtype=np.int64))) == 0
    main = evaluated(1)
    main.add_rows(rows)
    main.add_rows(rows)
    assert same(main.rows(main.finished()), evaluated(0, 1, 2).rows(np.arange(3)))


def test_rows_without_objects() -> None:
    rows = evaluated(1).rows(np.array([1]))
    again = rows.images()
    assert len(again) == 1 and again[0].codes == () and again[0].boxes.shape == (0, 4) and again[0].height == 101


def test_an_image_counts_once() -> None:
    evaluator = evaluated(0)
    evaluator.add(batch(0), [FOUND[1]])
    assert len(evaluator.result([1, 2]).images[0].scores) == 2


def test_missing_images_are_a_mistake() -> None:
    with pytest.raises(UserError, match="1 images were not tested, the first is number 1"):
        evaluated(0, 2).result()
    assert evaluated(0, 2).result([1]).videos.tolist() == [0, 2]


def test_scores_that_are_not_finite_are_a_mistake() -> None:
    evaluator = ObjectEvaluator(3)
    with pytest.raises(UserError, match="not finite"):
        evaluator.add(batch(0), [detections((math.nan, 1, (0.0, 0.0, 1.0, 1.0)))])


def test_journal_keeps_them(tmp_path) -> None:
    journal = Journal(tmp_path / "unfinished", "key", ObjectRows)
    evaluator = evaluated(0)
    journal.keep(evaluator)
    evaluator.add(batch(1), [FOUND[1]])
    journal.keep(evaluator)
    read = Journal(tmp_path / "unfinished", "key", ObjectRows).read()
    again = ObjectEvaluator(3)
    for rows in read:
        again.add_rows(rows)
    assert again.finished().tolist() == [0, 1]
    assert same(again.rows(np.arange(2)), evaluated(0, 1).rows(np.arange(2)))


# The protocol in words


@pytest.mark.parametrize(
    ("protocol", "words", "num_views"),
    [
        (ObjectProtocol((800,), 1333, False, Thinning()), "short side 800, at most 1333", 1),
        (
            ObjectProtocol((400, 800), 1333, True, Thinning("linear")),
            "short side 400, 800, at most 1333, and mirrored, SoftNMS linear",
            4,
        ),
    ],
)
def test_words(protocol, words, num_views) -> None:
    assert str(protocol) == words and protocol.num_views == num_views
