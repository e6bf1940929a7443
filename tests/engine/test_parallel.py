"""One model on two ranks, whole or in parts: gradients, losses, averages and messages, held against one process.

Two real processes do all of it in one go (a start costs seconds); the tests look at what they found.
"""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.tensor.debug import CommDebugMode

from slowfast_mvit.batches import ClipBatch
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.engine.ema import WeightAverage
from slowfast_mvit.engine.loop import fit
from slowfast_mvit.engine.optimizer import make_optimizer, parameter_groups
from slowfast_mvit.engine.parallel import bare, communicating, is_sharded, own, shard, spread, whole_state
from slowfast_mvit.engine.step import FitPlan
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.ops.schedule import make_schedule
from slowfast_mvit.tasks.classify import Classification
from tests.engine.ranks import run_ranks

CPU = torch.device("cpu")
ARCH = Architecture(
    input_size=(4, 32, 32),
    patch_kernel=(3, 7, 7),
    patch_stride=(2, 4, 4),
    patch_padding=(1, 3, 3),
    embed_dim=16,
    num_heads=1,
    depth=3,
    dim_mul=((1, 2.0),),
    head_mul=((1, 2.0),),
    pool_q_stride=((1, (1, 2, 2)),),
    pool_kv_stride=(1, 2, 2),
)
TASK = Classification(5, (0.45,) * 3, (0.225,) * 3)
STEPS, PASSES, CLIPS = 4, 2, 3  # three clips a pass: the ranks have two and one
DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
CASES = [(precision, again) for precision in DTYPES for again in (False, True)]


def network(*, again: bool = False) -> MViT:
    torch.manual_seed(0)
    return MViT(ARCH, 5, init="xavier", checkpoint_activations=again)


