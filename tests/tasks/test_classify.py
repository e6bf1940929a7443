"""Losses and probabilities of classification, against torch and by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_mvit.batches import ClipBatch, EraseBox, Erasure
from slowfast_mvit.ops.mixing import draw_mix
from slowfast_mvit.tasks.classify import Classification, MixSettings

MEAN, STD = (0.45, 0.4, 0.5), (0.225, 0.2, 0.25)


def clips(labels, seed=0, erasures=(), video=None):
    count = len(labels)
    if video is None:
        video = np.random.default_rng(seed).integers(0, 256, (count, 3, 2, 8, 10), np.uint8)
    return ClipBatch(
        video=torch.as_tensor(video),
        labels=torch.tensor(labels),
        video_index=torch.arange(count),
        clip_index=torch.zeros(count).long(),
        crop_index=torch.zeros(count).long(),
        start_sec=torch.zeros(count).double(),
        end_sec=torch.ones(count).double(),
        erasures=erasures,
    )


class Linear(nn.Module):
    """Logits linear in the mean colour of each frame; keeps what it was fed."""

    def __init__(self, num_classes=4, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(6, num_classes)

    def forward(self, video):
        self.fed = video.detach().clone()
        return self.layer(video.mean(dim=(3, 4)).flatten(1))


class Constant(nn.Module):
    """The same logits for every clip, whatever it shows."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, video):
        self.fed = video.detach().clone()
        return self.logits.expand(len(video), -1)


def normalised(video):
    return (video.double() / 255 - torch.tensor(MEAN).view(3, 1, 1, 1)) / torch.tensor(STD).view(3, 1, 1, 1)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_loss_without_mixing_is_cross_entropy():
    batch, model = clips([2, 0, 3]), Linear()
    losses = Classification(4, MEAN, STD).losses(model, batch, rng())
    torch.testing.assert_close(model.fed.double(), normalised(batch.video), rtol=0, atol=1e-6)
    logits = model(normalised(batch.video).float())
    expected = F.cross_entropy(logits, batch.labels)
    torch.testing.assert_close(losses["loss"], expected)
    assert losses["loss"].requires_grad and list(losses) == ["loss", "top1_acc"]
    assert losses["top1_acc"] == (logits.argmax(1) == batch.labels).sum() * 100 / 3
    assert batch.video.dtype == torch.uint8  # the batch stays as it was


def test_accuracy_is_in_percent():
    losses = Classification(4, MEAN, STD).losses(Constant(0.0, 2.0, 1.0, 0.0), clips([1, 2, 1, 1]), rng())
    assert float(losses["top1_acc"]) == 75


def test_label_smoothing_by_hand():
    task = Classification(4, MEAN, STD, MixSettings(prob=0.0, label_smoothing=0.1))
    logits = (1.0, 2.0, 3.0, 0.0)
    losses = task.losses(Constant(*logits), clips([2, 0]), rng())
    log_sum = math.log(sum(math.exp(x) for x in logits))
    # On 1 - 0.1 + 0.1 / 4 = 0.925, off 0.025; both rows sum to 1.
    first = log_sum - (0.925 * 3 + 0.025 * (1 + 2 + 0))
    second = log_sum - (0.925 * 1 + 0.025 * (2 + 3 + 0))
    assert float(losses["loss"]) == pytest.approx((first + second) / 2, abs=1e-6)
    assert float(losses["top1_acc"]) == 50


def seed_where(found):
    """The first seed whose mix is as wanted."""
    return next(seed for seed in range(100) if found(draw_mix(rng(seed), 8, 10)))


def test_mixup():
    seed = seed_where(lambda mix: mix.box is None and 0.2 < mix.lam < 0.8)
    lam = draw_mix(rng(seed), 8, 10).lam
    batch, model = clips([2, 0, 1]), Constant(1.0, 2.0, 3.0, 0.0)
    losses = Classification(4, MEAN, STD, MixSettings(label_smoothing=0.0)).losses(model, batch, rng(seed))
    straight = normalised(batch.video)
    torch.testing.assert_close(model.fed.double(), lam * straight + (1 - lam) * straight.flip(0), rtol=0, atol=1e-6)
    log_sum = math.log(sum(math.exp(x) for x in (1, 2, 3, 0)))
    # The partner of the first is the last; the second is its own.
    expected = log_sum - (lam * 3 + (1 - lam) * 2 + 1 + lam * 2 + (1 - lam) * 3) / 3
    assert float(losses["loss"]) == pytest.approx(expected, abs=1e-6)


