"""What a machine has, asked in processes of their own: whole, and with parts missing or broken."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from slowfast_mvit.env import EXTRAS, Finding, Report, in_words

ROOT = Path(__file__).parents[1]


def ask(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [changes.pop("PYTHONPATH", ""), str(ROOT)]))
    command = [sys.executable, "-m", "slowfast_mvit.env", *arguments]
    environment = os.environ | changes | {"PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def findings(run: subprocess.CompletedProcess[str]) -> dict[str, dict[str, object]]:
    assert "Traceback" not in run.stderr, run.stderr
    return {finding["name"]: finding for finding in json.loads(run.stdout)["findings"]}


def test_as_one_object() -> None:
    run = ask("--json")
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads(run.stdout)
    assert report["versions"]["torch"] == metadata.version("torch")
    assert "libavcodec" in report["versions"]["FFmpeg (of av)"]
    found = findings(run)
    assert found["read by pyav"]["works"] and found["read by pyav"]["detail"] == "16 frames of h264"
    assert found["read by frames"]["detail"] == "16 frames of jpeg"
    assert found["torchvision"]["works"] and found["flash attention"]["works"]
    assert found["GPU"]["works"] is torch.cuda.is_available()
    assert set(EXTRAS) <= set(found)


def test_what_is_broken_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "decord.py").write_text("raise OSError('libfoo.so: cannot open shared object file')\n")
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('no onnxruntime here')\n")
    run = ask(PYTHONPATH=str(tmp_path), CXX="no-such-compiler", SLOWFAST_MVIT_HUGE_PAGES="0")
    assert run.returncode == 0, run.stderr  # nothing of it is needed
    assert "Traceback" not in run.stdout + run.stderr
    lines = [" ".join(line.split()) for line in run.stdout.splitlines()]
    at = lines.index("no read by decord libfoo.so: cannot open shared object file")
    assert lines[at + 1].startswith("-> pip install decord")
    at = lines.index("no onnxruntime no onnxruntime here")
    assert lines[at + 1] == "-> pip install 'slowfast_mvit[export]', for checking and running ONNX files"
    assert any(line.startswith("no huge pages ") for line in lines)
    assert any(line.startswith("no compiler for torch.compile") and "no-such-compiler" in line for line in lines)


@pytest.mark.parametrize(
    ("package", "named"), [("av", "videos"), ("torchvision", "torchvision"), ("pandas", "packages")]
)
def test_what_is_needed_decides_the_status(tmp_path: Path, package: str, named: str) -> None:
    (tmp_path / f"{package}.py").write_text("raise ImportError('undefined symbol: foo')\n")
    run = ask("--json", PYTHONPATH=str(tmp_path))
    found = findings(run)[named]
    assert run.returncode == 1 and not found["works"] and found["needed"]
    assert str(found["detail"]).removeprefix("pandas: ") == "undefined symbol: foo" and str(found["remedy"]).startswith(
        "pip install"
    )


def test_the_marks() -> None:
    report = Report(
        {"torch": "2", "decord": None},
        (
            Finding("a", True, "fine"),
            Finding("long", False, "gone", "mend it"),
            Finding("b", False, "x", "y", needed=True),
        ),
    )
    assert in_words(report).splitlines() == [
        "torch   2",
        "decord  not installed",
        "",
        "works  a     fine",
        "no     long  gone",
        "             -> mend it",
        "FAILS  b     x",
        "             -> y",
    ]
    assert not report.complete
