# ruff: noqa: SIM300 - the keys of the config are upper case, and no constants
"""Files in PySlowFast's form: each loads, builds, and says what our recipe says."""

import logging
from pathlib import Path

import pytest
import torch

from slowfast_mvit.build.model import build_model
from slowfast_mvit.config.keys import get_value
from slowfast_mvit.config.load import ConfigError, load_config
from slowfast_mvit.config.schema import all_keys

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "config" / "corpus"
OURS = {"NUM_GPUS", "TRAIN.CHECKPOINT_FILE_PATH", "DATA_LOADER.NUM_WORKERS"}


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.yaml")), ids=lambda path: path.name)
def test_it_builds(path: Path) -> None:
    with torch.device("meta"):
        model = build_model(load_config(path))
    assert sum(parameter.numel() for parameter in model.parameters()) > 0


@pytest.mark.parametrize(
    ("file", "recipe", "more"),
    [
        ("k400_mvitv2_s", "Kinetics/MVITV2_S_16x4", set()),
        ("ssv2_mvitv2_b", "SSv2/MVITV2_B_32x3", set()),
        # The Inception crop is PySlowFast's and our default for images.
        (
            "imagenet_mvitv2_b",
            "ImageNet/MVITV2_B",
            {"DATA.TRAIN_JITTER_SCALES_RELATIVE", "DATA.TRAIN_JITTER_ASPECT_RELATIVE"},
        ),
    ],
)
def test_our_recipe_is_the_official_file(file: str, recipe: str, more: set[str]) -> None:
    official, ours = load_config(CORPUS / f"{file}.yaml"), load_config(ROOT / "configs" / f"{recipe}.yaml")
    differing = {name for name in all_keys() if get_value(official, name) != get_value(ours, name)}
    assert differing - OURS == more


def test_the_slip_of_the_official_image_file_is_mended_and_said(caplog: pytest.LogCaptureFixture) -> None:
    path = CORPUS / "imagenet_mvitv2_b.yaml"
    number = path.read_text().splitlines().index(" DROPPATH_RATE: 0.3") + 1
    with caplog.at_level(logging.WARNING):
        config = load_config(path)
    assert (config.MVIT.DROPPATH_RATE, config.MVIT.DEPTH) == (0.3, 24)
    said = f"{path}:{number}: indented less than the lines around it; read as a key of their section"
    assert [record.getMessage() for record in caplog.records] == [said]


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("MVIT:\n  NUM_HEADS: 1\nDEPTH: 3\n  EMBED_DIM: 96\n", 3),
        ("MVIT:\n  NUM_HEADS: 1\n # a comment\n\n DEPTH: 3  # 2\n\n  EMBED_DIM: 96\n", 3),
        ("MVIT:\n  NUM_HEADS: 1\n   DEPTH: 3\n  EMBED_DIM: 96\n", None),  # deeper: nobody knows whose it is
        ("MVIT:\n  NUM_HEADS: 1\n DEPTH: 3\n", None),  # no line after it says where it belongs
        ("MVIT:\n  NUM_HEADS: 1\n DEPTH: 3\n  EMBED_DIM: [96\n", None),  # another mistake remains
        ("MVIT:\n  NUM_HEADS: 1\n DEPTH:\n  EMBED_DIM: 96\n", None),
    ],
)
def test_only_clear_slips_are_mended(text: str, depth: int | None, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("DATA:\n  TEST_CROP_SIZE: 224\n" + text)
    if depth is not None:
        assert load_config(path).MVIT.DEPTH == depth
        return
    with pytest.raises(ConfigError, match=r"x\.yaml:\d+: this is not valid YAML"):
        load_config(path)
