"""Meetings of ranks that work through different lists, so that none waits long for another and all end alike."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn, TypeVar

from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.stopping import Stopped
from slowfast_mvit.errors import UserError

_T = TypeVar("_T")

SECONDS = 10.0  # between meetings, each of which costs a message and the wait for the slowest rank's batch


class Rounds:
    """Every few seconds, between two items of work, all ranks tell each other who is ready, has failed, or is asked to stop.

    Ranks that test different videos are ready at different times, and one may fail alone. If they met only where results are
    gathered, a rank that is ready would wait there until the time-out of the job.

    Args:
        world: the ranks.
        stop_signal: the number of a signal that has come, or 0.
        save: is called before each meeting; what it raises, all ranks raise.
        left: what a stopped run leaves, for the message.
        seconds: between meetings; 0: before every item.
    """

    def __init__(
        self,
        world: World,
        *,
        stop_signal: Callable[[], int],
        save: Callable[[], None],
        left: str,
        seconds: float = SECONDS,
    ) -> None:
        self._world = world
        self._stop_signal = stop_signal
        self._save = save
        self._left = left
        self._seconds = seconds
        self._met_at = time.monotonic()
        self._over = False  # all ranks are raising the same

    def between(self, items: Iterable[_T]) -> Iterator[_T]:
        """The items, with a meeting before some of them."""
        for item in items:
            if self._stop_signal() or time.monotonic() - self._met_at >= self._seconds:
                self._meet()
            yield item

    def fail(self, error: Exception) -> NoReturn:
        """Make all ranks raise the error of this one, unless that is what they are doing already."""
        if not self._over:
            self._meet(problem=str(error))
        raise error

    def finish(self) -> None:
        """Come back when every rank is here."""
        while not self._meet(ready=True):
            pass

    def _meet(self, *, ready: bool = False, problem: str = "") -> bool:
        """Whether all ranks are ready.

        Raises:
            UserError: some rank has failed; the text is that of the first.
            Stopped: some rank was asked to stop, and not all are ready.
        """
        try:
            self._save()
        except UserError as error:
            problem = problem or str(error)
        said = self._world.everyones((ready, problem, self._stop_signal()))
        self._met_at = time.monotonic()
        problems = [text for _, text, _ in said if text]
        number = max(number for _, _, number in said)
        everybody = all(is_ready for is_ready, _, _ in said)
        self._over = bool(problems) or (number > 0 and not everybody)
        if problems:
            raise UserError(problems[0])
        if self._over:
            raise Stopped(number, self._left)
        return everybody
