"""Templates of the pages, in which every text is escaped, and their one style."""

import re
from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from slowfast_mvit.report.accuracy import percent

NAME = "report.html"
STYLE = Path(__file__).with_name("style.css")
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,  # names of videos and classes are anybody's
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _breakable(text: str) -> Markup:
    """The text, which may be broken after the marks that names and paths have in place of blanks."""
    return Markup(re.sub("([_/])", r"\1<wbr>", str(escape(text))))


_TEMPLATES.filters |= {"breakable": _breakable, "percent": percent}


def filled(template: str, content: Mapping[str, object]) -> str:
    """A page as HTML: a template of this folder with its content, and the style."""
    return _TEMPLATES.get_template(template).render(content, style=STYLE.read_text(encoding="utf-8"))
