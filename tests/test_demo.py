"""The command of the demo: what it refuses, how it ends, and what it warns of."""

import importlib.util
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slowfast_mvit import demo
from tests.demo_page.conftest import Server, model, start  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """The command shows the log on the screen, here as long as a test."""
    ours = logging.getLogger("slowfast_mvit")
    before = ours.handlers, ours.level, ours.propagate
    yield
    ours.handlers, ours.level, ours.propagate = before


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert demo.main(list(words)) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and said.startswith("error: ") and said.count("\n") == 1
    return said.removeprefix("error: ").strip()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "there are no weights: give --weights FILE, or --model NAME"),
        ("--model mvitv2_s_16x4 --cfg a.yaml", "--model and --cfg both say which model is meant"),
        ("--model mvitv2_s_16x4 NUM_GPUS 0", "NUM_GPUS is a key of a config, and --model has none"),
        ("--model mvitv2_s_16x4 --detector a.pth", "--boxes and --detector are for a config of boxes"),
        ("--model mvitv2_x", "there is no classifier 'mvitv2_x'"),
        ("--weights a.pyth --boxes a.csv", "there is no box list a.csv"),
        ("--weights a.pyth --detector a.pth", "there is no file a.pth of a detector's weights"),
        ("--model mvitv2_t --max-megabytes 0", "--max-megabytes is 0; it must be more than 0"),
        ("--model mvitv2_t --port 65536", "--port is 65536; it must be from 0"),
        ("--model mvitv2_t --host 203.0.113.1", "no page can be served at 203.0.113.1, port 8000"),
        ("--model mask_rcnn_mvitv2_t --window 2", "--window is for whole clips: leave it out"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], words: str, said: str) -> None:
    assert error_of(capsys, *words.split()).startswith(said)


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = error_of(capsys, "--model", "mvitv2_t", "--port", port)
    assert said.startswith(f"no page can be served at 127.0.0.1, port {port} (Address already in use)")


def test_a_missing_extra(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    assert error_of(capsys, "--model", "mvitv2_t") == "the page needs uvicorn: pip install 'slowfast_mvit[demo]'"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_it_ends_while_it_works_and_leaves_nothing(
    start: Callable[..., Server],  # noqa: F811
    model: tuple[Path, Path],  # noqa: F811
    toy_data: Path,
    tmp_path: Path,
    number: signal.Signals,
    status: int,
) -> None:
    """Reachable from anywhere, which it warns of; many windows, so that it is stopped in the middle of them."""
    from tests.demo_page.test_server import posted

    config, weights = model
    words: tuple[Any, ...] = ("--window", "0.5", "--stride", "0.0001", "--host", "0.0.0.0", "NUM_GPUS", "0")
    server = start("--cfg", config, "--weights", weights, *words, folder=tmp_path)
    server.url = server.url.replace("0.0.0.0", "127.0.0.1")
    assert any(line.startswith("warning: 0.0.0.0 is not this machine alone: whoever reaches") for line in server.said)
    assert posted(server, "a.mp4", (toy_data / "videos" / "test" / "00000.mp4").read_bytes())[0] == 201
    assert len(list(tmp_path.glob("*/*/a.mp4"))) == 1
    server.process.send_signal(number)
    assert server.process.wait(20) == status
    assert not list(tmp_path.glob("slowfast_mvit_demo_*")) and "Traceback" not in "".join(server.said)
