"""Several processes of one machine, started without torchrun: seats for them, a store, signals, and one exit status."""

import ctypes
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import NoReturn

import torch
import torch.distributed as dist

from slowfast_mvit.engine.meeting import Seat
from slowfast_mvit.engine.stopping import SIGNALS
from slowfast_mvit.engine.whereabouts import end_for
from slowfast_mvit.errors import UserError

GRACE = 10.0  # seconds that processes have to end by themselves when one has failed; they tell why in less
STOP_GRACE = 120.0  # the same when they were asked to stop: the first may be writing a checkpoint still
STOPPED = tuple(128 + number for number in SIGNALS)


@dataclass(frozen=True)
class Machine:
    """One of the machines of a job.

    Attributes:
        number, count: which machine this is, from 0, and how many there are.
        address: host and port of the store, which machine 0 holds; None for a machine alone.
    """

    number: int = 0
    count: int = 1
    address: tuple[str, int] | None = None


def machine_of(number: int, count: int, init_method: str) -> Machine:
    """The machine that NUM_SHARDS, SHARD_ID and --init_method speak of.

    Raises:
        UserError: there are several machines and no address, or it is none.
    """
    if count == 1 and not init_method:
        return Machine()
    if not init_method:
        raise UserError(
            f"NUM_SHARDS is {count}: start the same command on every machine with its SHARD_ID and with "
            "--init_method tcp://HOST:PORT, HOST being machine 0, or start it with torchrun"
        )
    scheme, _, rest = init_method.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme != "tcp" or not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UserError(f"--init_method {init_method}: write tcp://HOST:PORT, HOST being machine 0")
    return (
        Machine(number, count, (host, int(port))) if count > 1 else Machine()
    )  # PySlowFast's commands always have one


def launch(
    work: Callable[..., int], arguments: Sequence[object], num_processes: int, machine: Machine, timeout: float
) -> int:
    """Run ``work(*arguments)`` in ``num_processes`` processes of this machine; returns the exit status of all.

    Each finds its seat in the environment, as under torchrun. ``work`` can be imported by its name, says what goes wrong
    itself, and returns its exit status. The first process that fails decides; the others are ended after GRACE seconds.
    SIGTERM and SIGUSR1 are passed on.

    Raises:
        UserError: the store's port is taken.
    """
    store, host, port = _store(machine, timeout)
    _start_tracker()
    context = multiprocessing.get_context("spawn")
    first = machine.number * num_processes
    processes: list[BaseProcess] = []
    with _passed_on(processes) as asked:
        try:
            for local in range(num_processes):
                seat = Seat(first + local, machine.count * num_processes, local, num_processes, host, port)
                process = context.Process(
                    target=_child, args=(seat, os.getpid(), work, tuple(arguments)), name=f"rank {seat.rank}"
                )
                process.start()
                processes.append(process)
            if asked.number:  # while they were being started
                _send(processes, asked.number)
            return _wait(processes, store, first, asked)
        except KeyboardInterrupt:  # under a terminal the processes have got it too
            _join(processes, 2.0)
            _send(processes, signal.SIGINT)
            _join(processes, 5.0)
            raise
        finally:
            _send(processes, signal.SIGKILL)
            _join(processes, 5.0)


def _start_tracker() -> None:
    """Start multiprocessing's keeper of semaphores, which would warn of those that a killed process leaves, and cleans up."""
    before = os.environ.get("PYTHONWARNINGS", "")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [before, "ignore:resource_tracker:UserWarning"]))
    resource_tracker.ensure_running()
    os.environ["PYTHONWARNINGS"] = before


def _store(machine: Machine, timeout: float) -> tuple[dist.Store | None, str, int]:
    """The store, if this machine holds it, and where it is."""
    host, port = machine.address or ("127.0.0.1", 0)
    if machine.number:
        return None, host, port
    try:
        store = dist.TCPStore(host, port, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=timeout))
    except dist.DistError as error:
        if "EADDRINUSE" not in str(error):
            raise UserError(
                f"machine 0 does not reach itself at {host}:{port}: give its own name or address in --init_method"
            ) from error
        raise UserError(
            f"port {port} of this machine is taken, by another job perhaps: choose another in --init_method"
        ) from error
    return store, host, store.port


def _child(seat: Seat, parent: int, work: Callable[..., int], arguments: tuple[object, ...]) -> None:
    """What a process of :func:`launch` does."""
    _end_with(parent)
    os.environ.update(seat.variables)
    share_cores(seat.local_size)
    status = work(*arguments)
    leave(status)


def leave(status: int) -> NoReturn:
    """End this process, one of several."""
    sys.stdout.flush()
    sys.stderr.flush()
    if status not in (0, *STOPPED):
        multiprocessing.util._exit_function()  # type: ignore[attr-defined]  # ends the loader's workers
        os._exit(status)  # torch would wait for what is under way with ranks that are gone
    sys.exit(status)


def share_cores(num_processes: int) -> None:
    """Give this process its part of the machine's cores, unless the user has chosen by OMP_NUM_THREADS."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(len(os.sched_getaffinity(0)) // num_processes, 1))


def _end_with(parent: int) -> None:
    """Ask the kernel (Linux) for SIGTERM when the parent is gone, so that the process leaves a checkpoint and ends."""
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


class _Asked:
    """The first signal that came, or 0."""

    number = 0


@contextmanager
def _passed_on(processes: Sequence[BaseProcess]) -> Iterator[_Asked]:
    """While it is open, SIGTERM and SIGUSR1 go to the processes too, those that are started later among them."""
    asked = _Asked()

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.number = asked.number or number
        _send(processes, number)

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(processes: Sequence[BaseProcess], store: dist.Store | None, first: int, asked: _Asked) -> int:
    """Wait until all have ended, and say of one that was killed what it cannot say itself; returns the status of all."""
    running = dict(enumerate(processes))
    status, deadline = 0, None
    while running:
        limit = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        wait([process.sentinel for process in running.values()], timeout=limit)
        for local, process in list(running.items()):
            code = process.exitcode
            if code is None:
                continue
            del running[local]
            if code < 0 and status == 0 and not asked.number:
                reason = _killed(-code)
                if store is not None:
                    end_for(dist.PrefixStore("", store), first + local, reason)
                print(f"error: rank {first + local}: {reason}", file=sys.stderr, flush=True)
            if code and not status:
                status = 128 - code if code < 0 else code
                deadline = time.monotonic() + (STOP_GRACE if asked.number or code in STOPPED else GRACE)
        if deadline is not None and time.monotonic() >= deadline:
            break
    if (
        asked.number
        and status == 128 + asked.number
        and all(process.exitcode == -asked.number for process in processes)
    ):
        print(f"stopped by {signal.Signals(asked.number).name}", file=sys.stderr)  # before the training could take it
    return status


def _killed(number: int) -> str:
    name = signal.Signals(number).name
    if number == signal.SIGKILL:
        return (
            f"ended by {name}, which the kernel sends when the machine has too little memory (dmesg says so): fewer "
            "DATA_LOADER.NUM_WORKERS or a smaller batch need less; start the same command again to go on from the last "
            "checkpoint"
        )
    return f"ended by {name}; start the same command again to go on from the last checkpoint"


def _send(processes: Sequence[BaseProcess], number: int) -> None:
    """Send a signal to those that run."""
    for process in processes:
        if process.pid is not None and process.exitcode is None:
            os.kill(process.pid, number)


def _join(processes: Sequence[BaseProcess], seconds: float) -> None:
    """Wait for all of them, so long at most."""
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0.0))
