"""One config of the command line, on as many processes as it asks for: what each says, and the exit status."""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slowfast_mvit.build.evaluate import summary
from slowfast_mvit.build.job import check_device, config_in, make_toy, run_job, toy_job
from slowfast_mvit.build.run import RunFolder, choose_device
from slowfast_mvit.config.load import load_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.engine.distributed import World, joined
from slowfast_mvit.engine.launch import launch, leave, machine_of
from slowfast_mvit.engine.log import log_to_screen
from slowfast_mvit.engine.meeting import SECONDS, Lost, Meeting, Seat, meet, seat_in
from slowfast_mvit.engine.stopping import Stopped
from slowfast_mvit.errors import UserError

_LOG = logging.getLogger(__name__)
_MENDABLE = (UserError, VideoError, OSError)


@dataclass(frozen=True)
class Command:
    """What the command line says of one config.

    Attributes:
        path: of the config.
        overrides: KEY VALUE, flat.
        toy: run on generated videos.
        init_method: where several machines without torchrun meet, ``tcp://HOST:PORT``.
        debug: show tracebacks.
        number: among the configs that are run in turn.
        report: shows what a run has left in its folder, given that and the config. Rank 0 calls it at the end of a job, also of
            one that stopped or failed, where the job has added to the folder. A function of a module, which other processes can
            import.
    """

    path: str
    overrides: tuple[str, ...] = ()
    toy: bool = False
    init_method: str = ""
    debug: bool = False
    number: int = 0
    report: Callable[[Path, Config], object] | None = None

    def config(self, *, make: bool = True) -> Config:
        """The config; with ``make`` the toy data that it needs is made."""
        return toy_job(self.path, self.overrides, make=make) if self.toy else load_config(self.path, self.overrides)


def run_command(command: Command) -> int:
    """Run a config as one of torchrun's processes, in this process, or in several; returns the exit status."""
    try:
        seat = seat_in(os.environ)
        if seat is None:
            return _start(command)
    except _MENDABLE as error:
        if command.debug:
            raise
        return _say(error, command)
    status = _run_at(command, seat, None)
    if status:
        leave(status)
    return status


def _start(command: Command) -> int:
    config = command.config(make=False)
    num_processes = config.NUM_GPUS or config.NUM_PROCESSES
    machine = machine_of(config.SHARD_ID, config.NUM_SHARDS, command.init_method)
    check_device(config)
    if command.toy and machine.number == 0:
        make_toy(config)
    if num_processes * machine.count == 1:
        with _reported(command, config):
            metrics = run_job(config, random_weights=command.toy)
        _print(metrics, command)
        return 0
    return launch(run_rank, (command, config), num_processes, machine, config.DISTRIBUTED.TIMEOUT)


def run_rank(command: Command, config: Config) -> int:
    """Run a config as one of the processes that :func:`launch.launch` starts; returns the exit status."""
    seat = seat_in(os.environ)
    assert seat is not None
    return _run_at(command, seat, config)


def _run_at(command: Command, seat: Seat, config: Config | None) -> int:
    """One rank's part; the config is loaded here under torchrun, where every process begins alike."""
    log_to_screen(seat.rank)
    timeout = config.DISTRIBUTED.TIMEOUT if config else SECONDS
    try:
        with meet(seat, timeout, "" if config else f"config {command.number}") as meeting:
            try:
                return _run_among(command, meeting, config)
            except Lost:
                raise
            except _MENDABLE as error:
                says = meeting.whereabouts.says(str(error))
                return _say(error, command, seat.rank) if says else _status(error)
    except Lost as error:  # which names its rank itself
        return _say(error, command) if error.is_ours else _status(error)
    except KeyboardInterrupt:  # rank 0's parent or torchrun has it as well
        return 130


def _run_among(command: Command, meeting: Meeting, config: Config | None) -> int:
    asked = config or command.config(make=False)
    choose_device(meeting.seat.local_size if asked.NUM_GPUS else 0)  # before any rank takes its GPU
    with (
        _reported(command, asked, is_main=meeting.seat.rank == 0),
        joined(
            meeting,
            device_type="cuda" if asked.NUM_GPUS else "cpu",
            backend=asked.DIST_BACKEND,
            timeout=asked.DISTRIBUTED.TIMEOUT,
        ) as world,
    ):
        if command.toy and config is None:
            _make_toy_once(asked, world)
        metrics = run_job(config_in(asked, world), world, random_weights=command.toy)
    if world.is_main:
        _print(metrics, command)
    return 0


def _make_toy_once(config: Config, world: World) -> None:
    """Rank 0 makes the toy data, and the others wait."""
    problem = ""
    if world.is_main:
        try:
            make_toy(config)
        except UserError as error:
            problem = str(error)
    problem = world.mains(problem)
    if problem:
        raise UserError(problem)


@contextmanager
def _reported(command: Command, config: Config, *, is_main: bool = True) -> Iterator[None]:
    """Run a job within; at its end what it has left in its folder is shown.

    A report that cannot be made is a warning: the run is what counts.
    """
    if command.report is None or not is_main:
        yield
        return
    folder = RunFolder(Path(config.OUTPUT_DIR))
    before = _versions(folder)
    try:
        yield
    except _MENDABLE:
        if _versions(folder) != before:
            _report(command.report, folder, config)
        raise
    _report(command.report, folder, config)


def _report(report: Callable[[Path, Config], object], folder: RunFolder, config: Config) -> None:
    try:
        report(folder.root, config)
    except _MENDABLE as problem:
        _LOG.warning("the report could not be made: %s", problem)


def _versions(folder: RunFolder) -> list[tuple[int, ...] | None]:
    """What tells whether the files of a run that a report is made of have been written anew."""
    return [_version(path) for path in (folder.log, folder.epochs, folder.metrics)]


def _version(path: Path) -> tuple[int, ...] | None:
    """None of a file that is not there."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


def _print(metrics: dict[str, object] | None, command: Command) -> None:
    for line in [] if metrics is None else summary(metrics):
        print(line)
    if command.toy:
        print("This ran on generated videos: that accuracy means nothing, except that the recipe runs here.")


def _say(error: BaseException, command: Command, rank: int = 0) -> int:
    """Say what went wrong, with the rank before it if it is not 0; returns the exit status."""
    if command.debug:
        traceback.print_exception(error)
    else:
        kind = "" if isinstance(error, Stopped) else "error: "
        print(f"{kind}{f'rank {rank}: ' if rank else ''}{error}", file=sys.stderr)
    return _status(error)


def _status(error: BaseException) -> int:
    return error.status if isinstance(error, Stopped) else 2
