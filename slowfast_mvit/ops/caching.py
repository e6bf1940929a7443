"""Tables that follow from a few numbers, computed once."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch

_Table = TypeVar("_Table")
_CPU = torch.device("cpu")


def cached_table(maxsize: int) -> Callable[[Callable[..., _Table]], Callable[..., _Table]]:
    """Decorator of a function of hashable arguments that makes tensors: keeps its last ``maxsize`` results, of all devices.

    They are made on the CPU. Asked for with ``device=``, a table is kept there too: else each use would copy it to the GPU, and
    wait for it. A result is a tensor, or a tuple of tensors and other things.

    The tensors serve training after inference, and real data after a model was built on the meta device: they are made outside
    of both. Nothing is kept of what a compiler, an exporter or a mode of fake tensors traces, whose tensors are not real.
    """

    def decorate(make: Callable[..., _Table]) -> Callable[..., _Table]:
        @lru_cache(maxsize=maxsize)
        def kept(device: torch.device, *arguments: Any) -> _Table:
            with torch.inference_mode(False), torch.device("cpu"):
                return _moved(make(*arguments), device)

        @wraps(make)
        def table(*arguments: Any, device: torch.device = _CPU) -> _Table:
            real = not torch.compiler.is_compiling() and type(torch.empty(0)) is torch.Tensor
            return kept(device, *arguments) if real else _moved(make(*arguments), device)

        table.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
        return table

    return decorate


def _moved(made: Any, device: torch.device) -> Any:
    if isinstance(made, torch.Tensor):
        return made.to(device)
    if isinstance(made, tuple):
        return tuple(part.to(device) if isinstance(part, torch.Tensor) else part for part in made)
    return made
