"""Targets, boxes and pixels of mixup and cutmix, worked by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slowfast_mvit.ops.mixing import CutBox, Mix, draw_mix, mix_clips, mixed_correct, multi_hot_smooth, one_hot_smooth


def close(actual, expected):
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=0, atol=1e-6)


# Targets.


def test_smoothed_targets_by_hand():
    close(one_hot_smooth(torch.tensor([2, 0]), 4, 0.1), [[0.025, 0.025, 0.925, 0.025], [0.925, 0.025, 0.025, 0.025]])


def test_plain_targets():
    assert one_hot_smooth(torch.tensor([1]), 3).tolist() == [[0.0, 1.0, 0.0]]
    assert one_hot_smooth(torch.tensor([1], dtype=torch.int32), 3).dtype == torch.float32


def test_bad_targets():
    with pytest.raises(ValueError, match=r"labels have shape \[1, 2\]"):
        one_hot_smooth(torch.tensor([[1, 2]]), 3)
    with pytest.raises(ValueError, match=r"label smoothing is 1\.0"):
        one_hot_smooth(torch.tensor([1]), 3, 1.0)


# Mixing.


def test_mixup_by_hand():
    video = torch.tensor([0.0, 10.0, 100.0]).view(3, 1, 1, 1, 1).expand(3, 3, 2, 4, 5)
    targets = one_hot_smooth(torch.tensor([0, 1, 2]), 4, 0.1)
    mixed, mixed_targets = mix_clips(video, targets, Mix(0.75))
    close(mixed[:, 0, 0, 0, 0], [25.0, 10.0, 75.0])
    assert (mixed == mixed[:, :1, :1, :1, :1]).all() and mixed.shape == video.shape
    close(
        mixed_targets,
        [[0.7, 0.025, 0.25, 0.025], [0.025, 0.925, 0.025, 0.025], [0.25, 0.025, 0.7, 0.025]],
    )
    assert video[0].sum() == 0 and targets[0, 0] == pytest.approx(0.925)


def test_cutmix_by_hand():
    video = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1, 1).expand(2, 3, 2, 3, 4).contiguous()
    targets = one_hot_smooth(torch.tensor([0, 2]), 3)
    mixed, mixed_targets = mix_clips(video, targets, Mix(0.75, CutBox(1, 2, 0, 3)))
    assert mixed[0, 2, 1].tolist() == [[1, 1, 1, 1], [2, 2, 2, 1], [1, 1, 1, 1]]
    assert mixed[1, 0, 0].tolist() == [[2, 2, 2, 2], [1, 1, 1, 2], [2, 2, 2, 2]]
    assert (mixed == mixed[:, :1, :1]).all()
    assert mixed_targets.tolist() == [[0.75, 0, 0.25], [0.25, 0, 0.75]]
    assert (video[0] == 1).all()


@pytest.mark.parametrize("mix", [Mix(0.75), Mix(0.5, CutBox(0, 4, 2, 4))])
def test_images_are_clips_without_time(mix):
    images = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    targets = one_hot_smooth(torch.arange(4), 4, 0.1)
    mixed, mixed_targets = mix_clips(images, targets, mix)
    as_clips, same_targets = mix_clips(images[:, :, None], targets, mix)
    assert torch.equal(mixed, as_clips[:, :, 0]) and torch.equal(mixed_targets, same_targets)


def test_half_precision_stays():
    video = torch.ones(2, 3, 1, 2, 2, dtype=torch.bfloat16)
    assert mix_clips(video, torch.eye(2), Mix(0.5))[0].dtype == torch.bfloat16


def test_prob_0_smooths_but_mixes_nothing():
    mix = draw_mix(np.random.default_rng(0), 224, 224, prob=0.0)
    assert mix == Mix(1.0)
    video, targets = torch.rand(1, 3, 1, 2, 2), one_hot_smooth(torch.tensor([1]), 2, 0.1)
    mixed, mixed_targets = mix_clips(video, targets, mix)
    assert torch.equal(mixed, video)
    close(mixed_targets, [[0.05, 0.95]])


def test_what_cannot_be_mixed():
    video, targets = torch.zeros(2, 3, 1, 4, 4), torch.eye(2)
    with pytest.raises(ValueError, match="no partner"):
        mix_clips(video[:1], targets[:1], Mix(0.5))
    with pytest.raises(ValueError, match="2 clips and 1 rows"):
        mix_clips(video, targets[:1], Mix(0.5))
    with pytest.raises(ValueError, match="floating-point"):
        mix_clips(video.to(torch.uint8), targets, Mix(0.5))
    with pytest.raises(ValueError, match="larger frames than 4 x 4"):
        mix_clips(video, targets, Mix(0.5, CutBox(0, 5, 0, 4)))


# Draws.


def test_draw_is_a_function_of_the_generator():
    assert draw_mix(np.random.default_rng(4), 224, 224) == draw_mix(np.random.default_rng(4), 224, 224)
    assert len({draw_mix(np.random.default_rng(seed), 224, 224).lam for seed in range(20)}) == 20


class Scripted:
    """A stand-in for numpy's generator that gives the numbers it was told."""

    def __init__(self, uniform, beta, integers):
        self.uniform, self.share, self.whole = list(uniform), beta, list(integers)

    def random(self):
        return self.uniform.pop(0)

    def beta(self, a, b):
        assert a == b
        self.alpha = a
        return self.share

    def integers(self, high):
        self.highs = [*getattr(self, "highs", []), high]
        return self.whole.pop(0)


