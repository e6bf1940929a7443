"""What a config of Something-Something v2 makes: sampling, protocol, splits, and a warning where flips spoil labels."""

import re
from fractions import Fraction
from pathlib import Path

import pytest

from slowfast_mvit.build.data import has_split, multi_view_videos, sampling_of, train_clips, videos_of, view_protocol
from slowfast_mvit.build.readiness import refuse_unbuilt
from slowfast_mvit.config.load import ConfigError, load_config
from slowfast_mvit.data.clips import ClipSampling, SegmentSampling
from slowfast_mvit.data.toy import ToySet, make_toy_set
from slowfast_mvit.data.toy_ssv2 import ToySsv2, make_toy_ssv2
from slowfast_mvit.errors import UserError

TOY = Path(__file__).parents[2] / "configs" / "Toy"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_toy_ssv2(tmp_path_factory.mktemp("toy"), ToySsv2(5, 3, num_frames=10, height=32, width=48), processes=1)


def config_of(*overrides):
    return load_config(TOY / "MVITV2_TOY_SSV2_8x4.yaml", [*overrides])


def test_sampling_by_segments(data):
    config = config_of("DATA.PATH_TO_DATA_DIR", str(data), "DATA.NUM_FRAMES", "4", "DATA.TARGET_FPS", "12")
    refuse_unbuilt(config)
    assert sampling_of(config, "train") == sampling_of(config, "test") == SegmentSampling(4, 12)
    # 10 frames in 4 segments; neither the rate of the video nor SAMPLING_RATE counts.
    assert sampling_of(config, "val").view_indices(10, Fraction(50), 1).tolist() == [[1, 3, 5, 8]]
    kinetics = load_config(TOY / "MVITV2_TOY_8x4.yaml", [])
    assert isinstance(sampling_of(kinetics, "test"), ClipSampling)
    train, test = videos_of(config, "train"), videos_of(config, "test")
    assert train_clips(config, train).sampling == multi_view_videos(config, test, 1).sampling == SegmentSampling(4, 12)


def test_splits(data):
    config = config_of("DATA.PATH_TO_DATA_DIR", str(data))
    assert has_split(config, "val") and not has_split(config, "test")
    train, val, test = (videos_of(config, split) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (5, 3, 3)
    assert test.paths.tolist() == val.paths.tolist() and train.names[0] == "1"
    assert not set(train.paths) & set(val.paths)


@pytest.mark.parametrize(("crops", "short_side"), [("3", 64), ("1", 64)])
def test_the_short_side_is_the_crop_with_one_crop_too(crops, short_side):
    """TRAIN_JITTER_SCALES[0] is 72 here, and of no account."""
    overrides = ("TEST.NUM_SPATIAL_CROPS", crops, "DATA.TRAIN_JITTER_SCALES", "[72, 80]")
    protocol = view_protocol(config_of(*overrides))
    assert (protocol.num_clips, protocol.num_crops) == (1, int(crops))
    assert (protocol.short_side, protocol.crop_size) == (short_side, 64)
    assert view_protocol(config_of(*overrides, "TEST.SHORT_SIDE", "70")).short_side == 70


def test_a_model_of_other_classes_is_refused(data):
    config = config_of("DATA.PATH_TO_DATA_DIR", str(data), "MODEL.NUM_CLASSES", "174")
    with pytest.raises(UserError, match=r"has 8 classes by its label map, and MODEL\.NUM_CLASSES is 174: set it to 8"):
        videos_of(config, "train")


def test_one_data_set_for_training_and_test():
    said = "TEST.DATASET: kinetics samples its clips in another way than TRAIN.DATASET ssv2"
    with pytest.raises(ConfigError, match=re.escape(said)):
        config_of("TEST.DATASET", "kinetics")
    assert config_of("TEST.DATASET", "kinetics", "TEST.ENABLE", "False").TRAIN.DATASET == "ssv2"


def test_flips_of_sides_are_a_warning(data, caplog, tmp_path):
    config = config_of("DATA.PATH_TO_DATA_DIR", str(data))
    train_clips(config, videos_of(config, "train"))
    assert not caplog.records
    flipped = config_of("DATA.PATH_TO_DATA_DIR", str(data), "DATA.RANDOM_FLIP", "True")
    train_clips(flipped, videos_of(flipped, "train"))
    (record,) = caplog.records
    assert record.getMessage() == (
        "DATA.RANDOM_FLIP mirrors half of the clips, and labels tell left from right (Moving something left then up; Moving "
        "something down then right): set it to False"
    )
    caplog.clear()
    # move_left and move_right of the other toy
    make_toy_set(tmp_path, ToySet(1, 1, 1, 4, 16, 16), processes=1)
    (tmp_path / "labels.json").write_text('["move_left", "lefty", "bright"]')
    kinetics = load_config(
        TOY / "MVITV2_TOY_8x4.yaml", ["DATA.PATH_TO_DATA_DIR", str(tmp_path), "DATA.RANDOM_FLIP", "True"]
    )
    train_clips(kinetics, videos_of(kinetics, "train"))
    assert not caplog.records  # "bright" says nothing of the right
    (tmp_path / "labels.json").write_text('["move_left", "move_right"]')
    train_clips(kinetics, videos_of(kinetics, "train"))
    assert "(move_left; move_right)" in caplog.text
