"""Tables and JSON files as they may lie in a folder: what is missing is None or empty, what is damaged is told in notes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from slowfast_mvit.errors import UserError, reading

VIDEO_TEXT = ("video", "label_name", "labels", "label_names", *(f"top{rank}_name" for rank in range(1, 6)))
VIDEO_TEXT += tuple(f"action_{rank}" for rank in range(1, 6))
BOX_COLUMNS = ("video", "second", "x1", "y1", "x2", "y2", "action_1", "score_1")
OBJECT_COLUMNS, IMAGE_TEXT = ("image", "label", "score", "x1", "y1", "x2", "y2"), ("image", "label")
CAUSE_COLUMNS = ("video", "path", "backend", "cause")


def read_table(notes: list[str], path: Path, needed: Sequence[str], text: Sequence[str] = ()) -> pd.DataFrame | None:
    """A CSV file: columns of ``text`` as they stand, the others as numbers (NaN where there is none)."""
    if not path.is_file():
        return None
    try:
        with reading(path):
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except pd.errors.EmptyDataError:
        return None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        notes.append(f"{path} is no CSV file: {error}")
        return None
    except UserError as error:
        notes.append(str(error))
        return None
    lacking = [name for name in needed if name not in table.columns]
    if lacking:
        notes.append(f"{path} has no column {', '.join(lacking)}: it is left out")
        return None
    numbers = {name: _numbers(table[name]) for name in table.columns if name not in text}
    table = table.assign(**numbers)
    whole = table[[name for name in needed if name not in text]].notna().all(axis=1)
    if not whole.all():
        notes.append(f"{(~whole).sum()} rows of {path} lack a number in {', '.join(needed)}: they are left out")
    return table[whole].reset_index(drop=True)


def _numbers(texts: pd.Series) -> pd.Series:
    """The numbers that texts say, NaN where they say none or an infinite one."""
    numbers = pd.to_numeric(texts, errors="coerce")
    return numbers.where(np.isfinite(numbers))


def read_json(notes: list[str], path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        with reading(path):
            found = json.loads(path.read_text(encoding="utf-8"))
    except UserError as error:
        notes.append(str(error))
        return {}
    except ValueError as error:
        notes.append(f"{path} is no JSON file: {error}")
        return {}
    if not isinstance(found, dict):
        notes.append(f"{path} is not an object of names and values: it is left out")
        return {}
    return found