def test_cutmix_box_by_hand():
    rng = Scripted([0.9, 0.49], 0.75, [10, 30])  # sqrt(1 - 0.75) = 0.5: a box of 20 x 30 around (10, 30)
    assert draw_mix(rng, 40, 60) == Mix(1 - 600 / 2400, CutBox(0, 20, 15, 45))
    assert rng.alpha == 1.0 and rng.highs == [40, 60]


def test_cutmix_box_at_the_border_corrects_lambda():
    mix = draw_mix(Scripted([0.0, 0.0], 0.75, [3, 59]), 40, 60)
    assert mix.box == CutBox(0, 13, 44, 60)
    assert mix.lam == 1 - 13 * 16 / 2400


def test_mixup_takes_the_rest_with_its_own_alpha():
    rng = Scripted([0.9, 0.5], 0.3, [])
    assert draw_mix(rng, 40, 60) == Mix(0.3) and rng.alpha == 0.8
    assert draw_mix(Scripted([0.5], 0.3, []), 40, 60, prob=0.5) == Mix(1.0)


def test_an_alpha_of_0_leaves_the_other_method():
    rng = np.random.default_rng(0)
    assert all(draw_mix(rng, 32, 32, cutmix_alpha=0.0).box is None for _ in range(30))
    assert all(draw_mix(rng, 32, 32, mixup_alpha=0.0).box is not None for _ in range(30))


def test_shares_of_the_methods():
    rng = np.random.default_rng(0)
    mixes = [draw_mix(rng, 64, 64, prob=0.8, switch_prob=0.25) for _ in range(2000)]
    cut = sum(mix.box is not None for mix in mixes)
    unmixed = sum(mix == Mix(1.0) for mix in mixes)
    assert cut == pytest.approx(400, abs=60) and unmixed == pytest.approx(400, abs=60)
    lams = np.array([mix.lam for mix in mixes if mix.box is None and mix.lam < 1])
    assert lams.mean() == pytest.approx(0.5, abs=0.03)
    assert lams.var() == pytest.approx(1 / (4 * 2.6), abs=0.01)  # Beta(a, a): 1 / (4 (2a + 1))


