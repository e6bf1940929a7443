import ast
import dataclasses
import sys
import typing
from pathlib import Path

import pytest

from slowfast_mvit.config.coerce import WrongTypeError, coerce, describe_type
from slowfast_mvit.config.keys import get_value, range_problem
from slowfast_mvit.config.reference import config_reference
from slowfast_mvit.config.schema import Config, Data, Mvit, Train, all_keys

REPOSITORY = Path(__file__).parents[2]

# PySlowFast's defaults, a sample of every section (the sheet of facts lists all of them).
PYSLOWFAST_DEFAULTS = {
    "NUM_SHARDS": 1,
    "RNG_SEED": 1,
    "TRAIN.BATCH_SIZE": 64,
    "TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN": (),
    "TEST.BATCH_SIZE": 8,
    "TEST.NUM_ENSEMBLE_VIEWS": 10,
    "TEST.NUM_SPATIAL_CROPS": 3,
    "AUG.AA_TYPE": "rand-m9-mstd0.5-inc1",
    "AUG.RE_PROB": 0.25,
    "MIXUP.ENABLE": False,
    "MIXUP.ALPHA": 0.8,
    "MODEL.DROPOUT_RATE": 0.5,
    "MVIT.PATCH_PADDING": (2, 4, 4),
    "MVIT.CLS_EMBED_ON": True,
    "MVIT.USE_ABS_POS": True,
    "MVIT.REL_POS_SPATIAL": False,
    "MVIT.RESIDUAL_POOLING": False,
    "MVIT.DIM_MUL_IN_ATT": False,
    "MVIT.ZERO_DECAY_POS_CLS": True,
    "MVIT.POOL_KV_STRIDE_ADAPTIVE": None,
    "DATA.NUM_FRAMES": 8,
    "DATA.INPUT_CHANNEL_NUM": (3, 3),
    "DATA.TEST_CROP_SIZE": 256,
    "DATA.IN22k_VAL_IN1K": "",
    "DATA.IN_VAL_CROP_RATIO": 0.875,
    "SOLVER.BASE_LR": 0.1,
    "SOLVER.BETAS": (0.9, 0.999),
    "SOLVER.WEIGHT_DECAY": 1e-4,
    "SOLVER.WARMUP_START_LR": 0.01,
    "DATA_LOADER.NUM_WORKERS": 8,
    "DETECTION.ROI_XFORM_RESOLUTION": 7,
    "AVA.DETECTION_SCORE_THRESH": 0.9,
    "AVA.TRAIN_GT_BOX_LISTS": ("ava_train_v2.2.csv",),
    "TENSORBOARD.ENABLE": False,
}
OUR_KEYS = {
    "MODEL.PRECISION": "float32",
    "TRAIN.ACCUMULATE_STEPS": 1,
    "SOLVER.REFERENCE_BATCH": 0,
    "DATA.LIST_COLUMNS": (),
    "TEST.SAVE_PROBABILITIES": False,
}
OTHER_DEFAULTS = {
    "MODEL.ARCH": ("mvit", "slowfast"),
    "MODEL.MODEL_NAME": ("MViT", "SlowFast"),
    "DATA.DECODING_BACKEND": ("pyav", "torchvision"),
    "DETECTION.SPATIAL_SCALE_FACTOR": (0, "16"),
}


@pytest.mark.parametrize(("name", "default"), PYSLOWFAST_DEFAULTS.items())
def test_defaults_are_those_of_pyslowfast(name: str, default: object) -> None:
    assert get_value(Config(), name) == default


@pytest.mark.parametrize(("name", "default"), OUR_KEYS.items())
def test_keys_of_our_own_are_marked(name: str, default: object) -> None:
    assert get_value(Config(), name) == default
    assert "(ours)" in all_keys()[name].doc


@pytest.mark.parametrize(("name", "defaults"), OTHER_DEFAULTS.items())
def test_defaults_that_differ_name_that_of_pyslowfast(name: str, defaults: tuple[object, str]) -> None:
    assert get_value(Config(), name) == defaults[0]
    assert f"(PySlowFast's default: {defaults[1]})" in all_keys()[name].doc


def test_every_default_has_the_declared_type_and_range() -> None:
    for name, declared in all_keys().items():
        value = coerce(declared.default, declared.type)
        assert value == declared.default, name
        assert type(value) is type(declared.default), name
        assert range_problem(declared, value) is None, name
        assert declared.doc, name
        assert "\n" not in declared.doc, name


def test_config_is_frozen_and_hashable() -> None:
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.NUM_GPUS = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.TRAIN.BATCH_SIZE = 2  # type: ignore[misc]
    assert hash(config) == hash(Config())


def test_keys_are_named_in_full() -> None:
    keys = all_keys()
    assert keys["TRAIN.BATCH_SIZE"].type is int
    assert keys["MVIT.DIM_MUL"].type == tuple[tuple[int, float], ...]
    assert keys["DATA.IN22k_VAL_IN1K"].type is str
    assert len(keys) == 9 + sum(len(dataclasses.fields(type(getattr(Config(), name)))) for name in _section_names())


def _section_names() -> list[str]:
    return [field.name for field in dataclasses.fields(Config) if dataclasses.is_dataclass(field.default)]


