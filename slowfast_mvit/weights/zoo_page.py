"""The page docs/zoo.md, made from the table of published weights: python -m slowfast_mvit.weights.zoo_page > docs/zoo.md"""

import sys
from collections.abc import Iterable

from slowfast_mvit.weights.published import Published
from slowfast_mvit.weights.table import PUBLISHED

_INTRODUCTION = """# Model zoo

Every published file that is known of, made from `slowfast_mvit/weights/table.py` by
`python -m slowfast_mvit.weights.zoo_page > docs/zoo.md`. Accuracies are the publishers', in percent (top-1 / top-5; box / mask
AP for COCO), by the protocol beside them; none was measured here. `create_model(model, pretrained=tag)` downloads a file and
checks the hash in its name, if it has one; without a network, give the path of the file in place of the tag. What was never
released is not here: asking for it says so.
"""


def zoo_page() -> str:
    """The whole page as Markdown: a table for each data set."""
    datasets = dict.fromkeys(entry.dataset for entry in PUBLISHED)
    parts = [_INTRODUCTION]
    for dataset in datasets:
        entries = [entry for entry in PUBLISHED if entry.dataset == dataset]
        parts.append(f"## {dataset}\n\n" + "\n".join(_table(entries)) + "\n")
    return "\n".join(parts)


def _table(entries: Iterable[Published]) -> list[str]:
    rows = ["| model | tag | expected | protocol | file of | normalisation |", "|---|---|---|---|---|---|"]
    for entry in entries:
        figures = " / ".join(f"{figure:.1f}" for figure in entry.accuracy or () if figure is not None)
        name = (entry.url or "").rsplit("/", 1)[-1]
        file = f"[{name}]({entry.url}), {entry.publisher}" if entry.url else entry.publisher
        protocol = (
            entry.protocol if entry.supported else f"{entry.protocol}; not loaded by its tag: {entry.unsupported}"
        )
        scale = "0.45 / 0.225" if set(entry.mean) == {0.45} else "ImageNet's"
        cells = (f"`{entry.model}`", f"`{entry.tag}`", figures, protocol, file, scale)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return rows


if __name__ == "__main__":
    sys.stdout.write(zoo_page())
