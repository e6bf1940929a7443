"""RandAugment against PIL through timm, frame by frame; random erasing by hand."""

import math
from collections import Counter
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import auto_augment
from torchvision.transforms.v2 import functional as vision

from slowfast_mvit.batches import EraseBox
from slowfast_mvit.data.augment import (
    BLENDED_OPS,
    OP_NAMES,
    SIGNED_OPS,
    ColorJitter,
    Op,
    RandAugment,
    RandAugmentPolicy,
    make_op,
    parse_rand_augment,
)
from slowfast_mvit.data.erasing import RandomErasing
from slowfast_mvit.ops.erasing import erase

FILL = (128, 64, 3)
ONE_BOX = (EraseBox(19, 9, 34, 33),)  # of seed 5 in 64 x 64 pixels
COLOUR_OPS = [name for name in OP_NAMES if name not in SIGNED_OPS]
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def timm_name(name: str, increasing: bool) -> str:
    return name + "Increasing" * (increasing and name in (*BLENDED_OPS, "Posterize", "Solarize"))


def by_pil(frames: torch.Tensor, op: Op, interpolation: str = "bicubic") -> torch.Tensor:
    """The op on every frame as a PIL image, by timm."""
    arguments = () if op.name in ("AutoContrast", "Equalize", "Invert") else (op.amount,)
    results = []
    for frame in frames:
        image = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
        keywords = {"resample": RESAMPLING[interpolation], "fillcolor": FILL}
        result = auto_augment.NAME_TO_OP[op.name](image, *arguments, **keywords)
        results.append(torch.from_numpy(np.array(result)).permute(2, 0, 1))
    return torch.stack(results)


def clip(height: int, width: int) -> torch.Tensor:
    """Five frames: noise, noise of few levels, one flat colour, gradients, two levels."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[:height, :width]
    gradients = np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (3 * x + y) % 256], axis=-1)
    frames = [
        rng.integers(0, 256, (height, width, 3)),
        rng.integers(90, 130, (height, width, 3)),
        np.broadcast_to(rng.integers(0, 256, 3), (height, width, 3)),
        gradients,
        np.where(rng.random((height, width, 3)) < 0.3, 200, 17),
    ]
    return torch.from_numpy(np.stack(frames).astype(np.uint8)).permute(0, 3, 1, 2)


def augment(interpolation: str = "bicubic") -> RandAugment:
    return RandAugment(RandAugmentPolicy(), FILL, interpolation)


# The strings.


def test_policies_of_the_recipes():
    assert parse_rand_augment("rand-m7-n4-mstd0.5-inc1") == RandAugmentPolicy(7, 4, 0.5, True, 0.5)
    assert parse_rand_augment("rand-m9-n6-mstd0.5-inc1") == RandAugmentPolicy(9, 6, 0.5, True)
    assert parse_rand_augment("rand-m9-mstd0.5-inc1") == RandAugmentPolicy(9, 2, 0.5, True)
    assert parse_rand_augment("rand-n3-m5") == RandAugmentPolicy(5, 3, 0.0, False)
    assert parse_rand_augment("rand") == RandAugmentPolicy(10, 2, 0.0, False)


@pytest.mark.parametrize(
    "text",
    [
        "rand-m7-n4-mstd0.5-inc1",
        "rand-m9-n6-mstd0.5-inc1",
        "rand-m9-mstd0.5-inc1",
        "rand-m10-n2-mstd1-inc1",
        "rand-m5-n3",
    ],
)
def test_policies_are_timms(text):
    """Of video recipes, of image recipes, PySlowFast's default and others: what timm makes of the same string."""
    policy, theirs = parse_rand_augment(text), auto_augment.rand_augment_transform(text, {})
    assert theirs.num_layers == policy.num_ops and theirs.choice_weights is None
    assert sorted(op.name for op in theirs.ops) == sorted(timm_name(name, policy.increasing) for name in OP_NAMES)
    for op in theirs.ops:
        assert (op.prob, op.magnitude, op.magnitude_std) == (policy.prob, policy.magnitude, policy.magnitude_std)


