"""The rows of the benchmark: what is measured against whom, and the goal that the project has set itself."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from slowfast_mvit.benchmark import decoding, networks, scoring
from slowfast_mvit.benchmark.networks import Build
from slowfast_mvit.benchmark.sides import Side, Work
from slowfast_mvit.models.flops import count_flops, count_pyramid_flops
from slowfast_mvit.models.variants import VARIANTS, default_classes

SUITES = ("model", "compile", "backbone", "train", "loader", "test", "eval", "growth")
# Those of networks, which a GPU can run.
NETWORK_SUITES = ("model", "compile", "backbone", "train", "growth")
NUM_VIDEOS = 4


@dataclass(frozen=True)
class Place:
    """Where networks run.

    Attributes:
        device: ``cpu`` or ``cuda``.
        batch: clips or images at a time; None: each row's own number, which suits 2 cores.
    """

    device: str = "cpu"
    batch: int | None = None


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        title: what is done.
        ours, peer: the two sides; a row may have no peer.
        items: clips, images, videos or views of one run.
        flops: multiply-adds of one run, twice; 0 where there is nothing to count.
        precision: of the arithmetic; the limit is a matrix product in it.
        goal: least ratio of the peer's time to ours; None: no goal.
        memory_goal: largest ratio of our peak memory to the peer's; None: no goal.
        most_runs: no more counted runs than these, for work that takes minutes; None: what the caller asks for.
        device: that both sides run on.
    """

    title: str
    ours: Side
    peer: Side | None
    items: int
    flops: float = 0.0
    precision: str = "float32"
    goal: float | None = None
    memory_goal: float | None = None
    most_runs: int | None = None
    device: str = "cpu"


def rows_of(suite: str, folder: Path, place: Place = Place()) -> list[Row]:
    """The rows of a suite; ``folder`` is for the videos that it needs, ``place`` for the suites of networks."""
    of_networks = {
        "model": _forward_rows,
        "compile": _compile_rows,
        "backbone": _backbone_rows,
        "train": _training_rows,
        "growth": _growth_rows,
    }
    if suite in of_networks:
        return of_networks[suite](place)
    return {"loader": _loader_rows, "test": _test_rows, "eval": lambda _: _scoring_rows()}[suite](folder)


def _forward_rows(place: Place) -> list[Row]:
    video, image, large = (16, 224, 224), (224, 224), (40, 312, 312)
    s = _Network("mvitv2_s_16x4", video, 1, networks.make_forward)
    of_torchvision = _Peer("torchvision mvit_v2_s", networks.torchvision_s)
    of_timm = _Peer("timm mvitv2_small", networks.timm_s)
    plain = _Peer("the plain formula", partial(networks.plain_formula, "mvitv2_l_40x3"))
    return [
        s.row("S 16x4 forward", place, of_torchvision, goal=1.35),
        s.row("S 16x4 forward", place, of_torchvision, precision="bfloat16", goal=1.45),
        _Network("mvitv2_s", image, 8, networks.make_forward).row("image S at 224 forward", place, of_timm, goal=1.3),
        _Network("mvitv2_l_40x3", large, 1, networks.make_forward).row(
            "L 40x3 at 312 forward", place, plain, goal=1.5, memory_goal=0.5, most_runs=3
        ),
    ]


def _compile_rows(place: Place) -> list[Row]:
    """What torch.compile, which fuses what lies between the products, makes of our forward pass."""
    s = _Network("mvitv2_s_16x4", (16, 224, 224), 1, networks.make_compiled_forward)
    eager = _Peer("not compiled", s.build, networks.make_forward)
    return [s.row("S 16x4 forward compiled", place, eager)]


def _backbone_rows(place: Place) -> list[Row]:
    """One image as COCO's are: 800 pixels high, padded to multiples of 32."""
    name, batch = "mvitv2_t", place.batch or 1
    shape = (batch, 3, 800, 1216)
    blocks, _ = count_pyramid_flops(networks.backbone_architecture(name), shape[2:])
    ours, plain = (
        partial(networks.make_forward, partial(build, name), shape, "float32", place.device)
        for build in (networks.backbone, networks.plain_backbone)
    )
    return [
        Row(
            f"backbone T with hybrid windows at 800 x 1216 forward, batch {batch}, float32",
            Side("ours", ours),
            Side("the plain formula", plain),
            items=batch,
            flops=2.0 * blocks.multiply_adds * batch,
            goal=1.5,
            memory_goal=0.5,
            device=place.device,
        )
    ]


