"""Processes that train or test together: which one this is, and the small things that they tell each other.

Gradients and sharded weights travel by torch's own means (see :mod:`parallel`). What this file sends are numbers and Python
objects, over a gloo group of its own, so that they never touch a GPU.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from slowfast_mvit.engine.meeting import Meeting, waiting_in_vain
from slowfast_mvit.engine.stopping import Stopped
from slowfast_mvit.engine.whereabouts import Whereabouts
from slowfast_mvit.errors import UserError

_T = TypeVar("_T")


@dataclass(frozen=True)
class World:
    """All processes of a job, seen from one of them. The default is a process alone.

    Attributes:
        rank, size: number of this process, from 0, and how many there are.
        local_rank, local_size: the same among the processes of its machine.
        control: the gloo group that messages take; None alone.
        whereabouts: where :meth:`at` notes this rank's place; None alone.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    control: dist.ProcessGroup | None = None
    whereabouts: Whereabouts | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which alone writes files."""
        return self.rank == 0

    @property
    def num_machines(self) -> int:
        """Machines of the job, each with ``local_size`` processes."""
        return self.size // self.local_size

    def at(self, place: str) -> None:
        """Note what this rank does now, such as "step 41": what others read of it if it does not come. Costs microseconds."""
        if self.whereabouts is not None:
            self.whereabouts.at(place)

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


@contextmanager
def joined(meeting: Meeting | None, *, device_type: str, backend: str, timeout: float) -> Iterator[World]:
    """The process groups of all that meet; they end with the block. Without a meeting, a process alone.

    Args:
        meeting: of the ranks.
        device_type: "cuda", where this rank takes the GPU of its local number, or "cpu".
        backend: of torch.distributed, for GPUs; the CPU's is gloo.
        timeout: seconds that a rank waits for others.

    Raises:
        Lost: a rank did not come, or went away in the block.
        UserError: the machines run different numbers of processes.
    """
    if meeting is None:
        yield World()
        return
    seat = meeting.seat
    with waiting_in_vain(meeting):
        if device_type == "cuda":
            torch.cuda.set_device(seat.local_rank)
        limit = timedelta(seconds=timeout)
        dist.init_process_group(
            backend if device_type == "cuda" else "gloo",
            store=dist.PrefixStore("groups", meeting.store),
            rank=seat.rank,
            world_size=seat.size,
            timeout=limit,
        )
        control = dist.new_group(backend="gloo", timeout=limit)
        assert isinstance(control, dist.ProcessGroup)  # all ranks are in it
        world = World(seat.rank, seat.size, seat.local_rank, seat.local_size, control, meeting.whereabouts)
        sizes = world.everyones(seat.local_size)
        if len(set(sizes)) > 1:
            raise UserError(
                f"machines run from {min(sizes)} to {max(sizes)} processes each: start the same number on every one"
            )
        try:
            yield world
        except Stopped:  # together, at a step
            dist.destroy_process_group()
            raise
        # Not after an error: torch would wait for what is under way with a rank that is gone.
        dist.destroy_process_group()