def test_any_inc_switches_the_increasing_set_on():
    assert parse_rand_augment("rand-m7-inc0").increasing


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "'rand'"),
        ("augmix-m7", "'augmix'"),
        ("rand-m", "'m'"),
        ("rand-m7.5", "'m7.5'"),
        ("rand-n2.0", "'n2.0'"),
        ("rand-m7-x3", "'x3'"),
        ("rand-m7--n4", "''"),
        ("rand-m-7", "'m'"),
        ("rand-m7-w0", "'w0'"),
        ("rand-m7-inc", "'inc'"),
        ("rand-m7-m8", "'m8'"),
        ("rand-m11", "'m11'"),
        ("rand-n0", "'n0'"),
        ("rand-m7 -n4", "'m7 '"),
    ],
)
def test_a_malformed_policy_is_refused_with_its_part(text, named):
    with pytest.raises(ValueError, match="RandAugment policy") as error:
        parse_rand_augment(text)
    assert named in str(error.value)


# From magnitudes to arguments.


@pytest.mark.parametrize("increasing", [True, False])
@pytest.mark.parametrize("name", OP_NAMES)
def test_arguments_are_timms(name, increasing):
    level_to_argument = auto_augment.LEVEL_TO_ARG[timm_name(name, increasing)]
    for magnitude in (0, 0.4, 2.5, 5, 7, 7.31, 9, 9.99, 10):
        for sign in (1, -1):
            with mock.patch.object(auto_augment, "_randomly_negate", lambda value, sign=sign: sign * value):
                expected = level_to_argument(magnitude, {})[0] if level_to_argument else 0
            assert make_op(name, magnitude, sign, increasing).amount == pytest.approx(expected, abs=1e-12)


def test_arguments_by_hand():
    assert make_op("Rotate", 7, -1) == Op("Rotate", -21)
    assert make_op("Posterize", 7) == Op("Posterize", 2)
    assert make_op("Posterize", 10) == Op("Posterize", 0)
    assert make_op("Solarize", 7) == Op("Solarize", 256 - 179)
    assert make_op("SolarizeAdd", 7) == Op("SolarizeAdd", 77)
    assert make_op("Color", 7, -1).amount == pytest.approx(0.37)
    assert make_op("ShearY", 7, 1).amount == pytest.approx(0.21)
    assert make_op("TranslateXRel", 7, 1).amount == pytest.approx(0.315)
    with pytest.raises(ValueError, match="'Blur' is not an operation"):
        make_op("Blur", 5)


# The operations.


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (3, 3), (17, 29), (61, 47)])
@pytest.mark.parametrize("name", COLOUR_OPS)
def test_colour_operations_are_pils_exactly(name, size):
    frames = clip(*size)
    for increasing in (True, False):
        for magnitude in (0, 0.4, 3, 5, 7.31, 10):
            for sign in (1, -1):
                op = make_op(name, magnitude, sign, increasing)
                if op != Op("Posterize", 0):  # PIL 13 refuses it; see the next test
                    assert torch.equal(augment().apply(frames, (op,)), by_pil(frames, op)), op


