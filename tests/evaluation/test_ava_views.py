"""Views of key frames and their batches, scores joined over views and ranks."""

import numpy as np
import pytest
import torch

from slowfast_mvit.batches import AvaBatch, AvaViews
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.ava_views import BoxEvaluator, BoxProtocol, batches_of_boxes
from slowfast_mvit.models.action import ActionMViT
from slowfast_mvit.tasks.ava import ActionDetection
from tests.models.small import VIDEO, randomize

CPU = torch.device("cpu")
MEAN, STD = (0.5,) * 3, (0.25,) * 3
WHOLE = BoxProtocol((64,), 0, False, MEAN, STD)


def key_frame(index, height, width, num_boxes=2, seed=0):
    rng = np.random.default_rng([seed, index])
    low = rng.uniform(0, 0.5, (num_boxes, 2))
    boxes = np.concatenate((low, low + rng.uniform(0.1, 0.5, (num_boxes, 2))), axis=1)
    return AvaViews(
        index,
        torch.from_numpy(rng.integers(0, 256, (8, height, width, 3), dtype=np.uint8)),
        torch.from_numpy(boxes.astype(np.float32)),
        torch.zeros(num_boxes, 5, dtype=torch.bool),
    )


def views(protocol, *key_frames, batch_size=8):
    return list(batches_of_boxes(key_frames, protocol, batch_size, CPU))


def test_whole_frames_and_their_boxes_by_hand():
    """A frame of 32 x 48 doubled: a box in parts of it is in pixels of 64 x 96; colours are (x / 255 - 0.5) / 0.25."""
    frames = torch.zeros(2, 32, 48, 3, dtype=torch.uint8)
    frames[..., 0], frames[..., 1] = 255, 51
    boxes = torch.tensor([[0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 1.0, 1.0]])
    labels = torch.tensor([[True], [False]])
    (batch,) = views(WHOLE, AvaViews(3, frames, boxes, labels))
    assert batch.video.shape == (1, 3, 2, 64, 96)
    colours = [[2.0], pytest.approx([(0.2 - 0.5) / 0.25], abs=1e-6), [-2.0]]
    assert [batch.video[0, channel].unique().tolist() for channel in range(3)] == colours
    assert batch.boxes.tolist() == [[0, 24, 32, 72, 64], [0, 0, 0, 96, 64]]
    assert batch.labels.tolist() == [[True], [False]] and batch.box_index.tolist() == [0, 1]
    assert batch.video_index.tolist() == [3]


def test_centre_crop_keeps_every_box_at_its_place():
    frames = torch.arange(96, dtype=torch.uint8).expand(2, 64, 96)[..., None].expand(-1, -1, -1, 3)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.25, 0.75, 0.5], [0.0, 0.0, 0.125, 0.5]])
    protocol = BoxProtocol((64,), 64, False, MEAN, STD)
    (batch,) = views(protocol, AvaViews(0, frames, boxes, torch.zeros(3, 1, dtype=torch.bool)))
    columns = (batch.video[0, 0, 0, 0] * 0.25 + 0.5) * 255
    assert columns.round().tolist() == list(range(16, 80))
    # The last one lies left of the crop: nothing of it is seen, and it is scored all the same.
    assert batch.boxes[:, 1:].tolist() == [[0, 0, 64, 64], [32, 16, 56, 32], [0, 0, 0, 32]]


def test_mirrored_views_hold_mirrored_boxes():
    frame = key_frame(0, 64, 96)
    plain, mirrored = (views(BoxProtocol((64,), 0, flip, MEAN, STD), frame)[0] for flip in (False, True))
    assert len(mirrored) == 2 and torch.equal(mirrored.video[0], plain.video[0])
    assert torch.equal(mirrored.video[1], plain.video[0].flip(-1))
    x1, y1, x2, y2 = plain.boxes[:, 1:].unbind(1)
    expected = torch.stack((torch.ones(2), 96 - x2, y1, 96 - x1, y2), dim=1)
    torch.testing.assert_close(mirrored.boxes[2:], expected)
    again = views(WHOLE, AvaViews(0, frame.frames.flip(2), torch.stack((1 - frame.boxes[:, 2], frame.boxes[:, 1],
                  1 - frame.boxes[:, 0], frame.boxes[:, 3]), 1), frame.labels))[0]  # fmt: skip
    torch.testing.assert_close(again.boxes[:, 1:], mirrored.boxes[2:, 1:])
    torch.testing.assert_close(again.video[0], mirrored.video[1])


def test_views_of_several_scales():
    protocol = BoxProtocol((32, 64), 0, True, MEAN, STD)
    batches = views(protocol, key_frame(0, 64, 96), key_frame(1, 64, 96))
    assert protocol.num_views == 4 and str(protocol) == "whole frames, short side 32, 64, and mirrored"
    assert [tuple(batch.video.shape) for batch in batches] == [(4, 3, 8, 32, 48), (4, 3, 8, 64, 96)]


