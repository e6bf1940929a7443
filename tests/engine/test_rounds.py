"""Ranks that work through different lists: they are ready together, fail together and stop together."""

import signal
import time
from functools import partial

import pytest

from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.rounds import Rounds
from slowfast_mvit.engine.stopping import Stopped
from slowfast_mvit.errors import UserError
from tests.engine.ranks import run_ranks


def rounds_of(world, seconds=0.0, stop=lambda: 0, save=lambda: None):
    return Rounds(world, stop_signal=stop, save=save, left="go on", seconds=seconds)


def work(world: World, lengths: list[int], seconds: float, event: str) -> tuple[list[str], str]:
    """What a rank did, and the error that it ended with; ``event`` happens at the third item of rank 1."""
    done, signals = [], [0]
    rounds = rounds_of(world, seconds, lambda: signals[0], partial(done.append, "save"))

    def items():
        for number in range(lengths[world.rank]):
            if world.rank == 1 and number == 2:
                if event == "error":
                    raise UserError("the third item is bad")
                if event == "signal":
                    signals[0] = signal.SIGTERM
            yield number

    try:
        try:
            for number in rounds.between(items()):
                time.sleep(0.01)
                done.append(str(number))
        except UserError as error:
            rounds.fail(error)
        rounds.finish()
    except UserError as error:
        return done, f"{type(error).__name__}: {error}"
    return done, ""


CASES = {
    "lengths": ([5, 2, 0], 0.0, ""),
    **{(event, seconds): ([100, 100, 1], seconds, event) for event in ("error", "signal") for seconds in (0.0, 0.05)},
}


def all_cases(world: World) -> dict[object, tuple[list[str], str]]:
    """In turn, in the same processes: their start takes seconds."""
    return {name: work(world, *case) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[object, tuple[list[str], str]]]:
    """By rank."""
    return run_ranks(all_cases, 3, tmp_path_factory.mktemp("ranks"))


def test_ranks_of_different_lengths_meet_before_every_item(found) -> None:
    long, short, none = (rank["lengths"][0] for rank in found)
    assert [word for word in long if word != "save"] == ["0", "1", "2", "3", "4"]
    assert [word for word in short if word != "save"] == ["0", "1"] and set(none) == {"save"}
    assert long.count("save") == short.count("save") == none.count("save") == 6


@pytest.mark.parametrize(
    ("event", "ends"),
    [("error", "UserError: the third item is bad"), ("signal", "Stopped: stopped by SIGTERM: go on")],
)
@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_all_ranks_end_alike(event: str, ends: str, seconds: float, found) -> None:
    assert [rank[event, seconds][1] for rank in found] == [ends] * 3
    assert all(len(rank[event, seconds][0]) < 100 for rank in found)


def test_a_process_alone_stops_at_the_next_item() -> None:
    rounds, done = rounds_of(World(), 1000.0, lambda: signal.SIGUSR1 if len(done) == 2 else 0), []
    with pytest.raises(Stopped, match=r"^stopped by SIGUSR1: go on$") as stopped:
        done.extend(rounds.between(range(9)))
    assert stopped.value.status == 128 + signal.SIGUSR1


def test_a_signal_at_the_end_stops_nothing() -> None:
    rounds_of(World(), stop=lambda: signal.SIGTERM).finish()


def test_what_saving_raises_is_raised() -> None:
    def full() -> None:
        raise UserError("the disk is full")

    rounds = rounds_of(World(), save=full)
    with pytest.raises(UserError, match="the disk is full"):
        rounds.finish()
    with pytest.raises(UserError, match="the disk is full"):
        list(rounds.between([1]))
    rounds = rounds_of(World(), save=full)
    with pytest.raises(UserError, match="the scores are ruined"):  # the cause of what came first
        rounds.fail(UserError("the scores are ruined"))


def test_an_error_of_all_is_not_told_again() -> None:
    saved = []
    rounds = rounds_of(World(), stop=lambda: signal.SIGTERM, save=lambda: saved.append(1))
    with pytest.raises(Stopped) as stopped:
        list(rounds.between([1]))
    with pytest.raises(Stopped):
        rounds.fail(stopped.value)
    assert saved == [1]
