"""Real processes that work together, for tests: each gets a World over gloo and leaves what it found in a file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from slowfast_mvit.engine.distributed import World


def run_ranks(function: Callable[..., Any], size: int, folder: Path, *args: Any) -> list[Any]:
    """What ``function(world, *args)`` returned on each of ``size`` new processes; a failure of one is raised."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "store").unlink(missing_ok=True)
    mp.spawn(_rank, (size, folder, function, args), nprocs=size)
    return [torch.load(folder / f"found_{rank}.pt", weights_only=False) for rank in range(size)]


@contextmanager
def rank_alone(folder: Path) -> Iterator[World]:
    """This process as the only rank of a job, with a process group."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "store").unlink(missing_ok=True)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=0, world_size=1)
    try:
        yield World(control=dist.new_group(backend="gloo"))
    finally:
        dist.destroy_process_group()


def _rank(rank: int, size: int, folder: Path, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    limit = timedelta(seconds=60)  # ranks that wait for different things fail, and do not hang
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=size, timeout=limit)
    try:
        found = function(World(rank, size, rank, size, dist.new_group(backend="gloo", timeout=limit)), *args)
        torch.save(found, folder / f"found_{rank}.pt")
    finally:
        dist.destroy_process_group()