def batch(number: int, clips: Iterable[int]) -> ClipBatch:
    """Some of the clips of a pass."""
    places = torch.tensor(list(clips))
    generator = torch.Generator().manual_seed(number)
    videos = torch.randint(0, 256, (CLIPS, 3, 4, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 5, (CLIPS,), generator=generator)
    zeros, seconds = torch.zeros_like(places), torch.zeros(len(places), dtype=torch.float64)
    return ClipBatch(videos[places], labels[places], places, zeros, zeros, seconds, seconds)


def mine(world: World, number: int) -> ClipBatch:
    return batch(number, range(world.rank, CLIPS, world.size))


def step(model: nn.Module, world: World, precision: str, scale: float = 1.0) -> None:
    """Gradients of one step of two passes, times ``scale``."""
    task = Classification(5, (0.45,) * 3, (0.225,) * 3, autocast_dtype=DTYPES[precision])
    model.train()
    for number in range(PASSES):
        clips = mine(world, number)
        with communicating(model, last=number + 1 == PASSES):
            loss = task.losses(model, clips, None)["loss"]  # type: ignore[arg-type]  # nothing is mixed
            (loss * (scale * len(clips) * world.size / (CLIPS * PASSES))).backward()


def gradients(model: nn.Module, scale: float) -> dict[str, Tensor]:
    """Whole gradients."""
    found = {}
    for name, parameter in bare(model).named_parameters():
        gradient = parameter.grad
        assert gradient is not None
        found[name] = getattr(gradient, "full_tensor", lambda gradient=gradient: gradient)().clone() / scale
    return found


class Still:
    """A course that keeps the average and asks for nothing."""

    def __init__(self, model: nn.Module, average: WeightAverage) -> None:
        self.model, self.average = model, average

    def after_update(self) -> None:
        self.average.update(bare(self.model))

    def new_bad_videos(self) -> int:
        return 0

    def count_bad_videos(self, number: int) -> None:
        pass

    def wants_checkpoint(self) -> bool:
        return False

    wants_stop = wants_checkpoint

    def after_epoch(self, position: Any, means: Any) -> None:
        pass


class Notes:
    """A log that keeps what is written."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def write(self, kind: str, **fields: Any) -> None:
        self.entries.append({"kind": kind, **fields})


def train(world: World, strategy: str, **changed: Any) -> dict[str, Any]:
    """A short training; returns losses, norms, weights and averages."""
    precision, method, lars = (
        changed.pop("precision", "float32"),
        changed.pop("method", "adamw"),
        changed.pop("lars", False),
    )
    model = network()
    average = WeightAverage(model, 0.5)
    model = spread(model, world, CPU, strategy)
    if is_sharded(model):
        shard(average.model, CPU)
    groups = parameter_groups(bare(model), 0.05, no_decay_1d=True)
    optimizer = make_optimizer(method, groups, nesterov=False, lars=lars)
    log = Notes()
    fit(
        model,
        Classification(5, (0.45,) * 3, (0.225,) * 3, autocast_dtype=DTYPES[precision]),
        (mine(world, number) for number in range(STEPS * PASSES)),
        optimizer,
        make_schedule("cosine", base=changed.pop("rate", 1e-3), max_epoch=1),
        FitPlan(1, STEPS, PASSES, CLIPS * PASSES, log_period=1, **changed),
        device=CPU,
        log=log,  # type: ignore[arg-type]
        name_of=str,
        course=Still(model, average),  # type: ignore[arg-type]
        world=world,
        blank=batch(0, [0]),
        scaler=torch.amp.GradScaler("cpu", init_scale=2.0**18, enabled=precision == "float16"),
    )
    steps = [entry for entry in log.entries if entry["kind"] == "train"]
    return {
        "losses": [step.get("loss") for step in steps],
        "norms": [step["grad_norm"] or 0.0 for step in steps],  # None where it is not finite
        "skipped": [entry["step"] for entry in log.entries if entry["kind"] == "skipped"],
        "weights": {name: tensor.clone() for name, tensor in whole_state(bare(model)).items()},
        "average": {name: tensor.clone() for name, tensor in whole_state(average.model).items()},
        "held": sum(own(parameter).numel() for parameter in model.parameters()),
    }


TRAININGS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "clipped": {"clip_grad_norm": 0.1},
    "clipped values": {"clip_grad_value": 1e-3},
    "lars": {"method": "sgd", "lars": True, "rate": 1.0},
    "float16": {"precision": "float16"},
}


def on_two_ranks(world: World) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for strategy in ("ddp", "fsdp"):
        for precision, again in CASES:
            model = spread(network(again=again), world, CPU, strategy)
            scale = 1024.0 if precision == "float16" else 1.0
            with CommDebugMode() as messages:
                step(model, world, precision, scale)
            found[strategy, precision, again] = gradients(model, scale)
            counts = {str(operation): count for operation, count in messages.get_comm_counts().items()}
            found[strategy, precision, again, "messages"] = counts
        for name, changed in TRAININGS.items():
            found[strategy, name] = train(world, strategy, **changed)
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    """By rank."""
    return run_ranks(on_two_ranks, 2, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def alone() -> dict[Any, Any]:
    """What one process finds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone: dict[Any, Any] = {}
        for precision in DTYPES:
            model, scale = network(), 1024.0 if precision == "float16" else 1.0
            step(model, World(), precision, scale)
            alone["gradients", precision] = gradients(model, scale)
        return alone | {name: train(World(), "ddp", **changed) for name, changed in TRAININGS.items()}
    finally:
        torch.set_num_threads(threads)


def furthest(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The largest difference of two sets of tensors, as a share of the largest number in its tensor.

    Biases that are added to all keys alike have no effect: their gradients are rounding, and Adam makes large steps of them.
    """
    assert list(ours) == list(theirs)
    idle = ("attn.qkv.bias", "attn.norm_k.bias")
    return max(
        ((ours[name] - theirs[name]).abs().max() / theirs[name].abs().max()).item()
        for name in theirs
        if not name.endswith(idle)
    )


@pytest.mark.parametrize(("precision", "again"), CASES)
def test_gradients_are_those_of_one_process(
    found: list[Any], alone: dict[Any, Any], precision: str, again: bool
) -> None:
    """Through the backward passes of our own, with activations kept or computed again, in every precision."""
    for rank in found:
        ours = rank["fsdp", precision, again]
        # The ranks of either strategy do the same sums; in half precision one process sums other parts before it rounds.
        assert furthest(ours, rank["ddp", precision, again]) < 1e-6
        tolerance = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-3}[precision]
        assert furthest(ours, alone["gradients", precision]) < tolerance


@pytest.mark.parametrize(("precision", "again"), CASES)
def test_gradients_are_sent_once_a_step(found: list[Any], precision: str, again: bool) -> None:
    """Of two passes; the model fits into one bucket of DDP's. FSDP has one message for the root and one for each block."""
    for rank in found:
        assert rank["ddp", precision, again, "messages"] == {"c10d.allreduce_": 1}
        fsdp = rank["fsdp", precision, again, "messages"]
        assert fsdp["c10d._reduce_scatter_base_"] == 1 + ARCH.depth
        # In each pass the root is gathered once, a block twice: the backward pass needs it again.
        assert fsdp["c10d._allgather_base_"] == PASSES * (1 + 2 * ARCH.depth)
        assert set(fsdp) == {"c10d._reduce_scatter_base_", "c10d._allgather_base_"}


@pytest.mark.parametrize("name", TRAININGS)
def test_trainings_are_those_of_one_process(found: list[Any], alone: dict[Any, Any], name: str) -> None:
    """Losses, gradient norms, weights and averages, with every clipping, LARS, and steps that float16 leaves out."""
    for rank in found:
        fsdp, ddp, one = rank["fsdp", name], rank["ddp", name], alone[name]
        half = name == "float16"
        assert fsdp["skipped"] == ddp["skipped"] and bool(ddp["skipped"]) == half
        assert len(ddp["skipped"]) < STEPS
        for key in ("losses", "norms"):
            assert fsdp[key] == pytest.approx(ddp[key], rel=1e-5)
            if not half:  # whose scale, and so the number of steps left out, depends on the number of ranks
                assert fsdp[key] == pytest.approx(one[key], rel=1e-5)
        for key in ("weights", "average"):
            assert furthest(fsdp[key], ddp[key]) < 1e-3
            assert half or furthest(fsdp[key], one[key]) < 1e-3


def test_a_rank_holds_half(found: list[Any], alone: dict[Any, Any]) -> None:
    whole = alone["adamw"]["held"]
    assert [rank["ddp", "adamw"]["held"] for rank in found] == [whole, whole]
    held = [rank["fsdp", "adamw"]["held"] for rank in found]
    assert sum(held) == whole and max(held) < 0.51 * whole


def test_alone_nothing_is_wrapped() -> None:
    for strategy in ("ddp", "fsdp"):
        model = network()
        assert spread(model, World(), CPU, strategy) is model is bare(model) and not is_sharded(model)
