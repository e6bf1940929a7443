"""Seats by torchrun's variables."""

import re

import pytest

from slowfast_mvit.engine.meeting import Lost, Seat, meet, seat_in, waiting_in_vain
from slowfast_mvit.errors import UserError

SEAT = Seat(rank=5, size=8, local_rank=1, local_size=4, host="node-a", port=29500)


def test_a_seat_is_what_torchrun_says() -> None:
    assert seat_in(SEAT.variables) == SEAT
    assert seat_in({"LOCAL_RANK": "0", "MASTER_ADDR": "x"}) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MASTER_PORT": None}, "MASTER_PORT is not"),
        ({"RANK": None, "LOCAL_RANK": None}, "RANK, LOCAL_RANK is not"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two is no number"),
    ],
)
def test_half_a_seat(changes: dict[str, str | None], said: str) -> None:
    variables = {name: value for name, value in {**SEAT.variables, **changes}.items() if value is not None}
    with pytest.raises(UserError, match=re.escape(said)):
        seat_in(variables)


def test_a_store_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    seat = Seat(1, 2, 0, 1, "127.0.0.1", 1)
    for name, value in seat.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    with pytest.raises(Lost, match=r"rank 1 waited 1 s for 127\.0\.0\.1:1, where machine 0") as caught, meet(seat, 1.0):
        pass
    assert caught.value.is_ours


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), waiting_in_vain(None):  # type: ignore[arg-type]
        raise RuntimeError("shapes do not fit")
