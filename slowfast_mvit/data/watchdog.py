"""Loader processes under watch: which video each is at, which of them hang, and what is said when one dies."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from slowfast_mvit.batches import UnreadableVideo
from slowfast_mvit.data.clips import SampleKey
from slowfast_mvit.data.memory_figures import memory_figures, shared_memory_figures
from slowfast_mvit.errors import UserError

_NOTHING = -1
_INDEX, _BEGAN, _PID = range(3)
_LOOK_EVERY = 5.0  # seconds, as often as DataLoader looks after its workers
_TIMED_OUT = "DataLoader timed out"  # how its RuntimeError begins
# A forked worker begins at once and shares the lists. From Python 3.14 on, Linux would start it with copies of them; macOS
# does, since a fork breaks the libraries of its system.
_START_METHOD = "fork" if sys.platform == "linux" else None


class WatchedDataset(Protocol):
    """A dataset whose items may hang."""

    def __getitem__(self, key: Any) -> Any: ...

    def unreadable(self, index: int, cause: str) -> UnreadableVideo:
        """What stands for video ``index`` if it cannot be read for this cause."""


@dataclass(frozen=True)
class AtWork:
    """A worker and its video.

    Attributes:
        worker, pid: number and process of the worker; pid 0 if it has not begun anything.
        index: of the video; -1 between two videos.
        began: time.monotonic() of its beginning, which all processes of a machine share.
    """

    worker: int
    pid: int
    index: int
    began: float


class Roll:
    """What each worker of a loader is at. The workers write, in memory that all share, and the main process reads."""

    def __init__(self, dataset: WatchedDataset, num_workers: int) -> None:
        self.dataset = dataset
        # One row for each worker: index, beginning, pid. Doubles hold all of them exactly.
        self._rows = torch.zeros(num_workers, 3, dtype=torch.float64).share_memory_()
        self._rows[:, _INDEX] = _NOTHING

    def begin(self, index: int) -> None:
        """This worker begins a video."""
        info = get_worker_info()
        assert info is not None, "only workers are watched"
        row = self._rows.numpy()[info.id]
        row[_PID], row[_BEGAN] = os.getpid(), time.monotonic()
        row[_INDEX] = index  # last: who reads an index finds its beginning

    def end(self) -> None:
        """This worker is done with its video."""
        info = get_worker_info()
        assert info is not None
        self._rows.numpy()[info.id, _INDEX] = _NOTHING

    def read(self) -> list[AtWork]:
        """Every worker."""
        rows = self._rows.tolist()
        return [AtWork(worker, int(pid), int(index), began) for worker, (index, began, pid) in enumerate(rows)]

    def path(self, at: AtWork) -> str:
        """The file that a worker is at."""
        return self.dataset.unreadable(at.index, "").path


class Watched(Dataset[Any]):
    """A dataset whose workers write into the roll, and pass over the videos that are known to hang."""

    def __init__(self, roll: Roll, hanging: dict[int, UnreadableVideo]) -> None:
        self.roll = roll
        self.hanging = hanging

    def __len__(self) -> int:
        return len(self.roll.dataset)  # type: ignore[arg-type]  # a Dataset has one

    def __getitem__(self, key: SampleKey | int) -> Any:
        index = key.index if isinstance(key, SampleKey) else key
        if index in self.hanging:
            return self.hanging[index]
        self.roll.begin(index)
        try:
            return self.roll.dataset[key]
        finally:
            self.roll.end()


class Stalled(Exception):  # noqa: N818 - what to make of it is the catcher's
    """The workers have been at the same videos for too long, and are ended.

    Attributes:
        hanging: the workers that are; none if all of them are between two videos, and yet nothing comes.
        seconds: how long each has been at it.
        sentence: about all of it.
    """

    def __init__(self, hanging: list[AtWork], roll: Roll, timeout: float) -> None:
        now = time.monotonic()
        self.hanging = hanging
        self.seconds = [now - at.began for at in hanging]
        self.sentence = "; ".join(
            f"loader worker {at.worker} (pid {at.pid}) has been at {roll.path(at)} for {seconds:.0f} s"
            for at, seconds in zip(hanging, self.seconds, strict=True)
        ) or (
            f"no batch has come for {timeout:g} s, and no loader worker is at any video ({shared_memory_figures()}; "
            f"{memory_figures()})"
        )
        super().__init__(self.sentence)


class Patience:
    """How long the main process has waited for each worker, without a change.

    Only waiting counts: neither the time that the main process computes, nor that for which all processes were stopped.
    """

    def __init__(self, roll: Roll, timeout: float) -> None:
        self.roll = roll
        self.timeout = timeout
        self._seen = [(at, 0.0) for at in roll.read()]

    def wait(self, seconds: float) -> None:
        """So many more seconds have brought nothing.

        Raises:
            Stalled: a worker hangs, or all of them are idle.
        """
        self._seen = [
            (at, waited + seconds if at == before else 0.0)
            for at, (before, waited) in zip(self.roll.read(), self._seen, strict=True)
        ]
        overdue = [at for at, waited in self._seen if waited >= self.timeout]
        hanging = [at for at in overdue if at.index != _NOTHING]
        if hanging or len(overdue) == len(self._seen):
            raise Stalled(hanging, self.roll, self.timeout)


class _Watch(threading.Thread):
    """Looks after the workers while the main process waits for them, and kills them when one hangs.

    A thread does it, since the main one may be caught: to take a batch, it asks the worker that made it for the memory, and
    a worker that is stopped does not answer.

    Attributes:
        stalled: why the workers are killed; None as long as they are not.
    """

    def __init__(self, roll: Roll, timeout: float, look_every: float, workers: Sequence[BaseProcess]) -> None:
        super().__init__(name="loader watchdog", daemon=True)
        self.stalled: Stalled | None = None
        self._patience = Patience(roll, timeout)
        self._look_every = look_every
        self._workers = workers
        self._waiting, self._over = threading.Event(), threading.Event()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While the main process waits for a batch."""
        self._waiting.set()
        try:
            yield
        finally:
            self._waiting.clear()

    def run(self) -> None:
        """Until it is over, or a worker hangs."""
        while not self._over.wait(self._look_every):
            if not self._waiting.is_set():
                continue
            try:
                self._patience.wait(self._look_every)
            except Stalled as stalled:
                self.stalled = stalled
                _kill(self._workers)
                return

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()


