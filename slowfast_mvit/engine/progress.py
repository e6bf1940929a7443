"""How far a job is whose parts are of unknown lengths: videos, of which a part may be done."""

import logging
import time

from tqdm import tqdm

_LOG = logging.getLogger(__name__)
_PLAIN_SECONDS = 15.0


class ShareBar:
    """A bar with time left on a terminal; elsewhere a plain line every 15 seconds and at the end.

    Args:
        title: what is done.
        total: how many there are.
        unit: what they are called.
        done: how many were done before, in no time.
    """

    def __init__(self, title: str, total: int, unit: str, done: int = 0) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._first, self._at = float(done), float(done)
        self._start = self._said = time.perf_counter()
        form = "{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total} {unit} [{elapsed}<{remaining}]"
        self._bar = tqdm(
            total=total, initial=done, desc=title, unit=unit, disable=None, dynamic_ncols=True, bar_format=form
        )

    def move_to(self, done: float) -> None:
        """So many are done, parts counted in."""
        done = max(done, self._at)
        if not self._bar.disable:
            self._bar.update(done - self._at)
        self._at = done
        now = time.perf_counter()
        if self._bar.disable and (now - self._said >= _PLAIN_SECONDS or done >= self._total):
            self._said = now
            rate = (now - self._start) / max(done - self._first, 1e-9)
            left = tqdm.format_interval(rate * max(self._total - done, 0.0))
            _LOG.info("%s %.1f/%d %s, %s left", self._title, done, self._total, self._unit, left)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
