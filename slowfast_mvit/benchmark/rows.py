"""The rows of the benchmark: what is measured against whom, and the goal that the project has set itself."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from slowfast_mvit.benchmark import decoding, networks, scoring
from slowfast_mvit.benchmark.networks import Build
from slowfast_mvit.benchmark.sides import Side, Work
from slowfast_mvit.models.flops import count_flops, count_pyramid_flops
from slowfast_mvit.models.variants import VARIANTS, default_classes

SUITES = ("model", "compile", "backbone", "train", "loader", "test", "eval", "growth")
NUM_VIDEOS = 4


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


def rows_of(suite: str, folder: Path) -> list[Row]:
    """The rows of a suite; ``folder`` is for the videos that it needs."""
    makers: dict[str, Callable[[Path], list[Row]]] = {
        "model": lambda _: _forward_rows(),
        "compile": lambda _: _compile_rows(),
        "backbone": lambda _: _backbone_rows(),
        "train": lambda _: _training_rows(),
        "loader": _loader_rows,
        "test": _test_rows,
        "eval": lambda _: _scoring_rows(),
        "growth": lambda _: _growth_rows(),
    }
    return makers[suite](folder)


def _forward_rows() -> list[Row]:
    s = partial(networks.ours, "mvitv2_s_16x4")
    image = partial(networks.ours, "mvitv2_s")
    video = (1, 3, 16, 224, 224)
    return [
        _network("S 16x4 forward, batch 1, float32", networks.make_forward, "mvitv2_s_16x4", s,
                 Side("torchvision mvit_v2_s", partial(networks.make_forward, networks.torchvision_s, video, "float32")),
                 video, goal=1.35),
        _network("S 16x4 forward, batch 1, bfloat16", networks.make_forward, "mvitv2_s_16x4", s,
                 Side("torchvision mvit_v2_s", partial(networks.make_forward, networks.torchvision_s, video, "bfloat16")),
                 video, precision="bfloat16", goal=1.45),
        _network("image S at 224 forward, batch 8, float32", networks.make_forward, "mvitv2_s", image,
                 Side("timm mvitv2_small", partial(networks.make_forward, networks.timm_s, (8, 3, 224, 224), "float32")),
                 (8, 3, 224, 224), goal=1.3),
        _network("L 40x3 at 312 forward, batch 1, float32", networks.make_forward, "mvitv2_l_40x3",
                 partial(networks.ours, "mvitv2_l_40x3"),
                 Side("the plain formula", partial(networks.make_forward, partial(networks.plain_formula, "mvitv2_l_40x3"),
                                                   (1, 3, 40, 312, 312), "float32")),
                 (1, 3, 40, 312, 312), goal=1.5, memory_goal=0.5, most_runs=3),
    ]  # fmt: skip


def _compile_rows() -> list[Row]:
    """What torch.compile, which fuses what lies between the products, makes of our forward pass."""
    s, video = partial(networks.ours, "mvitv2_s_16x4"), (1, 3, 16, 224, 224)
    eager = Side("not compiled", partial(networks.make_forward, s, video, "float32"))
    title = "S 16x4 forward, batch 1, float32, compiled"
    return [_network(title, networks.make_compiled_forward, "mvitv2_s_16x4", s, eager, video)]


def _backbone_rows() -> list[Row]:
    """One image as COCO's are: 800 pixels high, padded to multiples of 32."""
    name, shape = "mvitv2_t", (1, 3, 800, 1216)
    blocks, _ = count_pyramid_flops(networks.backbone_architecture(name), shape[2:])
    ours, plain = (
        partial(networks.make_forward, partial(build, name), shape, "float32")
        for build in (networks.backbone, networks.plain_backbone)
    )
    return [
        Row(
            "backbone T with hybrid windows, one image of 800 x 1216, forward, float32",
            Side("ours", ours),
            Side("the plain formula", plain),
            items=1,
            flops=2.0 * blocks.multiply_adds,
            goal=1.5,
            memory_goal=0.5,
        )
    ]


def _training_rows() -> list[Row]:
    s, video = partial(networks.ours, "mvitv2_s_16x4"), (2, 3, 16, 224, 224)
    return [
        _network(
            f"S 16x4 training step, batch 2, {precision}",
            networks.make_training_step,
            "mvitv2_s_16x4",
            s,
            Side(
                "torchvision mvit_v2_s", partial(networks.make_training_step, networks.torchvision_s, video, precision)
            ),
            video,
            precision=precision,
            goal=goal,
            memory_goal=memory,
            passes=3,  # a backward pass costs twice the forward one
        )
        for precision, goal, memory in (("float32", 1.5, 0.75), ("bfloat16", 2.0, None))
    ]


def _growth_rows() -> list[Row]:
    sizes = [(8, 224), (16, 224), (32, 224), (16, 160), (16, 312)]
    return [
        _network(
            f"S forward, {frames} frames at {side}",
            networks.make_forward,
            "mvitv2_s_16x4",
            partial(networks.ours, "mvitv2_s_16x4", num_frames=frames, crop_size=side),
            None,
            (1, 3, frames, side, side),
        )
        for frames, side in sizes
    ]


def _network(
    title: str,
    make: Callable[[Build, tuple[int, ...], str], Work],
    name: str,
    build: Build,
    peer: Side | None,
    shape: tuple[int, ...],
    *,
    precision: str = "float32",
    passes: int = 1,
    goal: float | None = None,
    memory_goal: float | None = None,
    most_runs: int | None = None,
) -> Row:
    products = count_flops(VARIANTS[name], default_classes(name), shape[2:]).multiply_adds
    return Row(
        title,
        Side("ours", partial(make, build, shape, precision)),
        peer,
        items=shape[0],
        flops=2.0 * products * shape[0] * passes,
        precision=precision,
        goal=goal,
        memory_goal=memory_goal,
        most_runs=most_runs,
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