def attended(
    roll: Roll, hanging: dict[int, UnreadableVideo], *, timeout: float, **settings: Any
) -> Generator[Any, None, None]:
    """The batches of a DataLoader of the roll's dataset. However this ends, no worker is left.

    Args:
        roll: of as many workers as the loader has.
        hanging: videos to pass over, and what stands for them.
        timeout: seconds that a worker may be at one video while its batch is waited for; 0: for ever.
        settings: of the DataLoader.

    Raises:
        Stalled: nothing has come for so long.
        UserError: a worker has died, or there is no shared memory left.
    """
    look_every = min(_LOOK_EVERY, timeout / 4)
    loader = DataLoader(
        Watched(roll, hanging),
        timeout=look_every,
        worker_init_fn=_leave_signals_to_the_main_process,
        multiprocessing_context=_START_METHOD,
        **settings,
    )
    with _signals_kept_back():
        batches: Any = iter(loader)
    workers = batches._workers
    watch = _Watch(roll, timeout, look_every, workers)
    with ExitStack() as stack:
        stack.enter_context(_deaf_to_children())
        stack.callback(batches._shutdown_workers)
        stack.callback(_kill, workers)  # in C code they hear no Python, and stopped ones nothing but SIGKILL
        if timeout:
            watch.start()
            stack.callback(watch.stop)
        while True:
            try:
                with watch.waiting():
                    batch = next(batches)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:
                if watch.stalled is not None:
                    raise watch.stalled from None
                if str(error).startswith(_TIMED_OUT):
                    continue  # asked again, the loader goes on waiting
                sentence = _of_the_dead(workers, roll) if _any_dead(workers) else _explain(error)
                if sentence is None:
                    raise
                raise UserError(sentence) from error
            yield batch


# A scheduler sends them to all processes of a job; the main one decides when its workers end.
_FOR_THE_MAIN_PROCESS = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def _signals_kept_back() -> Iterator[None]:
    """Workers that are forked meanwhile inherit it, so that none is hit before it ignores them.

    So do the loader's threads; signals are the main thread's.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_MAIN_PROCESS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_the_main_process(worker: int) -> None:
    for number in _FOR_THE_MAIN_PROCESS:
        signal.signal(number, signal.SIG_IGN)  # what has come is dropped


def _kill(workers: Sequence[BaseProcess]) -> None:
    for process in workers:
        process.kill()


@contextmanager
def _deaf_to_children() -> Iterator[None]:
    """Without torch's handler of SIGCHLD, which raises about a dead worker wherever the main thread stands.

    The loader itself finds a dead one while it waits for a batch.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)


def _any_dead(workers: Sequence[BaseProcess]) -> bool:
    """Whether a worker has died; one that is about to, whose files are closed already, is waited for."""
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        if any(process.exitcode is not None for process in workers):
            return True
        time.sleep(0.01)
    return False


def _of_the_dead(workers: Sequence[BaseProcess], roll: Roll) -> str:
    """The sentence about the first worker that is dead."""
    all_at = roll.read()
    number = next(number for number, process in enumerate(workers) if process.exitcode is not None)
    code, at = workers[number].exitcode or 0, all_at[number]
    who = f"loader worker {number} (pid {workers[number].pid})"
    who += f", at {roll.path(at)}," if at.index != _NOTHING else ""
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    memory = f"({memory_figures(process.pid for process in workers if process.exitcode is None and process.pid)})"
    less_memory = "lower DATA_LOADER.NUM_WORKERS or TRAIN.BATCH_SIZE, or give the job more memory"
    if code == -signal.SIGKILL:
        return f"{who} {how}, mostly the kernel's answer to a lack of memory {memory}: {less_memory}"
    if code == -signal.SIGBUS:
        return f"{who} {how}, mostly for want of shared memory: {_more_shared_memory()}"
    if -code in (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL):
        return f"{who} {how}, a crash of the decoder: take that file off the list, or set another DATA.DECODING_BACKEND"
    return f"{who} {how} {memory}: start the same command again, and if memory is short, {less_memory}"


_OF_SHARED_MEMORY = re.compile(
    r"shared memory object|unable to allocate shared memory|DataLoader worker process .*No space left on device",
    re.DOTALL,
)
_OF_OPEN_FILES = re.compile(r"Too many open files|received 0 items of ancdata")


def _explain(error: BaseException) -> str | None:
    """The sentence about an error of the loader for want of shared memory or open files; None for all others."""
    text = str(error)
    if _OF_OPEN_FILES.search(text):
        return "the loader has too many open files: raise their number (ulimit -n), or lower DATA_LOADER.NUM_WORKERS"
    if _OF_SHARED_MEMORY.search(text):
        return f"a loader worker has found no shared memory for its batch: {_more_shared_memory()}"
    return None


def _more_shared_memory() -> str:
    return (
        f"{shared_memory_figures()}: enlarge it (docker run --shm-size=8g), or lower DATA_LOADER.NUM_WORKERS or "
        "TRAIN.BATCH_SIZE"
    )
