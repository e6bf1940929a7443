"""The documents and their blocks of commands."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"(<!-- runnable -->\n)?```bash\n(.*?)```", re.DOTALL)


def blocks(page, *, runnable):
    """The bash blocks of a page that are marked, or those that are not."""
    return [body for mark, body in BLOCK.findall(page.read_text(encoding="utf-8")) if bool(mark) == runnable]
