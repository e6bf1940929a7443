"""What the headers of the recipes say, and the page docs/recipes.md made of them.

python -m slowfast_mvit.config.recipes > docs/recipes.md
"""

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

from slowfast_mvit.errors import UserError

FIELDS = ("Command", "Expected", "Model", "Source", "Measured here")
CONFIGS = Path(__file__).parents[2] / "configs"

# Folder -> heading of its table, in the order of the page.
_TABLES = {
    "Kinetics": "Kinetics",
    "Kinetics/presets": "Kinetics on one machine, at the paper's batch",
    "SSv2": "Something-Something v2",
    "SSv2/presets": "Something-Something v2 on one machine, at the paper's batch",
    "AVA": "AVA v2.2",
    "ImageNet": "ImageNet",
    "COCO": "COCO",
    "Kinetics/ablations": "Ablations on Kinetics-400",
    "ImageNet/ablations": "Ablations on ImageNet-1K",
    "COCO/ablations": "Ablations on COCO",
}
_INTRODUCTION = """# Recipes

Made of the files' headers by `python -m slowfast_mvit.config.recipes > docs/recipes.md`. Expected accuracies are the paper's
(arXiv 2112.01526), in percent, by the protocol in brackets. Every file gives its command, its source (official file, or section
of the paper), what is ours because neither says it, and where paper and official files disagree.

```bash
python tools/run_net.py --cfg configs/Kinetics/MVITV2_S_16x4.yaml DATA.PATH_TO_DATA_DIR /path/to/k400 OUTPUT_DIR runs/k400_s
```

Recipes that start from weights name them: a published file, or what another recipe leaves in `runs/`. The default rows of the
ablations are the recipes themselves: MVITV2_S (decomposed positions on queries, residual and full query pooling, key stride 4),
MVITV2_S_16x4, and MASK_RCNN_MVITV2_S (the same in hybrid windows, with a feature pyramid). FLOPs of detectors are for an image
of 800 x 1280 with 1,000 proposals and 100 masks.

A test has `TEST.NUM_ENSEMBLE_VIEWS` clips and `TEST.NUM_SPATIAL_CROPS` crops of each; `TEST.NUM_TEMPORAL_CLIPS "[1, 5, 10]"`
tests with each number in turn. Before 3 crops are cut, the official code brings the short side to the crop size, the paper to
256 pixels (for crops of 224): `TEST.SHORT_SIDE 256`. One crop is cut at 256 by both.
"""


@dataclass(frozen=True)
class Recipe:
    """The header of a recipe: its first sentence, and its fields by name (``FIELDS``)."""

    path: Path
    title: str
    fields: dict[str, str]


def read_recipe(path: Path) -> Recipe:
    """The header of a file: the comment lines at its top. A field goes on in lines that are indented.

    Raises:
        UserError: a field is missing.
    """
    lines = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    title: list[str] = []
    fields: dict[str, str] = {}
    current = ""
    for line in lines:
        text = line.removeprefix("#").removeprefix(" ")
        name, colon, value = text.partition(":")
        if colon and name in FIELDS:
            fields[name], current = value.strip(), name
        elif current and text.startswith("  "):
            fields[current] += f" {text.strip()}"
        else:
            current = ""
            if not fields and text:
                title.append(text)
    missing = [name for name in FIELDS if not fields.get(name)]
    if missing or not title:
        raise UserError(f"{path}: its header lacks {', '.join(missing or ['a first sentence'])}")
    return Recipe(path, " ".join(title), fields)


def recipes_page(configs: Path = CONFIGS) -> str:
    """The text of docs/recipes.md."""
    parts = [_INTRODUCTION]
    for folder, heading in _TABLES.items():
        rows = [_row(read_recipe(path), configs) for path in sorted((configs / folder).glob("*.yaml"))]
        head = [f"| file in `configs/{folder}` | recipe | expected | model |", "|---|---|---|---|"]
        parts.append("\n".join([f"## {heading}", "", *head, *rows]) + "\n")
    return "\n".join(parts)


def _row(recipe: Recipe, configs: Path) -> str:
    link = f"[{recipe.path.stem}](../configs/{recipe.path.relative_to(configs).as_posix()})"
    cells = (link, recipe.title.removesuffix("."), recipe.fields["Expected"], recipe.fields["Model"])
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(recipes_page())
