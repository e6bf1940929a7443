"""What a run says: JSON lines in a file, a progress bar or plain lines on the screen."""

import logging
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import simplejson
from tqdm import tqdm

from slowfast_mvit.errors import UserError

_LOG = logging.getLogger(__name__)


ALIKE = {"alike": True}  # ``extra`` of a line that every rank says alike: rank 0 alone shows it


def log_to_screen(rank: int = 0) -> None:
    """Show our log lines on standard error; of ranks other than 0 only warnings of their own, with the rank before them."""
    handler = logging.StreamHandler(sys.stderr)
    who = f"rank {rank}: " if rank else ""
    handler.setFormatter(logging.Formatter(f"%(asctime)s {who}%(message)s", "%H:%M:%S"))
    if rank:
        handler.addFilter(lambda record: not getattr(record, "alike", False))
    root = logging.getLogger("slowfast_mvit")
    root.handlers = [handler]
    root.setLevel(logging.WARNING if rank else logging.INFO)
    root.propagate = False


class Log(Protocol):
    """Takes what a run has to say."""

    def write(self, kind: str, **values: object) -> None:
        """Add a record of a kind: ``train``, ``val``, ``epoch`` ..."""


class NoLog:
    """Takes what ranks other than 0 have to say, and drops it."""

    def write(self, kind: str, **values: object) -> None:
        """Drop it."""


class JsonLog:
    """Appends one JSON object a line, each flushed, so that nothing said is lost."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._file = path, path.open("a", encoding="utf-8")

    def write(self, kind: str, **values: object) -> None:
        """Add a line: its kind, the time, and the values.

        Raises:
            UserError: the disk is full.
        """
        line = simplejson.dumps({"kind": kind, "time": round(time.time(), 3), **values}, ignore_nan=True)
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"{self._path} cannot be written: {error.strerror or error}; make room and start the same command again, which "
                "goes on from the last checkpoint"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # of a line that could not be written, which is said already
            self._file.close()


class Logs:
    """Several logs that are told the same."""

    def __init__(self, *logs: Log) -> None:
        self._logs = logs

    def write(self, kind: str, **values: object) -> None:
        """Tell each of them."""
        for log in self._logs:
            log.write(kind, **values)


class ProgressBar:
    """A bar with time left on a terminal; elsewhere a plain line now and then."""

    def __init__(self, title: str, total: int, done: int = 0, plain_every: int = 10, *, shown: bool = True) -> None:
        disable = None if shown else True
        self._bar = tqdm(total=total, initial=done, desc=title, disable=disable, unit="step", dynamic_ncols=True)
        self._shown = shown
        self._title, self._total, self._done, self._plain_every = title, total, done, plain_every
        self._start, self._first = time.perf_counter(), done

    def advance(self, **values: str) -> None:
        """One step further; ``values`` are shown beside the bar."""
        self._done += 1
        if not self._bar.disable:
            self._bar.set_postfix(values, refresh=False)
            self._bar.update()
        elif self._shown and (self._done % self._plain_every == 0 or self._done == self._total):
            rate = (time.perf_counter() - self._start) / max(self._done - self._first, 1)
            left = tqdm.format_interval(rate * (self._total - self._done))
            shown = ", ".join(f"{key} {value}" for key, value in values.items())
            _LOG.info("%s %d/%d, %s left%s", self._title, self._done, self._total, left, f", {shown}" if shown else "")

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
