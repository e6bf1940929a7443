"""The blocks of the documents that are marked runnable, run page by page and in order, in a copy of the checkout."""

import os
import shutil
import subprocess
import sys

import av
import numpy as np
import pytest

from slowfast_mvit.data.toy import ToySet, make_toy_set
from tests.commands import run_here, small_config
from tests.data.conftest import with_rotation
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


def demo_has_run(checkout):
    """What docs/start.md begins with: the weights that `make demo` leaves (of a smaller model), and a video of a phone."""
    make_toy_set(checkout / "runs/toy/data", ToySet(num_train=8, num_val=2, num_test=2))
    config = small_config(checkout, checkout / "runs/toy/data")
    run_here(config, "SOLVER.MAX_EPOCH", "16", "OUTPUT_DIR", str(checkout / "runs/toy"), "TEST.ENABLE", "False")
    record(checkout / "phone.mp4")


def record(path):
    """A tall video of 3 seconds as a phone stores it: lying on its side, with a matrix that turns it upright."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 192, 108, "yuv420p"
        for number in range(90):
            picture = np.zeros((108, 192, 3), dtype=np.uint8)
            picture[30:60, number : number + 40] = (250, 180, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(with_rotation(path.read_bytes(), 90))


PREPARE = {"start.md": demo_has_run}


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_the_page_runs(page, checkout):
    PREPARE.get(page.name, lambda _: None)(checkout)
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
