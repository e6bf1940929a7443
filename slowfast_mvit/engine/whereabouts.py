"""Where every rank of a job is, kept in its store: what can be said when ranks wait for one that does not come.

A rank only notes its place in memory; a thread carries it to the store every few seconds, over a connection of its own, so
that training neither waits for the store nor for a lost network. A rank of whom nothing comes any more is told from one that
is elsewhere by the number of its beats: clocks of machines need not agree.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import torch.distributed as dist

_T = TypeVar("_T")

ANSWER_SECONDS = 5.0  # the store answers within milliseconds, or its machine is gone
SAME_SECONDS = 3.0  # for ranks that fail alike to fail


@dataclass(frozen=True)
class Sign:
    """What a rank last told.

    Attributes:
        host: its machine.
        place: what it does, such as "step 41".
        since: when that began, in seconds since 1970 by its own clock.
        beat: number of this message.
        seen: when it was sent, as ``since``.
        lost: whether it has given up waiting for others.
        end: why it ended by itself; "" where it has not.
    """

    host: str
    place: str
    since: float
    beat: int = 0
    seen: float = 0.0
    lost: bool = False
    end: str = ""


class Whereabouts:
    """The signs of all ranks in a store.

    Args:
        store: any of torch's; it is cloned, and kept to a prefix.
        rank, size: of this process.
        period: seconds between beats; a new place is told up to 5 times as soon.

    The thread ends when the store no longer takes anything, and by :meth:`close`.
    """

    def __init__(self, store: dist.Store, rank: int, size: int, *, period: float) -> None:
        self.rank, self.size, self.period = rank, size, period
        self._store = dist.PrefixStore("whereabouts", store.clone())
        self._lock = threading.Lock()  # of the sign
        self._sending = threading.Lock()  # of the order in which signs are sent
        self._mine = Sign(socket.gethostname(), "the start", time.time())
        self._closed, self._news = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="whereabouts")
        self._thread.start()

    @property
    def mine(self) -> Sign:
        """The sign of this rank."""
        return self._mine

    def seconds_here(self) -> float:
        """How long this rank has been at its place."""
        return time.time() - self._mine.since

    def at(self, place: str) -> None:
        """Note where this rank is."""
        with self._lock:
            self._mine = replace(self._mine, place=place, since=time.time())
        self._news.set()

    def end(self, reason: str) -> None:
        """Tell the others that this rank ends by itself, and why."""
        with self._lock:
            self._mine = replace(self._mine, end=reason)
        answered(self._send)

    def lose(self) -> None:
        """Tell the others that this rank has given up waiting for them."""
        with self._lock:
            self._mine = replace(self._mine, lost=True)
        answered(self._send)

    def signs(self) -> list[Sign | None] | None:
        """The signs of all ranks, None for one that never came; None altogether where the store does not answer."""
        return answered(lambda: read_signs(self._store, self.size))

    def says(self, sentence: str) -> bool:
        """Whether this rank says why it ends: the first of those that end for the same reason does."""
        self.end(sentence)
        deadline = time.monotonic() + SAME_SECONDS
        while self.rank and time.monotonic() < deadline:
            signs = self.signs()
            if signs is None:
                return True
            if any(sign is not None and sign.end == sentence for sign in signs[: self.rank]):
                return False
            time.sleep(0.1)
        return True

    def find_missing(self) -> tuple["Missing", ...] | None:
        """After this rank has lost the others: which of them are the cause. None where the store does not answer.

        Takes up to 2.5 periods, in which ranks that are there give a sign.
        """
        self.lose()
        before = self.signs()
        deadline = time.monotonic() + 2.5 * self.period
        after = before
        while before is not None and after is not None and time.monotonic() < deadline:
            time.sleep(min(0.2, self.period))
            after = self.signs()
            if after is not None and any(sign is not None and sign.end for sign in after):
                break
        return None if before is None or after is None else missing_ranks(before, after, self._mine.place)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._news.set()
        self._thread.join(timeout=1.0)

    def _beat(self) -> None:
        while True:
            try:
                self._send()
            except dist.DistError:
                return
            if self._closed.wait(0.2 * self.period):
                return
            self._news.wait(0.8 * self.period)
            self._news.clear()

    def _send(self) -> None:
        with self._sending:
            with self._lock:
                self._mine = replace(self._mine, beat=self._mine.beat + 1, seen=time.time())
                message = json.dumps(asdict(self._mine))
            self._store.set(str(self.rank), message)


@dataclass(frozen=True)
class Missing:
    """Ranks that others waited for in vain.

    Attributes:
        ranks: their numbers; they share a machine and a place.
        kind: ``ended`` by themselves, ``never`` came, ``silent`` since ``sign.seen``, or ``elsewhere`` than those who wait.
        sign: the last one of the first of them; None if they never came.
    """

    ranks: tuple[int, ...]
    kind: str
    sign: Sign | None

    def __str__(self) -> str:
        who = ranks_in_words(self.ranks)
        if self.sign is None:
            return f"{who} never came"
        where = f"{who} on {self.sign.host}"
        if self.kind == "ended":
            return f"{where} ended by {'itself' if len(self.ranks) == 1 else 'themselves'}: {self.sign.end}"
        if self.kind == "silent":
            return f"nothing was heard of {where} since {_clock(self.sign.seen)}, at {self.sign.place}"
        return f"{where} {'is' if len(self.ranks) == 1 else 'are'} at {self.sign.place} since {_clock(self.sign.since)}"


def missing_ranks(before: Sequence[Sign | None], after: Sequence[Sign | None], place: str) -> tuple[Missing, ...]:
    """Whom a rank that waited at ``place`` misses, by all signs at two times that are over two beats apart.

    Of the kinds of :class:`Missing` only the gravest is given: who ended or never came is why the others went astray.
    """
    found: dict[tuple[str, str, str], tuple[list[int], Sign | None]] = {}
    for rank, (earlier, later) in enumerate(zip(before, after, strict=True)):
        if later is None:
            kind = "never"
        elif later.end:
            kind = "ended"
        elif later.lost:
            continue
        elif earlier is not None and earlier.beat == later.beat:
            kind = "silent"
        elif later.place != place:
            kind = "elsewhere"
        else:
            continue
        key = (kind, later.host if later else "", (later.end or later.place) if later else "")
        found.setdefault(key, ([], later))[0].append(rank)
    for kind in ("ended", "never", "silent", "elsewhere"):
        ours = tuple(Missing(tuple(ranks), kind, sign) for (of, _, _), (ranks, sign) in found.items() if of == kind)
        if ours:
            return ours
    return ()


def read_signs(store: dist.Store, size: int) -> list[Sign | None]:
    """The signs that a store holds; raises dist.DistError."""
    there = [rank for rank in range(size) if store.check([str(rank)])]
    texts = store.multi_get([str(rank) for rank in there]) if there else []
    signs = dict(zip(there, (Sign(**json.loads(text)) for text in texts), strict=True))
    return [signs.get(rank) for rank in range(size)]


def end_for(store: dist.Store, rank: int, reason: str) -> None:
    """Tell in the place of a rank that is dead why it ended, unless it told so itself."""

    def tell() -> None:
        ours = dist.PrefixStore("whereabouts", store)
        key = str(rank)
        last = (
            Sign(**json.loads(ours.get(key)))
            if ours.check([key])
            else Sign(socket.gethostname(), "the start", time.time())
        )
        if not last.end:
            ours.set(key, json.dumps(asdict(replace(last, end=reason))))

    answered(tell)


def answered(ask: Callable[[], _T]) -> _T | None:
    """What a question to the store gives; None if it fails or takes over ANSWER_SECONDS.

    It is asked in a thread: torch waits without limit for the answer of a store whose machine is cut off.
    """
    answers: list[_T] = []

    def run() -> None:
        try:
            answers.append(ask())
        except dist.DistError:
            return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    return answers[0] if answers else None


def ranks_in_words(ranks: Sequence[int]) -> str:
    """ "rank 3", "ranks 0, 2 and 4 to 7"."""
    spans: list[list[int]] = []
    for rank in ranks:
        if spans and spans[-1][-1] == rank - 1:
            spans[-1].append(rank)
        else:
            spans.append([rank])
    words = [
        text
        for span in spans
        for text in ([f"{span[0]} to {span[-1]}"] if len(span) > 2 else [str(rank) for rank in span])
    ]
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"rank{'s' if len(ranks) > 1 else ''} {listed}"


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))