def test_bad_draws():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"^prob of mixing is 1\.5"):
        draw_mix(rng, 8, 8, prob=1.5)
    with pytest.raises(ValueError, match="switch_prob of mixing is -1"):
        draw_mix(rng, 8, 8, switch_prob=-1)
    with pytest.raises(ValueError, match="one must be positive"):
        draw_mix(rng, 8, 8, mixup_alpha=0.0, cutmix_alpha=0.0)
    assert draw_mix(rng, 8, 8, mixup_alpha=0.0, cutmix_alpha=0.0, prob=0.0) == Mix(1.0)


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(2, 5),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    switch=st.sampled_from([0.0, 1.0]),
)
def test_targets_sum_to_1_and_lambda_is_the_uncovered_area(seed, batch, height, width, switch):
    mix = draw_mix(np.random.default_rng(seed), height, width, switch_prob=switch)
    assert 0 <= mix.lam <= 1
    video = torch.arange(1.0, batch + 1).view(-1, 1, 1, 1, 1).expand(batch, 3, 2, height, width)
    mixed, targets = mix_clips(video, one_hot_smooth(torch.arange(batch), 7, 0.1), mix)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(batch))
    assert (targets >= 0).all()
    if mix.box is not None:
        assert 0 <= mix.box.top <= mix.box.bottom <= height and 0 <= mix.box.left <= mix.box.right <= width
        own = (mixed[0] == 1).float().mean()
        assert own == pytest.approx(mix.lam, abs=1e-6)


# Accuracy of mixed samples.


def test_the_second_labels_prediction_goes_to_the_first():
    targets = torch.tensor([[0.7, 0.3, 0.0, 0.0]])
    assert mixed_correct(torch.tensor([[2.0, 2.0, 3.0, 0.0]]), targets, (1, 2)).tolist() == [1, 1]  # 4 > 3
    assert mixed_correct(torch.tensor([[1.0, 1.0, 3.0, 0.0]]), targets, (1, 2)).tolist() == [0, 1]  # 2 < 3
    assert mixed_correct(torch.tensor([[0.0, 9.0, 8.0, 1.0]]), targets, (1,)).tolist() == [1]  # the second alone


def test_unmixed_rows_count_in_the_ordinary_way():
    targets = one_hot_smooth(torch.tensor([0, 1, 2]), 3, 0.1)
    logits = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 0.0], [9.0, 0.0, 8.0]])
    assert mixed_correct(logits, targets, (1, 2, 3)).tolist() == [1, 2, 3]


def test_a_partner_of_the_same_class_is_one_label():
    _, targets = mix_clips(torch.zeros(2, 3, 1, 1, 1), one_hot_smooth(torch.tensor([1, 1]), 4, 0.1), Mix(0.6))
    assert mixed_correct(torch.tensor([[3.0, 4.0, 0.0, 0.0], [5.0, 4.0, 0.0, 0.0]]), targets, (1, 2)).tolist() == [1, 2]


def test_rows_are_independent_and_nothing_is_written_back():
    logits = torch.tensor([[2.0, 2.0, 3.0], [0.0, 5.0, 1.0]], requires_grad=True)
    targets = torch.tensor([[0.6, 0.4, 0.0], [0.4, 0.0, 0.6]])
    before = logits.detach().clone()
    correct = mixed_correct(logits, targets, (1, 5))
    assert correct.tolist() == [1, 2] and correct.dtype == torch.int64 and not correct.requires_grad
    assert torch.equal(logits, before)


def test_one_class():
    assert mixed_correct(torch.zeros(2, 1), torch.ones(2, 1), (1, 5)).tolist() == [2, 2]


# Several labels


def test_multi_hot_targets():
    labels = torch.tensor([[True, False, True, False], [False] * 4, [False, True, False, False]])
    assert torch.equal(multi_hot_smooth(labels), labels.float())
    found = multi_hot_smooth(labels, 0.2)
    close(found[0], [0.85, 0.05, 0.85, 0.05])
    close(found[1], [0.05] * 4)
    close(found[2:], one_hot_smooth(torch.tensor([1]), 4, 0.2).tolist())


@pytest.mark.parametrize(
    ("labels", "smoothing", "said"),
    [
        (torch.tensor([1, 0]), 0.0, "bool \\[B, K\\] is needed"),
        (torch.zeros(2, 3), 0.0, "labels are torch.float32 \\[2, 3\\]; bool"),
        (torch.zeros(2, 3, dtype=torch.bool), 1.0, "label smoothing is 1.0"),
    ],
)
def test_multi_hot_targets_refused(labels, smoothing, said):
    with pytest.raises(ValueError, match=said):
        multi_hot_smooth(labels, smoothing)