def test_posterising_to_no_bits_is_black():
    assert not augment().apply(clip(4, 5), (Op("Posterize", 0),)).any()


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (17, 29), (64, 49)])
@pytest.mark.parametrize("name", SIGNED_OPS)
def test_warps_are_pils_but_for_rare_roundings(name, size, interpolation):
    """At most one level, in less than 0.2 % of a clip's values for bicubic and 4 % for bilinear (15 in a small clip).

    Sums are float32 here and float64 in PIL, and both are cut to integers; between pixels of a gradient, a bilinear sum
    is often a whole number but for the last bit.
    """
    frames = clip(*size)
    allowed = max(15, frames.numel() // {"bicubic": 500, "bilinear": 25}[interpolation])
    for magnitude in (0, 0.4, 3, 5, 7.31, 10):
        for sign in (1, -1):
            op = make_op(name, magnitude, sign)
            difference = augment(interpolation).apply(frames, (op,)).int() - by_pil(frames, op, interpolation).int()
            assert difference.abs().max() <= 1, op
            assert difference.count_nonzero() <= allowed, op


@pytest.mark.parametrize("name", SIGNED_OPS)
def test_the_filled_area_is_pils(name):
    """Black frames: only what is filled has the fill's colour."""
    frames = torch.zeros(1, 3, 45, 61, dtype=torch.uint8)
    for magnitude in (0.4, 3, 5, 7.31, 10):
        for sign in (1, -1):
            op = make_op(name, magnitude, sign)
            result = augment().apply(frames, (op,))
            assert torch.equal(result, by_pil(frames, op)), op
            filled = (result[0, 0] == FILL[0]).sum()
            assert filled > 0 or magnitude < 1
            assert ((result[0, 0] == 0) | (result[0, 0] == FILL[0])).all()


def test_translation_by_hand():
    frames = torch.arange(10, dtype=torch.uint8).repeat(1, 3, 2, 1)
    moved = augment().apply(frames, (Op("TranslateXRel", 0.3),))  # 3 pixels: what lies to the right comes in
    assert moved[0, 0].tolist() == [[3, 4, 5, 6, 7, 8, 9, 128, 128, 128]] * 2
    assert moved[0, 2, 0, -3:].tolist() == [3, 3, 3]


def test_bicubic_weights_by_hand():
    """Half a pixel: -1/8, 5/8, 5/8, -1/8 (Keys' cubic with a = -1), cut to integers."""
    frames = torch.full((1, 3, 1, 8), 50, dtype=torch.uint8)
    frames[..., 4] = 150
    moved = augment().apply(frames, (Op("TranslateXRel", 0.5 / 8),))
    assert moved[0, 0, 0].tolist() == [50, 50, 37, 112, 112, 37, 50, 128]


def test_sharpness_by_hand():
    frames = torch.zeros(1, 3, 3, 3, dtype=torch.uint8)
    frames[..., 1, 1] = 130
    assert augment().apply(frames, (Op("Sharpness", 0.0),))[0, 0].tolist() == [[0, 0, 0], [0, 50, 0], [0, 0, 0]]
    assert augment().apply(frames, (Op("Sharpness", 1.5),))[0, 0, 1, 1] == 170


def test_operations_follow_one_another():
    frames = clip(9, 11)
    ops = (Op("Invert"), Op("Posterize", 2), Op("SolarizeAdd", 77))
    one_by_one = frames
    for op in ops:
        one_by_one = by_pil(one_by_one, op)
    assert torch.equal(augment().apply(frames, ops), one_by_one)
    assert torch.equal(augment().apply(frames, ()), frames)


@pytest.mark.parametrize("name", OP_NAMES)
def test_every_frame_is_treated_alike_and_the_input_stays(name):
    one = clip(19, 23)
    frames = one[[0, 3, 0, 2]]
    before = frames.clone()
    result = augment().apply(frames, (make_op(name, 6.2, -1),))
    assert result.dtype == torch.uint8 and result.shape == frames.shape
    assert torch.equal(result[0], result[2])
    assert torch.equal(result[1], augment().apply(frames[1:2], (make_op(name, 6.2, -1),))[0])
    assert torch.equal(frames, before)


@pytest.mark.parametrize("name", OP_NAMES)
def test_frames_that_lie_otherwise_in_memory(name):
    """Decoders give [T, H, W, 3]; a permuted view gives the same result."""
    frames = clip(8, 9)
    assert not frames.is_contiguous()
    op = (make_op(name, 7.0),)
    assert torch.equal(augment().apply(frames, op), augment().apply(frames.contiguous(), op))


def test_bad_arguments():
    with pytest.raises(ValueError, match="interpolation is 'nearest'"):
        RandAugment(RandAugmentPolicy(), interpolation="nearest")
    with pytest.raises(ValueError, match="three levels"):
        RandAugment(RandAugmentPolicy(), fill=(0, 0, 256))
    with pytest.raises(ValueError, match=r"float32 \[1, 3, 4, 4\]"):
        augment().apply(torch.zeros(1, 3, 4, 4), ())
    with pytest.raises(ValueError, match=r"uint8 \[4, 4, 3\]"):
        augment().apply(torch.zeros(4, 4, 3, dtype=torch.uint8), ())


# The draws.


def test_draws_depend_on_the_generator_alone():
    randaugment = RandAugment(parse_rand_augment("rand-m7-n4-mstd0.5-inc1"))
    first = [randaugment.draw(np.random.default_rng(seed)) for seed in range(20)]
    torch.manual_seed(1)
    np.random.seed(1)
    assert first == [randaugment.draw(np.random.default_rng(seed)) for seed in range(20)]
    assert len(set(first)) == 19  # two of the twenty keep no operation
    assert first.count(()) == 2


def test_draws_take_the_same_numbers_whatever_they_give():
    """So that what is drawn afterwards for a sample does not move with the policy's outcome."""
    never, always = (RandAugment(RandAugmentPolicy(7, 4, 0.5, True, prob)) for prob in (0.0, 1.0))
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    assert never.draw(one) == () and len(always.draw(two)) == 4
    assert one.random() == two.random()


def test_distribution_of_the_draws():
    randaugment = RandAugment(parse_rand_augment("rand-m7-n4-mstd0.5-inc1"))
    rng = np.random.default_rng(0)
    draws = [randaugment.draw(rng) for _ in range(3000)]
    lengths = Counter(len(ops) for ops in draws)
    for length in range(5):
        assert lengths[length] == pytest.approx(3000 * math.comb(4, length) / 16, abs=80)
    names = Counter(op.name for ops in draws for op in ops)
    assert set(names) == set(OP_NAMES)
    assert all(count == pytest.approx(400, abs=70) for count in names.values())
    degrees = np.array([op.amount for ops in draws for op in ops if op.name == "Rotate"])
    assert (degrees > 0).mean() == pytest.approx(0.5, abs=0.08)
    assert np.abs(degrees).mean() == pytest.approx(21, abs=0.3)
    assert np.abs(degrees).std() == pytest.approx(1.5, abs=0.2)


def test_magnitudes_are_clipped():
    strong = RandAugment(RandAugmentPolicy(10, 50, 3.0, True, 1.0)).draw(np.random.default_rng(0))
    weak = RandAugment(RandAugmentPolicy(0, 50, 3.0, True, 1.0)).draw(np.random.default_rng(0))
    slopes = [abs(op.amount) for op in (*strong, *weak) if op.name in ("ShearX", "ShearY")]
    assert max(slopes) == pytest.approx(0.3) and min(slopes) == 0


# Colour jitter.


def test_jitter_is_torchvisions_on_every_pil_image():
    """The draw of torchvision's ColorJitter, made here, and its functions on PIL images (PySlowFast's way)."""
    functions = {
        "Brightness": vision.adjust_brightness,
        "Contrast": vision.adjust_contrast,
        "Color": vision.adjust_saturation,
    }
    jitter, frames = ColorJitter(0.4), clip(31, 43)
    for seed in range(12):
        ops = jitter.draw(np.random.default_rng(seed))
        assert sorted(op.name for op in ops) == ["Brightness", "Color", "Contrast"]
        images = [Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy()) for frame in frames]
        for op in ops:
            images = [functions[op.name](image, op.amount) for image in images]
        expected = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
        assert torch.equal(jitter.apply(frames, ops), expected)


