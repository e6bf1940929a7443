"""Every draw is a function of its key, and no two keys share one."""

import itertools

import numpy as np
import pytest

from slowfast_mvit.ops.randomness import epoch_order, sample_rng, step_rng, step_seed


def first(rng):
    return int(rng.integers(2**63))


def test_the_same_key_gives_the_same_draws():
    assert sample_rng(3, 1, 20, 1).random(5).tolist() == sample_rng(3, 1, 20, 1).random(5).tolist()
    assert step_rng(3, 7).random(5).tolist() == step_rng(3, 7).random(5).tolist()
    assert step_seed(3, 7, 1, 2) == step_seed(3, 7, 1, 2)
    assert epoch_order(3, 7, 50).tolist() == epoch_order(3, 7, 50).tolist()


def test_draws_do_not_touch_the_global_state():
    np.random.seed(0)
    before = np.random.get_state()[1].tolist()
    sample_rng(0, 0, 0).random(3)
    epoch_order(0, 0, 9)
    assert np.random.get_state()[1].tolist() == before


def test_seed_epoch_sample_and_repeat_all_count():
    keys = list(itertools.product(range(3), range(4), range(5), range(2)))
    assert len({first(sample_rng(*key)) for key in keys}) == len(keys)


def test_repeat_is_0_unless_told():
    assert first(sample_rng(1, 2, 3)) == first(sample_rng(1, 2, 3, 0))


def test_samples_and_steps_do_not_share_streams():
    samples = {first(sample_rng(0, a, b)) for a in range(4) for b in range(4)}
    steps = {first(step_rng(0, a)) for a in range(16)}
    assert len(steps) == 16
    assert not samples & steps


def test_step_seeds():
    keys = list(itertools.product(range(3), range(10), range(3), range(4)))  # seed, step, forward pass, rank
    seeds = [step_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**61  # they use the range
    assert step_seed(1, 2) == step_seed(1, 2, 0, 0)


def test_step_seeds_stay_what_they_were():
    """NumPy promises that seed sequences never change, so a job resumes on another version with the same draws."""
    assert step_seed(5, 100, forward_pass=1, rank=3) == 5_952_122_668_178_086_142


@pytest.mark.parametrize("num_samples", [0, 1, 2, 1000])
def test_epoch_order_is_a_permutation(num_samples):
    order = epoch_order(0, 0, num_samples)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(num_samples))


def test_epoch_order_depends_on_seed_and_epoch():
    orders = {tuple(epoch_order(seed, epoch, 30).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert tuple(range(30)) not in orders


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="non-negative"):
        sample_rng(-1, 0, 0)
