"""The blocks of the documents that are marked runnable, run page by page and in order, in a copy of the checkout."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.docs.pages import PAGES, ROOT, blocks

RUNNABLE = [page for page in PAGES if blocks(page, runnable=True)]


@pytest.fixture
def checkout(tmp_path):
    """A copy of what a user clones."""
    copy = tmp_path / "slowfast_mvit"
    copy.mkdir()
    for name in ("slowfast_mvit", "tools", "configs", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_the_page_runs(page, checkout):
    # `python` is this one, and the package is the copy's.
    commands = checkout / "bin"
    commands.mkdir()
    (commands / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (commands / "python").chmod(0o755)
    environment = os.environ | {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(checkout)}
    for block in blocks(page, runnable=True):
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=checkout, env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, f"{page.name}:\n{block}\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}"
        assert "Traceback" not in run.stderr
