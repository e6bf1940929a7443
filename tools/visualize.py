"""Draw where a model looks in a video or an image: attention rollout and Grad-CAM, on it and on a sheet of frames.

python tools/visualize.py kitchen.mp4 --model mvitv2_s_16x4 --weights MViTv2_S_16x4_k400.pyth --output maps
python tools/visualize.py cat.jpg --cfg runs/mine/config.yaml --weights runs/mine/checkpoints/checkpoint_epoch_00100.pyth \\
    --output maps --class tabby
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slowfast_mvit.build.given_model import given_by_config, given_by_name, refuse_keys
from slowfast_mvit.build.visualize import visualize
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Draw; returns the exit status, 2 for a mistake that the user can mend."""
    args = _parser().parse_intermixed_args(argv)
    try:
        if args.model:
            refuse_keys(args.overrides)
            given = given_by_name(args.model, args.weights, labels=args.labels)
        else:
            given = given_by_config(args.cfg, args.weights, args.overrides, labels=args.labels)
        files = visualize(args.source, given, args.output, of_class=args.of_class, block=args.block)
    except (UserError, VideoError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    for path, content in files.items():
        print(f"{path}: {content}".encode(errors="backslashreplace").decode())  # names of files need not be UTF-8
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="VIDEO_OR_IMAGE", help="a file, of the kind that the model takes")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", metavar="NAME", help="one of slowfast_mvit.list_models()")
    which.add_argument("--cfg", metavar="FILE.yaml", help="config of the model")
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="file or URL, of any publisher; with --model also a tag"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="is written to")
    parser.add_argument(
        "--class",
        dest="of_class",
        default="",
        metavar="NAME",
        help="that Grad-CAM explains; the predicted one by default",
    )
    parser.add_argument("--block", type=int, metavar="N", help="of Grad-CAM, from 0; the last by default")
    parser.add_argument(
        "--labels",
        default="",
        metavar="FILE",
        help="names of the classes: a JSON file, or Kinetics-400 or ImageNet-1K; by default those of the weights",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="changed keys of the config")
    return parser


if __name__ == "__main__":
    sys.exit(main())
