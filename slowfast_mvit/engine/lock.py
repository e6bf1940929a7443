"""One training in a folder at a time: two would drop each other's checkpoints."""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from slowfast_mvit.engine.distributed import World
from slowfast_mvit.errors import UserError

PATIENCE = 10.0  # seconds for a training that is just ending, as one that was told to stop
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # some network file systems know no locks


@contextmanager
def alone_in(folder: Path, world: World, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the folder, which exists, for this job; the kernel lets go of it when the process of rank 0 ends, however it does.

    Raises:
        UserError: on all ranks: another process trains there.
    """
    with ExitStack() as stack:
        problem = ""
        if world.is_main:
            file = stack.enter_context((folder / ".lock").open("a+"))
            problem = _held_by(file.fileno(), folder, patience)
        problem = world.mains(problem)
        if problem:
            raise UserError(problem)
        yield


def _held_by(descriptor: int, folder: Path, patience: float) -> str:
    """Take the lock; what to say if somebody else keeps it. (A lock of POSIX: loader processes do not inherit it.)"""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return ""
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            if time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            who = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
            return f"{who} trains in {folder}: wait for it or stop it, or set another OUTPUT_DIR"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        return ""
