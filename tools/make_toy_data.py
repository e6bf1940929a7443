"""Make a toy set: python tools/make_toy_data.py FOLDER, with --kind for one in the layout of another data set."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from slowfast_mvit.data.toy import ToySet, make_toy_set
from slowfast_mvit.data.toy_ava import ToyAva, make_toy_ava
from slowfast_mvit.data.toy_coco import ToyCoco, make_toy_coco
from slowfast_mvit.data.toy_images import ToyImageSet, make_toy_images
from slowfast_mvit.data.toy_ssv2 import ToySsv2, make_toy_ssv2
from slowfast_mvit.data.toy_things import ToyThings, make_toy_things
from slowfast_mvit.errors import UserError

KINDS: dict[str, tuple[type, Callable[..., Path]]] = {
    "kinetics": (ToySet, make_toy_set),
    "ssv2": (ToySsv2, make_toy_ssv2),
    "ava": (ToyAva, make_toy_ava),
    "coco": (ToyCoco, make_toy_coco),
    "imagenet": (ToyImageSet, make_toy_images),
    "things": (ToyThings, make_toy_things),
}
OPTIONS = {
    "num_train": ("--train", "training items"),
    "num_val": ("--val", "validation items"),
    "num_test": ("--test", "test items (kinetics, things)"),
    "num_frames": ("--frames", "frames per video"),
    "num_seconds": ("--seconds", "key frames per video (ava)"),
    "height": ("--height", "pixels of a video"),
    "width": ("--width", "pixels of a video"),
    "side": ("--side", "mean side of an image in pixels"),
    "seed": ("--seed", "of everything in the set"),
}


def main() -> None:
    """Parse arguments and write the set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--kind", choices=sorted(KINDS), default="kinetics", help="layout of the set (default: kinetics)"
    )
    for name, (option, meaning) in OPTIONS.items():
        parser.add_argument(option, dest=name, type=int, metavar="N", help=meaning)
    args = parser.parse_args()
    settings, make = KINDS[args.kind]
    given = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    foreign = given.keys() - {field.name for field in fields(settings)}
    if foreign:
        parser.error(f"a toy set of kind {args.kind} has no {OPTIONS[min(foreign)][0]}")
    try:
        toy = settings(**given)
        make(args.folder, toy)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{args.folder}: {toy}")


if __name__ == "__main__":
    main()