def test_cutmix():
    seed = seed_where(lambda mix: mix.box is not None and 0.2 < mix.lam < 0.8)
    mix = draw_mix(rng(seed), 8, 10)
    batch, model = clips([2, 0]), Constant(1.0, 2.0, 3.0, 0.0)
    losses = Classification(4, MEAN, STD, MixSettings(label_smoothing=0.0)).losses(model, batch, rng(seed))
    expected = normalised(batch.video)
    rows, columns = slice(mix.box.top, mix.box.bottom), slice(mix.box.left, mix.box.right)
    expected[..., rows, columns] = expected[..., rows, columns].flip(0).clone()
    torch.testing.assert_close(model.fed.double(), expected, rtol=0, atol=1e-6)
    log_sum = math.log(sum(math.exp(x) for x in (1, 2, 3, 0)))
    assert float(losses["loss"]) == pytest.approx(log_sum - (3 + 1) / 2, abs=1e-6)
    assert mix.lam == 1 - mix.box.area / 80


def test_settings_reach_the_draw():
    batch = clips([2, 0])
    always_mixup = Classification(4, MEAN, STD, MixSettings(switch_prob=0.0))
    always_cutmix = Classification(4, MEAN, STD, MixSettings(switch_prob=1.0))
    pixels = {float(value) for value in normalised(batch.video).float().flatten().round(decimals=4)}
    for seed in range(5):
        model = Constant(0.0, 0.0, 0.0, 0.0)
        always_cutmix.losses(model, batch, rng(seed))
        assert {float(v) for v in model.fed.flatten().round(decimals=4)} <= pixels  # nothing but whole pixels
        always_mixup.losses(model, batch, rng(seed))
        assert not {float(v) for v in model.fed.flatten().round(decimals=4)} <= pixels
    cut = MixSettings(cutmix_alpha=0.0, mixup_alpha=0.3, switch_prob=1.0)
    model = Constant(0.0, 0.0, 0.0, 0.0)
    Classification(4, MEAN, STD, cut).losses(model, batch, rng(1))
    lam = draw_mix(rng(1), 8, 10, mixup_alpha=0.3, cutmix_alpha=0.0, switch_prob=1.0).lam
    straight = normalised(batch.video)
    torch.testing.assert_close(model.fed.double(), lam * straight + (1 - lam) * straight.flip(0), rtol=0, atol=1e-6)


def test_accuracy_counts_the_larger_label_of_a_mix():
    seed = seed_where(lambda mix: mix.box is None and 0.6 < mix.lam < 0.95)
    task = Classification(4, MEAN, STD, MixSettings())
    losses = task.losses(Constant(0.0, 5.0, 0.0, 0.0), clips([1, 2]), rng(seed))
    # The first is class 1 mostly. The second is class 2 mostly, and takes over the 5 of its other label.
    assert float(losses["top1_acc"]) == 100


def test_one_clip_stays_as_it_is():
    """Its partners could not be read."""
    batch, model = clips([1]), Constant(1.0, 2.0, 3.0, 0.0)
    losses = Classification(4, MEAN, STD, MixSettings(label_smoothing=0.0)).losses(model, batch, rng(3))
    torch.testing.assert_close(model.fed.double(), normalised(batch.video), rtol=0, atol=1e-6)
    assert float(losses["loss"]) == pytest.approx(math.log(sum(math.exp(x) for x in (1, 2, 3, 0))) - 2, abs=1e-6)


# Erasing

BOX = EraseBox(2, 3, 4, 5)
ERASURES = (Erasure(), Erasure((BOX,), seed=7), Erasure((BOX, EraseBox(0, 0, 1, 1)), seed=8))


def fed(erasures, mode="pixel", seed=0):
    model = Constant(0.0, 0.0)
    Classification(2, MEAN, STD, erase_mode=mode).losses(model, clips([0, 1, 0], erasures=erasures), rng(seed))
    return model.fed


@pytest.mark.parametrize("mode", ["pixel", "rand", "const"])
def test_only_the_boxes_are_filled(mode):
    plain, filled = fed(()), fed(ERASURES, mode)
    inside = torch.zeros(3, 1, 1, 8, 10, dtype=torch.bool)
    inside[1:, ..., 2:6, 3:8] = inside[2, ..., 0, 0] = True
    changed = plain != filled
    assert torch.equal(changed, inside.expand_as(changed))
    assert torch.equal(fed((Erasure(),) * 3, mode), plain)


def test_fillings():
    inside = fed(ERASURES, "const")[1, ..., 2:6, 3:8]
    assert (inside == 0).all()  # the mean colour
    inside = fed(ERASURES, "rand")[1, ..., 2:6, 3:8]
    assert (inside == inside[..., :1, :1]).all() and len(inside.unique()) == 6  # one colour a frame
    inside = fed(ERASURES, "pixel")[1, ..., 2:6, 3:8]
    assert len(inside.unique()) == inside.numel() == 120 and 0.7 < inside.std() < 1.3


@pytest.mark.parametrize("mode", ["pixel", "rand"])
def test_the_noise_is_that_of_its_seed(mode):
    first = fed(ERASURES, mode)
    torch.manual_seed(5)
    assert torch.equal(first, fed(ERASURES, mode, seed=9))
    other = fed((Erasure(), Erasure((BOX,), seed=9), ERASURES[2]), mode)
    assert not torch.equal(first[1], other[1]) and torch.equal(first[2], other[2])
    same = fed((Erasure((BOX,), seed=7), *ERASURES[1:]), mode)  # the seed counts, not the place in the batch
    assert torch.equal(same[0, ..., 2:6, 3:8], same[1, ..., 2:6, 3:8])


