"""A very small toy set and a config that trains on it in seconds, for everything that runs a whole command."""

import sys
from pathlib import Path

import pytest

from slowfast_mvit.data.toy import ToySet, make_toy_set

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training, 8 validation and 10 test videos."""
    return make_toy_set(tmp_path_factory.mktemp("toy"), ToySet(24, 8, 10), processes=1)


@pytest.fixture
def config_file(tmp_path: Path, toy_data: Path) -> Path:
    """The toy recipe at its smallest, writing to tmp_path/run."""
    path = tmp_path / "small.yaml"
    path.write_text(
        f"""_BASE_: {ROOT}/configs/Toy/MVITV2_TOY_8x4.yaml
DATA:
  PATH_TO_DATA_DIR: {toy_data}
MVIT:
  EMBED_DIM: 8
TRAIN:
  BATCH_SIZE: 8
TEST:
  BATCH_SIZE: 7
SOLVER:
  MAX_EPOCH: 2
DATA_LOADER:
  NUM_WORKERS: 0
OUTPUT_DIR: {tmp_path}/run
"""
    )
    return path
