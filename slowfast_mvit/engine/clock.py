"""Where the time of a training goes."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


class Clock:
    """The seconds since the last line of the log, those spent waiting for data, and those of the epoch."""

    def __init__(self, epoch_seconds: float) -> None:
        self._epoch_start = time.perf_counter() - epoch_seconds
        self._waiting = 0.0
        self.restart()

    def restart(self) -> None:
        """A line of the log is written."""
        self._start, self._waited, self._clips, self._steps = time.perf_counter(), 0.0, 0, 0

    def start_epoch(self) -> None:
        """An epoch begins."""
        self._epoch_start = time.perf_counter()

    def waiting(self, batches: Iterable[_T]) -> Iterator[_T]:
        """The batches, while the time until each one comes is taken."""
        iterator = iter(batches)
        while True:
            begin = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waiting += time.perf_counter() - begin
            yield item

    def waited_since(self) -> float:
        """Seconds that this rank has waited since it was last asked."""
        waited, self._waiting = self._waiting, 0.0
        return waited

    def count(self, num_clips: int, waited: float) -> None:
        """A step of so many clips is over, for which the ranks waited so long on average."""
        self._clips += num_clips
        self._waited += waited
        self._steps += 1

    @property
    def epoch_seconds(self) -> float:
        """Seconds of the epoch so far, those before a restart among them."""
        return time.perf_counter() - self._epoch_start

    @property
    def wait_share(self) -> float:
        """Share of the time since the last line that went into waiting for data."""
        return self._waited / max(time.perf_counter() - self._start, 1e-9)

    def readings(self, steps_left: int) -> dict[str, float]:
        """For a line of the log."""
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        return {
            "seconds": round(elapsed, 3),
            "data_wait_share": round(self._waited / elapsed, 4),
            "clips_per_second": round(self._clips / elapsed, 3),
            "eta_seconds": round(elapsed / self._steps * steps_left, 1),
        }
