"""Where processes of a job find one another: by torchrun's variables, a store that all of them reach, and what goes wrong."""

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist

from slowfast_mvit.engine.whereabouts import Whereabouts, ranks_in_words
from slowfast_mvit.errors import UserError

SECONDS = 600.0  # that a rank waits for the store, before it knows a config


@dataclass(frozen=True)
class Seat:
    """Which process of a job this is, as torchrun tells it: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, _PORT.

    Attributes:
        rank, size: number of this process, from 0, and how many there are.
        local_rank, local_size: the same among the processes of its machine.
        host, port: of the store.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    host: str
    port: int

    @property
    def variables(self) -> dict[str, str]:
        """For the environment of the process; the store is there already, so that no rank hosts one."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_size),
            "MASTER_ADDR": self.host,
            "MASTER_PORT": str(self.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
        }


def seat_in(environment: Mapping[str, str]) -> Seat | None:
    """The seat that an environment names; None for a process alone.

    Raises:
        UserError: only some of the variables are set, or one is no number.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT", "MASTER_ADDR")
    if not {"RANK", "WORLD_SIZE"} & environment.keys():
        return None
    missing = [name for name in names if name not in environment]
    if missing:
        raise UserError(
            f"RANK or WORLD_SIZE is set, and {', '.join(missing)} is not: start with torchrun, which sets all of "
            "them, or unset them"
        )
    wrong = [f"{name}={environment[name]}" for name in names[:-1] if not environment[name].isdigit()]
    if wrong:
        raise UserError(f"{', '.join(wrong)} is no number: torchrun sets these variables")
    rank, size, local_rank, local_size, port = (int(environment[name]) for name in names[:-1])
    return Seat(rank, size, local_rank, local_size, environment["MASTER_ADDR"], port)


@dataclass(frozen=True)
class Meeting:
    """A process at its seat, and the store that it shares with the others."""

    seat: Seat
    store: dist.Store
    whereabouts: Whereabouts


class Lost(UserError):  # noqa: N818 - told of others, not of what the user wrote
    """This rank waited in vain for others. After it nothing that the ranks do together can work.

    Attributes:
        is_ours: whether this rank says it: on each machine the first one does, and none where one of that machine's ranks ended
            by itself, which says why.
    """

    def __init__(self, sentence: str, *, is_ours: bool) -> None:
        super().__init__(sentence)
        self.is_ours = is_ours


@contextmanager
def meet(seat: Seat, timeout: float = SECONDS, name: str = "") -> Iterator[Meeting]:
    """Reach the store that :func:`seat_in` names; jobs of the same processes in turn have different ``name``.

    Raises:
        Lost: the store cannot be reached within ``timeout`` seconds.
    """
    _choose_interface(seat)
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=timedelta(seconds=timeout)))
        store = dist.PrefixStore(name, store)
        whereabouts = Whereabouts(store, seat.rank, seat.size, period=min(max(timeout / 20, 0.2), 2.0))
    except dist.DistError as error:
        raise Lost(
            f"rank {seat.rank} waited {timeout:g} s for {seat.host}:{seat.port}, where machine 0 holds the "
            "addresses of all ranks: see that the job runs there, that the port is right, and no firewall is between",
            is_ours=seat.local_rank == 0,
        ) from error
    try:
        yield Meeting(seat, store, whereabouts)
    except BaseException as error:  # that is raised again
        if not isinstance(error, Lost):
            whereabouts.end(str(error) or type(error).__name__)
        raise
    finally:
        whereabouts.close()


@contextmanager
def waiting_in_vain(meeting: Meeting) -> Iterator[None]:
    """Turn what torch raises when a rank does not come or goes away into a sentence about that rank.

    Raises:
        Lost: of a failed or timed-out rendezvous or collective.
    """
    try:
        yield
    except RuntimeError as error:
        # gloo's errors are plain RuntimeErrors that name their source file.
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise _lost(meeting, timed_out="timed out" in str(error).lower() or "timeout" in str(error).lower()) from error


def _lost(meeting: Meeting, *, timed_out: bool) -> Lost:
    seat, whereabouts = meeting.seat, meeting.whereabouts
    mine = whereabouts.mine
    seconds = whereabouts.seconds_here()
    missing = whereabouts.find_missing()
    waited = (
        f"rank {seat.rank} on {mine.host} waited for other ranks at {mine.place}, {seconds:.0f} s, and gave up"
        if timed_out
        else f"rank {seat.rank} on {mine.host} lost the connection to other ranks at {mine.place}, after {seconds:.0f} s"
    )
    again = "then start the same command again, everywhere: it goes on from the last checkpoint"
    if missing is None:
        cause = f"{seat.host}:{seat.port}, which knows where they are, does not answer"
        advice = "look at that machine and at the network of this one, "
    elif missing:
        cause, advice = "; ".join(map(str, missing[:3])), "look there, "
        if len(missing) > 3:
            cause += f"; and {len(missing) - 3} more such places"
    else:
        others = ranks_in_words([rank for rank in range(seat.size) if rank != seat.rank])
        cause, advice = f"{others} gave up as well", "look at the network between them, "
    here = missing is not None and any(
        found.kind == "ended" and found.sign is not None and found.sign.host == mine.host for found in missing
    )
    return Lost(f"{waited}: {cause}; {advice}{again}", is_ours=seat.local_rank == 0 and not here)


def _choose_interface(seat: Seat) -> None:
    """Let gloo talk over the interface that leads to the store; by itself it takes what the machine's name resolves to.

    That is 127.0.1.1 on many machines, which no other can reach. Whoever has set GLOO_SOCKET_IFNAME has chosen.
    """
    if seat.size == seat.local_size or "GLOO_SOCKET_IFNAME" in os.environ:
        return
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((seat.host, seat.port))  # sends nothing
            ours = probe.getsockname()[0]
    except OSError:  # no such name, or not by IPv4: gloo chooses
        return
    for _, name in socket.if_nameindex():
        if _address_of(name) == ours:
            os.environ["GLOO_SOCKET_IFNAME"] = name
            return


def _address_of(interface: str) -> str:
    """The IPv4 address of an interface; "" if it has none."""
    import fcntl  # not on Windows

    get_address = 0x8915  # SIOCGIFADDR
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            found = fcntl.ioctl(asked.fileno(), get_address, struct.pack("256s", interface[:15].encode()))
        except OSError:
            return ""
    return socket.inet_ntoa(found[20:24])
