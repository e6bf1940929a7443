"""Processes that inspect files: a file that kills its decoder, or on which it hangs, costs that file and no other."""

import multiprocessing
import signal
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from multiprocessing.connection import Connection, wait

from slowfast_mvit.data.inspect import UNREADABLE, Inspection, Request, inspect_file
from slowfast_mvit.errors import UserError

_STARTS = 3  # a process may end while it is idle, and its successor before it is ready


def inspect_all(
    requests: Iterable[Request], *, num_workers: int, timeout: float
) -> Iterator[tuple[Request, Inspection]]:
    """Inspect files in ``num_workers`` processes; yields each file with what was found, in the order of completion.

    A process that ends, or does not answer for ``timeout`` seconds (and is then killed), makes its file ``unreadable``, and is
    replaced.

    Raises:
        UserError: processes end before they have been given anything.
    """
    idle: list[_Worker] = []
    busy: dict[Connection, _Worker] = {}
    waiting = iter(requests)
    try:
        while True:
            for request in islice(waiting, num_workers - len(busy)):
                worker = idle.pop() if idle else _Worker()
                for _ in range(_STARTS):
                    if worker.begin(request, timeout):
                        break
                    worker = _Worker()
                else:
                    raise UserError(
                        "the processes that read files end as soon as they start: is there memory for them?"
                    )
                busy[worker.connection] = worker
            if not busy:
                return
            patience = min(worker.deadline for worker in busy.values()) - time.monotonic()
            for connection in wait(list(busy), timeout=max(patience, 0)):
                assert isinstance(connection, Connection)
                worker = busy.pop(connection)
                found = worker.answer()
                if worker.alive:
                    idle.append(worker)
                yield worker.request, found
            for worker in [worker for worker in busy.values() if worker.deadline <= time.monotonic()]:
                del busy[worker.connection]
                worker.stop()
                cause = f"no answer after {timeout:g} s: its decoder hangs, or needs longer (--timeout)"
                yield worker.request, Inspection(UNREADABLE, cause, seconds=timeout)
    finally:
        for worker in (*idle, *busy.values()):
            worker.stop()


class _Worker:
    """One process, and the file that it has been given last."""

    request: Request
    deadline: float

    def __init__(self) -> None:
        # Made by a server that runs no threads and has all imports done: a new one after a crash costs little.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", __name__])
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the connection
        self.alive = True

    def begin(self, request: Request, timeout: float) -> bool:
        """Give it a file, which it answers within ``timeout`` seconds; False if it is dead."""
        try:
            self.connection.recv()  # that it is ready
            self.connection.send(request)
        except (EOFError, OSError):
            self.stop()
            return False
        self.request, self.deadline = request, time.monotonic() + timeout
        return True

    def answer(self) -> Inspection:
        """What it found, or how it ended."""
        try:
            found = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            self.stop()
            return Inspection(
                UNREADABLE, f"the process that decoded it {how}: out of memory, or a crash of the decoder"
            )
        assert isinstance(found, Inspection)
        return found

    def stop(self) -> None:
        """End it, whatever it does."""
        self.alive = False
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection) -> None:
    """Answer requests until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    try:
        while True:
            connection.send(None)  # ready
            connection.send(inspect_file(connection.recv()))
    except (EOFError, OSError):
        return
