"""The whole chain on toy videos: make them, train, test with several views, look at the predictions.

With --all: the other kinds of recipes on small sets of their own, each held to the accuracy that it reaches.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import run_net

from slowfast_mvit.data.toy import CLASSES, ToySet, make_toy_set
from slowfast_mvit.data.toy_images import ToyImageSet, make_toy_images
from slowfast_mvit.data.toy_ssv2 import ToySsv2, make_toy_ssv2
from slowfast_mvit.data.toy_things import ToyThings, make_toy_things

RUNS = Path("runs")
OUTPUT = RUNS / "toy"


@dataclass(frozen=True)
class Demo:
    """A toy recipe.

    Attributes:
        title: what it shows, in words.
        config: the recipe, in configs/Toy.
        output: where it writes, and makes its data in a folder ``data`` unless ``data`` says otherwise.
        make: writes the data set into a folder.
        expected: share of the test that must be right; 0 for a run that is only compared with.
        overrides: keys that differ from the recipe.
        data: folder of the data, if another run has made it.
    """

    title: str
    config: str
    output: Path
    make: Callable[[Path], Path]
    expected: float
    overrides: tuple[str, ...] = ()
    data: Path | None = None


MOTION = Demo(
    f"{len(CLASSES)} kinds of motion, PySlowFast-style lists",
    "MVITV2_TOY_8x4.yaml",
    OUTPUT,
    lambda root: make_toy_set(root, ToySet()),
    0.9,
)
ORDER = Demo(
    "the order of two events, in Something-Something v2's layout, sampled by segments",
    "MVITV2_TOY_SSV2_8x4.yaml",
    RUNS / "toy_ssv2",
    lambda root: make_toy_ssv2(root, ToySsv2()),
    0.9,
)
IMAGES = Demo(
    "images of textured shapes, in ImageNet's layout",
    "MVITV2_TOY_IMAGENET.yaml",
    RUNS / "toy_imagenet",
    lambda root: make_toy_images(root, ToyImageSet()),
    0.9,
)
THINGS = Demo(
    "which shape goes which way, on few videos, from the weights of the image model",
    "MVITV2_TOY_8x4_from_image.yaml",
    RUNS / "toy_things",
    lambda root: make_toy_things(root, ToyThings()),
    0.9,
)
THINGS_FRESH = Demo(
    "the same from fresh weights",
    THINGS.config,
    RUNS / "toy_things_fresh",
    THINGS.make,
    0.0,
    overrides=("TRAIN.CHECKPOINT_FILE_PATH", ""),
    data=THINGS.output / "data",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo from the checkout's root; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="segments, images, and a video model from image weights")
    return demo_all() if parser.parse_args(argv).all else demo()


def demo() -> int:
    """The motion toy, with a look at what it leaves."""
    toy = ToySet()
    print(
        f"1. {toy.num_train} + {toy.num_val} + {toy.num_test} small H.264 videos of {len(CLASSES)} kinds of motion",
        flush=True,
    )
    MOTION.make(OUTPUT / "data")
    print("2. training a small MViTv2 on them, and testing it with several views", flush=True)
    status, videos = train_and_test(MOTION)
    if videos is None:
        return status
    accuracy = share_right(videos)
    print(f"""
3. done: {accuracy:.1%} of {len(videos)} held-out videos right (chance is {1 / len(CLASSES):.1%})

   {OUTPUT}/predictions/videos.csv   one row per video: the best classes and their scores
   {OUTPUT}/predictions/clips.csv    one row per view: which seconds, which crop, the best classes
   {OUTPUT}/metrics.json             accuracy and test protocol
   {OUTPUT}/checkpoints/             the trained weights

   first predictions:
{videos.head(4)[["video", "label_name", "top1_name", "top1_score"]].to_string(index=False)}

   next: does a published recipe run on this machine?
   .venv/bin/python tools/run_net.py --cfg configs/Kinetics/MVITV2_S_16x4.yaml --toy NUM_GPUS 0""")
    return falls_short(MOTION, accuracy)


def demo_all() -> int:
    """The other recipes in turn; 1 if one of them falls short."""
    figures, status = [], 0
    for number, each in enumerate((ORDER, IMAGES, THINGS, THINGS_FRESH), 1):
        print(f"{number}. {each.title}", flush=True)
        each.make(each.data or each.output / "data")
        failed, table = train_and_test(each)
        if table is None:
            return failed
        figures.append((each, share_right(table), len(table)))
    print()
    for each, accuracy, count in figures:
        print(f"{accuracy:6.1%} of {count} right: {each.title} ({each.output})")
        status |= falls_short(each, accuracy)
    inflated, fresh = (accuracy for each, accuracy, _ in figures if each in (THINGS, THINGS_FRESH))
    if inflated <= fresh:
        print("error: image weights have not helped the video model", file=sys.stderr)
        status = 1
    return status


def train_and_test(each: Demo) -> tuple[int, pd.DataFrame | None]:
    """The exit status of the run, and the predictions of its test if it came to one."""
    data = each.data or each.output / "data"
    config = f"configs/Toy/{each.config}"
    given = ("DATA.PATH_TO_DATA_DIR", str(data), "OUTPUT_DIR", str(each.output), *each.overrides)
    status = run_net.main(["--cfg", config, *given])
    return status, None if status else pd.read_csv(each.output / "predictions" / "videos.csv")


def share_right(videos: pd.DataFrame) -> float:
    """Share of rows whose best class is their label."""
    return float((videos["label"] == videos["top1"]).mean())


def falls_short(each: Demo, accuracy: float) -> int:
    """1, with a line that says so, where a recipe reaches less than it should."""
    if accuracy >= each.expected:
        return 0
    print(
        f"error: {accuracy:.1%} right is less than the {each.expected:.0%} that {each.config} reaches", file=sys.stderr
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