def test_erased_before_mixed():
    seed = seed_where(lambda mix: mix.box is None and 0.2 < mix.lam < 0.8)
    lam = draw_mix(rng(seed), 8, 10).lam
    model, plain = Constant(0.0, 0.0), fed(ERASURES)
    batch = clips([0, 1, 0], erasures=ERASURES)
    Classification(2, MEAN, STD, MixSettings()).losses(model, batch, rng(seed))
    torch.testing.assert_close(model.fed, lam * plain + (1 - lam) * plain.flip(0), rtol=0, atol=1e-6)


# Probabilities and precision


def test_probabilities_sum_to_one():
    batch = clips([0, 1, 2], video=torch.randn(3, 3, 2, 8, 10))
    model = Linear(7)
    found = Classification(7, MEAN, STD).probabilities(model, batch)
    assert found.shape == (3, 7) and found.dtype == torch.float32
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))
    torch.testing.assert_close(found, torch.softmax(model(batch.video), dim=1))
    assert torch.equal(model.fed, batch.video)  # a test's clips are normalised already


def test_probabilities_by_hand():
    batch = clips([0], video=torch.zeros(1, 3, 2, 8, 10))
    found = Classification(3, MEAN, STD).probabilities(Constant(0.0, math.log(2), math.log(5)), batch)
    torch.testing.assert_close(found, torch.tensor([[1 / 8, 2 / 8, 5 / 8]]))


class Spy(Linear):
    def forward(self, video):
        logits = super().forward(video)
        self.seen = logits.dtype
        return logits


def test_bfloat16_is_really_used():
    model, batch = Spy(), clips([0, 1, 2])
    low = Classification(4, MEAN, STD, autocast_dtype=torch.bfloat16).losses(model, batch, rng())
    assert model.seen == torch.bfloat16 and low["loss"].dtype == torch.float32
    high = Classification(4, MEAN, STD).losses(model, batch, rng())
    assert model.seen == torch.float32
    assert 0 < abs(low["loss"].item() - high["loss"].item()) < 0.02
    low["loss"].backward()
    assert model.layer.weight.grad.dtype == torch.float32


def test_bfloat16_probabilities():
    model, batch = Spy(), clips([0, 1], video=torch.randn(2, 3, 2, 8, 10))
    low = Classification(4, MEAN, STD, autocast_dtype=torch.bfloat16).probabilities(model, batch)
    assert model.seen == torch.bfloat16 and low.dtype == torch.float32
    torch.testing.assert_close(low.sum(dim=1), torch.ones(2), rtol=0, atol=1e-6)  # the softmax is not in bfloat16
    high = Classification(4, MEAN, STD).probabilities(model, batch)
    torch.testing.assert_close(low, high, rtol=0.02, atol=0.01)
    assert not torch.equal(low, high)


def test_autocast_ends_with_the_model():
    Classification(4, MEAN, STD, autocast_dtype=torch.bfloat16).losses(Linear(), clips([0]), rng())
    assert not torch.is_autocast_enabled("cpu")


def test_a_model_for_images_is_fed_without_the_time_axis():
    """[B, 3, 1, H, W] in, [B, 3, H, W] to the model; erasing and mixing happen before as for clips."""

    class Image(nn.Module):
        def forward(self, image):
            self.fed = image.detach().clone()
            return image.mean(dim=(2, 3)) @ torch.eye(3, 4)

    video = np.random.default_rng(3).integers(0, 256, (2, 3, 1, 8, 10), np.uint8)
    boxes = (Erasure((EraseBox(1, 2, 3, 4),), 5), Erasure())
    model, batch = Image(), clips([0, 3], video=video, erasures=boxes)
    task = Classification(4, MEAN, STD, mix=MixSettings(), erase_mode="const", images=True)
    task.losses(model, batch, np.random.default_rng(0))
    assert model.fed.shape == (2, 3, 8, 10)
    plain = Classification(4, MEAN, STD, images=True, erase_mode="const")
    plain.losses(model, batch, np.random.default_rng(0))
    expected = torch.stack([normalised(torch.from_numpy(one)).float() for one in video])[:, :, 0]
    expected[0, :, 1:4, 2:6] = 0
    assert torch.allclose(model.fed, expected, atol=1e-5)


def test_scores_over_the_first_classes():
    """A model of a joint set on a part of its classes: by hand, softmax of (0, ln 3) is (1/4, 3/4) whatever follows."""
    task = Classification(4, MEAN, STD, num_scored=2)
    scores = task.probabilities(Constant(0.0, math.log(3), 9.0, -1.0), clips([0, 1], video=torch.zeros(2, 3, 2, 4, 4)))
    assert torch.allclose(scores, torch.tensor([[0.25, 0.75]] * 2))
