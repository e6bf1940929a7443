"""Batches say what they are, and refuse what they are not."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from slowfast_mvit.batches import (
    AvaItem,
    ClipBatch,
    EraseBox,
    Erasure,
    TrainItem,
    TrainPass,
    UnreadableVideo,
    VideoViews,
    collate_clips,
    collate_key_frames,
    label_of,
    stack_labels,
)


def clip_batch(**changed):
    values = {
        "video": torch.zeros(2, 3, 4, 5, 6),
        "labels": torch.tensor([7, 8]),
        "video_index": torch.tensor([0, 1]),
        "clip_index": torch.tensor([2, 3]),
        "crop_index": torch.tensor([0, 1]),
        "start_sec": torch.tensor([0.5, 1.5], dtype=torch.float64),
        "end_sec": torch.tensor([1.5, 2.5], dtype=torch.float64),
    }
    return ClipBatch(**(values | changed))


def item(video_index, value, repeats=2):
    return TrainItem(
        video=torch.stack([torch.full((3, 2, 4, 4), value + r, dtype=torch.uint8) for r in range(repeats)]),
        label=10 + video_index,
        video_index=video_index,
        start_sec=video_index + 0.1,
        end_sec=video_index + 0.7,
        erasures=tuple(Erasure((EraseBox(r, 0, 1, 1),), seed=value + r) for r in range(repeats)),
    )


def test_a_batch_counts_its_clips():
    assert len(clip_batch()) == 2
    assert len(clip_batch(erasures=(Erasure(), Erasure()))) == 2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"video": torch.zeros(2, 3, 5, 6)}, r"video must be \[B, C, T, H, W\], got \(2, 3, 5, 6\)"),
        ({"labels": torch.zeros(3)}, r"labels must be \[2\], got \(3,\)"),
        ({"labels": torch.zeros(2, 8)}, r"labels must be \[2\], got \(2, 8\)"),
        ({"labels": torch.zeros(3, 8, dtype=torch.bool)}, r"labels must be \[2\], got \(3, 8\)"),
        ({"video_index": torch.zeros(1)}, "video_index must be"),
        ({"clip_index": torch.tensor(0)}, "clip_index must be"),
        ({"crop_index": torch.zeros(0)}, "crop_index must be"),
        ({"start_sec": torch.zeros(2, 1)}, "start_sec must be"),
        ({"end_sec": torch.zeros(4)}, "end_sec must be"),
        ({"erasures": (Erasure(),)}, "1 erasures for 2 clips"),
    ],
)
def test_wrong_shapes_are_refused(changed, said):
    with pytest.raises(AssertionError, match=said):
        clip_batch(**changed)


def test_wrong_items_are_refused():
    good = item(0, 1)
    with pytest.raises(AssertionError, match=r"video must be \[R, C, T, H, W\]"):
        replace(good, video=good.video[0])
    with pytest.raises(AssertionError):
        replace(good, erasures=good.erasures[:1])
    frames, rows, seconds = torch.zeros(4, 6, 8, 3, dtype=torch.uint8), torch.zeros(2, 3).long(), torch.zeros(2, 2)
    assert VideoViews(0, 0, frames, rows, seconds).num_missing == 0
    with pytest.raises(AssertionError, match=r"frames must be \[U, H, W, 3\]"):
        VideoViews(0, 0, frames.permute(0, 3, 1, 2), rows, seconds)
    with pytest.raises(AssertionError):
        VideoViews(0, 0, frames, rows[0], seconds)
    with pytest.raises(AssertionError):
        VideoViews(0, 0, frames, rows, torch.zeros(3, 2))


def test_repeats_of_a_video_are_neighbours():
    batch = collate_clips([item(4, 20), item(2, 50, repeats=1), item(3, 90)]).clips
    assert batch.video.shape == (5, 3, 2, 4, 4) and batch.video.dtype == torch.uint8
    assert batch.video[:, 0, 0, 0, 0].tolist() == [20, 21, 50, 90, 91]
    assert batch.labels.tolist() == [14, 14, 12, 13, 13]
    assert batch.video_index.tolist() == [4, 4, 2, 3, 3]
    assert batch.clip_index.tolist() == batch.crop_index.tolist() == [0] * 5
    assert batch.start_sec.tolist() == [4.1, 4.1, 2.1, 3.1, 3.1]  # exact, so float64
    assert batch.end_sec.tolist() == [4.7, 4.7, 2.7, 3.7, 3.7]
    assert [erasure.seed for erasure in batch.erasures] == [20, 21, 50, 90, 91]
    for name in ("labels", "video_index", "clip_index", "crop_index"):
        assert getattr(batch, name).dtype == torch.int64


def test_unreadable_videos_stand_beside_the_clips_of_the_others():
    first, second = UnreadableVideo(1, "a.mp4", "pyav", "empty"), UnreadableVideo(2, "b.mp4", "pyav", "empty")
    given = collate_clips([item(0, 1), first, item(3, 1, repeats=1), second])
    assert given.unreadable == (first, second)
    assert given.clips is not None and given.clips.video_index.tolist() == [0, 0, 3]
    assert collate_clips([second, first]) == TrainPass(None, (second, first))
    assert collate_clips([]) == TrainPass(None)  # nothing fell to this process
    assert TrainPass(None, (first,)).pin_memory() == TrainPass(None, (first,))


def test_to_moves_every_tensor():
    batch = clip_batch(erasures=(Erasure(), Erasure(seed=3)))
    moved = batch.to(torch.device("meta"))
    assert isinstance(moved, ClipBatch) and moved.erasures == batch.erasures
    for field in fields(ClipBatch):
        if field.name != "erasures":
            assert getattr(moved, field.name).device.type == "meta", field.name
            assert getattr(moved, field.name).shape == getattr(batch, field.name).shape
    assert batch.video.device.type == "cpu"
    same = batch.to(torch.device("cpu"))
    assert torch.equal(same.start_sec, batch.start_sec) and same.start_sec.dtype == torch.float64


def test_several_labels_travel_as_rows():
    hot = np.array([[True, False, True], [False, False, False], [False, True, False]])
    assert label_of(np.array([4, 9]), 1) == 9 and isinstance(label_of(np.array([4, 9]), 1), int)
    items = [replace(item(i, 1, repeats), label=label_of(hot, i)) for i, repeats in ((2, 2), (0, 1))]
    batch = collate_clips(items).clips
    assert batch.labels.dtype == torch.bool and batch.labels.tolist() == [[False, True, False]] * 2 + [
        [True, False, True]
    ]
    assert clip_batch(labels=batch.labels[1:]).to(torch.device("cpu")).labels.shape == (2, 3)
    assert stack_labels([3, 1]).dtype == torch.int64


def test_key_frames_are_joined_with_their_boxes():
    def key_frame(index, shade, boxes):
        labels = torch.zeros(len(boxes), 3, dtype=torch.bool)
        labels[:, index % 3] = True
        return AvaItem(
            torch.full((3, 2, 4, 6), shade, dtype=torch.uint8), torch.tensor(boxes).view(-1, 4), labels, index
        )

    items = [
        key_frame(7, 10, [[0.0, 1, 2, 3], [1, 1, 5, 4]]),
        UnreadableVideo(8, "b.mp4", "pyav", "cut"),
        key_frame(5, 30, [[2.0, 0, 6, 4]]),
    ]
    given = collate_key_frames(items)
    batch = given.clips
    assert given.unreadable == (items[1],) and len(batch) == 2
    assert batch.boxes.tolist() == [[0, 0, 1, 2, 3], [0, 1, 1, 5, 4], [1, 2, 0, 6, 4]]
    assert (batch.video_index.tolist(), batch.box_index.tolist()) == ([7, 5], [0, 1, 0])
    assert batch.labels.tolist() == [[False, True, False]] * 2 + [[False, False, True]]
    assert batch.video[:, 0, 0, 0, 0].tolist() == [10, 30]
    assert collate_key_frames([items[1]]).clips is None
    with pytest.raises(AssertionError, match="boxes must be"):
        replace(batch, boxes=batch.boxes[:, 1:])
