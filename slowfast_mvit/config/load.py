"""YAML files and overrides into a checked, frozen Config, and back into YAML text.

Every problem of every source is collected, and they are raised together as one ConfigError.
"""

import dataclasses
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slowfast_mvit.config.check import check_config
from slowfast_mvit.config.coerce import Raw, WrongTypeError, coerce, read_literal, show
from slowfast_mvit.config.files import Entry, Reading, parse_overrides, read_file, read_text
from slowfast_mvit.config.legacy import (
    FOREIGN_KEYS,
    FOREIGN_SECTIONS,
    FOREIGN_VALUES,
    VALUE_ALIASES,
    find_foreign_key,
    foreign_key_problem,
    section_problems,
)
from slowfast_mvit.config.schema import Config, all_keys
from slowfast_mvit.errors import UserError


class ConfigError(UserError):
    """What is wrong with a config: `problems`, each one sentence that begins with file and line or "command line"."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def load_config(path: str | os.PathLike[str], overrides: Sequence[Raw] = ()) -> Config:
    """Load a YAML file with PySlowFast's keys, change the keys in `overrides`, check everything.

    Args:
        path: the file. Its key `_BASE_` may name another file, relative to it, whose keys it starts from.
        overrides: a flat list KEY VALUE KEY VALUE ..., as from a command line.

    Raises:
        ConfigError: with every problem of the file, of the overrides, and between keys.
    """
    return _finish(read_file(Path(path), all_keys()), parse_overrides(overrides), str(path))


def load_config_text(text: str, source: str, overrides: Sequence[Raw] = ()) -> Config:
    """Load a config from YAML text, such as the one in a checkpoint; `source` is its name in messages."""
    return _finish(read_text(text, source, all_keys()), parse_overrides(overrides), source)


def config_to_dict(config: Config) -> dict[str, Any]:
    """The config as nested dicts of plain values, tuples as lists."""
    return _plain(dataclasses.asdict(config))


def dump_config(config: Config) -> str:
    """The config as YAML text, which load_config_text reads back to an equal Config."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False, default_flow_style=None, width=120)


def _plain(value: Any) -> Any:
    """Tuples as lists, through dicts and lists."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (tuple, list)) else value


def _finish(reading: Reading, overrides: Reading, source: str) -> Config:
    """Turn what was read into a Config, or raise every problem at once."""
    entries = {**reading.entries, **overrides.entries}
    values, key_problems, failed = _typed_values(entries)
    problems = reading.problems + overrides.problems + key_problems
    config = _build(values)
    if not reading.problems and not overrides.problems:
        for problem in check_config(config, skip=failed):
            name = problem.partition(":")[0]
            origin = entries[name].origin if name in entries else source
            problems.append(f"{origin}: {problem}")
    if problems:
        raise ConfigError(problems)
    return config


def _typed_values(entries: Mapping[str, Entry]) -> tuple[dict[str, Any], list[str], set[str]]:
    """The values of the schema's keys, the problems, and the keys whose value was meant but is not known."""
    keys = all_keys()
    values: dict[str, Any] = {}
    problems: list[str] = []
    failed: set[str] = set()
    for name, entry in entries.items():
        try:
            if name in keys:
                values[name] = _typed_value(name, entry.value, keys[name].type)
            elif name.partition(".")[0] not in FOREIGN_SECTIONS or "." not in name:
                problems.extend(_other_name_problems(name, entry))
                failed.update(_suggestions(name)[:1])
        except WrongTypeError as problem:
            problems.append(f"{entry.origin}: {name}: {problem}")
            failed.add(name)
    problems.extend(_foreign_section_problems(entries))
    return values, problems, failed


def _typed_value(name: str, raw: Raw, declared: Any) -> Any:
    """The value of a key of the schema; a value of PySlowFast that is not ours is refused with its reason."""
    if raw is None or isinstance(raw, str):
        raw = VALUE_ALIASES.get((name, raw), raw)
    if isinstance(raw, str) and raw in FOREIGN_VALUES.get(name, {}):
        raise WrongTypeError(f"{raw!r} is refused: {FOREIGN_VALUES[name][raw]}")
    return coerce(raw, declared)


def _other_name_problems(name: str, entry: Entry) -> Iterator[str]:
    """Problems of a name that is no key of the schema: a foreign key, a section without keys, or a mistake."""
    if name in _section_names():
        if entry.value is not None:
            yield f"{entry.origin}: {name}: expected a section of keys, got {show(entry.value)}"
    elif find_foreign_key(name) is not None:
        problem = foreign_key_problem(name, read_literal(entry.value))
        if problem:
            yield f"{entry.origin}: {name}: {problem}"
    else:
        close = _suggestions(name)
        hint = f"did you mean {' or '.join(close)}?" if close else "docs/config.md lists the keys"
        yield f"{entry.origin}: unknown key {name}; {hint}"


def _foreign_section_problems(entries: Mapping[str, Entry]) -> Iterator[str]:
    """One problem for each section of another network that is not at its defaults."""
    inside = {name: entry for name, entry in entries.items() if name.partition(".")[0] in FOREIGN_SECTIONS}
    values = {name: read_literal(entry.value) for name, entry in inside.items() if "." in name}
    for section, problem in section_problems(values).items():
        origin = next(entry.origin for name, entry in inside.items() if name.startswith(f"{section}."))
        yield f"{origin}: {section}: {problem}"


def _section_names() -> set[str]:
    """Every name that stands for a group of keys, ours and foreign."""
    names = [*all_keys(), *FOREIGN_KEYS]
    sections = {
        ".".join(parts[:length]) for parts in (name.split(".") for name in names) for length in range(1, len(parts))
    }
    return sections | set(FOREIGN_SECTIONS)


def _suggestions(name: str) -> list[str]:
    """The keys that an unknown name may mean: the same key of another section, else the nearest in spelling."""
    if name in _section_names() or find_foreign_key(name) is not None:
        return []
    names = list(all_keys())
    last = name.upper().rpartition(".")[2]
    same = [known for known in names if known.upper().rpartition(".")[2] == last]
    if 0 < len(same) <= 3:
        return same
    by_upper = {known.upper(): known for known in names}
    return [by_upper[close] for close in difflib.get_close_matches(name.upper(), by_upper, n=1, cutoff=0.75)]


def _build(values: Mapping[str, Any]) -> Config:
    """Defaults with the given keys changed; values by dotted name."""
    changes: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, dot, key = name.rpartition(".")
        (sections.setdefault(section, {}) if dot else changes)[key] = value
    config = Config()
    for section, given in sections.items():
        changes[section] = dataclasses.replace(getattr(config, section), **given)
    return dataclasses.replace(config, **changes)
