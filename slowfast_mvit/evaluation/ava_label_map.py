"""AVA's label maps: protocol buffer text with an entry for every action that is scored.

``item { name: "stand" id: 12 }``, or ``label { name: "stand" label_id: 12 label_type: PERSON_MOVEMENT }``.
"""

import ast
import re
from pathlib import Path

from slowfast_mvit.errors import UserError, reading
from slowfast_mvit.evaluation.ava_boxes import ActionClass

_TOKEN = re.compile(
    r"""(?P<skip>[\s,;]+|\#[^\n]*)"""
    r"""|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<word>[\w.+-]+)"""
    r"""|(?P<mark>[{}:])"""
)
_ENTRIES = ("item", "label")
_IDS = ("id", "label_id")


def read_label_map(path: str | Path) -> tuple[ActionClass, ...]:
    """The actions of a label map (.pbtxt), in its order.

    Raises:
        UserError: with file and line, for text of another form, entries without name or number, and names or numbers that
            are there twice; with the file, if it cannot be opened.
    """
    path = Path(path)
    try:
        with reading(path):
            tokens = _tokens(path.read_text(encoding="utf-8-sig"), path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no text in UTF-8 ({error})") from error
    found: list[ActionClass] = []
    while tokens:
        line, word = tokens.pop(0)
        if word not in _ENTRIES or _take(tokens) != "{":
            raise UserError(
                f"{path}, line {line}: {word!r} where an entry like item {{ name: ... id: ... }} is expected"
            )
        one = _entry(tokens, f"{path}, line {line}")
        for other in found:
            if other.id == one.id or other.name == one.name:
                raise UserError(f"{path}, line {line}: {one.id} {one.name!r} is there twice, before as {other.name!r}")
        found.append(one)
    if not found:
        raise UserError(f"{path}: no entry like item {{ name: ... id: ... }}")
    return tuple(found)


def _entry(tokens: list[tuple[int, str]], where: str) -> ActionClass:
    """The entry that was opened, up to its closing brace."""
    fields: dict[str, str] = {}
    while (key := _take(tokens)) != "}":
        value = _take(tokens) if _take(tokens) == ":" else ""
        if not key or not value or value in "{}:":
            raise UserError(f"{where}: an entry must be of lines like id: 12, with a brace at its end")
        fields[key] = value
    name, number = fields.get("name"), next((fields[key] for key in _IDS if key in fields), None)
    if name is None or name[0] not in "'\"" or number is None:
        raise UserError(f'{where}: an entry needs a name: "..." and an id: (or label_id:)')
    if not number.isdecimal() or not 0 < int(number) < 2**31:
        raise UserError(f"{where}: the id {number} is not a whole number from 1 on")
    return ActionClass(int(number), ast.literal_eval(name))


def _take(tokens: list[tuple[int, str]]) -> str:
    return tokens.pop(0)[1] if tokens else ""


def _tokens(text: str, path: Path) -> list[tuple[int, str]]:
    """Words, quoted texts and marks, each with its line."""
    found, place, line = [], 0, 1
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise UserError(f"{path}, line {line}: {text[place]!r} does not belong in a label map")
        if token.lastgroup != "skip":
            found.append((line, token.group()))
        line += token.group().count("\n")
        place = token.end()
    return found
