"""Test protocols by config: which frames and which crops each number of views takes, worked by hand."""

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast_mvit.batches import VideoViews
from slowfast_mvit.build.data import sampling_of, single_tests, train_clips, view_protocol
from slowfast_mvit.config.load import ConfigError, load_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.augment import ColorJitter, RandAugment, RandAugmentPolicy
from slowfast_mvit.data.clips import TrainClips
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.data.transforms import AreaAspectCrop, JitterCrop
from slowfast_mvit.evaluation.multiview import batches_of_views

VIDEOS = VideoList(np.array(["a.mp4"]), np.array(["a.mp4"]), np.zeros(1, dtype=np.int64), (), "train.csv")
RECIPES = Path(__file__).parents[2] / "configs" / "Kinetics"
PAPER_SIDE = ("TEST.SHORT_SIDE", "256")


def recipe(name: str, views: str, *overrides: str) -> Config:
    """A recipe of Kinetics at views such as 5x3 (clips x crops)."""
    clips, crops = views.split("x")
    test = ["TEST.NUM_ENSEMBLE_VIEWS", clips, "TEST.NUM_SPATIAL_CROPS", crops]
    return load_config(RECIPES / f"{name}.yaml", [*test, *overrides])


# 300 frames at 30 a second. A clip of 16 x 4 spans 64 frames and leaves 236, one of 32 x 3 spans 96 and leaves 204, one of
# 40 x 3 spans 120 and leaves 180. K clips begin floor(left / (K - 1)) apart, a single one at floor(left / 2).
@pytest.mark.parametrize(
    ("name", "views", "starts"),
    [
        ("MVITV2_S_16x4", "1x1", [118]),
        ("MVITV2_S_16x4", "5x1", [0, 59, 118, 177, 236]),
        ("MVITV2_S_16x4", "10x1", [0, 26, 52, 78, 104, 130, 156, 182, 208, 234]),
        ("MVITV2_B_32x3", "3x3", [0, 102, 204]),
        ("MVITV2_L_40x3", "4x3", [0, 60, 120, 180]),
        ("MVITV2_L_40x3", "5x3", [0, 45, 90, 135, 180]),
    ],
)
def test_clips_of_a_protocol(name: str, views: str, starts: list[int]) -> None:
    config = recipe(name, views)
    frames, rate = config.DATA.NUM_FRAMES, config.DATA.SAMPLING_RATE
    clips = sampling_of(config, "test").view_indices(300, Fraction(30), view_protocol(config).num_clips)
    assert clips[:, 0].tolist() == starts
    # Frames are spread over the span with both ends: frame i is at start + i (span - 1) / (T - 1), its fraction cut off.
    span = frames * rate
    exact = [[start + i * (span - 1) // (frames - 1) for i in range(frames)] for start in starts]
    assert np.abs(clips - np.array(exact)).max() <= 1  # the official steps are of 32 bits
    assert clips[:, -1].tolist() == [start + span - 1 for start in starts]


# Frames of 256 x 340. At a short side of 224 they are 224 x 297 (297.5 cut off), so that 73 columns are over; at 256 there are
# 116 columns and 32 rows over; at 312 they are 312 x 414, at 356 they are 356 x 472.
@pytest.mark.parametrize(
    ("name", "views", "overrides", "short_side", "corners"),
    [
        ("MVITV2_S_16x4", "5x1", (), 256, [(16, 58)]),
        ("MVITV2_S_16x4", "10x1", PAPER_SIDE, 256, [(16, 58)]),
        ("MVITV2_B_32x3", "3x3", (), 224, [(0, 0), (0, 37), (0, 73)]),
        ("MVITV2_B_32x3", "3x3", PAPER_SIDE, 256, [(16, 0), (16, 58), (16, 116)]),
        ("MVITV2_L_40x3", "5x3", (), 312, [(0, 0), (0, 51), (0, 102)]),
        ("MVITV2_L_40x3", "4x3", ("TEST.SHORT_SIDE", "356"), 356, [(22, 0), (22, 80), (22, 160)]),
        ("MVITV2_L_40x3", "1x1", (), 356, [(22, 80)]),
    ],
)
def test_crops_of_a_protocol(
    name: str, views: str, overrides: tuple[str, ...], short_side: int, corners: list[tuple[int, int]]
) -> None:
    config = recipe(name, views, *overrides)
    protocol = view_protocol(config)
    assert (protocol.short_side, protocol.crop_size) == (short_side, config.DATA.TEST_CROP_SIZE)
    # Two ramps tell where a crop lies: red grows by row, green by column, a grey level for every two pixels at most.
    rows, columns = np.mgrid[0:256, 0:340]
    frame = np.stack((rows, columns / 2, rows * 0), axis=2).astype(np.uint8)
    video = VideoViews(
        video_index=0, label=0, frames=torch.from_numpy(frame)[None], rows=torch.zeros(1, 1, dtype=torch.long),
        seconds=torch.zeros(1, 2, dtype=torch.float64),
    )  # fmt: skip
    (batch,) = batches_of_views([video], protocol, 16, torch.device("cpu"))
    scale = short_side / 256
    std, mean = torch.tensor(protocol.std), torch.tensor(protocol.mean)
    for clip, (top, left) in zip(batch.video, corners, strict=True):
        first = (clip[:, 0, 0, 0] * std + mean) * 255
        assert float(first[0]) == pytest.approx(max((top + 0.5) / scale - 0.5, 0), abs=0.1)
        assert float(first[1]) * 2 == pytest.approx(max((left + 0.5) / scale - 0.5, 0), abs=2.1)


@pytest.mark.parametrize(
    ("overrides", "numbers"),
    [
        ((), [5]),
        (("TEST.NUM_ENSEMBLE_VIEWS", "-1"), [1, 3, 5, 7, 10]),
        (("TEST.NUM_TEMPORAL_CLIPS", "[1, 4]"), [1, 4]),
        (("TEST.NUM_TEMPORAL_CLIPS", "[10]", "TEST.NUM_ENSEMBLE_VIEWS", "-1"), [10]),
    ],
)
def test_numbers_of_clips(overrides: tuple[str, ...], numbers: list[int]) -> None:
    config = load_config(RECIPES / "MVITV2_S_16x4.yaml", overrides)
    assert [view_protocol(test).num_clips for test in single_tests(config)] == numbers


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ("TEST.SHORT_SIDE", "200"),
            "TEST.SHORT_SIDE: 200 is less than DATA.TEST_CROP_SIZE 224; set it to 224 or more",
        ),
        (("TEST.SHORT_SIDE", "256", "TEST.DATASET", "imagenet"), "it is for kinetics and ssv2, and not for imagenet"),
        (("TEST.NUM_TEMPORAL_CLIPS", "[3, 3]"), "TEST.NUM_TEMPORAL_CLIPS: 3 comes more than once"),
        (("TEST.NUM_TEMPORAL_CLIPS", "[0]"), "TEST.NUM_TEMPORAL_CLIPS: 0 is too small; the least is 1"),
        (("TASK", "a/b"), "TASK: 'a/b' begins the names of files"),
    ],
)
def test_protocols_that_cannot_be(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_config(RECIPES / "MVITV2_S_16x4.yaml", overrides)


def test_a_short_side_of_its_own_lets_larger_crops_in() -> None:
    larger = ("DATA.TRAIN_CROP_SIZE", "320", "DATA.TEST_CROP_SIZE", "320")
    assert view_protocol(recipe("MVITV2_S_16x4", "1x1", *larger, "TEST.SHORT_SIDE", "360")).short_side == 360
    with pytest.raises(ConfigError, match="320 does not fit"):
        recipe("MVITV2_S_16x4", "1x1", *larger)


def test_training_clips_of_the_recipes() -> None:
    """Kinetics has the Inception crop, a flip and two copies; Something-Something v2 short sides drawn in 1 / size, no flip."""
    kinetics = train_clips(load_config(RECIPES / "MVITV2_S_16x4.yaml"), VIDEOS)
    assert isinstance(kinetics, TrainClips) and (kinetics.num_repeats, kinetics.spare_first) == (2, False)
    assert kinetics.transform.crop == AreaAspectCrop((0.08, 1.0), (0.75, 1.3333)) and kinetics.transform.flip
    ssv2 = train_clips(load_config(RECIPES.parent / "SSv2" / "MVITV2_S_16x4.yaml"), VIDEOS)
    assert isinstance(ssv2, TrainClips) and ssv2.num_repeats == 1
    assert ssv2.transform.crop == JitterCrop((256, 320), 224, inverse=True) and not ssv2.transform.flip
    for clips in (kinetics, ssv2):
        augment, erasing = clips.transform.augment, clips.transform.erasing
        assert isinstance(augment, RandAugment) and augment.policy == RandAugmentPolicy(7, 4, 0.5, True)
        assert (augment.fill, augment.interpolation) == ((128, 128, 128), "bicubic")
        assert erasing is not None and (erasing.prob, erasing.count, erasing.mode) == (0.25, 1, "pixel")
        assert (clips.transform.size, clips.seed, clips.backend) == (224, 0, "pyav")
    other = ("AUG.RE_SPLIT", "True", "DATA.DECODING_BACKEND", "frames", "RNG_SEED", "7", "AUG.AA_TYPE", "")
    changed = train_clips(load_config(RECIPES / "MVITV2_S_16x4.yaml", other), VIDEOS)
    assert isinstance(changed, TrainClips) and isinstance(changed.transform.augment, ColorJitter)
    assert (changed.spare_first, changed.backend, changed.seed) == (True, "frames", 7)


def test_clips_without_offset_sampling() -> None:
    """Clip i of 4 begins at i / 4 of the 236 frames that a clip leaves free."""
    config = recipe("MVITV2_S_16x4", "4x1", "DATA.USE_OFFSET_SAMPLING", "False")
    assert sampling_of(config, "test").view_indices(300, Fraction(30), 4)[:, 0].tolist() == [0, 59, 118, 177]
    config = recipe("MVITV2_S_16x4", "2x1", "DATA.USE_OFFSET_SAMPLING", "False", "DATA.TARGET_FPS", "60")
    assert sampling_of(config, "test").view_indices(300, Fraction(30), 2)[:, 0].tolist() == [0, 134]  # 300 - 32, halved
