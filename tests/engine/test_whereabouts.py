"""Which ranks are missed, and how it is said."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
import torch.distributed as dist

from slowfast_mvit.engine.whereabouts import Sign, Whereabouts, answered, end_for, missing_ranks, ranks_in_words

HERE = Sign("a", "step 5", since=0.0, beat=7, seen=1.0)


def later(sign: Sign, **changes: object) -> Sign:
    return replace(sign, beat=sign.beat + 2, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ([3], "rank 3"),
        ([0, 1], "ranks 0 and 1"),
        ([0, 2, 4, 5, 6, 7], "ranks 0, 2 and 4 to 7"),
        ([1, 2, 3], "ranks 1 to 3"),
    ],
)
def test_ranks_in_words(ranks: list[int], words: str) -> None:
    assert ranks_in_words(ranks) == words


def test_a_rank_whose_beats_end_is_silent_whatever_its_clock_says() -> None:
    before = [HERE, replace(HERE, host="b", seen=1e9)]
    (missing,) = missing_ranks(before, [later(HERE), before[1]], "step 5")
    assert (missing.ranks, missing.kind) == ((1,), "silent")
    assert str(missing).startswith("nothing was heard of rank 1 on b since ") and str(missing).endswith(", at step 5")


def test_the_gravest_cause_is_given() -> None:
    elsewhere = replace(HERE, host="c", place="validation")
    before = [HERE, elsewhere, HERE, None, HERE]
    (missing,) = missing_ranks(before, [later(sign) if sign else None for sign in before], "step 5")
    assert str(missing) == "rank 3 never came"
    after = [later(HERE), later(elsewhere), later(HERE, end="the disk is full"), None, HERE]
    (missing,) = missing_ranks(before, after, "step 5")
    assert str(missing) == "rank 2 on a ended by itself: the disk is full"
    (missing,) = missing_ranks(before[:2], [later(HERE), later(elsewhere)], "step 5")
    assert str(missing).startswith("rank 1 on c is at validation since ")


def test_ranks_that_gave_up_or_are_here_are_not_missed() -> None:
    lost = replace(HERE, lost=True, place="step 4")
    assert missing_ranks([HERE, lost], [later(HERE), lost], "step 5") == ()


def test_ranks_of_a_machine_are_told_together() -> None:
    other = replace(HERE, host="b")
    (missing,) = missing_ranks([HERE, other, other], [later(HERE), other, other], "step 5")
    assert missing.ranks == (1, 2) and "ranks 1 and 2 on b" in str(missing)


@pytest.fixture
def store() -> dist.TCPStore:
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=10))


def test_places_and_ends_travel_through_the_store(store: dist.TCPStore) -> None:
    first, second = (Whereabouts(store, rank, 3, period=0.1) for rank in range(2))
    second.at("step 2")
    deadline = time.monotonic() + 10
    while (signs := first.signs()) is None or signs[1] is None or signs[1].place != "step 2":
        assert time.monotonic() < deadline
    assert signs[2] is None
    second.close()
    end_for(store, 1, "ended by SIGKILL")
    missing = first.find_missing()
    assert missing is not None and [found.kind for found in missing] == ["ended"]
    end_for(store, 1, "another reason")  # the first one stays
    signs = first.signs()
    assert signs is not None and signs[1] is not None and signs[1].end == "ended by SIGKILL"
    first.close()


def test_the_first_of_ranks_that_fail_alike_says_it(store: dist.TCPStore) -> None:
    ranks = [Whereabouts(store, rank, 3, period=0.1) for rank in range(3)]
    assert ranks[0].says("no list") and not ranks[1].says("no list") and ranks[2].says("no disk")
    for rank in ranks:
        rank.close()


def test_a_store_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slowfast_mvit.engine.whereabouts.ANSWER_SECONDS", 0.1)
    assert answered(lambda: time.sleep(2)) is None
