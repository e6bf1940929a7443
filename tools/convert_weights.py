"""Weights of any publisher as safetensors, under our names or another publisher's.

python tools/convert_weights.py MViTv2_S_16x4_k400.pyth mvitv2_s.safetensors --model mvitv2_s_16x4

The folder of a checkpoint that several processes wrote in parts (DISTRIBUTED.STRATEGY fsdp) also becomes a plain checkpoint,
with all that a training goes on with:

python tools/convert_weights.py runs/l/checkpoints/checkpoint_epoch_00030.sharded checkpoint_epoch_00030.pyth
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slowfast_mvit.build.convert import convert_weights, join_parts
from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.formats import FORMATS


def main(argv: Sequence[str] | None = None) -> int:
    """Convert one file; returns the exit status, 2 for a mistake that the user can mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE", help="file or URL, of any publisher, or a sharded checkpoint")
    parser.add_argument(
        "out",
        metavar="OUT.safetensors",
        type=Path,
        help="file to write; with .pyth a plain checkpoint of a sharded one",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="the model they are for: write only if it takes them as they are, without resizing or inflating any",
    )
    parser.add_argument(
        "--format", choices=FORMATS, default="official", help="whose names to write: official (ours) by default"
    )
    args = parser.parse_args(argv)
    if args.out.suffix == ".pyth" and (args.model or args.format != "official"):
        parser.error("--model and --format are for weights, in a file that ends in .safetensors")
    try:
        if args.out.suffix == ".pyth":
            print(f"{args.out}: the whole checkpoint, {join_parts(args.source, args.out):,} tensors")
            return 0
        done = convert_weights(args.source, args.out, model=args.model, form=args.format)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if done.report is not None:
        print(done.report)
    print(f"{args.source}: {done.found} names")
    print(f"{args.out}: {done.written} names, {done.num_tensors} tensors, {done.num_parameters:,} parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
