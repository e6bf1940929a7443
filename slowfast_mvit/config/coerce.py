"""Raw values of a file or a command line, turned into exactly the declared type of a key, or refused."""

import ast
import math
import types
import typing
from typing import Any

Raw = Any  # what a YAML file or a command line gives: None, bool, int, float, str, or lists and dicts of them


class WrongTypeError(ValueError):
    """A value that does not have the declared type: `text` says what was expected and what came, `place` where."""

    def __init__(self, text: str, place: str = "") -> None:
        super().__init__(f"entry {place}: {text}" if place else text)
        self.text = text
        self.place = place


def coerce(value: Raw, declared: Any) -> Any:
    """Return `value` as the declared type, with lists as tuples; raise WrongTypeError otherwise.

    Texts are read as Python literals first, as PySlowFast does: "(3, 7, 7)", "1e-8", "None", "True". An int is taken
    for a float, a list for a tuple and the other way round. Nothing else is converted: no 1.5 for an int, no 3 for a
    bool. A text key keeps its text untouched.
    """
    if declared is not str:
        value = read_literal(value)
    if typing.get_origin(declared) is types.UnionType:
        return None if value is None else coerce(value, _without_none(declared))
    if typing.get_origin(declared) is tuple:
        return _coerce_tuple(value, declared)
    return _coerce_single(value, declared)


def read_literal(value: Raw) -> Raw:
    """A text as the Python literal that it spells (true and false also in small letters), or unchanged."""
    if not isinstance(value, str):
        return value
    if value in ("true", "false"):
        return value == "true"
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def describe_type(declared: Any, *, plural: bool = False) -> str:
    """The declared type in words: "integer", "list of numbers"; in the plural "integers", "lists of numbers"."""
    if declared in _NAMES:
        return _NAMES[declared] + ("s" if plural and declared is not bool else "")
    arguments = typing.get_args(declared)
    if typing.get_origin(declared) is types.UnionType:
        return f"{describe_type(_without_none(declared), plural=plural)} or None"
    head = "lists" if plural else "list"
    if arguments[-1] is Ellipsis:
        return f"{head} of {describe_type(arguments[0], plural=True)}"
    return f"{head} [{', '.join(map(describe_type, arguments))}]"


_NAMES: dict[Any, str] = {bool: "True or False", int: "integer", float: "number", str: "text"}
_ARTICLES = {bool: "", int: "an "}


def _without_none(declared: Any) -> Any:
    """The X of X | None."""
    (inner,) = (argument for argument in typing.get_args(declared) if argument is not type(None))
    return inner


def _coerce_tuple(value: Raw, declared: Any) -> tuple[Any, ...]:
    """tuple[X, ...] or tuple[X, Y]; one wrong entry is named by its place, counted from 0."""
    arguments = typing.get_args(declared)
    if isinstance(value, (list, tuple)) and arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if not isinstance(value, (list, tuple)) or len(arguments) != len(value):
        raise _mismatch(value, declared)
    entries = []
    for index, (entry, argument) in enumerate(zip(value, arguments, strict=True)):
        try:
            entries.append(coerce(entry, argument))
        except WrongTypeError as problem:
            raise WrongTypeError(problem.text, f"[{index}]{problem.place}") from None
    return tuple(entries)


def _coerce_single(value: Raw, declared: Any) -> Any:
    """bool, int, float or str."""
    if declared is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise _mismatch(value, declared) from None
    if type(value) is not declared or (declared is float and not math.isfinite(value)):
        raise _mismatch(value, declared)
    return value


def _mismatch(value: Raw, declared: Any) -> WrongTypeError:
    """The error for a value that is no `declared`."""
    hint = "; put it in quotes" if declared is str and isinstance(value, (bool, int, float)) else ""
    return WrongTypeError(f"expected {_ARTICLES.get(declared, 'a ')}{describe_type(declared)}, got {show(value)}{hint}")


def show(value: Raw) -> str:
    """A value for a message: short, and without the layout of nested sections."""
    if isinstance(value, dict):
        return "a group of keys"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
