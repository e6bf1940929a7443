"""YAML files and override lists, read into flat entries: a dotted key, its raw value, and where it was written."""

import difflib
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slowfast_mvit.config.coerce import Raw, show
from slowfast_mvit.config.legacy import KEY_ALIASES

BASE_KEY = "_BASE_"
_LOG = logging.getLogger(__name__)
_KEY_AND_VALUE = re.compile(r" *\w+: *[^\s#]")


@dataclass(frozen=True)
class Entry:
    """A raw value and its origin, such as "configs/a.yaml:12" or "command line"."""

    value: Raw
    origin: str


@dataclass
class Reading:
    """The entries of a source by dotted key, and what could not be read."""

    entries: dict[str, Entry] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_file(path: Path, values: Collection[str], chain: tuple[Path, ...] = ()) -> Reading:
    """Read a YAML file and the files that its `_BASE_` names, the base first, so that the file's own keys win.

    `values` are the dotted keys that hold a value: a mapping under any other key is a section. `chain` are the files
    that led here, to find cycles.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return Reading(problems=[f"{path}: there is no such file; {_instead_of(path)}"])
    except IsADirectoryError:
        return Reading(problems=[f"{path}: this is a folder; name a YAML file"])
    except UnicodeDecodeError:
        return Reading(problems=[f"{path}: this is not a text file in UTF-8"])
    except OSError as error:
        return Reading(problems=[f"{path}: cannot be read: {error.strerror}"])
    reading = read_text(text, str(path), values)
    base = reading.entries.pop(BASE_KEY, None)
    if base is None:
        return reading
    below = _read_base(base, path, values, (*chain, path.resolve()))
    return Reading({**below.entries, **reading.entries}, below.problems + reading.problems)


def _instead_of(path: Path) -> str:
    there = {found.stem: found.name for found in path.parent.glob("*.yaml")}
    close = difflib.get_close_matches(path.stem, there, n=1, cutoff=0.75)
    return f"did you mean {there[close[0]]}?" if close else "check its name and folder"


def _read_base(base: Entry, path: Path, values: Collection[str], chain: tuple[Path, ...]) -> Reading:
    """Read the file that a `_BASE_` entry of `path` names, relative to the folder of `path`."""
    if not isinstance(base.value, str):
        return Reading(problems=[f"{base.origin}: {BASE_KEY}: expected the name of a file, got {show(base.value)}"])
    target = path.parent / Path(base.value)
    if target.resolve() in chain:
        circle = " -> ".join(file.name for file in (*chain, target))
        return Reading(problems=[f"{base.origin}: {BASE_KEY}: the files lead back to each other: {circle}"])
    reading = read_file(target, values, chain)
    if not reading.entries and reading.problems:
        reading.problems = [f"{base.origin}: {BASE_KEY}: {problem}" for problem in reading.problems]
    return reading


def read_text(text: str, source: str, values: Collection[str]) -> Reading:
    """Read the text of one YAML document; `source` is its name in messages."""
    reading = Reading()
    try:
        loader, root = _parse_or_mend(text, source)
    except yaml.MarkedYAMLError as error:
        reading.problems.append(_syntax_problem(error, source))
        return reading
    except yaml.YAMLError as error:
        reading.problems.append(f"{source}: this is not valid YAML: {' '.join(str(error).split())}")
        return reading
    if root is None:
        reading.problems.append(f"{source}: the file is empty")
    elif not isinstance(root, yaml.MappingNode):
        reading.problems.append(f"{source}:{root.start_mark.line + 1}: expected sections of keys at the top level")
    else:
        _Flattener(loader, source, values, reading).walk(root, "", ())
    return reading


def _parse_or_mend(text: str, source: str) -> tuple[yaml.SafeLoader, yaml.Node | None]:
    """The document, also of a text that is YAML but for keys indented less than those around them (an official file is so)."""
    try:
        return _parse(text)
    except yaml.MarkedYAMLError:
        mended, numbers = _with_even_indents(text)
        if not numbers:
            raise
        try:
            found = _parse(mended)
        except yaml.MarkedYAMLError:
            found = None
        if found is None:
            raise
    for number in numbers:
        _LOG.warning("%s:%d: indented less than the lines around it; read as a key of their section", source, number)
    return found


def _parse(text: str) -> tuple[yaml.SafeLoader, yaml.Node | None]:
    loader = yaml.SafeLoader(text)
    return loader, loader.get_single_node()


def _with_even_indents(text: str) -> tuple[str, list[int]]:
    """The text with each line `KEY: value` between two deeper ones of one indent at that indent, and those lines' numbers."""
    lines = text.splitlines()
    written = [number for number, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    changed = []
    for before, number, after in zip(written, written[1:], written[2:], strict=False):
        indent = _indent(lines[before])
        if _indent(lines[number]) < indent == _indent(lines[after]) and _KEY_AND_VALUE.match(lines[number]):
            lines[number] = " " * indent + lines[number].lstrip()
            changed.append(number + 1)
    return "\n".join(lines) + "\n", changed


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _syntax_problem(error: yaml.MarkedYAMLError, source: str) -> str:
    """One sentence with the line from PyYAML's error."""
    line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
    return f"{source}{line}: this is not valid YAML: {error.problem or error.context}"


@dataclass(frozen=True)
class _Flattener:
    """Walks the sections of one document and adds its values to `reading`."""

    loader: Any  # a yaml.SafeLoader; PyYAML's stubs leave its node methods untyped
    source: str
    values: Collection[str]
    reading: Reading

    def walk(self, section: yaml.MappingNode, prefix: str, above: tuple[yaml.Node, ...]) -> None:
        """Add the entries of a section; of a key given twice the last counts, as in PySlowFast."""
        chain = (*above, section)
        last: dict[str, tuple[yaml.Node, str]] = {}
        for key_node, value_node in self._pairs(section):
            origin = f"{self.source}:{key_node.start_mark.line + 1}"
            if isinstance(key_node, yaml.ScalarNode):
                last[key_node.value] = (value_node, origin)
            else:
                self.reading.problems.append(f"{origin}: a key must be a text")
        for key, (node, origin) in last.items():
            name = KEY_ALIASES.get(f"{prefix}{key}", f"{prefix}{key}")
            if node in chain:
                self.reading.problems.append(f"{origin}: {name}: this section contains itself")
            elif isinstance(node, yaml.MappingNode) and name not in self.values:
                self.walk(node, f"{name}.", chain)
            else:
                self._add(name, node, origin)

    def _pairs(self, section: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
        """The keys and values of a section, with YAML's merge keys (<<) resolved."""
        try:
            self.loader.flatten_mapping(section)
        except yaml.MarkedYAMLError as error:
            self.reading.problems.append(_syntax_problem(error, self.source))
            return []
        return section.value

    def _add(self, name: str, node: yaml.Node, origin: str) -> None:
        """Add one value, of plain YAML types only."""
        try:
            self.reading.entries[name] = Entry(self.loader.construct_object(node, deep=True), origin)
        except yaml.MarkedYAMLError as error:
            self.reading.problems.append(f"{origin}: {name}: {error.problem}")
        except ValueError as error:  # a date or number in form only, such as 2024-13-45
            self.reading.problems.append(f"{origin}: {name}: {error}")


def parse_overrides(overrides: Sequence[Raw]) -> Reading:
    """Read a flat list KEY VALUE KEY VALUE ...; of a key given twice the last counts."""
    reading = Reading()
    if isinstance(overrides, str | Mapping):
        what = "a single text" if isinstance(overrides, str) else "a mapping"
        reading.problems.append(f"overrides: expected a flat list [KEY, VALUE, KEY, VALUE, ...], got {what}")
        return reading
    joined = next((key for key in overrides[::2] if "=" in str(key)), None)
    if joined is not None:
        reading.problems.append(f"command line: {joined}: write KEY VALUE, without =")
        return reading
    if len(overrides) % 2:
        reading.problems.append(
            f"command line: overrides are pairs KEY VALUE, but {overrides[-1]!r} at the end stands alone"
        )
        return reading
    for key, value in zip(overrides[::2], overrides[1::2], strict=True):
        reading.entries[KEY_ALIASES.get(str(key), str(key))] = Entry(value, "command line")
    return reading
