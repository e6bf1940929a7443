"""A reader of pickled arrays that cannot execute anything: detectron2's ``.pkl`` files.

A pickle is a program for a small stack machine whose REDUCE and BUILD instructions call what the file names. Here the
instructions are walked through one by one; containers, numbers and texts are built, and the few calls by which numpy writes an
array are recognised by name and done by hand. Everything else is refused.
"""

import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

_MARK = object()
_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING")
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_PUSH_ARGUMENT = frozenset((*_NUMBERS, *_TEXTS, *_BYTES))
_PUSH: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}
_CALLS = frozenset(("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"))
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
_DEEPEST = 3  # content -> model -> array, with one to spare


class CodeRefusedError(Exception):
    """The file would have to execute something: the message names it."""


@dataclass(frozen=True)
class _Name:
    """A global that the file names, such as ``numpy.ndarray``; never looked up."""

    path: str


@dataclass
class _DType:
    code: str
    order: Any = "="


@dataclass
class _Array:
    """A numpy array or number, while its parts are read."""

    dtype: _DType = field(default_factory=lambda: _DType("f4"))
    shape: tuple[int, ...] = (0,)
    order: Any = "C"
    raw: bytes = b""
    is_number: bool = False

    def finished(self) -> Tensor | int | float:
        if not _DTYPE.fullmatch(self.dtype.code) or not isinstance(self.raw, bytes | bytearray):
            raise ValueError(f"an array of {self.dtype.code!r}, which are no numbers")
        dtype = np.dtype(self.dtype.code).newbyteorder(self.dtype.order)
        array = np.frombuffer(self.raw, dtype).reshape(self.shape, order=self.order).astype(dtype.newbyteorder("="))
        return array.item() if self.is_number else torch.from_numpy(np.ascontiguousarray(array).reshape(self.shape))


def read_pickle(file: BinaryIO) -> Any:
    """Content of a pickle of plain containers, numbers, texts and numpy arrays; arrays are given as tensors.

    Args:
        file: positioned at the start. Its ``read`` must not allocate more than there is: a memory map or BytesIO.

    Raises:
        CodeRefusedError: the file asks for anything else.
        ValueError, TypeError, LookupError, AttributeError, MemoryError and the like: the bytes are damaged.
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in _PUSH_ARGUMENT:
            stack.append(argument)
        elif name in _PUSH:
            stack.append(_PUSH[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _SHORT_TUPLES:
            stack.append(tuple(_pop(stack, _SHORT_TUPLES[name])))
        elif name == "TUPLE":
            stack.append(tuple(_pop_to_mark(stack)))
        elif name == "LIST":
            stack.append(_pop_to_mark(stack))
        elif name == "DICT":
            stack.append(_pairs(_pop_to_mark(stack)))
        elif name in ("APPEND", "APPENDS"):
            items = _pop_to_mark(stack) if name == "APPENDS" else _pop(stack, 1)
            _container(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = _pop_to_mark(stack) if name == "SETITEMS" else _pop(stack, 2)
            _container(stack[-1], dict).update(_pairs(items))
        elif name == "GLOBAL":
            stack.append(_Name(str(argument).replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            stack.append(_Name(".".join(map(str, _pop(stack, 2)))))
        elif name == "REDUCE":
            called, arguments = _pop(stack, 2)
            stack.append(_call(called, arguments))
        elif name == "BUILD":
            (state,) = _pop(stack, 1)
            _build(stack[-1], state)
        elif name == "STOP":
            return _finish(stack.pop(), _DEEPEST)
        elif name in _CALLS:
            raise CodeRefusedError(f"the pickle instruction {name}")
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"the pickle instruction {name} has no place among arrays")
    raise ValueError("the pickle has no end")


def _call(called: Any, arguments: Any) -> Any:
    """What the named call gives, done by hand."""
    if not isinstance(called, _Name):
        raise ValueError("a call of something that is no name")
    home, _, name = called.path.replace("numpy.core.", "numpy._core.").rpartition(".")
    match (home, name):
        case ("collections", "OrderedDict"):
            return OrderedDict(*arguments)
        case ("__builtin__", "bytes") if arguments == ():  # how the older protocols write no bytes
            return b""
        case ("_codecs", "encode"):  # and how they write some
            text, encoding = arguments
            if encoding not in ("latin1", "latin-1"):
                raise ValueError(f"bytes in the encoding {encoding!r}")
            return text.encode("latin-1")
        case ("numpy", "dtype"):
            return _DType(arguments[0])
        case ("numpy._core.multiarray", "_reconstruct"):
            return _Array()
        case ("numpy._core.multiarray", "scalar"):
            dtype, raw = arguments
            return _Array(dtype, (), "C", _as_bytes(raw), is_number=True)
        case ("numpy._core.numeric", "_frombuffer"):
            raw, dtype, shape, order = arguments
            return _Array(dtype, shape, order, raw)
    raise CodeRefusedError(called.path)


def _build(built: Any, state: Any) -> None:
    """The state that numpy stores for an array or a dtype."""
    if isinstance(built, _DType):
        built.order = {"<": "<", ">": ">", "|": "=", "=": "="}[state[1]]
    elif isinstance(built, _Array):
        _, built.shape, built.dtype, is_fortran, raw = state
        built.order, built.raw = "F" if is_fortran else "C", _as_bytes(raw)
    elif isinstance(built, OrderedDict):
        return  # torch's state dicts carry a _metadata attribute, which says nothing about the tensors
    else:
        raise ValueError(f"a state for a {type(built).__name__}")


def _finish(value: Any, depth: int) -> Any:
    if isinstance(value, _Array):
        return value.finished()
    if isinstance(value, dict) and depth:
        return {key: _finish(item, depth - 1) for key, item in value.items()}
    return value


def _as_bytes(raw: Any) -> bytes:
    return raw.encode("latin-1") if isinstance(raw, str) else raw


def _pop(stack: list[Any], count: int) -> list[Any]:
    if len(stack) < count:
        raise ValueError("the pickle takes more from its stack than there is")
    taken = stack[-count:]
    del stack[-count:]
    return taken


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    place = len(stack) - 1
    while place >= 0 and stack[place] is not _MARK:
        place -= 1
    if place < 0:
        raise ValueError("the pickle has no mark where it needs one")
    items = stack[place + 1 :]
    del stack[place:]
    return items


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _container(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"the pickle fills a {type(value).__name__} as if it were a {kind.__name__}")
    return value