@pytest.mark.parametrize(
    ("value", "declared", "expected"),
    [
        (3, int, 3),
        ("3", int, 3),
        (3, float, 3.0),
        ("1e-8", float, 1e-8),
        (True, bool, True),
        ("True", bool, True),
        ("true", bool, True),
        ("false", bool, False),
        ("3", str, "3"),
        (" ", str, " "),
        ("None", float | None, None),
        (None, float | None, None),
        ("2", float | None, 2.0),
        ("(3, 7, 7)", tuple[int, ...], (3, 7, 7)),
        ([3, 7, 7], tuple[int, ...], (3, 7, 7)),
        ("[]", tuple[int, ...], ()),
        (["a", "1"], tuple[str, ...], ("a", "1")),
        ("('backbone.',)", tuple[str, ...], ("backbone.",)),
        ([[1, 2], (3, "2.5")], tuple[tuple[int, float], ...], ((1, 2.0), (3, 2.5))),
        ("[[0, 1, 1, 1]]", tuple[tuple[int, ...], ...], ((0, 1, 1, 1),)),
    ],
)
def test_coerce_takes(value: object, declared: object, expected: object) -> None:
    result = coerce(value, declared)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "declared", "message"),
    [
        (1.5, int, "expected an integer, got 1.5"),
        (16.0, int, "expected an integer, got 16.0"),
        (True, int, "expected an integer, got True"),
        ("banana", int, "expected an integer, got 'banana'"),
        (None, int, "expected an integer, got None"),
        (3, bool, "expected True or False, got 3"),
        (1, bool, "expected True or False, got 1"),
        (True, float, "expected a number, got True"),
        (float("nan"), float, "expected a number, got nan"),
        ("1e999", float, "expected a number, got inf"),
        ([1], float, "expected a number, got [1]"),
        ({"A": 1}, int, "expected an integer, got a group of keys"),
        (5, str, "expected a text, got 5; put it in quotes"),
        ("banana", tuple[int, ...], "expected a list of integers, got 'banana'"),
        (3, tuple[int, ...], "expected a list of integers, got 3"),
        ([3, "x", 7], tuple[int, ...], "entry [1]: expected an integer, got 'x'"),
        ([[1, 2.0], [3, "x"]], tuple[tuple[int, float], ...], "entry [1][1]: expected a number, got 'x'"),
        ([[1, 2.0], [3]], tuple[tuple[int, float], ...], "entry [1]: expected a list [integer, number], got [3]"),
        ("banana", tuple[int, ...] | None, "expected a list of integers, got 'banana'"),
    ],
)
def test_coerce_refuses(value: object, declared: object, message: str) -> None:
    with pytest.raises(WrongTypeError) as caught:
        coerce(value, declared)
    assert str(caught.value) == message


def test_a_huge_integer_is_no_number() -> None:
    with pytest.raises(WrongTypeError, match="expected a number, got 1000"):
        coerce(10**400, float)


def test_types_in_words() -> None:
    assert describe_type(typing.get_type_hints(Mvit)["POOL_Q_STRIDE"]) == "list of lists of integers"
    assert describe_type(typing.get_type_hints(Mvit)["DIM_MUL"]) == "list of lists [integer, number]"
    assert describe_type(typing.get_type_hints(Mvit)["POOL_KVQ_KERNEL"]) == "list of integers or None"
    assert describe_type(typing.get_type_hints(Train)["ENABLE"]) == "True or False"
    assert describe_type(typing.get_type_hints(Data)["MEAN"]) == "list of numbers"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("TEST.NUM_SPATIAL_CROPS", 2, "2 is not one of 1, 3"),
        ("DATA.ENSEMBLE_METHOD", "mean", "'mean' is not one of 'sum', 'max'"),
        ("TRAIN.BATCH_SIZE", 0, "0 is too small; the least is 1"),
        ("SOLVER.CLIP_GRAD_VAL", 0.0, "0.0 is too small; it must be more than 0"),
        ("AUG.RE_PROB", 1.5, "1.5 is too large; the most is 1"),
        ("DATA.MEAN", (0.5,), "expected 3 entries, got 1"),
        ("DATA.TRAIN_JITTER_SCALES_RELATIVE", (0.5,), "expected 0 or 2 entries, got 1"),
        ("DATA.LIST_COLUMNS", ("path", "class"), "'class' is not one of 'path', 'ignore', 'label'"),
        ("DATA.INPUT_CHANNEL_NUM", (1,), "1 is not one of 3"),
        ("DATA.INPUT_CHANNEL_NUM", (3,), None),
        ("DATA.INPUT_CHANNEL_NUM", (3, 3), None),
        ("SOLVER.CLIP_GRAD_VAL", None, None),
    ],
)
def test_ranges(name: str, value: object, problem: str | None) -> None:
    assert range_problem(all_keys()[name], value) == problem


def test_docs_page_is_up_to_date() -> None:
    page = (REPOSITORY / "docs" / "config.md").read_text(encoding="utf-8")
    assert page == config_reference(), "run: python -m slowfast_mvit.config.reference > docs/config.md"


def test_reference_names_every_key() -> None:
    page = config_reference()
    assert all(f"| `{name}` |" in page for name in all_keys())


def test_config_imports_no_torch() -> None:
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for file in (REPOSITORY / "slowfast_mvit" / "config").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    ours = {name for name in imported if name and name.startswith("slowfast_mvit")}
    assert all(name == "slowfast_mvit.errors" or name.startswith("slowfast_mvit.config.") for name in ours)
    assert {name.partition(".")[0] for name in imported - ours if name} <= {*sys.stdlib_module_names, "yaml"}
