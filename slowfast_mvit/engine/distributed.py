"""Processes that train or test together: which one this is, and the small things that they tell each other.

Gradients and sharded weights travel by torch's own means (see :mod:`parallel`). What this file sends are numbers and Python
objects, over a gloo group of its own, so that they never touch a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

_T = TypeVar("_T")


@dataclass(frozen=True)
class World:
    """All processes of a job, seen from one of them. The default is a process alone.

    Attributes:
        rank, size: number of this process, from 0, and how many there are.
        local_rank, local_size: the same among the processes of its machine.
        control: the gloo group that messages take; None alone.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    control: dist.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which alone writes files."""
        return self.rank == 0

    @property
    def num_machines(self) -> int:
        """Machines of the job, each with ``local_size`` processes."""
        return self.size // self.local_size

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums of ``values`` over all ranks, which give equally many; every rank gets the same bits."""
        if self.control is None:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=self.control)
        return total.tolist()

    def everyones(self, item: _T) -> list[_T]:
        """What each rank gave, by rank, on every rank. Items are pickled."""
        if self.control is None:
            return [item]
        items: list[_T | None] = [None] * self.size
        dist.all_gather_object(items, item, group=self.control)
        return items  # type: ignore[return-value]  # all filled

    def gather(self, item: _T) -> list[_T] | None:
        """What each rank gave, by rank, on rank 0; None elsewhere. Items are pickled."""
        if self.control is None:
            return [item]
        items: list[_T | None] | None = [None] * self.size if self.is_main else None
        dist.gather_object(item, items, dst=0, group=self.control)
        return items  # type: ignore[return-value]  # all filled

    def mains(self, item: _T) -> _T:
        """What rank 0 gave, on every rank. The item is pickled."""
        if self.control is None:
            return item
        items = [item]
        dist.broadcast_object_list(items, src=0, group=self.control)
        return items[0]
