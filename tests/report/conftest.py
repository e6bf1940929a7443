"""One small real run, trained and tested, that the tests of the page share, and one of boxes."""

import shutil
from pathlib import Path

import pytest

from slowfast_mvit.data.toy_ava import ToyAva, make_toy_ava

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, toy_data: Path) -> Path:
    """Two epochs on 24 videos, and a test of 10 in 8 classes; not to be changed."""
    from tests.commands import run_here, small_config

    folder = tmp_path_factory.mktemp("report")
    assert run_here(small_config(folder, toy_data), "LOG_PERIOD", "1") == 0
    return folder / "run"


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of its files without the checkpoints, to be changed."""
    copy = tmp_path / "copy"
    shutil.copytree(finished_run, copy, ignore=shutil.ignore_patterns("checkpoints"))
    return copy


@pytest.fixture(scope="session")
def ava_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test of boxes by fresh weights after one step; not to be changed."""
    from tests.commands import run_here

    root = tmp_path_factory.mktemp("ava")
    make_toy_ava(root / "data", ToyAva(2, 2, num_seconds=3))
    config = root / "ava.yaml"
    config.write_text(f"""_BASE_: {ROOT}/configs/Toy/MVITV2_TOY_AVA.yaml
AVA: {{FRAME_DIR: {root}/data/videos, ANNOTATION_DIR: {root}/data/annotations}}
MVIT: {{EMBED_DIM: 8}}
SOLVER: {{MAX_EPOCH: 1}}
DATA_LOADER: {{NUM_WORKERS: 0}}
OUTPUT_DIR: {root}/run
""")
    assert run_here(config) == 0
    return root / "run"
