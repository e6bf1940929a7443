"""Make the toy set of moving shapes: python tools/make_toy_data.py FOLDER."""

import argparse
from pathlib import Path

from slowfast_mvit.data.toy import CLASSES, ToySet, make_toy_set


def main() -> None:
    """Parse arguments and write the set."""
    default = ToySet()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=default.num_train, help="training videos")
    parser.add_argument("--val", type=int, default=default.num_val, help="validation videos")
    parser.add_argument("--test", type=int, default=default.num_test, help="test videos")
    parser.add_argument("--frames", type=int, default=default.num_frames, help="frames per video")
    parser.add_argument("--height", type=int, default=default.height)
    parser.add_argument("--width", type=int, default=default.width)
    parser.add_argument("--seed", type=int, default=default.seed)
    args = parser.parse_args()
    toy = ToySet(args.train, args.val, args.test, args.frames, args.height, args.width, args.seed)
    make_toy_set(args.folder, toy)
    print(f"{args.folder}: {toy.num_train} + {toy.num_val} + {toy.num_test} videos of {len(CLASSES)} classes")


if __name__ == "__main__":
    main()
