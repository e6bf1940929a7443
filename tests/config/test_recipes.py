"""Headers of recipes, and the page that is made of them."""

import shutil
from pathlib import Path

import pytest

from slowfast_mvit.config.recipes import CONFIGS, read_recipe, recipes_page
from slowfast_mvit.errors import UserError

HEADER = """# A model,
# of some size.
#
# Command:         python tools/run_net.py --cfg configs/x.yaml \\
#                      NUM_GPUS 0
# Expected:        top-1 80.0 | 1 view
# Model:           1.0 M parameters, 2.0 G FLOPs per view
# Source:          the paper: section B
# Measured here:   no
# Notes: are no field.
TRAIN:
  ENABLE: True  # Source: not the header's
"""


def test_header(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(HEADER)
    recipe = read_recipe(path)
    assert recipe.title == "A model, of some size."
    assert recipe.fields == {
        "Command": "python tools/run_net.py --cfg configs/x.yaml \\ NUM_GPUS 0",
        "Expected": "top-1 80.0 | 1 view",
        "Model": "1.0 M parameters, 2.0 G FLOPs per view",
        "Source": "the paper: section B",
        "Measured here": "no",
    }


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("# Expected:        top-1 80.0 | 1 view\n", "lacks Expected"),
        ("# A model,\n# of some size.\n", "lacks a first sentence"),
    ],
)
def test_headers_that_lack_something(tmp_path: Path, lost: str, said: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(HEADER.replace(lost, ""))
    with pytest.raises(UserError, match=said):
        read_recipe(path)


def test_the_page_is_up_to_date() -> None:
    written = (CONFIGS.parent / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert written == recipes_page(), "python -m slowfast_mvit.config.recipes > docs/recipes.md"


def test_the_page_has_every_recipe(tmp_path: Path) -> None:
    page = recipes_page()
    files = [path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml")]
    assert [file for file in files if not file.startswith("Toy/") and f"(../configs/{file})" not in page] == []
    # A bar in a cell does not end it.
    shutil.copytree(CONFIGS, tmp_path / "configs")
    (tmp_path / "configs" / "SSv2" / "x.yaml").write_text(HEADER)
    assert "| [x](../configs/SSv2/x.yaml) | A model, of some size | top-1 80.0 \\| 1 view |" in recipes_page(
        tmp_path / "configs"
    )
