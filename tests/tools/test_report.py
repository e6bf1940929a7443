"""tools/report.py on real folders, and on what is none."""

from pathlib import Path

import pytest
import report as tool

from tests.commands import run_here


def test_a_report_is_made_again(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(config_file, "TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1") == 0
    page = tmp_path / "run" / "report.html"
    before = page.read_bytes()
    page.unlink()
    capsys.readouterr()
    assert tool.main([str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out == f"{page}\n" and page.read_bytes() == before


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([str(tmp_path / "gone"), str(tmp_path)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert err[0] == f"error: there is no folder {tmp_path}/gone: give the OUTPUT_DIR of a run"
    assert err[1] == f"error: {tmp_path} holds nothing of a training, a test or a prediction: give the folder of one"
