# ruff: noqa: SIM300 - upper-case keys are no constants
import itertools
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from slowfast_mvit.config.load import ConfigError, config_to_dict, dump_config, load_config, load_config_text
from slowfast_mvit.config.schema import Aug, Config, Data, Mvit, Solver

REPOSITORY = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))
GOOD = "DATA:\n  TEST_CROP_SIZE: 224\n"  # the least that a config of MViT says


def write(folder: Path, text: str, name: str = "a.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path, overrides: list[str] | None = None) -> list[str]:
    """The problems of a file, without the folder of the test."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides or [])
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.replace(f"{path.parent}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_config_of_the_project_loads(path: Path) -> None:
    config = load_config(path)
    assert load_config_text(dump_config(config), "dump") == config


def test_there_are_configs() -> None:
    assert {"MVITV2_S_16x4.yaml", "MVITV2_B_32x3.yaml", "MVITV2_L_40x3.yaml"} <= {path.name for path in CONFIGS}


@pytest.mark.parametrize(
    ("name", "depth", "starts", "frames", "rate", "drop_path", "crops"),
    [
        ("S_16x4", 16, (1, 3, 14), 16, 4, 0.2, 1),
        ("B_32x3", 24, (2, 5, 21), 32, 3, 0.3, 1),
        ("L_40x3", 48, (2, 8, 44), 40, 3, 0.75, 3),
    ],
)
def test_kinetics_recipes(
    name: str, depth: int, starts: tuple[int, ...], frames: int, rate: int, drop_path: float, crops: int
) -> None:
    config = load_config(REPOSITORY / "configs" / "Kinetics" / f"MVITV2_{name}.yaml")
    assert config.MVIT.DEPTH == depth
    assert config.MVIT.DIM_MUL == config.MVIT.HEAD_MUL == tuple((start, 2.0) for start in starts)
    assert config.MVIT.POOL_Q_STRIDE == tuple((i, 1, 2, 2) if i in starts else (i, 1, 1, 1) for i in range(depth))
    assert config.MVIT.POOL_KV_STRIDE_ADAPTIVE == (1, 8, 8)
    assert config.MVIT.DROPPATH_RATE == drop_path
    assert (config.DATA.NUM_FRAMES, config.DATA.SAMPLING_RATE) == (frames, rate)
    assert (config.TEST.NUM_ENSEMBLE_VIEWS, config.TEST.NUM_SPATIAL_CROPS) == (5, crops)


def test_large_recipe_has_the_fine_tuning_values_of_the_paper() -> None:
    config = load_config(REPOSITORY / "configs" / "Kinetics" / "MVITV2_L_40x3.yaml")
    solver = config.SOLVER
    assert (solver.BASE_LR, solver.REFERENCE_BATCH, solver.MAX_EPOCH, solver.WEIGHT_DECAY) == (1.6e-5, 128, 30, 1e-8)
    assert (config.MVIT.EMBED_DIM, config.MVIT.NUM_HEADS) == (144, 2)
    assert (config.DATA.TEST_CROP_SIZE, config.DATA.MEAN) == (312, (0.485, 0.456, 0.406))
    assert (config.MIXUP.ENABLE, config.MIXUP.PROB) == (True, 0.0)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_recipe_opens_with_its_header(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    header = [line.lower() for line in itertools.takewhile(lambda line: line.startswith("#"), lines)]
    assert header
    if path.parent.name != "Toy":
        for word in ("command:", "expected:", "source:", "measured here:"):
            assert any(line.startswith(f"# {word}") for line in header), word


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.yaml")), ids=lambda path: path.name)
def test_corpus_loads_and_survives_a_dump(path: Path) -> None:
    config = load_config(path)
    assert load_config_text(dump_config(config), "dump") == config


def test_pyslowfast_video_file() -> None:
    config = load_config(CORPUS / "kinetics_video.yaml")
    assert config.MVIT.MODE == "conv"
    assert config.MVIT.PATCH_KERNEL == (3, 7, 7)
    assert config.MVIT.POOL_Q_STRIDE == ((1, 1, 2, 2), (3, 1, 2, 2), (14, 1, 2, 2))
    assert config.MVIT.POOL_KV_STRIDE_ADAPTIVE == (1, 8, 8)
    assert config.MVIT.HEAD_MUL == ((1, 2.0), (3, 2.0), (14, 2.0))
    assert config.SOLVER == Solver(
        BASE_LR=1e-4,
        BASE_LR_SCALE_NUM_SHARDS=True,
        COSINE_AFTER_WARMUP=True,
        COSINE_END_LR=1e-6,
        WARMUP_START_LR=1e-8,
        WARMUP_EPOCHS=30.0,
        MAX_EPOCH=200,
        CLIP_GRAD_L2NORM=1.0,
        OPTIMIZING_METHOD="adamw",
    )
    assert config.DATA.DECODING_BACKEND == "pyav"
    assert config.DATA.INPUT_CHANNEL_NUM == (3,)
    assert config.TEST.NUM_TEMPORAL_CLIPS == (1, 3, 5)


def test_ssv2_file_with_prefetch() -> None:
    config = load_config(CORPUS / "ssv2_prefetch.yaml")
    assert config.TRAIN.DATASET == "ssv2"
    assert config.TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN == ("backbone.",)
    assert config.SOLVER.WEIGHT_DECAY == 1e-4


def test_image_file_of_the_mvit_repository() -> None:
    config = load_config(CORPUS / "image_mvit_tiny.yaml")
    assert config.DATA.IN_VAL_CROP_RATIO == 1.0
    assert config.MVIT == Mvit(
        PATCH_2D=True,
        CLS_EMBED_ON=False,
        PATCH_KERNEL=(7, 7),
        PATCH_STRIDE=(4, 4),
        PATCH_PADDING=(3, 3),
        USE_ABS_POS=False,
        REL_POS_SPATIAL=True,
        RESIDUAL_POOLING=True,
        DIM_MUL_IN_ATT=True,
        ZERO_DECAY_POS_CLS=False,
        DEPTH=10,
        DIM_MUL=((1, 2.0), (3, 2.0), (8, 2.0)),
        HEAD_MUL=((1, 2.0), (3, 2.0), (8, 2.0)),
        POOL_KVQ_KERNEL=(3, 3),
        POOL_KV_STRIDE_ADAPTIVE=(4, 4),
        POOL_Q_STRIDE=tuple((i, 2, 2) if i in (1, 3, 8) else (i, 1, 1) for i in range(10)),
    )


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "TRAIN:\n  BATCH_SIZE: 4\n")
    overrides = ["TRAIN.BATCH_SIZE", "6", "TRAIN.BATCH_SIZE", "8", "SOLVER.BASE_LR", "1e-3", "NUM_GPUS", "2"]
    config = load_config(path, [*overrides, "DATA.LIST_COLUMNS", '["path", "ignore", "label"]', "OUTPUT_DIR", "2024"])
    assert (config.TRAIN.BATCH_SIZE, config.SOLVER.BASE_LR, config.NUM_GPUS) == (8, 1e-3, 2)
    assert config.DATA.LIST_COLUMNS == ("path", "ignore", "label")
    assert config.OUTPUT_DIR == "2024"


def test_all_problems_come_at_once_with_their_places(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "MVIT:\n  DEPTH: banana\n  PATCH_KERNEL: banana\n  DIM_MUL: [[1, 2.0], [3, x]]\n"
        "TRAIN:\n  BACH_SIZE: 3\n  ENABLE: 3\nMULTIGRID:\n  LONG_CYCLE: True\n"
        "DATA:\n  TEST_CROP_SIZE: 312\nSOLVER:\n  BASE_LR: -1\n",
    )
    assert problems(path, ["TRAIN.BATCHSIZE", "3", "NUM_GPUS", "1.5"]) == [
        "a.yaml:2: MVIT.DEPTH: expected an integer, got 'banana'",
        "a.yaml:3: MVIT.PATCH_KERNEL: expected a list of integers, got 'banana'",
        "a.yaml:4: MVIT.DIM_MUL: entry [1][1]: expected a number, got 'x'",
        "a.yaml:6: unknown key TRAIN.BACH_SIZE; did you mean TRAIN.BATCH_SIZE?",
        "a.yaml:7: TRAIN.ENABLE: expected True or False, got 3",
        "a.yaml:9: MULTIGRID.LONG_CYCLE: True is refused: multigrid training is not part of this package; "
        "no MViTv2 recipe uses it (accepted: False); set it to False",
        "command line: unknown key TRAIN.BATCHSIZE; did you mean TRAIN.BATCH_SIZE?",
        "command line: NUM_GPUS: expected an integer, got 1.5",
        "a.yaml:13: SOLVER.BASE_LR: -1.0 is too small; the least is 0",
        "a.yaml:11: DATA.TEST_CROP_SIZE: 312 differs from DATA.TRAIN_CROP_SIZE 224, and MViT's position tables have "
        "one size; set both to 224 or both to 312",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a.yaml: the file is empty"),
        ("# nothing\n", "a.yaml: the file is empty"),
        ("- 1\n", "a.yaml:1: expected sections of keys at the top level"),
        ("hello\n", "a.yaml:1: expected sections of keys at the top level"),
        ("A: 1\nB: [1, 2\n", "a.yaml:3: this is not valid YAML: expected ',' or ']', but got '<stream end>'"),
        (
            "MVIT:\n  DEPTH: 1\n NUM_HEADS: 1\n",
            "a.yaml:3: this is not valid YAML: expected <block end>, but found '<block mapping start>'",
        ),
        ("MVIT: 5\n" + GOOD, "a.yaml:1: MVIT: expected a section of keys, got 5"),
        ("BN: 5\n" + GOOD, "a.yaml:1: BN: expected a section of keys, got 5"),
        ("RESNET: 5\n" + GOOD, "a.yaml:1: RESNET: expected a section of keys, got 5"),
        ("NUM_GPUS:\n  A: 5\n" + GOOD, "a.yaml:1: NUM_GPUS: expected an integer, got a group of keys"),
        ("DEPTH: 5\n" + GOOD, "a.yaml:1: unknown key DEPTH; did you mean MVIT.DEPTH?"),
        ("MVITT:\n  EMBED_DIN: 5\n" + GOOD, "a.yaml:2: unknown key MVITT.EMBED_DIN; did you mean MVIT.EMBED_DIM?"),
        ("ZEBRA: 5\n" + GOOD, "a.yaml:1: unknown key ZEBRA; docs/config.md lists the keys"),
        ("? [1, 2]\n: 5\n" + GOOD, "a.yaml:1: a key must be a text"),
        (
            "NUM_GPUS: !!python/object:os.system x\n" + GOOD,
            "a.yaml:1: NUM_GPUS: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object:os.system'",
        ),
        ("OUTPUT_DIR: 2024-13-45\n" + GOOD, "a.yaml:1: OUTPUT_DIR: month must be in 1..12"),
        ("A: &a\n  B: *a\n" + GOOD, "a.yaml:2: A.B: this section contains itself"),
        ("_BASE_: 3\n" + GOOD, "a.yaml:1: _BASE_: expected the name of a file, got 3"),
        ("_BASE_: a.yaml\n" + GOOD, "a.yaml:1: _BASE_: the files lead back to each other: a.yaml -> a.yaml"),
        ("_BASE_: none.yaml\n" + GOOD, "a.yaml:1: _BASE_: none.yaml: there is no such file; check its name and folder"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(write(tmp_path, text)) == [expected]


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.yaml") == ["none.yaml: there is no such file; check its name and folder"]
    write(tmp_path, GOOD, "MVITV2_S_16x4.yaml")
    assert problems(tmp_path / "MVITV2_S_16x5.yaml") == [
        "MVITV2_S_16x5.yaml: there is no such file; did you mean MVITV2_S_16x4.yaml?"
    ]
    (tmp_path / "folder").mkdir()
    assert problems(tmp_path / "folder") == ["folder: this is a folder; name a YAML file"]


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00\x80")
    assert problems(tmp_path / "a.yaml") == ["a.yaml: this is not a text file in UTF-8"]


def test_control_characters_are_no_yaml(tmp_path: Path) -> None:
    (message,) = problems(write(tmp_path, "A: \x00\n"))
    assert message.startswith("a.yaml: this is not valid YAML: unacceptable character #x0000")


def test_odd_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert problems(path, ["NUM_GPUS", "1", "TRAIN.BATCH_SIZE"]) == [
        "command line: overrides are pairs KEY VALUE, but 'TRAIN.BATCH_SIZE' at the end stands alone"
    ]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["MODEL.NUM_CLASSES=10"], "command line: MODEL.NUM_CLASSES=10: write KEY VALUE, without ="),
        (["NUM_GPUS", "0", "A=1", "B=2"], "command line: A=1: write KEY VALUE, without ="),
        (
            {"MODEL.NUM_CLASSES": 10},
            "overrides: expected a flat list [KEY, VALUE, KEY, VALUE, ...], got a mapping",
        ),
        ("MODEL.NUM_CLASSES 10", "overrides: expected a flat list [KEY, VALUE, KEY, VALUE, ...], got a single text"),
    ],
)
def test_overrides_of_other_forms(tmp_path: Path, overrides: object, said: str) -> None:
    assert problems(write(tmp_path, GOOD), overrides) == [said]


def test_a_value_may_hold_an_equals_sign(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, GOOD), ["OUTPUT_DIR", "a=b"]).OUTPUT_DIR == "a=b"


def test_a_misspelt_key_leaves_no_second_problem(tmp_path: Path) -> None:
    path = write(tmp_path, "DATA:\n  TEST_CROPSIZE: 224\n")
    assert problems(path) == ["a.yaml:2: unknown key DATA.TEST_CROPSIZE; did you mean DATA.TEST_CROP_SIZE?"]


def test_empty_sections_are_fine(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, GOOD + "MVIT:\nBN:\nRESNET:\nTRAIN: {}\n")).MVIT == Mvit()


def test_base_chain_is_merged_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "lower").mkdir()
    write(tmp_path / "lower", GOOD + "TRAIN:\n  BATCH_SIZE: 2\n  EVAL_PERIOD: 3\nTEST:\n  BATCH_SIZE: 2\n", "c.yaml")
    write(tmp_path / "lower", "_BASE_: c.yaml\nTRAIN:\n  BATCH_SIZE: 4\n  CHECKPOINT_PERIOD: 5\n", "b.yaml")
    config = load_config(write(tmp_path, "TRAIN:\n  CHECKPOINT_PERIOD: 7\n_BASE_: lower/b.yaml\n"))
    assert (config.TRAIN.BATCH_SIZE, config.TRAIN.EVAL_PERIOD, config.TRAIN.CHECKPOINT_PERIOD) == (4, 3, 7)
    assert (config.TEST.BATCH_SIZE, config.DATA.TEST_CROP_SIZE) == (2, 224)


def test_problems_of_a_base_name_the_base(tmp_path: Path) -> None:
    write(tmp_path, "MVIT:\n  DEPTH: x\n  NUM_HEADS: y\n" + GOOD, "b.yaml")
    path = write(tmp_path, "_BASE_: b.yaml\nMVIT:\n  NUM_HEADS: 1\n")
    assert problems(path) == ["b.yaml:2: MVIT.DEPTH: expected an integer, got 'x'"]


def test_a_base_cycle_is_named(tmp_path: Path) -> None:
    write(tmp_path, "_BASE_: a.yaml\n", "b.yaml")
    path = write(tmp_path, "_BASE_: b.yaml\n" + GOOD)
    assert problems(path) == [
        "a.yaml:1: _BASE_: b.yaml:1: _BASE_: the files lead back to each other: a.yaml -> b.yaml -> a.yaml"
    ]


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    path = write(tmp_path, "TEST: &x\n  BATCH_SIZE: 5\nTRAIN:\n  <<: *x\n  EVAL_PERIOD: 2\n" + GOOD)
    config = load_config(path)
    assert (config.TRAIN.BATCH_SIZE, config.TEST.BATCH_SIZE, config.TRAIN.EVAL_PERIOD) == (5, 5, 2)


def test_a_section_given_twice_counts_once(tmp_path: Path) -> None:
    path = write(tmp_path, "TRAIN:\n  BATCH_SIZE: 5\n" + GOOD + "TRAIN:\n  EVAL_PERIOD: 2\n")
    assert load_config(path).TRAIN.BATCH_SIZE == 64


def test_text_of_a_checkpoint_names_its_source() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config_text("NUM_GPUS: x\n" + GOOD, "checkpoint.pyth")
    assert caught.value.problems == ("checkpoint.pyth:1: NUM_GPUS: expected an integer, got 'x'",)


def test_dump_is_plain_yaml() -> None:
    config = load_config_text(GOOD + "MVIT:\n  DIM_MUL: [[1, 2]]\n", "text")
    plain = config_to_dict(config)
    assert plain["MVIT"]["DIM_MUL"] == [[1, 2.0]]
    assert plain["SOLVER"]["CLIP_GRAD_VAL"] is None
    assert yaml.safe_load(dump_config(config)) == plain


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(),
    texts=st.lists(st.text(), max_size=3).map(tuple),
    rate=st.floats(min_value=0, max_value=1e30),
    jitter=st.none() | st.floats(min_value=0, max_value=1e30),
    blocks=st.lists(st.integers(0, 15), unique=True, max_size=4),
    factor=st.floats(min_value=1e-6, max_value=8),
)
def test_any_config_survives_a_dump(
    text: str, texts: tuple[str, ...], rate: float, jitter: float | None, blocks: list[int], factor: float
) -> None:
    config = Config(
        OUTPUT_DIR=text,
        DATA=Data(TEST_CROP_SIZE=224, PATH_PREFIX=text),
        SOLVER=Solver(BASE_LR=rate, WEIGHT_DECAY=rate),
        AUG=Aug(COLOR_JITTER=jitter),
        MVIT=Mvit(DIM_MUL=tuple((block, factor) for block in blocks)),
        AVA=type(Config().AVA)(TRAIN_LISTS=texts),
    )
    assert load_config_text(dump_config(config), "dump") == config