def _training_rows(place: Place) -> list[Row]:
    s = _Network("mvitv2_s_16x4", (16, 224, 224), 2, networks.make_training_step, passes=3)
    peer = _Peer("torchvision mvit_v2_s", networks.torchvision_s)
    return [
        s.row("S 16x4 training step", place, peer, precision=precision, goal=goal, memory_goal=memory)
        for precision, goal, memory in (("float32", 1.5, 0.75), ("bfloat16", 2.0, None))
    ]


def _growth_rows(place: Place) -> list[Row]:
    sizes = [(8, 224), (16, 224), (32, 224), (16, 160), (16, 312)]
    return [
        _Network(
            "mvitv2_s_16x4",
            (frames, side, side),
            1,
            networks.make_forward,
            options=(("num_frames", frames), ("crop_size", side)),
        ).row(f"S forward, {frames} frames at {side}", place, None)
        for frames, side in sizes
    ]


class _Make(Protocol):
    """One of the ``make_`` functions of networks."""

    def __call__(self, build: Build, shape: tuple[int, ...], precision: str, device: str) -> Work: ...


class _Peer(NamedTuple):
    """Whom a network is compared with; ``make`` where it does something else than ours."""

    name: str
    build: Build
    make: _Make | None = None


@dataclass(frozen=True)
class _Network:
    """What a row does with a model of ours.

    Attributes:
        name: of the model.
        input_size: of a clip or image.
        batch: so many at a time, where the place does not say.
        make: the work.
        passes: forward passes that the work costs; a backward pass costs two.
        options: of the model.
    """

    name: str
    input_size: tuple[int, ...]
    batch: int
    make: _Make
    passes: int = 1
    options: tuple[tuple[str, object], ...] = ()

    @property
    def build(self) -> Build:
        return partial(networks.ours, self.name, **dict(self.options))

    def row(
        self,
        title: str,
        place: Place,
        peer: _Peer | None,
        *,
        precision: str = "float32",
        goal: float | None = None,
        memory_goal: float | None = None,
        most_runs: int | None = None,
    ) -> Row:
        batch = place.batch or self.batch
        how = ((batch, 3, *self.input_size), precision, place.device)
        products = count_flops(VARIANTS[self.name], default_classes(self.name), self.input_size).multiply_adds
        return Row(
            f"{title}, batch {batch}, {precision}",
            Side("ours", partial(self.make, self.build, *how)),
            None if peer is None else Side(peer.name, partial(peer.make or self.make, peer.build, *how)),
            items=batch,
            flops=2.0 * products * batch * self.passes,
            precision=precision,
            goal=goal,
            memory_goal=memory_goal,
            most_runs=most_runs,
            device=place.device,
        )


def _loader_rows(folder: Path) -> list[Row]:
    peer = Side("PyTorchVideo's Kinetics", partial(decoding.make_pytorchvideo_clips, folder))
    plain = Side("ours", partial(decoding.make_our_clips, folder, ""))
    augmented = Side("ours", partial(decoding.make_our_clips, folder, "rand-m7-n4-mstd0.5-inc1"))
    return [
        Row("training clips: decode, resize, crop, flip", plain, peer, items=NUM_VIDEOS, goal=2.0),
        Row(
            "the same with RandAugment, against without", augmented, Side("ours without", plain.make), items=NUM_VIDEOS
        ),
    ]


def _test_rows(folder: Path) -> list[Row]:
    ours = Side("ours", partial(decoding.make_our_views, folder))
    views = NUM_VIDEOS * decoding.NUM_CLIPS * decoding.NUM_CROPS
    return [
        Row("5 x 3 views of a 10 s video, decoding", ours,
            Side("PyTorchVideo's get_clip", partial(decoding.make_pytorchvideo_views, folder)), items=views, goal=10.0),
        Row("5 x 3 views of a 10 s video, decoding", ours,
            Side("a seeking reader per view", partial(decoding.make_seeking_views, folder)), items=views, goal=5.0),
    ]  # fmt: skip


def _scoring_rows() -> list[Row]:
    views = scoring.NUM_VIDEOS * scoring.NUM_CLIPS * scoring.NUM_CROPS
    return [
        Row(
            "joining the scores of 5 x 3 views, 400 classes",
            Side("ours", scoring.make_our_evaluator),
            Side("one view at a time", scoring.make_plain_evaluator),
            items=views,
        )
    ]
