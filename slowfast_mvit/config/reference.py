"""The page docs/config.md, made from the schema: python -m slowfast_mvit.config.reference > docs/config.md"""

import sys
from collections.abc import Sequence

from slowfast_mvit.config.coerce import describe_type
from slowfast_mvit.config.keys import Key
from slowfast_mvit.config.legacy import ANY, FOREIGN_KEYS, FOREIGN_SECTIONS, FOREIGN_VALUES, KEY_ALIASES, VALUE_ALIASES
from slowfast_mvit.config.schema import all_keys

_INTRODUCTION = """# Config keys

This page is made from `slowfast_mvit/config/schema.py` and `legacy.py`; do not edit it. Make it again with
`python -m slowfast_mvit.config.reference > docs/config.md`.

A config is a YAML file with PySlowFast's keys; PySlowFast's own files for MViT load as they are. `_BASE_: other.yaml`
starts from another file. Overrides follow as pairs, as in `TRAIN.BATCH_SIZE 8 SOLVER.BASE_LR 1e-4`. Values are read by
the type given here; unknown keys, wrong types, values out of range and contradictions are all reported at once, with
file and line. Defaults are PySlowFast's unless the description says otherwise; "(ours)" marks keys that PySlowFast
does not have.
"""

_FOREIGN_INTRODUCTION = """## Keys that this package does not have

They are accepted at the values given here, where they ask for nothing, and refused otherwise, with the reason and what
to do. "any value": the key has no effect.
"""


def config_reference() -> str:
    """The whole page as Markdown."""
    sections: dict[str, list[Key]] = {}
    for name, declared in all_keys().items():
        sections.setdefault(name.rpartition(".")[0], []).append(declared)
    pages = [_INTRODUCTION, *(_section(title or "Top level", keys) for title, keys in sections.items())]
    return "\n".join([*pages, _FOREIGN_INTRODUCTION, _foreign_keys(), _foreign_sections(), _foreign_values()])


def _section(title: str, keys: list[Key]) -> str:
    """One section's heading and table."""
    rows = [(f"`{k.name}`", describe_type(k.type), f"`{_yaml(k.default)}`", _allowed(k), k.doc) for k in keys]
    return f"## {title}\n\n{_table(('key', 'type', 'default', 'allowed', 'meaning'), rows)}"


def _allowed(declared: Key) -> str:
    """The range of a key in words; empty if any value of its type will do."""
    parts = [" or ".join(f"`{choice}`" for choice in declared.choices)] if declared.choices else []
    parts += [f"at least {declared.at_least}"] if declared.at_least is not None else []
    parts += [f"less than {declared.below}"] if declared.below is not None else []
    parts += [f"more than {declared.above}"] if declared.above is not None else []
    parts += [f"at most {declared.at_most}"] if declared.at_most is not None else []
    parts += [f"{' or '.join(map(str, declared.lengths))} entries"] if declared.lengths else []
    return ", ".join(parts)


def _foreign_keys() -> str:
    """The table of foreign keys."""
    rows = [
        (
            f"`{name}`",
            ANY if row.neutral == ANY else ", ".join(f"`{_yaml(value)}`" for value in row.neutral),
            row.reason,
        )
        for name, row in FOREIGN_KEYS.items()
    ]
    return _table(("key", "accepted", "reason"), rows)


def _foreign_sections() -> str:
    """The sections of other networks."""
    rows = [(f"`{name}`", f"PySlowFast's defaults; otherwise: {row.remedy}") for name, row in FOREIGN_SECTIONS.items()]
    return _table(("section", "accepted"), rows)


def _foreign_values() -> str:
    """Other names of keys and values, and values that are refused."""
    rows = [(f"`{old}`", f"is read as `{new}`") for old, new in KEY_ALIASES.items()]
    rows += [
        (f"`{name}: {old}`", f"is read as `{_yaml(new)}`")
        for (name, old), new in VALUE_ALIASES.items()
        if old != "None"
    ]
    for name, values in FOREIGN_VALUES.items():
        rows += [(f"`{name}: {value}`", f"is refused: {reason}") for value, reason in values.items()]
    return _table(("written", "here"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def _yaml(value: object) -> str:
    """A default as it is written in a file: tuples as lists, texts in quotes."""
    return (
        f"[{', '.join(map(_yaml, value))}]"
        if isinstance(value, tuple)
        else f'"{value}"'
        if isinstance(value, str)
        else repr(value)
    )


if __name__ == "__main__":
    sys.stdout.write(config_reference())
