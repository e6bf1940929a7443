"""Write a model as a file that runs without this package: ONNX, or a program of torch.export.

python tools/export_model.py --model mvitv2_s_16x4 --weights MViTv2_S_16x4_k400.pyth --format onnx --output mvitv2_s.onnx
python tools/export_model.py --cfg runs/mine/config.yaml --weights runs/mine/checkpoints/checkpoint_epoch_00030.pyth \\
    --format torch_export --output mine.pt2

The batch may have any size. The file is run before the command ends, and refused if it does not give what the model gives. What
to feed it (normalisation, layout, labels) stands in OUTPUT's .json, and inside the file. docs/export.md runs one.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slowfast_mvit.build.export import FORMATS, check_export, export_model
from slowfast_mvit.build.given_model import given_by_config, given_by_name, refuse_keys
from slowfast_mvit.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Export; returns the exit status, 2 for a mistake that the user can mend."""
    args = _parser().parse_intermixed_args(argv)
    try:
        read = (args.labels, args.weights, args.cfg)
        check_export(args.output, args.format, inputs=[Path(file) for file in read if file])
        size = (args.frames, args.height, args.width)
        if args.model:
            refuse_keys(args.overrides)
            given = given_by_name(args.model, args.weights, labels=args.labels, size=size)
        else:
            given = given_by_config(args.cfg, args.weights, args.overrides, labels=args.labels, size=size)
        done = export_model(given, args.output, form=args.format, probabilities=args.probabilities)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    for batch, difference in done.differences.items():
        print(f"batch of {batch}: greatest difference from the model {difference:.1e}")
    for path in done.files:
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", metavar="NAME", help="one of slowfast_mvit.list_models()")
    which.add_argument("--cfg", metavar="FILE.yaml", help="config of the model")
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="file or URL, of any publisher; with --model also a tag"
    )
    parser.add_argument("--format", required=True, choices=FORMATS, help="of the file")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="ends in .onnx or .pt2")
    parser.add_argument("--frames", type=int, metavar="N", help="of the clip; the model's own by default")
    parser.add_argument("--height", type=int, metavar="N", help="in pixels; the model's own by default")
    parser.add_argument("--width", type=int, metavar="N", help="in pixels; the model's own by default")
    parser.add_argument("--probabilities", action="store_true", help="put softmax, or sigmoid, at the end")
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
