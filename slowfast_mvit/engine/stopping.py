"""Stopping at the next step: what a scheduler asks for by a signal before it takes the machine away."""

import signal
from types import FrameType, TracebackType
from typing import Self

from slowfast_mvit.errors import UserError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Stopped(UserError):  # noqa: N818 - it is no error of anybody's
    """The run was asked to stop and has left everything that it needs to go on.

    Attributes:
        status: what the process should exit with: 128 + the signal, as a shell says it. Not 0, for which schedulers take a
            training that is over.
    """

    def __init__(self, number: int, left: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}: {left}")
        self.status = 128 + number


class StopRequest:
    """While it is open, SIGTERM and SIGUSR1 are noted and nothing else happens; the run looks when it can stop.

    Attributes:
        number: of the first signal that came, or 0.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal gave

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number
