"""Matching, sampling and coding of boxes, worked by hand."""

from math import log

import pytest
import torch

from slowfast_mvit.models.region_targets import BACKGROUND, IGNORED, clip, decode, encode, has_area, match, sample

OBJECTS = torch.tensor([[0.0, 0, 10, 10], [100, 100, 110, 110]])


def test_matches():
    """IoU with the first object: 1, 0.7, 0.5, 0.3, 0.2, 0 (widths of a box of the same height); of the second, one is 1."""
    widths = torch.tensor([10.0, 7, 5, 3, 2, 0.0])
    boxes = torch.stack((torch.zeros(6), torch.zeros(6), widths, torch.full((6,), 10.0)), 1)
    boxes = torch.cat((boxes, OBJECTS[1:]))
    assert match(boxes, OBJECTS, 0.3, 0.69).tolist() == [0, 0, IGNORED, IGNORED, BACKGROUND, BACKGROUND, 1]
    assert match(boxes, OBJECTS, 0.5, 0.5).tolist() == [0, 0, 0, BACKGROUND, BACKGROUND, BACKGROUND, 1]


def test_the_best_of_an_object_is_kept():
    """The second object is covered with 0.2 at best, by two boxes alike."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [100, 100, 102, 110], [108, 100, 110, 110], [100, 100, 101, 110]])
    assert match(boxes, OBJECTS, 0.3, 0.7).tolist() == [0, BACKGROUND, BACKGROUND, BACKGROUND]
    assert match(boxes, OBJECTS, 0.3, 0.7, keep_best=True).tolist() == [0, 1, 1, BACKGROUND]


def test_without_objects_all_is_background():
    assert match(OBJECTS, torch.zeros(0, 4), 0.3, 0.7, keep_best=True).tolist() == [BACKGROUND, BACKGROUND]


def test_no_boxes_are_matched_with_nothing():
    assert match(torch.zeros(0, 4), OBJECTS, 0.5, 0.5).shape == (0,)


@pytest.mark.parametrize("num_boxes", (0, 3))
def test_decoded_is_a_box_for_each_class(num_boxes):
    assert decode(torch.zeros(num_boxes, 20), torch.zeros(num_boxes, 4), (1.0, 1.0, 1.0, 1.0)).shape == (
        num_boxes,
        5,
        4,
    )


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    ((200, 400, (128, 128)), (5, 400, (5, 251)), (5, 20, (5, 20)), (0, 400, (0, 256))),
)
def test_how_many_are_sampled(positive, negative, expected):
    matches = torch.tensor([3] * positive + [BACKGROUND] * negative + [IGNORED] * 50)
    matches = matches[torch.randperm(len(matches))]
    chosen, rest = sample(matches, 256, 0.5)
    assert (len(chosen), len(rest)) == expected
    assert (matches[chosen] == 3).all() and (matches[rest] == BACKGROUND).all()
    assert len(set(chosen.tolist()) | set(rest.tolist())) == sum(expected)


def test_sampling_is_even_and_follows_the_seed():
    matches = torch.tensor([0] * 8 + [BACKGROUND] * 8)
    counts = torch.zeros(16)
    for seed in range(400):
        torch.manual_seed(seed)
        first = torch.cat(sample(matches, 8, 0.5))
        torch.manual_seed(seed)
        assert torch.equal(first, torch.cat(sample(matches, 8, 0.5)))
        counts[first] += 1
    assert counts.min() > 150 and counts.max() < 250  # each is drawn half of the time


def test_coding():
    """A box 20 x 10 at (10, 20); the object 40 x 5 around a centre 5 to the right and 2 up."""
    boxes, objects = torch.tensor([[0.0, 15, 20, 25]]), torch.tensor([[-5.0, 15.5, 35, 20.5]])
    plain = torch.tensor([[5 / 20, -2 / 10, log(2), log(0.5)]])
    torch.testing.assert_close(encode(objects, boxes, (1, 1, 1, 1)), plain)
    weighted = encode(objects, boxes, (10, 10, 5, 5))
    torch.testing.assert_close(weighted, plain * torch.tensor([10, 10, 5, 5]))
    torch.testing.assert_close(decode(weighted, boxes, (10, 10, 5, 5))[:, 0], objects)


def test_several_boxes_of_one():
    deltas = torch.tensor([[0, 0, 0, 0, 1.0, 0, 0, log(2)]])
    decoded = decode(deltas, torch.tensor([[0.0, 0, 4, 4]]), (1, 1, 1, 1))
    torch.testing.assert_close(decoded, torch.tensor([[[0.0, 0, 4, 4], [4, -2, 8, 6]]]))


def test_growth_is_limited():
    """exp(9) would be 8103; it is 1000 / 16 = 62.5. There is no limit downwards."""
    decoded = decode(torch.tensor([[0, 0, 9.0, -9.0]]), torch.tensor([[0.0, 0, 2, 2]]), (1, 1, 1, 1))[0, 0]
    assert decoded[2] - decoded[0] == pytest.approx(125) and decoded[3] - decoded[1] == pytest.approx(
        2 * 2.71828**-9, rel=1e-3
    )


def test_cut_and_area():
    boxes = clip(torch.tensor([[-5.0, -5, 50, 60], [30, 10, 40, 12]]), (20, 30))
    assert boxes.tolist() == [[0, 0, 30, 20], [30, 10, 30, 12]]
    assert has_area(boxes).tolist() == [True, False]
