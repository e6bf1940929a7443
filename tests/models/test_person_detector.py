"""The person detector: torchvision's network with random weights, and boxes by hand."""

import pytest
import torch
from torch import nn

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.person_detector import find_people, person_detector
from tests.models.detector_weights import detector_state, made_small


@pytest.fixture(scope="module")
def state():
    return detector_state()


class Found(nn.Module):
    """Finds the same in every frame, and keeps what it was given."""

    def __init__(self, **found):
        super().__init__()
        self.found = {name: torch.tensor(values) for name, values in found.items()}

    def forward(self, frames):
        self.frames = frames
        return [self.found] * len(frames)


def test_people_alone_in_parts_of_the_frame():
    """Of a frame 200 wide and 100 high: a person, a bicycle (2), and a person up to the edges."""
    detector = Found(boxes=[[20.0, 10.0, 100.0, 90.0], [0.0, 0.0, 9.0, 9.0], [0.0, 50.0, 200.0, 100.0]],
                     labels=[1, 2, 1], scores=[0.9, 0.8, 0.7])  # fmt: skip
    frames = torch.full((2, 3, 100, 200), 51, dtype=torch.uint8)
    people = find_people(detector, frames)
    assert len(people) == 2
    for boxes, scores in people:
        assert scores.tolist() == pytest.approx([0.9, 0.7])
        torch.testing.assert_close(boxes, torch.tensor([[0.1, 0.1, 0.5, 0.9], [0.0, 0.5, 1.0, 1.0]]))
    assert detector.frames[0].shape == (3, 100, 200)
    torch.testing.assert_close(detector.frames[1], torch.full((3, 100, 200), 0.2))  # torchvision takes 0..1


def test_nobody():
    ((boxes, scores),) = find_people(
        Found(boxes=[[0.0, 0.0, 9.0, 9.0]], labels=[2], scores=[0.8]), torch.zeros(1, 3, 10, 10, dtype=torch.uint8)
    )
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_the_network_takes_its_weights_and_finds_boxes(state):
    """Every region is a person by exp(5) / (exp(5) + 90) = 0.62 with these weights, so a bound of 0.6 keeps them, 0.63 none."""
    frames = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    detector = made_small(person_detector({"model": state}, "it", 0.6))
    ((boxes, scores),) = find_people(detector, frames)
    assert len(boxes) and scores.tolist() == pytest.approx([0.6225] * len(boxes), abs=1e-4)
    assert (boxes >= 0).all() and (boxes <= 1).all() and (boxes[:, 2:] > boxes[:, :2]).all()
    ((boxes, _),) = find_people(made_small(person_detector(state, "it", 0.63)), frames)
    assert not len(boxes)


def test_weights_of_another_network(state):
    with pytest.raises(
        UserError, match=r"f.pyth holds no weights of torchvision's fasterrcnn.*404 of its 404 tensors are"
    ):
        person_detector({"model_state": state}, "f.pyth", 0.9)
    two_classes = state | {"roi_heads.box_predictor.cls_score.bias": torch.zeros(2)}
    with pytest.raises(
        UserError, match=r"1 of its 404 tensors are .* another size, as roi_heads.box_predictor.cls_score"
    ):
        person_detector(two_classes, "f.pth", 0.9)
    with pytest.raises(UserError, match=r"there are 1 tensors more, as mask.weight"):
        person_detector(state | {"mask.weight": torch.zeros(2)}, "f.pth", 0.9)
