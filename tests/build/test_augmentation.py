"""Augmentation by config: what each key asks for, and mistakes by their key."""

from dataclasses import replace

import pytest

from slowfast_mvit.build.augmentation import augmentation_of
from slowfast_mvit.config.schema import Aug, Config
from slowfast_mvit.data.augment import ColorJitter, RandAugment
from slowfast_mvit.errors import UserError


def augmentation(**keys):
    return augmentation_of(replace(Config(), AUG=Aug(**keys)), fill=(1, 2, 3))


def test_rand_augment_goes_before_colour_jitter():
    found = augmentation(ENABLE=True, AA_TYPE="rand-m7-n4-mstd0.5-inc1", INTERPOLATION="bilinear")
    assert isinstance(found, RandAugment) and (found.policy.magnitude, found.policy.num_ops) == (7, 4)
    assert found.fill == (1, 2, 3) and found.interpolation == "bilinear"
    assert isinstance(augmentation(ENABLE=True, AA_TYPE=""), ColorJitter)
    assert augmentation(ENABLE=True, AA_TYPE="", COLOR_JITTER=None) is None
    assert augmentation(ENABLE=False) is None


def test_a_policy_that_is_none_is_said_by_its_key():
    with pytest.raises(UserError, match=r"^AUG\.AA_TYPE: RandAugment policy 'rand-m77'"):
        augmentation(ENABLE=True, AA_TYPE="rand-m77")