def scores_of(model, protocol, key_frames, batch_size):
    task = ActionDetection(5, MEAN, STD)
    starts = np.concatenate(([0], np.cumsum([len(frame.boxes) for frame in key_frames])))
    evaluator = BoxEvaluator(starts, 5, protocol.num_views)
    sizes = []
    with torch.inference_mode():
        for batch in batches_of_boxes(key_frames, protocol, batch_size, CPU):
            sizes.append(len(batch))
            evaluator.add(batch, task.probabilities(model, batch))
    return evaluator.result().scores, sizes


@pytest.mark.parametrize("crop_size", [0, 64])
def test_batches_of_one_size_equal_batches_of_one(crop_size):
    """Frames of four sizes, landscape, portrait and odd; also with mirrored views at two scales."""
    torch.manual_seed(0)
    model = ActionMViT(VIDEO, 5).eval()
    randomize(model)
    sizes = [(48, 64), (64, 64), (80, 64), (48, 64), (50, 91), (48, 64), (80, 64), (48, 64), (50, 91)]
    frames = [key_frame(index, *size, num_boxes=1 + index % 3) for index, size in enumerate(sizes)]
    for protocol in (
        BoxProtocol((64,), crop_size, False, MEAN, STD),
        BoxProtocol((64, 72), crop_size, True, MEAN, STD),
    ):
        alone, ones = scores_of(model, protocol, frames, 1)
        together, several = scores_of(model, protocol, frames, 3)
        assert set(ones) == {1} and max(several) == 3 and sum(several) == len(frames) * protocol.num_views
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    assert alone.std() > 0.05


def test_few_views_wait_for_others_of_their_size():
    """Every frame has a size of its own: batches of 1, when four times the batch size are waiting."""
    frames = [key_frame(index, 32, 40 + index, num_boxes=1) for index in range(20)]
    drawn = []

    def given():
        for frame in frames:
            drawn.append(frame.video_index)
            yield frame

    batches = batches_of_boxes(given(), WHOLE, 2, CPU)
    first = next(batches)
    assert len(first) == 1 and len(drawn) == 8
    assert sorted([first.video_index.item(), *(batch.video_index.item() for batch in batches)]) == list(range(20))


# The evaluator.

STARTS = np.array([0, 2, 3, 6])


def batch_of(*videos):
    """Views of key frames, with the boxes that STARTS gives them."""
    counts = [int(np.diff(STARTS)[video]) for video in videos]
    boxes = torch.zeros(sum(counts), 5)
    boxes[:, 0] = torch.repeat_interleave(torch.arange(len(videos)), torch.tensor(counts)).float()
    return AvaBatch(
        torch.zeros(len(videos), 3, 1, 4, 4),
        boxes,
        torch.zeros(sum(counts), 2, dtype=torch.bool),
        torch.tensor(videos),
        torch.cat([torch.arange(count) for count in counts]),
    )


def test_scores_are_means_over_views():
    evaluator = BoxEvaluator(STARTS, 2, num_views=2)
    evaluator.add(batch_of(2, 0), torch.tensor([[0.1, 0.5], [0.2, 0.5], [0.3, 0.5], [0.4, 1.0], [0.6, 0.0]]))
    assert len(evaluator.finished()) == 0
    evaluator.add(batch_of(0, 2), torch.tensor([[0.0, 0.0], [0.2, 1.0], [0.3, 0.5], [0.2, 0.5], [0.1, 0.5]]))
    assert evaluator.finished().tolist() == [0, 2]
    with pytest.raises(UserError, match="views of 1 key frames were not tested, the first is number 1"):
        evaluator.result()
    result = evaluator.result(unreadable=[1])
    assert result.videos.tolist() == [0, 2] and result.rows.tolist() == [0, 1, 3, 4, 5]
    expected = [[0.2, 0.5], [0.4, 0.5], [0.2, 0.5], [0.2, 0.5], [0.2, 0.5]]
    np.testing.assert_allclose(result.scores, expected, atol=1e-7)


def test_key_frames_of_other_evaluators_are_taken_in_once():
    main = BoxEvaluator(STARTS, 1, num_views=1)
    other = BoxEvaluator(STARTS, 1, num_views=1, only=np.array([0, 2]))
    main.add(batch_of(1), torch.tensor([[0.5]]))
    other.add(batch_of(2, 0), torch.tensor([[0.1], [0.2], [0.3], [0.4], [0.6]]))
    rows = other.rows(other.finished())
    assert rows.videos.tolist() == [0, 2] and rows.totals[:, 0] == pytest.approx([0.4, 0.6, 0.1, 0.2, 0.3])
    main.add_rows(rows)
    main.add_rows(rows.of(np.array([False, True])))
    assert main.result().scores[:, 0] == pytest.approx([0.4, 0.6, 0.5, 0.1, 0.2, 0.3])
    assert len(rows.of(np.array([True, False])).totals) == 2


def test_scores_that_are_not_finite():
    evaluator = BoxEvaluator(STARTS, 1, num_views=1)
    with pytest.raises(UserError, match="not finite numbers"):
        evaluator.add(batch_of(1), torch.tensor([[float("nan")]]))
