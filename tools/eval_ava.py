"""Score a file of detections by AVA's protocol: frame mAP, with a table of the classes.

python tools/eval_ava.py --groundtruth ava_val_v2.2.csv --detections predictions/detections.csv \\
    --labelmap ava_action_list_v2.2_for_activitynet_2019.pbtxt --exclusions ava_val_excluded_timestamps_v2.2.csv

Prints mAP, a row for every class, and what may explain a number that is 0 or missing. With --output FOLDER it writes
FOLDER/classes.csv and FOLDER/metrics.json. docs/ava.md describes the files and the protocol.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slowfast_mvit.errors import UserError, check_output
from slowfast_mvit.evaluation.ava import IOU, evaluate
from slowfast_mvit.evaluation.ava_files import read_detections, read_exclusions, read_truth
from slowfast_mvit.evaluation.ava_label_map import read_label_map
from slowfast_mvit.evaluation.ava_reasons import explain
from slowfast_mvit.evaluation.ava_tables import classes_table, curves_table, in_lines, metrics
from slowfast_mvit.evaluation.predictions import write_csv, write_json


def main(argv: Sequence[str] | None = None) -> int:
    """Score one file; returns the exit status, 2 for a mistake that the user can mend."""
    args = _parser().parse_args(argv)
    try:
        _check_outputs(args)
        classes = read_label_map(args.labelmap)
        excluded = read_exclusions(args.exclusions) if args.exclusions else None
        truth, detections = read_truth(args.groundtruth), read_detections(args.detections)
        result = evaluate(truth, detections, classes, excluded=excluded, ious=args.iou)
        reasons = explain(result, truth, detections)
        if not result.num_truth.any():
            raise UserError(
                f"{args.groundtruth} leaves nothing to score against: {reasons[0]}; check --groundtruth, --labelmap and "
                "--exclusions"
            )
        classes_file = args.classes or (args.output and args.output / "classes.csv")
        json_file = args.json or (args.output and args.output / "metrics.json")
        if classes_file:
            write_csv(classes_table(result), classes_file)
        if json_file:
            write_json(metrics(result, reasons), json_file)
        if args.curves:
            write_csv(curves_table(result), args.curves)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in (*in_lines(result), *(f"note: {reason}" for reason in reasons)):
        print(line)
    return 0


def _check_outputs(args: argparse.Namespace) -> None:
    inputs = [Path(file) for file in (args.groundtruth, args.detections, args.labelmap, args.exclusions) if file]
    if args.output:
        check_output(args.output, "--output", folder=True)
    for option in ("classes", "json", "curves"):
        if file := getattr(args, option):
            check_output(file, f"--{option}", inputs=inputs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groundtruth", required=True, metavar="G.csv", help="annotated boxes")
    parser.add_argument("--detections", required=True, metavar="D.csv", help="detected boxes with scores")
    parser.add_argument("--labelmap", required=True, metavar="L.pbtxt", help="actions that are scored")
    parser.add_argument("--exclusions", metavar="E.csv", help="seconds that are not scored")
    parser.add_argument(
        "--iou", type=float, nargs="+", default=[IOU], metavar="IOU", help="thresholds (0.5, AVA's); mAP at each"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write classes.csv and metrics.json there")
    parser.add_argument("--classes", type=Path, metavar="FILE.csv", help="write the table of classes there")
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="write mAP and counts there")
    parser.add_argument(
        "--curves", type=Path, metavar="FILE.csv", help="write precision over recall of all classes there"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
