"""Tables that follow from a few numbers, computed once."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch

_Table = TypeVar("_Table")


def cached_table(maxsize: int) -> Callable[[Callable[..., _Table]], Callable[..., _Table]]:
    """Decorator of a function of hashable arguments that makes tensors: keeps its last ``maxsize`` results, on the CPU.

    The tensors serve training after inference, and real data after a model was built on the meta device: they are made outside
    of both. Nothing is kept of what a compiler, an exporter or a mode of fake tensors traces, whose tensors are not real.
    """

    def decorate(make: Callable[..., _Table]) -> Callable[..., _Table]:
        @lru_cache(maxsize=maxsize)
        def kept(*arguments: Any) -> _Table:
            with torch.inference_mode(False), torch.device("cpu"):
                return make(*arguments)

        @wraps(make)
        def table(*arguments: Any) -> _Table:
            real = not torch.compiler.is_compiling() and type(torch.empty(0)) is torch.Tensor
            return kept(*arguments) if real else make(*arguments)

        table.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
        return table

    return decorate
