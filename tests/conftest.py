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
    from tests.commands import small_config  # which needs the tools

    return small_config(tmp_path, toy_data)
