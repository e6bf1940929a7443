"""One draw for all frames of a clip, seen in frames that tell where their pixels come from and which frame they are of."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_mvit.batches import EraseBox
from slowfast_mvit.data.augment import SIGNED_OPS, ColorJitter, Op, RandAugment, RandAugmentPolicy, make_op
from slowfast_mvit.data.erasing import RandomErasing
from slowfast_mvit.data.transforms import AreaAspectCrop, JitterCrop, TrainTransform
from slowfast_mvit.ops.erasing import erase
from slowfast_mvit.ops.spatial import CropBox, jitter_crop

T, H, W = 5, 48, 64
LEVELS = torch.tensor([0, 60, 130, 200, 255], dtype=torch.uint8)  # blue of frame 0, 1, ...
FILL = (90, 90, 90)


class Geometry:
    """Two random warps of a clip; no colours change."""

    def __init__(self, interpolation: str) -> None:
        self.warps = RandAugment(RandAugmentPolicy(), FILL, interpolation)

    def draw(self, rng: np.random.Generator) -> tuple[Op, ...]:
        names = rng.choice(SIGNED_OPS, 2)
        return tuple(make_op(str(name), rng.uniform(2, 9), int(rng.choice([-1, 1]))) for name in names)

    def apply(self, frames: Tensor, ops: tuple[Op, ...]) -> Tensor:
        return self.warps.apply(frames, ops)


def mapped_frames() -> Tensor:
    """uint8 [T, 3, H, W]: red says the column and green the row of a pixel, blue the number of the frame."""
    red = (torch.arange(W) * 4).expand(T, H, W)
    green = (torch.arange(H)[:, None] * 5).expand(T, H, W)
    return torch.stack([red, green, LEVELS[:, None, None].expand(T, H, W)], dim=1).to(torch.uint8)


def away_from(mask: Tensor) -> Tensor:
    """Pixels of a mask bool [H, W] around which it holds nowhere, 5 pixels far, nor does it end: no border is mixed in."""
    around = F.pad(mask[None].float(), (5, 5, 5, 5), value=1.0)
    return F.max_pool2d(around, 11, stride=1)[0] == 0


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    "crop",
    [AreaAspectCrop((0.2, 0.9), (0.75, 1.333)), JitterCrop((40, 60), 32, False), JitterCrop((40, 60), 32, True)],
    ids=["area", "jitter", "inverse jitter"],
)
def test_every_frame_shows_the_same_geometry(crop, interpolation):
    transform = TrainTransform(32, crop, flip=True, augment=Geometry(interpolation))
    maps, seen = set(), np.zeros(2, int)
    for seed in range(20):
        clip = transform(mapped_frames(), np.random.default_rng(seed))[0]  # [3, T, 32, 32]
        assert torch.equal(clip[:2], clip[:2, :1].expand(2, T, 32, 32))  # the same places, in every frame
        inside, outside = away_from(clip[2, 0] != 0), away_from((clip[:, 0] != FILL[0]).any(dim=0))
        seen += [int(inside.sum()), int(outside.sum())]
        for number, level in enumerate(LEVELS):
            assert (clip[2, number][inside] == level).all()  # each frame is itself, and nothing of its neighbours
            assert (clip[:, number, outside] == FILL[0]).all()
        maps.add(clip[:2, 0].numpy().tobytes())
    assert len(maps) == 20 and seen[0] > 500 and seen[1] > 20


@pytest.mark.parametrize("augment", [RandAugment(RandAugmentPolicy(9, 6, 0.5, True, 1.0)), ColorJitter(0.4)])
def test_frames_of_one_colour_change_alike(augment):
    """A clip of five frames and each frame as a clip of its own, by the same draw."""
    colours = torch.tensor(
        [[0, 0, 0], [255, 255, 255], [200, 30, 60], [10, 90, 250], [128, 127, 126]], dtype=torch.uint8
    )
    frames = colours[:, :, None, None].expand(T, 3, H, W).contiguous()
    transform = TrainTransform(32, AreaAspectCrop((0.2, 0.9), (0.75, 1.333)), flip=True, augment=augment)
    for seed in range(10):
        clip = transform(frames, np.random.default_rng(seed))[0]
        alone = [transform(frames[i : i + 1], np.random.default_rng(seed))[0] for i in range(T)]
        assert torch.equal(clip, torch.cat(alone, dim=1))


def test_one_box_for_all_frames_and_fresh_noise_for_each():
    def whole(height, width, rng):
        return CropBox(0, 0, height, width)

    frames = torch.zeros(T, 3, 32, 32, dtype=torch.uint8)
    transform = TrainTransform(32, whole, flip=False, erasing=RandomErasing(1.0))
    for seed in range(10):
        clip, erasure = transform(frames, np.random.default_rng(seed))
        (box,) = erasure.boxes
        erased = erase(clip.float(), erasure.boxes, "pixel", torch.Generator().manual_seed(erasure.seed))
        changed = erased != 0  # noise is never exactly 0
        expected = torch.zeros(32, 32, dtype=torch.bool)
        expected[box.top : box.top + box.height, box.left : box.left + box.width] = True
        assert isinstance(box, EraseBox) and torch.equal(changed, expected.expand_as(changed))
        noise = erased[:, :, expected]  # [3, T, pixels]
        assert all(not torch.equal(noise[:, i], noise[:, j]) for i in range(T) for j in range(i))
        again = erase(clip.float(), erasure.boxes, "pixel", torch.Generator().manual_seed(erasure.seed))
        assert torch.equal(erased, again)


@pytest.mark.parametrize("inverse", [False, True])
def test_distribution_of_the_short_side(inverse):
    """P(side <= s) is (s - a) / (b - a), or (1/a - 1/s) / (1/a - 1/b) where 1/side is uniform."""
    a, b, rng = 100, 400, np.random.default_rng(0)
    # In a square frame of 1,000 pixels a crop of 100 from a short side s is a box of 100,000 / s.
    boxes = [jitter_crop(1000, 1000, (a, b), 100, inverse, rng) for _ in range(4000)]
    sides = 100_000 / np.array([box.height for box in boxes])
    for s in (150, 200, 250, 300, 350):
        expected = (1 / a - 1 / s) / (1 / a - 1 / b) if inverse else (s - a) / (b - a)
        assert (sides <= s).mean() == pytest.approx(expected, abs=0.025)


@pytest.mark.parametrize("inverse", [False, True])
def test_crop_offsets_are_uniform_and_reach_both_ends(inverse):
    rng = np.random.default_rng(0)
    boxes = [jitter_crop(64, 64, (64, 64), 60, inverse, rng) for _ in range(5000)]  # no resize: offsets 0 .. 4
    for offsets in ([box.top for box in boxes], [box.left for box in boxes]):
        assert np.bincount(offsets).tolist() == pytest.approx([1000] * 5, abs=120)
    assert np.corrcoef([box.top for box in boxes], [box.left for box in boxes])[0, 1] == pytest.approx(0, abs=0.05)