def test_distribution_of_jitter():
    rng = np.random.default_rng(0)
    draws = [ColorJitter(0.4).draw(rng) for _ in range(3000)]
    orders = Counter(tuple(op.name for op in ops) for ops in draws)
    assert len(orders) == 6 and all(count == pytest.approx(500, abs=80) for count in orders.values())
    for name in ("Brightness", "Contrast", "Color"):
        factors = np.array([op.amount for ops in draws for op in ops if op.name == name])
        assert 0.6 <= factors.min() < 0.61 and 1.39 < factors.max() <= 1.4
        assert factors.mean() == pytest.approx(1, abs=0.02) and factors.std() == pytest.approx(0.8 / 12**0.5, abs=0.01)
    strong = [op.amount for _ in range(500) for op in ColorJitter(1.5).draw(rng)]
    assert 0 <= min(strong) < 0.02 and 2.45 < max(strong) <= 2.5  # no factor is negative
    assert all(op.amount == 1 for op in ColorJitter(0).draw(rng))
    with pytest.raises(ValueError, match=r"colour jitter is -0\.1"):
        ColorJitter(-0.1)


# Random erasing.


def test_pixel_noise_is_fresh_everywhere_and_only_in_the_box():
    video = torch.full((3, 4, 10, 12), 7.0)
    out = erase(video, (EraseBox(2, 3, 4, 5),), "pixel", torch.Generator().manual_seed(0))
    inside = out[:, :, 2:6, 3:8]
    assert inside.unique().numel() == 3 * 4 * 4 * 5
    assert abs(inside.mean()) < 0.2 and abs(inside.std() - 1) < 0.1
    rest = torch.ones(10, 12, dtype=torch.bool)
    rest[2:6, 3:8] = False
    assert (out[..., rest] == 7).all() and (video == 7).all()
    assert torch.equal(out, erase(video, (EraseBox(2, 3, 4, 5),), "pixel", torch.Generator().manual_seed(0)))


