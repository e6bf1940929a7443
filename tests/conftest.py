"""A very small toy set and a config that trains on it in seconds, for everything that runs a whole command."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slowfast_mvit.data.toy import ToySet, make_toy_set

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
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


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium. One for all tests: playwright does not run twice in a process."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium, chromium-browser or google-chrome on PATH")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # containers have no other
        yield found
        found.close()
