"""Checkpoints in parts: written by one number of ranks and read by another, damaged, cut off, and made plain."""

import copy
import os
import pickle
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from slowfast_mvit.engine import sharded
from slowfast_mvit.engine.checkpoint import checkpoint_path, drop_old, list_checkpoints, read_newest, save_checkpoint
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.ema import WeightAverage
from slowfast_mvit.engine.optimizer import make_optimizer, parameter_groups, restore_optimizer
from slowfast_mvit.engine.parallel import bare, is_sharded, shard, spread
from slowfast_mvit.engine.sharded import save_sharded
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.weights.files import read_weights
from slowfast_mvit.weights.load import load_weights
from slowfast_mvit.weights.sharded import STATE, flatten, is_sharded_folder, nest
from tests.engine.ranks import rank_alone, run_ranks

CPU = torch.device("cpu")
ARCH = Architecture(
    input_size=(2, 16, 16),
    patch_kernel=(1, 4, 4),
    patch_stride=(1, 4, 4),
    patch_padding=(0, 0, 0),
    embed_dim=8,
    num_heads=1,
    depth=2,
)
NAME = "checkpoint_epoch_00003.sharded"


class Run:
    """A small training: network, average and optimizer, spread over the ranks."""

    def __init__(
        self, world: World, strategy: str, content: dict[str, Any] | None = None, parts: Path | None = None
    ) -> None:
        torch.manual_seed(3 if content is None else 4)
        model = MViT(ARCH, 3)
        if content is not None:
            load_weights(model, content, strict=True)
        average = WeightAverage(model, 0.5)
        if content is not None:
            load_weights(average.model, {"model_state": content["ema_state"]}, strict=True)
        self.model, self.average = spread(model, world, CPU, strategy), average
        if is_sharded(self.model):
            shard(average.model, CPU)
        self.optimizer = make_optimizer("adamw", parameter_groups(bare(self.model), 0.05, no_decay_1d=True))
        if content is not None:
            restore_optimizer(self.optimizer, content["optimizer_state"], parts=parts)

    def steps(self, number: int) -> None:
        """The same on every rank, so that their number does not matter."""
        clips = torch.randn(2, 3, 2, 16, 16, generator=torch.Generator().manual_seed(number))
        for group in self.optimizer.param_groups:
            group["lr"] = 1e-2
        self.optimizer.zero_grad()
        self.model(clips).square().mean().backward()
        self.optimizer.step()
        self.average.update(bare(self.model))

    def content(self) -> dict[str, Any]:
        return {
            "epoch": 2,
            "cfg": "RNG_SEED: 1",
            "label_names": ["a", "b", "c"],
            "model_state": bare(self.model).state_dict(),
            "ema_state": self.average.model.state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
        }


def whole(content: dict[str, Any]) -> dict[str, Any]:
    """A container with whole tensors, of memory of their own, and without rates, which the schedule sets."""
    tensors, rest = flatten(content)
    groups = [{**group, "lr": None} for group in rest["optimizer_state"]["param_groups"]]
    rest["optimizer_state"] = {**rest["optimizer_state"], "param_groups": groups}
    gathered = {key: getattr(tensor, "full_tensor", lambda tensor=tensor: tensor)() for key, tensor in tensors.items()}
    return copy.deepcopy(nest({key: tensor.detach() for key, tensor in gathered.items()}, rest))


