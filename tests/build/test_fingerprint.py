"""What makes two tests the same: everything that scores follow from, and nothing else."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slowfast_mvit.build.data import view_protocol
from slowfast_mvit.build.fingerprint import (
    Fingerprint,
    check_same,
    check_same_lists,
    fingerprint_of,
    hash_weights,
)
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.imagenet import ImageList
from slowfast_mvit.data.lists import FrameLists, VideoList, pack_frames
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.errors import UserError
from tests.engine.ranks import run_ranks

TOY = Path(__file__).parents[2] / "configs" / "Toy" / "MVITV2_TOY_8x4.yaml"
VIDEOS = VideoList(
    np.array(["d/a.mp4", "d/b.mp4"]), np.array(["a.mp4", "b.mp4"]), np.array([0, 1]), ("x", "y"), "l.csv"
)


def fingerprint(*overrides: str, videos: VideoList | ImageList = VIDEOS, precision: str = "float32") -> Fingerprint:
    config = load_config(TOY, overrides)
    return fingerprint_of(config, "w", videos, view_protocol(config), precision)


def test_batches_workers_and_machines_change_nothing() -> None:
    others = [
        "TEST.BATCH_SIZE",
        "3",
        "DATA_LOADER.NUM_WORKERS",
        "5",
        "NUM_SHARDS",
        "2",
        "OUTPUT_DIR",
        "x",
        "RNG_SEED",
        "9",
    ]
    others += ["SOLVER.MAX_EPOCH", "7", "TRAIN.BATCH_SIZE", "2", "LOG_PERIOD", "1", "DISTRIBUTED.TIMEOUT", "9"]
    assert fingerprint(*others) == fingerprint()
    assert fingerprint().key == fingerprint(*others).key
    assert len(fingerprint().key) == 32


@pytest.mark.parametrize(
    "overrides",
    [
        ("TEST.NUM_ENSEMBLE_VIEWS", "2"),
        ("TEST.NUM_SPATIAL_CROPS", "3"),
        ("TEST.SHORT_SIDE", "80"),
        ("TRAIN.DATASET", "ssv2", "TEST.DATASET", "ssv2"),
        ("TEST.SAVE_PROBABILITIES", "True"),
        ("DATA.ENSEMBLE_METHOD", "max"),
        ("DATA.SAMPLING_RATE", "2"),
        ("DATA.DECODING_BACKEND", "decord"),
        ("DATA.PATH_PREFIX", "elsewhere"),
        (
            "DATA.MULTI_LABEL",
            "True",
            "MODEL.LOSS_FUNC",
            "bce_logit",
            "MODEL.HEAD_ACT",
            "sigmoid",
            "MIXUP.ENABLE",
            "False",
        ),
        ("DATA.MEAN", "[0.4, 0.4, 0.4]"),
        ("MODEL.NUM_CLASSES", "9"),
        ("MODEL.HEAD_ACT", "sigmoid"),
    ],
    ids="-".join,
)
def test_whatever_changes_scores_changes_the_settings(overrides: tuple[str, ...]) -> None:
    other = fingerprint(*overrides)
    assert other.settings != fingerprint().settings and other.key != fingerprint().key
    assert (other.videos, other.weights) == (fingerprint().videos, "w")


def test_precision_is_a_setting() -> None:
    assert fingerprint(precision="bfloat16").settings != fingerprint().settings


def frames_of(*names: str, folder: str = "f") -> FrameLists:
    return FrameLists([pack_frames([name]) for name in names], folder)


def images(**changes: object) -> ImageList:
    plain = ImageList(("r",), np.zeros(2, np.uint8), np.array([b"a", b"b"]), np.array([0, 1]), ("x", "y"), "r")
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (VIDEOS, replace(VIDEOS, labels=np.array([1, 0]))),
        (VIDEOS, replace(VIDEOS, labels=np.array([[True, False], [False, True]]))),
        (VIDEOS, replace(VIDEOS, paths=VIDEOS.paths[::-1])),
        (VIDEOS, replace(VIDEOS, label_names=("y", "x"))),
        (VIDEOS, replace(VIDEOS, frames=frames_of("1", "2"))),
        (replace(VIDEOS, frames=frames_of("1", "2")), replace(VIDEOS, frames=frames_of("1", "3"))),
        (replace(VIDEOS, frames=frames_of("1", "2")), replace(VIDEOS, frames=frames_of("1", "2", folder="g"))),
        (images(), images(roots=("s",))),
        (images(), images(files=np.array([b"a", b"c"]))),
        (images(), images(labels=np.array([0, 0]))),
    ],
)
def test_another_list_is_another_test(one: VideoList | ImageList, other: VideoList | ImageList) -> None:
    assert fingerprint(videos=one).videos != fingerprint(videos=other).videos
    assert fingerprint(videos=one) == fingerprint(videos=replace(one, source="elsewhere.csv"))


def test_every_bit_of_the_weights_counts() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))  # with a scalar, the number of batches
    first = hash_weights(model)
    assert hash_weights(model) == first
    for tensor in model.state_dict().values():
        before = tensor.clone()
        flat = tensor.reshape(-1).view(torch.uint8)
        flat[0] ^= 1
        assert hash_weights(model) != first
        tensor.copy_(before)
    assert hash_weights(model) == first
    assert hash_weights(model.to(torch.bfloat16)) != first


def _differ(world: World) -> list[str]:
    same = Fingerprint("w", "v", "s")
    check_same(same, world)
    said = []
    for other in (replace(same, weights="x"), replace(same, videos="x", settings="x")):
        with pytest.raises(UserError) as error:
            check_same(other if world.rank else same, world)
        said.append(str(error.value))
    return said


def test_ranks_that_would_test_something_else_are_named_on_all(tmp_path: Path) -> None:
    one, other = run_ranks(_differ, 2, tmp_path)
    assert one == other
    assert one[0].startswith("process 1 would not test the same as process 0: its weights differ; ")
    assert one[1].startswith("process 1 would not test the same as process 0: its videos and settings differ; ")


@dataclass(frozen=True)
class Pair(World):
    """The first of two ranks, and what the other tells."""

    size: int = 2
    other: dict[str, str] = field(default_factory=dict)

    def everyones(self, item: Any) -> list[Any]:
        return [item, item | self.other]


def test_ranks_that_see_other_lists_do_not_begin_to_train() -> None:
    check_same_lists({"training list": VIDEOS, "validation list": None}, Pair())
    fewer = replace(VIDEOS, paths=VIDEOS.paths[:1], names=VIDEOS.names[:1], labels=VIDEOS.labels[:1])
    said = "process 1 would not train the same as process 0: its training list and validation list differ; give all machines"
    with pytest.raises(UserError, match=said):
        check_same_lists(
            {"training list": fewer, "validation list": VIDEOS},
            Pair(other={"training list": "x", "validation list": ""}),
        )
    with pytest.raises(UserError, match="its validation list differ; give"):
        check_same_lists({"training list": fewer, "validation list": None}, Pair(other={"validation list": "x"}))
