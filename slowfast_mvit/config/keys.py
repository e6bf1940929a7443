"""How a key of the config is declared (`key`) and read back (`Key`, `keys_of`)."""

import dataclasses
import difflib
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


def key(
    default: Any,
    doc: str,
    *,
    choices: Sequence[Any] = (),
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    lengths: Sequence[int] = (),
) -> Any:
    """Declare one key of a section: its default, one line of documentation, and what its value may be.

    `choices`, `at_least`, `at_most` (inclusive), `above` and `below` (exclusive) hold for each number or text of the value;
    `lengths` are the allowed numbers of entries of a list.
    """
    limits = {"choices": tuple(choices), "at_least": at_least, "at_most": at_most, "above": above, "below": below}
    return dataclasses.field(default=default, metadata={"doc": doc, "lengths": tuple(lengths), **limits})


@dataclass(frozen=True)
class Key:
    """One declared key under its full dotted name, as the loader, the checks and the reference page read it."""

    name: str
    type: Any
    default: Any
    doc: str
    choices: tuple[Any, ...]
    at_least: float | None
    at_most: float | None
    above: float | None
    below: float | None
    lengths: tuple[int, ...]


def keys_of(section: type, prefix: str = "") -> dict[str, Key]:
    """Every key of a config dataclass by dotted name, in the order of declaration; sections are entered."""
    found: dict[str, Key] = {}
    types = typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(field.default):
            found.update(keys_of(types[field.name], f"{name}."))
        else:
            found[name] = Key(name=name, type=types[field.name], default=field.default, **field.metadata)
    return found


def get_value(config: Any, name: str) -> Any:
    """The value under a dotted name, as in get_value(config, "MVIT.DEPTH")."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def range_problem(declared: Key, value: Any) -> str | None:
    """What is wrong with a value of the right type: its length, or one of its numbers or texts; None if nothing."""
    if declared.lengths and value is not None and len(value) not in declared.lengths:
        allowed = " or ".join(map(str, declared.lengths))
        return f"expected {allowed} entries, got {len(value)}"
    for leaf in _leaves(value):
        if declared.choices and leaf not in declared.choices:
            return f"{leaf!r} is not one of {', '.join(map(repr, declared.choices))}{_nearest(leaf, declared.choices)}"
        if declared.at_least is not None and leaf < declared.at_least:
            return f"{leaf} is too small; the least is {declared.at_least}"
        if declared.below is not None and leaf >= declared.below:
            return f"{leaf} is too large; it must be less than {declared.below}"
        if declared.above is not None and leaf <= declared.above:
            return f"{leaf} is too small; it must be more than {declared.above}"
        if declared.at_most is not None and leaf > declared.at_most:
            return f"{leaf} is too large; the most is {declared.at_most}"
    return None


def _nearest(wrong: Any, choices: Sequence[Any]) -> str:
    """The end of a sentence about a text that is nearly one of the choices; empty otherwise."""
    close = difflib.get_close_matches(wrong, choices, n=1, cutoff=0.75) if isinstance(wrong, str) else []
    return f"; did you mean {close[0]!r}?" if close else ""


def _leaves(value: Any) -> list[Any]:
    """The single values inside nested tuples, in order; None is no value."""
    if isinstance(value, tuple):
        return [leaf for entry in value for leaf in _leaves(entry)]
    return [] if value is None else [value]