def test_rand_is_one_colour_per_box_and_frame():
    out = erase(torch.zeros(3, 4, 6, 6), (EraseBox(1, 1, 3, 2),), "rand", torch.Generator().manual_seed(0))
    inside = out[:, :, 1:4, 1:3]
    assert (inside == inside[..., :1, :1]).all()
    assert inside.unique().numel() == 3 * 4 and out.count_nonzero() == inside.numel()


def test_const_is_zero_and_boxes_add_up():
    boxes = (EraseBox(0, 0, 2, 2), EraseBox(1, 1, 2, 3))
    out = erase(torch.ones(3, 1, 4, 4), boxes, "const", None)
    assert out[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]
    assert torch.equal(out[0, 0], out[2, 0])


def test_images_and_no_boxes():
    image = torch.ones(3, 5, 5)
    assert torch.equal(erase(image, (), "pixel", torch.Generator()), image)
    assert erase(image, (EraseBox(4, 4, 1, 1),), "const", None).sum() == 72


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 300), width=st.integers(1, 300), count=st.integers(1, 3))
def test_boxes_lie_within_the_frame(seed, height, width, count):
    boxes = RandomErasing(1.0, count).draw_boxes(np.random.default_rng(seed), height, width)
    assert len(boxes) <= count
    for box in boxes:
        assert 0 < box.height < height and 0 < box.width < width
        assert 0 <= box.top <= height - box.height and 0 <= box.left <= width - box.width
    assert sum((box.height - 0.5) * (box.width - 0.5) for box in boxes) <= height * width / 3


def test_area_and_aspect_of_boxes():
    erasing, rng = RandomErasing(1.0), np.random.default_rng(0)
    boxes = [box for _ in range(2000) for box in erasing.draw_boxes(rng, 224, 224)]
    assert len(boxes) == 2000
    areas = np.array([box.height * box.width for box in boxes]) / 224**2
    aspects = np.array([box.height / box.width for box in boxes])
    assert 0.019 < areas.min() < 0.03 and 0.32 < areas.max() < 0.34
    assert 0.28 < aspects.min() < 0.32 and 3.1 < aspects.max() < 3.5
    assert np.log(aspects).mean() == pytest.approx(0, abs=0.05)
    assert {box.top + box.height for box in boxes} >= {224} and {box.left for box in boxes} >= {0}


def test_probability_of_erasing():
    rng = np.random.default_rng(0)
    hits = sum(len(RandomErasing(0.25).draw_boxes(rng, 64, 64)) for _ in range(2000))
    assert hits == pytest.approx(500, abs=60)
    assert RandomErasing(0.0).draw_boxes(rng, 64, 64) == ()
    drawn = [RandomErasing(1.0).draw_boxes(np.random.default_rng(5), 64, 64) for _ in range(2)]
    assert drawn[0] == drawn[1] != ()


def test_the_number_of_boxes_is_drawn():
    """1 to RE_COUNT boxes, equally often, which share the area."""
    rng = np.random.default_rng(0)
    draws = [RandomErasing(1.0, 3).draw_boxes(rng, 224, 224) for _ in range(1500)]
    counts = Counter(map(len, draws))
    assert set(counts) == {1, 2, 3} and all(count == pytest.approx(500, abs=60) for count in counts.values())
    areas = {
        count: [b.height * b.width / 224**2 for boxes in draws if len(boxes) == count for b in boxes]
        for count in counts
    }
    assert all(max(part) == pytest.approx(1 / 3 / count, rel=0.05) for count, part in areas.items())
    # One box at most takes no number for their number: what was drawn before stays.
    assert RandomErasing(1.0).draw_boxes(np.random.default_rng(5), 64, 64) == ONE_BOX


def test_bad_erasing():
    with pytest.raises(ValueError, match="probability of erasing is 25"):
        RandomErasing(25)
    with pytest.raises(ValueError, match="number of boxes to erase is 0"):
        RandomErasing(0.25, count=0)
    with pytest.raises(ValueError, match="mode of erasing is 'noise'"):
        RandomErasing(0.25, mode="noise")
    with pytest.raises(ValueError, match="mode of erasing is 'noise'"):
        erase(torch.zeros(3, 1, 4, 4), (), "noise", None)
    with pytest.raises(ValueError, match=r"torch\.Generator"):
        erase(torch.zeros(3, 1, 4, 4), (EraseBox(0, 0, 1, 1),), "pixel", None)
    with pytest.raises(ValueError, match=r"video is torch\.uint8"):
        erase(torch.zeros(3, 1, 4, 4, dtype=torch.uint8), (), "const", None)
