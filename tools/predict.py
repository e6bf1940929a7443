"""Say what happens in videos of your own, or what images show: tables, features, and the labels drawn on them.

python tools/predict.py film.mp4 clips/ --model mvitv2_s_16x4 --output runs/film --draw
python tools/predict.py 'films/**/*.mp4' --weights runs/mine/checkpoints/checkpoint_epoch_00030.pyth --output runs/films
python tools/predict.py list.csv --cfg configs/SSv2/MVITV2_S_16x4.yaml --weights MViTv2_S_16x4_ssv2.pyth --output runs/list

INPUT is a file, a folder (all below it), a pattern in quotes, or a list: a .csv or .txt with a path, or path and label, a line.
The model is named (--model, with its published weights or those of --weights), or of a config (--cfg with --weights), or a
checkpoint of run_net.py alone (--weights), which holds its config. OUTPUT gets clips.csv and videos.csv, and
report.html, a page with all of it.

Videos of up to a minute are seen as in the test, by its views. Longer ones are seen whole, by windows of the length of the
model's clip, one after the other; --stride makes that faster, --window 0 asks for the test's views whatever the length.

A detector (--model mask_rcnn_mvitv2_t, or a config of one) finds objects in images: OUTPUT gets coco_results.json, objects.csv
and pictures/ with boxes, masks, names and scores on the images (--no-draw leaves the pictures out).

With --boxes or --detector, and a config of a model for boxes: who does what. The boxes are a list as docs/ava.md describes it,
or a person detector's: --detector takes weights of torchvision's fasterrcnn_resnet50_fpn_v2, and its boxes are written to
OUTPUT/boxes.csv.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slowfast_mvit.build.predict_boxes import predict_boxes, split_words
from slowfast_mvit.build.predict_clips import Wanted, check_wanted, predict_clips
from slowfast_mvit.build.predict_model import config_to_predict, model_of_config, model_of_name
from slowfast_mvit.build.predict_objects import predict_objects
from slowfast_mvit.build.predict_scores import Looks
from slowfast_mvit.build.ready_detector import detector_of_config, detector_of_name, is_detector
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.engine.huge_pages import keep_huge_pages
from slowfast_mvit.engine.log import log_to_screen
from slowfast_mvit.errors import UserError
from slowfast_mvit.report.predicted_files import BOXES, CLIPS, OBJECTS, Made
from slowfast_mvit.report.prediction_page import leave_report


def main(argv: Sequence[str] | None = None) -> int:
    """Predict; returns the exit status, 2 for a mistake that the user can mend, or if a file could not be read."""
    parser = _parser()
    args = parser.parse_intermixed_args(argv)
    args.command = shlex.join(["python", "tools/predict.py", *(sys.argv[1:] if argv is None else argv)])
    inputs, overrides = split_words(args.words)
    if not inputs:
        parser.error("no input is given")
    log_to_screen()
    keep_huge_pages()
    try:
        files, problem = _predict(args, inputs, overrides)
    except (UserError, VideoError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    for path, content in files.items():
        print(f"{path}: {content}".encode(errors="backslashreplace").decode())  # names of files need not be UTF-8
    if problem:
        print(f"error: {problem}", file=sys.stderr)
    return 2 if problem else 0


def _predict(args: argparse.Namespace, inputs: list[str], overrides: list[str]) -> tuple[Mapping[Path, str], str]:
    """The files that were written, and what could not be read."""
    if args.boxes or args.detector:
        return _boxes(args, inputs, overrides)
    config = None
    if args.model is None:
        config = config_to_predict(args.cfg, args.weights, overrides)
    elif args.cfg is not None:
        raise UserError("--model and --cfg both say which model is meant: give one of them")
    elif overrides:
        raise UserError(f"{overrides[0]} is a key of a config, and --model has none: give --cfg, or leave it out")
    finds_objects = is_detector(args.model if config is None else config.MODEL.ARCH)
    return (_objects if finds_objects else _clips)(args, inputs, config)


def _clips(args: argparse.Namespace, inputs: list[str], config: Config | None) -> tuple[Mapping[Path, str], str]:
    """Classify whole clips, or images."""
    _refuse(args, "min_score", what="whole clips")
    looks = Looks(args.window, args.stride)
    wanted = Wanted(args.probabilities, args.features, args.layer, bool(args.draw))
    check_wanted(args.output, inputs, wanted)
    model = model_of_name(args.model, args.weights) if config is None else model_of_config(config)
    written = predict_clips(model, inputs, args.output, looks, wanted)
    made = _made(args, CLIPS, inputs, model.config, device=f"{model.device}, {model.precision}", looks=looks)
    return leave_report(args.output, made, written.files), written.problem


def _boxes(args: argparse.Namespace, inputs: list[str], overrides: list[str]) -> tuple[Mapping[Path, str], str]:
    """Score people in boxes."""
    _refuse(args, "min_score", what="boxes")
    of_clips = ("model", "window", "stride", "probabilities", "features", "layer")
    given = [f"--{name}" for name in of_clips if getattr(args, name) is not None]
    if given:
        raise UserError(f"{', '.join(given)} is for whole clips, and not for boxes: leave it out")
    config = config_to_predict(args.cfg, args.weights, overrides)
    predicted = predict_boxes(
        config,
        [Path(path) for path in inputs],
        args.output,
        boxes=args.boxes,
        detector=args.detector,
        draw=bool(args.draw),
    )
    people = str(args.boxes or f"found by {args.detector}")
    made = _made(args, BOXES, inputs, config, people=people)
    return leave_report(args.output, made, predicted.files), predicted.problem


def _objects(args: argparse.Namespace, inputs: list[str], config: Config | None) -> tuple[Mapping[Path, str], str]:
    """Find objects in images."""
    _refuse(args, "window", "stride", "probabilities", "features", "layer", what="a detector")
    ready = detector_of_name(args.model, args.weights) if config is None else detector_of_config(config)
    draw, min_score = args.draw is not False, 0.5 if args.min_score is None else args.min_score
    predicted = predict_objects(ready, inputs, args.output, draw=draw, min_score=min_score)
    made = _made(args, OBJECTS, inputs, ready.config, device=str(ready.device), min_score=min_score)
    return leave_report(args.output, made, predicted.files), predicted.problem


def _made(args: argparse.Namespace, kind: str, inputs: list[str], config: Config, **more: Any) -> Made:
    """What the report says of the command."""
    return Made(kind, inputs, config, args.command, args.model or "", args.weights or "", args.cfg or "", **more)


def _refuse(args: argparse.Namespace, *names: str, what: str) -> None:
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None]
    if given:
        raise UserError(f"{', '.join(given)} is not for {what}: leave it out")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s INPUT [INPUT ...] [--model NAME | --cfg FILE.yaml] [--weights FILE] --output FOLDER [options] "
        "[KEY VALUE ...]",
    )
    parser.add_argument("words", nargs="+", metavar="INPUT", help="see above; then changed keys as NUM_GPUS 0")
    parser.add_argument("--model", metavar="NAME", help="of create_model, as mvitv2_s_16x4")
    parser.add_argument("--cfg", metavar="FILE.yaml", help="config of the model")
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="its weights: a path or URL; with --model also a tag of published ones, as ssv2",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FOLDER", help="is written to")
    parser.add_argument(
        "--draw",
        action=argparse.BooleanOptionalAction,
        help="write the files with labels, boxes or objects on them, too (objects: by default)",
    )
    clips = parser.add_argument_group("whole clips and images")
    clips.add_argument(
        "--window", type=float, metavar="SECONDS", help="look at videos window by window; 0: as the test does"
    )
    clips.add_argument(
        "--stride", type=float, metavar="SECONDS", help="between the starts of windows; by default they touch"
    )
    clips.add_argument("--probabilities", type=Path, metavar="FILE.npz", help="write all probabilities there, too")
    clips.add_argument(
        "--features", type=Path, metavar="FILE", help="write features of each clip there, too (.npz or .parquet)"
    )
    clips.add_argument(
        "--layer", metavar="NAME", help="module that gives the features; by default the input of the head"
    )
    objects = parser.add_argument_group("objects in images")
    objects.add_argument(
        "--min-score", type=float, metavar="SCORE", help="objects below it are not drawn (0.5); the tables have all"
    )
    boxes = parser.add_argument_group("people in boxes").add_mutually_exclusive_group()
    boxes.add_argument(
        "--boxes", type=Path, metavar="BOXES.csv", help="where people are: video,second,x1,y1,x2,y2[,score]"
    )
    boxes.add_argument(
        "--detector", type=Path, metavar="FILE", help="weights of torchvision's fasterrcnn_resnet50_fpn_v2 (COCO)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
