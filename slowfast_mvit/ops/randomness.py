"""Stateless randomness: every draw is a function of what it is drawn for.

What happens to a sample depends on (seed, epoch, sample, repeat) alone, and what happens inside a step on (seed, step,
forward pass, rank). So the number of workers changes nothing, and resuming needs no stored random state beyond the position.
"""

import numpy as np

_SAMPLE, _STEP, _ORDER = 1, 2, 3


def sample_rng(seed: int, epoch: int, sample: int, repeat: int = 0) -> np.random.Generator:
    """Generator of everything random that happens to one sample."""
    return np.random.default_rng([seed, _SAMPLE, epoch, sample, repeat])


def step_rng(seed: int, step: int) -> np.random.Generator:
    """Generator of what a global batch draws together (mixup)."""
    return np.random.default_rng([seed, _STEP, step])


def step_seed(seed: int, step: int, forward_pass: int = 0, rank: int = 0) -> int:
    """Seed of torch's own generators in one forward pass of a step (dropout, drop path): 0 .. 2**63 - 1."""
    state = np.random.SeedSequence([seed, _STEP, step, forward_pass + 1, rank]).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def epoch_order(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    """The shuffled order of an epoch: a permutation int64 [num_samples]."""
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(num_samples)
