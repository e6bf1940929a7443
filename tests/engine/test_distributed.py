"""What the ranks of a world tell each other."""

from pathlib import Path
from typing import Any

import torch

from slowfast_mvit.engine.distributed import World, joined
from tests.engine.ranks import run_ranks


def _messages(world: World) -> list[Any]:
    world.at("step 1")  # without a store: nothing
    return [
        world.sum([world.rank + 0.1, 1e-17]),
        world.everyones({"rank": world.rank}),
        world.gather(f"of {world.rank}"),
        world.mains(["of", world.rank]),
        (world.is_main, world.num_machines),
    ]


def test_messages_of_two(tmp_path: Path) -> None:
    found = run_ranks(_messages, 2, tmp_path)
    assert found[0] == [
        [0.1 + 1.1, 2e-17], [{"rank": 0}, {"rank": 1}], ["of 0", "of 1"], ["of", 0], (True, 1),
    ]  # fmt: skip
    assert found[1] == [*found[0][:2], None, ["of", 0], (False, 1)]


def test_alone() -> None:
    with joined(None, device_type="cpu", backend="nccl", timeout=1.0) as world:
        assert _messages(world) == [[0.1, 1e-17], [{"rank": 0}], ["of 0"], ["of", 0], (True, 1)]
    assert not torch.distributed.is_initialized()


def test_machines_are_counted() -> None:
    assert World(rank=5, size=8, local_rank=1, local_size=4).num_machines == 2
