from pathlib import Path

from slowfast_mvit.weights.table import PUBLISHED
from slowfast_mvit.weights.zoo_page import zoo_page

PAGE = Path(__file__).parents[2] / "docs/zoo.md"


def test_the_page_is_that_of_the_table():
    assert PAGE.read_text(encoding="utf-8") == zoo_page(), "python -m slowfast_mvit.weights.zoo_page > docs/zoo.md"


def test_every_file_has_a_row_with_its_figures():
    rows = [line for line in zoo_page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(PUBLISHED)
    (small,) = [row for row in rows if "MViTv2_S_16x4_k400_f302660347.pyth" in row]
    assert small.split(" | ")[:4] == ["| `mvitv2_s_16x4`", "`k400`", "81.0 / 94.6", "5 clips x 1 crop"]