def same(ours: Any, theirs: Any) -> bool:
    """Whether two containers are equal, tensors bitwise."""
    if isinstance(ours, Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return set(ours) == set(theirs) and all(same(ours[key], theirs[key]) for key in ours)
    return ours == theirs


def said(work: Callable[[], object]) -> str:
    try:
        work()
    except UserError as error:
        return str(error)
    return ""


def scenario(world: World, folder: Path) -> dict[str, Any]:
    """All that the tests look at, with two ranks and with one in parts."""
    found: dict[str, Any] = {}
    run = Run(world, "fsdp")
    run.steps(0), run.steps(1)
    found["written"] = whole(run.content())
    save_sharded(folder / NAME, run.content(), world)
    if world.is_main:
        save_checkpoint(folder / "plain.pyth", found["written"])
    world.sum([0])
    # Read again by as many ranks, in parts and whole, from the parts and from the plain file.
    for source in (NAME, "plain.pyth"):
        for strategy in ("fsdp", "ddp"):
            again = Run(world, strategy, read_weights(folder / source))
            found["read", source, strategy] = whole(again.content())
    # And the moments straight into parts.
    content = read_weights(folder / NAME, moments=False)
    found["left out"] = [set(entries) for entries in content["optimizer_state"]["state"].values()]
    again = Run(world, "fsdp", content, folder / NAME)
    found["read in parts"] = whole(again.content())
    run.steps(2), again.steps(2)
    found["went on"] = same(whole(run.content()), whole(again.content()))
    # A damaged one of the same name is replaced, and what a crash left is swept away.
    if world.is_main:
        (folder / f".{NAME}.tmp").mkdir()
    save_sharded(folder / NAME, run.content(), world)
    found["second"] = whole(run.content())
    if world.size == 1:
        return found
    # The last rank cannot write more than 4 KiB.
    if world.rank == world.size - 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    found["full"] = said(lambda: save_sharded(folder / "checkpoint_epoch_00004.sharded", run.content(), world))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    found["names"] = sorted(path.name for path in folder.iterdir())
    return found


def reshard(world: World, folder: Path) -> dict[str, Any]:
    """What another number of ranks reads."""
    content = read_weights(folder / NAME)
    found = {strategy: whole(Run(world, strategy, content).content()) for strategy in ("fsdp", "ddp")}
    content = read_weights(folder / NAME, moments=False)
    return found | {"parts": whole(Run(world, "fsdp", content, folder / NAME).content())}


def two_ranks(world: World, root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """:func:`scenario`, and what two ranks read of one's."""
    return scenario(world, root / "two"), reshard(world, root / "one")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sharded")
    (root / "one").mkdir()
    (root / "two").mkdir()
    return root


@pytest.fixture(scope="module")
def one(root: Path) -> dict[str, Any]:
    with rank_alone(root / "ranks") as world:
        return scenario(world, root / "one")


@pytest.fixture(scope="module")
def both(root: Path, one: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return run_ranks(two_ranks, 2, root / "ranks", root)


@pytest.fixture(scope="module")
def two(both: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[dict[str, Any]]:
    return [found for found, _ in both]


def test_ranks_read_what_they_wrote(one: dict[str, Any], two: list[dict[str, Any]]) -> None:
    for rank, first in ((one, one), (two[0], two[0]), (two[1], two[0])):
        assert same(rank["written"], first["written"]) and len(rank["written"]["optimizer_state"]["state"]) > 20
        for source in (NAME, "plain.pyth"):
            for strategy in ("fsdp", "ddp"):
                assert same(rank["read", source, strategy], rank["written"]), (source, strategy)
        assert same(rank["read in parts"], rank["written"]) and rank["went on"]
        assert all(names == {"step"} for names in rank["left out"])


def test_two_to_one_and_one_to_two(root: Path, one: dict[str, Any], both: list[Any]) -> None:
    """Bitwise, in parts and whole."""
    with rank_alone(root / "ranks") as world:
        fewer = reshard(world, root / "two")
    for strategy in ("fsdp", "ddp", "parts"):
        assert same(fewer[strategy], both[0][0]["second"])
        assert all(same(more[strategy], one["second"]) for _, more in both)


def test_a_process_without_ranks_reads_it(root: Path, two: list[dict[str, Any]]) -> None:
    content = read_weights(root / "two" / NAME)
    assert same(whole(content), two[0]["second"])
    assert same(whole(Run(World(), "fsdp", content).content()), two[0]["second"])
    assert load_weights(MViT(ARCH, 3), root / "two" / NAME, strict=True).is_complete


def test_a_rank_that_cannot_write_leaves_the_old_one(root: Path, two: list[dict[str, Any]]) -> None:
    for rank in two:
        assert rank["full"] == (
            f"{root}/two/checkpoint_epoch_00004.sharded cannot be written: File too large; the newest checkpoint is {NAME}, "
            "which is intact. Make room (TRAIN.KEEP_CHECKPOINTS keeps fewer) and start the same command again"
        )
    assert two[0]["names"] == [NAME, "plain.pyth"]


class Crash(BaseException):
    """Ends the work at once: nothing is cleared up."""


@pytest.mark.parametrize(
    "place", [(sharded._Writer, "write_data"), (sharded, "write_synced"), (Path, "replace")], ids=lambda place: place[1]
)
def test_a_crash_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]) -> None:
    """Among the parts, before the rest, and before the new name; what it leaves is swept away."""

    def crash(*_: Any, **__: Any) -> None:
        raise Crash

    folder = tmp_path / "run"
    with rank_alone(tmp_path / "ranks") as world:
        run = Run(world, "fsdp")
        run.steps(0)
        save_sharded(folder / NAME, run.content(), world)
        old, newer = whole(run.content()), folder / "checkpoint_epoch_00004.sharded"
        run.steps(1)
        with monkeypatch.context() as patch, pytest.raises(Crash):
            patch.setattr(*place, crash)
            save_sharded(newer, run.content(), world)
        found = read_newest(folder)
        assert found is not None and found[0].name == NAME and same(whole(found[1]), old)
        assert {path.name for path in folder.iterdir()} == {NAME, f".{newer.name}.tmp"}
        save_sharded(newer, run.content(), world)
        drop_old(folder, 1)
        assert list(folder.iterdir()) == [newer] and same(whole(read_weights(newer)), whole(run.content()))


@pytest.fixture
def copies(tmp_path: Path, root: Path, two: list[dict[str, Any]]) -> Path:
    """A folder of checkpoints: a plain one after epoch 2, one in parts after epoch 3, another inside epoch 4."""
    save_checkpoint(checkpoint_path(tmp_path, 1), read_weights(root / "two" / "plain.pyth") | {"epoch": 1})
    shutil.copytree(root / "two" / NAME, checkpoint_path(tmp_path, 2, sharded=True))
    shutil.copytree(root / "two" / NAME, checkpoint_path(tmp_path, 2, step=7, sharded=True))
    return tmp_path


def test_both_kinds_are_found_in_order_and_dropped(copies: Path) -> None:
    plain, whole, inside = (
        checkpoint_path(copies, 1),
        checkpoint_path(copies, 2, sharded=True),
        checkpoint_path(copies, 2, step=7, sharded=True),
    )
    assert (whole.name, inside.name) == (NAME, "checkpoint_epoch_00003_step_00000007.sharded")
    assert list_checkpoints(copies) == [plain, whole, inside]
    (copies / f".{NAME}.tmp").mkdir()
    (copies / f".{NAME}.tmp" / "__0_0.distcp").touch()
    drop_old(copies, 1, spare=[plain])
    assert sorted(copies.iterdir()) == [plain, inside]


def flip(path: Path, around: bytes = b"") -> None:
    """Turn a bit in the middle, or of a text. A zip file has gaps, which nobody reads."""
    data = bytearray(path.read_bytes())
    data[data.index(around) if around else len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("file", "damage", "problem"),
    [
        ("__1_0.distcp", flip, "is damaged: its bytes are not what their checksum says"),
        (".metadata", flip, "is damaged: its bytes are not what their checksum says"),
        ("__0_0.distcp", lambda path: os.truncate(path, 1000), "is cut short: it has 1,000 of "),
        ("__0_0.distcp", Path.unlink, "lacks its file __0_0.distcp"),
        (STATE, Path.unlink, "does not exist"),
        (STATE, lambda path: flip(path, b"label_names"), "it is damaged or of another kind"),
        (STATE, lambda path: path.write_bytes(b""), "is empty"),
    ],
)
def test_damaged_ones_are_passed(
    copies: Path, caplog: pytest.LogCaptureFixture, file: str, damage: Callable[[Path], object], problem: str
) -> None:
    newest, before = list_checkpoints(copies)[-1], list_checkpoints(copies)[-2]
    damage(newest / file)
    found = read_newest(copies)
    assert found is not None and found[0] == before
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert problem in record.message and record.message.endswith("; trying the checkpoint before it")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("executed",)


def test_nothing_is_executed(copies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An index that would call something is refused, its checksum right or not."""
    folder = list_checkpoints(copies)[-1]
    (folder / ".metadata").write_bytes(pickle.dumps(Evil()))
    state = torch.load(folder / STATE)
    state["files"][".metadata"] = [len(pickle.dumps(Evil())), __import__("zlib").crc32(pickle.dumps(Evil()))]
    torch.save(state, folder / STATE)
    with pytest.raises(UserError, match=r"names builtins\.print, which is refused"):
        read_weights(folder)
    assert "executed" not in capsys.readouterr().out


def test_other_folders_are_no_checkpoints(tmp_path: Path) -> None:
    assert not is_sharded_folder(tmp_path)
    with pytest.raises(UserError, match="is a folder: give the file of weights"):
        read_weights(tmp_path)
    torch.save({"epoch": 1}, tmp_path / STATE)
    with pytest.raises(UserError, match="names no files"):
        read_weights(tmp_path)


values = st.one_of(st.integers(), st.just(torch.tensor(3.0)), st.just(torch.ones(2)))
names = st.text("ab._", min_size=1, max_size=5)
contents = st.fixed_dictionaries(
    {"model_state": st.dictionaries(names, st.just(torch.zeros(2)), min_size=1), "epoch": st.integers()},
    optional={
        "ema_state": st.dictionaries(names, st.just(torch.zeros(2)), min_size=1),
        "optimizer_state": st.fixed_dictionaries(
            {"state": st.dictionaries(st.integers(0, 99), st.dictionaries(names, values)), "param_groups": st.just([])}
        ),
    },
)


@given(contents)
def test_a_container_comes_back(content: dict[str, Any]) -> None:
    tensors, rest = flatten(content)
    assert all(tensor.dim() for tensor in tensors.values()) and same(nest(tensors, rest), content)
