"""The demo as a process of its own, on a small model of random weights, and the videos and files that are sent to it."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast_mvit.build.model import build_model
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.toy import write_video
from slowfast_mvit.data.video import open_video
from tests.models.small import randomize

EVIL = "<img src=x onerror=\"document.title='run'\">"
NAMES = ["walk", "run", "jump", "sit", "wave", EVIL, "turn a very long page of a large book with both hands", "eat"]
MAX_BYTES = 400_000


@dataclass
class Server:
    """A running demo: where, and what it has said."""

    process: subprocess.Popen[str]
    url: str
    said: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts the command with some words at a free port; waits until it answers."""
    running = []

    def begin(*words: str | Path, folder: Path | None = None) -> Server:
        from tests.commands import start as process_of

        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        if folder is not None:
            environment |= {"TMPDIR": str(folder)}
        command = [sys.executable, "-u", "-m", "slowfast_mvit.demo", "--port", "0", *map(str, words)]
        process = process_of(*command, env=environment, stderr=subprocess.STDOUT)
        running.append(process)
        server = Server(process, "")
        assert process.stdout is not None
        for line in process.stdout:
            server.said.append(line)
            if found := re.match(r"(http://\S+) shows the page", line):
                server.url = found[1]
                break
        assert server.url, "".join(server.said)
        threading.Thread(target=lambda: server.said.extend(process.stdout or ()), daemon=True).start()
        return server

    yield begin
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, toy_data: Path) -> tuple[Path, Path]:
    """(config, weights) of a small model for clips of eight classes."""
    from tests.commands import small_config

    folder = tmp_path_factory.mktemp("model")
    config = small_config(folder, toy_data)
    torch.manual_seed(0)
    built = build_model(load_config(config, ["NUM_GPUS", "0"]))
    randomize(built)
    torch.save({"model_state": built.state_dict(), "label_names": NAMES}, folder / "weights.pyth")
    return config, folder / "weights.pyth"


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory, toy_data: Path) -> Path:
    """Four toy videos one after the other: 192 frames, 6.4 seconds, 13 windows."""
    parts = []
    for number in range(4):
        with open_video(toy_data / "videos" / "test" / f"{number:05d}.mp4") as reader:
            parts.append(reader.frames_at(range(reader.num_frames)))
    path = tmp_path_factory.mktemp("film") / "my film.mp4"
    write_video(path, np.concatenate(parts))
    return path


@pytest.fixture(scope="session")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server of :func:`server` has its files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="session")
def server(start: Callable[..., Server], model: tuple[Path, Path], temporary: Path) -> Server:
    """The demo of the small model, windows of half a second."""
    config, weights = model
    options = ("--window", "0.5", "--max-megabytes", f"{MAX_BYTES / 1e6:g}", "NUM_GPUS", "0")
    return start("--cfg", config, "--weights", weights, *options, folder=temporary)
