"""The table of models from the command line."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from slowfast_mvit.build.model import list_models
from slowfast_mvit.build.model_stats import footnotes, model_stats, stats_table
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.baselines import BASELINES
from slowfast_mvit.models.paper import FOOTNOTES, PAPER_ROWS

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, "tools/model_stats.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_some_models(tmp_path):
    found = run("mvitv2_l", "x3d_xs", "--csv", str(tmp_path / "stats.csv"))
    assert found.returncode == 0, found.stderr
    line = next(line for line in found.stdout.splitlines() if "the released file" in line)
    assert line.split()[-8:] == ["file", "217,992,952", "43.87", "218", "42.1", "217,992,952", "43.87", "[2]"]
    assert f"[2] {FOOTNOTES[2]}" in " ".join(found.stdout.split()) and "[4]" not in found.stdout
    assert max(map(len, found.stdout.splitlines())) < 140
    stats = pd.read_csv(tmp_path / "stats.csv")
    assert set(stats["model"]) == {"mvitv2_l", "x3d_xs"}
    assert stats[stats["model"] == "x3d_xs"]["params"].item() == 3_794_274
    # PyTorchVideo's model zoo: 0.91 G for a view of 182 pixels, so 0.70 at 160 and less without its batch norms.
    assert 0.6 < stats[stats["model"] == "x3d_xs"]["gflops"].item() < 0.71


def test_a_name_that_does_not_exist():
    found = run("mvitv2_xl")
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr.splitlines()[-1].startswith("error: there is no model 'mvitv2_xl'; did you mean mvitv2_")
    with pytest.raises(UserError):
        model_stats(["mvitv2_xl"])


def test_every_model_has_a_row():
    assert {row.name for row in PAPER_ROWS} | set(BASELINES) == set(list_models())


def test_the_table_lines_up():
    stats = model_stats(["mvitv2_t", "mvitv2_b"])
    lines = stats_table(stats).splitlines()
    assert len(lines) == 1 + 3 and len({len(line) for line in lines}) == 1
    first = ["mvitv2_t", "T", "at", "224,", "Table", "2", "24,173,320", "4.70", "24", "4.7", "24,173,320", "4.70"]
    assert lines[1].split() == first
    assert footnotes(stats) == {6: FOOTNOTES[6]}
