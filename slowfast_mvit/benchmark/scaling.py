"""How a training step gets faster with more processes on the same cores, and what its messages cost.

Every setting runs the same global batch. A step with messages and one without (``no_sync``) alternate, so that drift cancels;
what the first takes longer is the share of communication.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from slowfast_mvit.benchmark.networks import Build

# What the estimate assumes of a cluster: 8 GPUs a machine. Bytes a second and seconds of latency, per GPU and direction.
NVLINK, NETWORK = (300e9, 5e-6), (25e9, 15e-6)
GPUS_PER_MACHINE = 8


@dataclass(frozen=True)
class Scaled:
    """A step on so many processes.

    Attributes:
        processes, threads: of which each has so many.
        clips: of the step, over all processes.
        seconds, quiet_seconds: medians of a step with messages and of one without; equal for one process.
        messages: bytes of each message of gradients in a step, in order.
    """

    processes: int
    threads: int
    clips: int
    seconds: float
    quiet_seconds: float
    messages: tuple[int, ...]

    @property
    def communication(self) -> float:
        """Share of the step that goes into messages and waiting for them."""
        return max(0.0, 1 - self.quiet_seconds / self.seconds)


def measure_scaling(
    build: Build, shape: tuple[int, ...], settings: Sequence[tuple[int, int]], *, runs: int
) -> list[Scaled]:
    """Time steps of a global batch of ``shape`` by settings of (processes, threads of each), in turn, over ``runs`` rounds.

    Args:
        build: makes the model.
        shape: of the global batch; its first number is a multiple of every number of processes.
        settings: what to compare.
        runs: rounds, each of one counted step of either kind in every setting, after one that is not counted.
    """
    found: list[list[tuple[float, float]]] = [[] for _ in settings]
    messages: list[tuple[int, ...]] = [() for _ in settings]
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(2):  # half of the rounds in each order
            order = list(enumerate(settings))
            for place, (processes, threads) in order if turn == 0 else reversed(order):
                out = Path(folder) / f"{turn}_{place}.pt"
                store = f"file://{folder}/store_{turn}_{place}"
                arguments = (processes, threads, store, build, shape, max(1, runs // 2), out)
                mp.spawn(_rank, arguments, nprocs=processes)
                times, messages[place] = torch.load(out, weights_only=False)
                found[place] += times
    return [
        Scaled(
            processes,
            threads,
            shape[0],
            statistics.median(loud for loud, _ in times),
            statistics.median(quiet for _, quiet in times),
            sent,
        )
        for (processes, threads), times, sent in zip(settings, found, messages, strict=True)
    ]


def _rank(
    rank: int, size: int, threads: int, store: str, build: Build, shape: tuple[int, ...], rounds: int, out: Path
) -> None:
    """One process: a step to warm up, then steps with messages and without."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model: nn.Module = build().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05)
    clips = torch.randn(shape[0] // size, *shape[1:])
    labels = torch.arange(len(clips))
    messages: list[int] = []
    if size > 1:
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
        wrapped = DistributedDataParallel(model, gradient_as_bucket_view=True)

        def note(state: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
            messages.append(bucket.buffer().numel() * bucket.buffer().element_size())
            return allreduce_hook(state, bucket)

        wrapped.register_comm_hook(None, note)
        model = wrapped

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(clips), labels).backward()
        optimizer.step()

    step()
    messages.clear()
    times = []
    for _ in range(rounds):
        loud = _timed(step, size)
        if isinstance(model, DistributedDataParallel):
            with model.no_sync():
                quiet = _timed(step, size)
        else:
            quiet = loud
        times.append((loud, quiet))
    if rank == 0:
        torch.save((times, tuple(messages[: len(messages) // rounds])), out)
    if size > 1:
        dist.destroy_process_group()


def _timed(step: Callable[[], None], size: int) -> float:
    """Seconds of a step that all ranks begin together."""
    if size > 1:
        dist.barrier()
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def all_reduce_seconds(messages: Sequence[int], gpus: int) -> float:
    """An estimate of a step's messages on ``gpus`` GPUs: rings inside machines, then between them (NCCL's hierarchy).

    A ring over n members sends 2 (n - 1) / n of a message through every link, in 2 (n - 1) parts that each wait for a latency.
    Nothing of it is hidden behind the backward pass.
    """
    inside = min(gpus, GPUS_PER_MACHINE)
    machines = -(-gpus // GPUS_PER_MACHINE)
    total = 0.0
    for size in messages:
        total += _ring(size, inside, *NVLINK)
        total += _ring(size / inside, machines, *NETWORK)  # every GPU of a machine carries its part
    return total


def _ring(size: float, members: int, bandwidth: float, latency: float) -> float:
    return 2 * (members - 1) / members * size / bandwidth + 2 * (members - 1) * latency


def scaling_table(found: Sequence[Scaled]) -> str:
    """Markdown: the measured settings, and the estimate for GPUs."""
    base = found[0].seconds
    lines = [
        "| processes x threads | step | clips/s | times as fast | communication | sent per step |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for entry in found:
        sent = f"{sum(entry.messages) / 2**20:.1f} MiB in {len(entry.messages)}" if entry.messages else ""
        lines.append(
            f"| {entry.processes} x {entry.threads} | {entry.seconds:.2f} s | {entry.clips / entry.seconds:.3g} | "
            f"{base / entry.seconds:.2f} | {f'{entry.communication:.1%}' if entry.messages else ''} | {sent} |"
        )
    messages = max((entry.messages for entry in found), key=len)
    if messages:
        lines += ["", "| GPUs (estimate) | messages of a step |", "| --- | --- |"]
        lines += [f"| {gpus} | {all_reduce_seconds(messages, gpus) * 1000:.2f} ms |" for gpus in (8, 64, 512)]
    return "\n".join(lines)
