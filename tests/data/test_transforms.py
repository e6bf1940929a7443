"""Training crops: exact pixels, one draw for all frames, bytes in and bytes out."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from slowfast_mvit.batches import Erasure
from slowfast_mvit.data.augment import RandAugment, parse_rand_augment
from slowfast_mvit.data.erasing import RandomErasing
from slowfast_mvit.data.transforms import AreaAspectCrop, JitterCrop, TrainTransform, crop_and_resize, frames_to_tensor
from slowfast_mvit.ops.spatial import CropBox, area_aspect_crop, jitter_crop


def whole(height, width, rng):
    return CropBox(0, 0, height, width)


def noise(num_frames=3, height=40, width=56, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (num_frames, 3, height, width), np.uint8))


def rng(seed=0):
    return np.random.default_rng(seed)


def test_crop_of_the_size_itself_is_exact():
    frames = noise()
    assert torch.equal(crop_and_resize(frames, CropBox(5, 7, 16, 16), 16), frames[:, :, 5:21, 7:23])


def test_halving_by_hand():
    frame = torch.tensor([[9, 9, 9, 9, 9], [9, 0, 10, 100, 104], [9, 20, 30, 108, 112]], dtype=torch.uint8)
    out = crop_and_resize(frame.expand(2, 3, 3, 5), CropBox(1, 1, 2, 4), 2)
    # Rows stay as they are, columns are averaged two by two.
    assert out.dtype == torch.uint8 and out.shape == (2, 3, 2, 2)
    assert out[1, 2].tolist() == [[5, 102], [25, 110]]
    assert crop_and_resize(frame.expand(1, 3, 3, 5), CropBox(1, 1, 2, 2), 1).flatten().tolist() == [15, 15, 15]


def test_doubling_by_hand():
    frame = torch.tensor([[0, 100]], dtype=torch.uint8).expand(1, 3, 2, 2)
    assert crop_and_resize(frame, CropBox(0, 0, 2, 2), 4)[0, 0].tolist() == [[0, 25, 75, 100]] * 4


@pytest.mark.parametrize("box", [CropBox(0, 0, 40, 56), CropBox(3, 10, 31, 20), CropBox(39, 55, 1, 1)])
@pytest.mark.parametrize("layout", ["planes", "pixels"])
def test_bytes_are_resized_as_floats_but_for_rounding(box, layout):
    frames = noise()
    if layout == "pixels":
        frames = frames_to_tensor(frames.permute(0, 2, 3, 1).contiguous().numpy())
    crop = frames[:, :, box.top : box.top + box.height, box.left : box.left + box.width].float()
    exact = F.interpolate(crop, size=(24, 24), mode="bilinear", align_corners=False)
    assert (crop_and_resize(frames, box, 24).float() - exact).abs().max() <= 1.01


def test_frames_to_tensor_shares_memory():
    array = rng().integers(0, 256, (2, 4, 5, 3), np.uint8)
    tensor = frames_to_tensor(array)
    assert tensor.shape == (2, 3, 4, 5) and tensor[1, 2, 3, 4] == array[1, 3, 4, 2]
    array[1, 3, 4, 2] ^= 255
    assert tensor[1, 2, 3, 4] == array[1, 3, 4, 2]


def test_bytes_come_out_time_behind_channels():
    frames = noise(5, 32, 32)
    clip, erasure = TrainTransform(32, whole, flip=False)(frames, rng())
    assert clip.dtype == torch.uint8 and clip.is_contiguous() and torch.equal(clip, frames.movedim(0, 1))
    assert erasure == Erasure()


def test_every_second_clip_is_mirrored():
    frames = noise(2, 32, 32)
    straight = frames.movedim(0, 1)
    flipped = 0
    for seed in range(200):
        clip, _ = TrainTransform(32, whole, flip=True)(frames, rng(seed))
        mirrored = torch.equal(clip, straight.flip(-1))
        assert mirrored or torch.equal(clip, straight)
        flipped += mirrored
    assert 75 <= flipped <= 125


def test_the_crop_does_not_depend_on_the_flip():
    frames, crop = noise(), AreaAspectCrop((0.1, 0.9), (0.75, 1.333))
    for seed in range(8):
        plain, _ = TrainTransform(16, crop, flip=False)(frames, rng(seed))
        clip, _ = TrainTransform(16, crop, flip=True)(frames, rng(seed))
        assert torch.equal(clip, plain) or torch.equal(clip, plain.flip(-1))


@pytest.mark.parametrize(
    ("rule", "draw"),
    [
        (AreaAspectCrop((0.1, 0.9), (0.75, 1.5)), lambda g: area_aspect_crop(40, 56, (0.1, 0.9), (0.75, 1.5), g)),
        (JitterCrop((32, 48), 24, False), lambda g: jitter_crop(40, 56, (32, 48), 24, False, g)),
        (JitterCrop((32, 48), 24, True), lambda g: jitter_crop(40, 56, (32, 48), 24, True, g)),
    ],
    ids=["area", "jitter", "inverse jitter"],
)
def test_crop_rules_draw_by_the_formulas(rule, draw):
    boxes = [rule(40, 56, rng(seed)) for seed in range(20)]
    assert boxes == [draw(rng(seed)) for seed in range(20)] and len(set(boxes)) > 5
    clip, _ = TrainTransform(24, rule, flip=False)(noise(), rng(3))
    assert torch.equal(clip.movedim(1, 0), crop_and_resize(noise(), boxes[3], 24))


@pytest.mark.parametrize("augment", [None, RandAugment(parse_rand_augment("rand-m7-n4-mstd0.5-inc1"))])
def test_all_frames_are_treated_alike(augment):
    frame = noise(1).expand(4, 3, 40, 56).contiguous()
    transform = TrainTransform(24, AreaAspectCrop((0.1, 0.9), (0.75, 1.333)), flip=True, augment=augment)
    clips = [transform(frame, rng(seed))[0] for seed in range(6)]
    assert all(torch.equal(clip[:, :1].expand_as(clip), clip) for clip in clips)
    assert all(not torch.equal(a, b) for a, b in pairwise(clips))
    assert torch.equal(transform(frame, rng(2))[0], clips[2])


def test_augmentation_goes_before_the_crop():
    class Brighten:
        def draw(self, rng):
            return rng.random()

        def apply(self, frames, drawn):
            assert frames.shape == (3, 3, 40, 56)
            return (frames // 2 + int(100 * drawn)).to(torch.uint8)

    clip, _ = TrainTransform(24, whole, flip=False, augment=Brighten())(noise(), rng(5))
    added = int(100 * rng(5).random())
    expected = crop_and_resize((noise() // 2 + added).to(torch.uint8), CropBox(0, 0, 40, 56), 24)
    assert torch.equal(clip.movedim(1, 0), expected)


def test_boxes_are_drawn_and_not_filled():
    frames = noise(2, 32, 32)
    transform = TrainTransform(32, whole, flip=False, erasing=RandomErasing(1.0, count=2))
    drawn = [transform(frames, rng(seed)) for seed in range(30)]
    for clip, erasure in drawn:
        assert torch.equal(clip, frames.movedim(0, 1)) and len(erasure.boxes) in (1, 2)
        for box in erasure.boxes:
            assert 0 <= box.top < box.top + box.height <= 32
            assert 0 <= box.left < box.left + box.width <= 32
            assert box.height * box.width < 32 * 32 / 3 / len(erasure.boxes) * 1.3
    assert len({erasure.seed for _, erasure in drawn}) == len({erasure.boxes for _, erasure in drawn}) == 30
    assert transform(frames, rng(7))[1] == drawn[7][1]


def test_erasing_by_its_probability():
    transform = TrainTransform(32, whole, flip=False, erasing=RandomErasing(0.25))
    erased = sum(bool(transform(noise(1, 32, 32), rng(seed))[1].boxes) for seed in range(400))
    assert 70 <= erased <= 130
    assert not TrainTransform(32, whole, flip=False, erasing=RandomErasing(0.0))(noise(1, 32, 32), rng())[1].boxes


def test_a_crop_that_does_not_fit():
    with pytest.raises(ValueError, match="a crop of 64 pixels does not fit into a short side of 48"):
        TrainTransform(64, JitterCrop((48, 48), 64, False), flip=False)(noise(), rng())
