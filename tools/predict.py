"""Say what people do in videos of your own: boxes, the actions of everybody in them, and their scores.

python tools/predict.py kitchen.mp4 --cfg runs/mine/config.yaml --weights runs/mine/checkpoints/checkpoint_epoch_00030.pyth \\
    --boxes boxes.csv --output runs/kitchen --draw

The boxes are a list as docs/ava.md describes it, or a person detector's: --detector takes a file of weights of torchvision's
fasterrcnn_resnet50_fpn_v2, and its boxes are written to OUTPUT/boxes.csv.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slowfast_mvit.build.predict_boxes import predict_boxes, split_words
from slowfast_mvit.config.load import load_config
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.engine.log import log_to_screen
from slowfast_mvit.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Predict; returns the exit status, 2 for a mistake that the user can mend."""
    parser = _parser()
    args = parser.parse_intermixed_args(argv)
    videos, overrides = split_words(args.words)
    if not videos:
        parser.error("no video is given")
    log_to_screen()
    try:
        test = ["TRAIN.ENABLE", "False", "TEST.ENABLE", "True", "TEST.CHECKPOINT_FILE_PATH", args.weights]
        config = load_config(args.cfg, [*overrides, *test])
        predicted = predict_boxes(config, videos, args.output, boxes=args.boxes, detector=args.detector, draw=args.draw)
    except (UserError, VideoError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    for path, content in predicted.files.items():
        print(f"{path}: {content}")
    if predicted.problem:
        print(f"error: {predicted.problem}", file=sys.stderr)
    return 2 if predicted.problem else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s VIDEO [VIDEO ...] --cfg FILE.yaml --weights FILE (--boxes BOXES.csv | --detector FILE) "
        "--output FOLDER [--draw] [KEY VALUE ...]",
    )
    parser.add_argument("words", nargs="+", metavar="VIDEO", help="video files, then changed keys as NUM_GPUS 0")
    parser.add_argument("--cfg", required=True, metavar="FILE.yaml", help="config of the model")
    parser.add_argument("--weights", required=True, metavar="FILE", help="its weights")
    boxes = parser.add_mutually_exclusive_group(required=True)
    boxes.add_argument(
        "--boxes", type=Path, metavar="BOXES.csv", help="where people are: video,second,x1,y1,x2,y2[,score]"
    )
    boxes.add_argument(
        "--detector", type=Path, metavar="FILE", help="weights of torchvision's fasterrcnn_resnet50_fpn_v2 (COCO)"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FOLDER", help="is written to")
    parser.add_argument("--draw", action="store_true", help="write the videos with boxes and actions on them, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
