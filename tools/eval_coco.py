"""Score a file of detections by COCO's protocol: average precision and recall of boxes and masks, with a table of the classes.

python tools/eval_coco.py --annotations annotations/instances_val2017.json --results predictions/coco_results.json

Results are COCO's: a JSON list of entries with image_id, category_id, score, and bbox [x, y, width, height], segmentation
(compressed run-length code), or both. Whose model they are of does not matter. With --output FOLDER it writes
FOLDER/classes.csv and FOLDER/metrics.json.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slowfast_mvit.errors import UserError, check_output
from slowfast_mvit.evaluation.coco import in_lines, score
from slowfast_mvit.evaluation.coco_files import read_results, read_truth
from slowfast_mvit.evaluation.predictions import write_csv, write_json


def main(argv: Sequence[str] | None = None) -> int:
    """Score one file; returns the exit status, 2 for a mistake that the user can mend."""
    args = _parser().parse_args(argv)
    try:
        if args.output:
            check_output(args.output, "--output", folder=True)
            for name in ("classes.csv", "metrics.json"):
                check_output(args.output / name, "--output", inputs=[args.annotations, args.results])
        truth = read_truth(args.annotations)
        scores = score(truth, read_results(args.results, truth))
        if not scores.numbers:
            raise UserError(f"{args.results} cannot be scored: {'; '.join(scores.reasons)}")
        if args.output:
            write_csv(scores.classes, args.output / "classes.csv")
            write_json(scores.metrics(), args.output / "metrics.json")
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in (*in_lines(scores), *(f"note: {reason}" for reason in scores.reasons)):
        print(line)
    if args.summary:
        print(scores.summary)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", required=True, type=Path, metavar="A.json", help="what is annotated")
    parser.add_argument("--results", required=True, type=Path, metavar="R.json", help="detections with scores")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write classes.csv and metrics.json there")
    parser.add_argument("--summary", action="store_true", help="print pycocotools' own summary, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
