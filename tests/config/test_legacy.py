from pathlib import Path

import pytest

from slowfast_mvit.config.legacy import (
    ANY,
    FOREIGN_KEYS,
    FOREIGN_SECTIONS,
    FOREIGN_VALUES,
    KEY_ALIASES,
    VALUE_ALIASES,
    find_foreign_key,
    foreign_key_problem,
    section_problems,
)
from slowfast_mvit.config.load import ConfigError, load_config, load_config_text
from slowfast_mvit.config.schema import all_keys

GOOD = "DATA:\n  TEST_CROP_SIZE: 224\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BN.USE_PRECISE_STATS", False),
        ("BN.NUM_BATCHES_PRECISE", 17),
        ("BN.WEIGHT_DECAY", 0.0),
        ("BN.EPSILON", 1e-5),
        ("PREFETCH.NUM_LOADERS", 3),
        ("PREFETCH.A.B", 3),
        ("MULTIGRID.EPOCH_FACTOR", 9),
        ("MVIT.LAYER_SCALE_INIT_VALUE", 0.0),
        ("MVIT.REV.RES_PATH", "max"),
        ("TENSORBOARD.MODEL_VIS.GRAD_CAM.ENABLE", True),
        ("LOG_MODEL_INFO", False),
        ("SOLVER.WARMUP_FACTOR", 0.5),
        ("DATA_LOADER.ENABLE_MULTI_THREAD_DECODE", True),
    ],
)
def test_neutral_values_are_accepted(name: str, value: object) -> None:
    assert foreign_key_problem(name, value) is None


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (
            "MVIT.REV.ENABLE",
            True,
            "True is refused: reversible MViT is not part of this package (accepted: False); set it to False",
        ),
        (
            "MVIT.LAYER_SCALE_INIT_VALUE",
            0.1,
            "0.1 is refused: no released MViTv2 model uses it, and this package does not have it (accepted: 0); "
            "set it to 0",
        ),
        (
            "DEMO.ENABLE",
            True,
            "True is refused: there is no demo inside a training job (accepted: False); "
            "set it to False; tools/predict.py runs on any video",
        ),
        (
            "BN.NORM_TYPE",
            "sync_batchnorm",
            "'sync_batchnorm' is refused: MViT has no batch normalisation, and the baselines use PyTorch's own "
            "(accepted: 'batchnorm'); set it to batchnorm",
        ),
        (
            "BN.WEIGHT_DECAY",
            1e-4,
            "0.0001 is refused: MViT has no batch normalisation, and that of the baselines has PySlowFast's default "
            "(accepted: 0); set it to 0",
        ),
        (
            "MODEL.FROZEN_BN",
            0,
            "0 is refused: MViT has no batch normalisation, and the baselines use PyTorch's own (accepted: False); "
            "set it to False",
        ),
    ],
)
def test_other_values_are_refused_with_reason_and_remedy(name: str, value: object, problem: str) -> None:
    assert foreign_key_problem(name, value) == problem


def test_nearest_row_counts() -> None:
    assert find_foreign_key("BN.USE_PRECISE_STATS") is FOREIGN_KEYS["BN.USE_PRECISE_STATS"]
    assert find_foreign_key("BN.NUM_SPLITS") is FOREIGN_KEYS["BN.*"]
    assert find_foreign_key("MVIT.REV.X") is FOREIGN_KEYS["MVIT.REV.*"]
    assert find_foreign_key("BN") is None
    assert find_foreign_key("MVIT.X") is None


def test_foreign_names_are_not_ours() -> None:
    ours = all_keys()
    assert not set(FOREIGN_KEYS) & set(ours)
    assert not any(name.partition(".")[0] in FOREIGN_SECTIONS for name in ours)
    assert not set(KEY_ALIASES) & set(ours)
    assert set(KEY_ALIASES.values()) | set(FOREIGN_VALUES) | {name for name, _ in VALUE_ALIASES} <= set(ours)


def test_every_refusal_names_reason_and_remedy() -> None:
    for name, row in FOREIGN_KEYS.items():
        assert row.reason, name
        assert row.remedy, name
        assert row.neutral == ANY or isinstance(row.neutral, tuple), name


def test_sections_of_other_networks_are_accepted_at_their_defaults() -> None:
    values = {
        f"{section}.{key}": value for section, row in FOREIGN_SECTIONS.items() for key, value in row.defaults.items()
    }
    assert section_problems(values) == {}
    assert set(section_problems({**values, "X3D.DIM_C1": 24, "RESNET.STRANGE": 1, "X3D.DIM_C5": 1})) == {
        "X3D",
        "RESNET",
    }


def test_slowfast_file_is_refused_with_the_hint() -> None:
    path = Path(__file__).parent / "corpus" / "refused" / "ava_slowfast.yaml"
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    other = (
        "the network of this section is not part of this package; "
        "for a baseline set MODEL.ARCH to a PyTorchVideo hub name such as {} and remove the section"
    )
    assert caught.value.problems == (
        f"{path}:4: TRAIN.CHECKPOINT_TYPE: 'caffe2' is refused: Caffe2 files are not read here; "
        "convert it with PySlowFast, then set pytorch",
        f"{path}:33: MODEL.ARCH: 'slowfast' is refused: PySlowFast builds this network itself; "
        "here set MODEL.ARCH to slowfast_r50 or slowfast_r101 (PyTorchVideo's hub model)",
        f"{path}:16: SLOWFAST: {other.format('slowfast_r50')}",
        f"{path}:19: RESNET: {other.format('slow_r50')}",
        f"{path}:22: NONLOCAL: {other.format('slow_r50')}",
    )


def test_overrides_of_foreign_keys() -> None:
    assert load_config_text(GOOD, "text", ["BN.USE_PRECISE_STATS", "False", "MVIT.LAYER_SCALE_INIT_VALUE", "0.0"])
    with pytest.raises(ConfigError, match=r"^command line: BN\.USE_PRECISE_STATS: True is refused"):
        load_config_text(GOOD, "text", ["BN.USE_PRECISE_STATS", "True"])


def test_other_spellings() -> None:
    config = load_config_text(GOOD, "text", ["DATA.VAL_CROP_RATIO", "0.9", "MVIT.POOL_KV_STRIDE", "None"])
    assert config.DATA.IN_VAL_CROP_RATIO == 0.9
    assert config.MVIT.POOL_KV_STRIDE == ()
    for name, value in [("DATA.DECODING_BACKEND", "torchvision"), ("SOLVER.OPTIMIZING_METHOD", "mt_adamw")]:
        config = load_config_text(GOOD, "text", [name, value])
        section, key = name.split(".")
        assert getattr(getattr(config, section), key) == VALUE_ALIASES[name, value]


def test_a_task_of_self_supervision_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config_text(GOOD + "TASK: ssl\n", "text")
    assert caught.value.problems == (
        "text:3: TASK: 'ssl' is refused: self-supervised training is not part of this package; "
        "ssl_eval and other names are fine",
    )
