"""Read every file of a dataset once, and say what is there and what is wrong.

python tools/check_data.py --cfg configs/Kinetics/MVITV2_S_16x4.yaml DATA.PATH_TO_DATA_DIR /data/k400

Writes videos.csv (a row for each entry of the lists) and unreadable.csv (those that are damaged, unreadable or missing, with
causes) to OUTPUT_DIR/data_check, and prints a report. A run that was stopped goes on where it stood; a later run reads only
files that are new or have changed.

Without --decode a video is opened, all its packets are read, and its first, middle and last frame are decoded with the frames
that these refer to: that finds files that are no videos, empty, cut short (beside what their headers promise) or damaged
before one of the three. With --decode all frames are decoded, which also finds damage elsewhere, and pictures that the decoder
patched up. Images are always decoded whole. Of AVA (and of one's own data in its layout) the box lists are read as well: every
fault is told in a sentence, and actions.csv has the number of annotated boxes of each action. Of COCO the annotation files are,
and classes.csv has the number of objects of each category.

Status 0: all is well; 1: something is not; 2: the check could not be made.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from slowfast_mvit.build.annotations_check import check_against_files, check_annotations
from slowfast_mvit.build.check_data import SPLITS, UNREADABLE, VIDEOS, check_data
from slowfast_mvit.build.data_report import data_report
from slowfast_mvit.config.load import load_config
from slowfast_mvit.engine.log import log_to_screen
from slowfast_mvit.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Check one dataset; returns the exit status."""
    args = _parser().parse_intermixed_args(argv)
    log_to_screen()
    try:
        if min(args.workers, args.timeout) <= 0:
            raise UserError(f"--workers {args.workers} and --timeout {args.timeout:g} must be more than 0")
        config = load_config(args.cfg, args.overrides)
        out = Path(args.out or Path(config.OUTPUT_DIR) / "data_check")
        lines, problems = check_annotations(config, out)
        for problem in problems:
            print(problem)
        checked = check_data(
            config,
            out,
            args.splits,
            num_workers=args.workers,
            full=args.decode,
            timeout=args.timeout,
            retry=args.retry,
        )
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: the same command goes on from here", file=sys.stderr)
        return 130
    late = list(check_against_files(config, checked.rows))
    problems += late
    lines += late
    for line in [*data_report(config, checked), *lines]:
        print(line)
    wrong = sum(row.seen.found.status != "ok" for row in checked.rows)
    print(
        f"{out / VIDEOS}: all {len(checked.rows)} entries"
        + (f"; {out / UNREADABLE}: the {wrong} bad ones" if wrong else "")
    )
    return 1 if wrong or problems else 0


def _splits(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= set(SPLITS):
        raise argparse.ArgumentTypeError(f"{text!r} must be of {', '.join(SPLITS)}, joined by commas")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", required=True, metavar="FILE.yaml", help="config that says where the data is")
    parser.add_argument(
        "--splits", type=_splits, default=(), metavar="train,val", help="splits to check; by default all that there are"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (all cores)")
    parser.add_argument("--decode", action="store_true", help="decode every frame")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="S", help="seconds that a file may take (300)")
    parser.add_argument("--retry", action="store_true", help="read again what was not ok in the last run")
    parser.add_argument("--out", metavar="FOLDER", help="folder of the tables (OUTPUT_DIR/data_check)")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="changed keys")
    return parser


if __name__ == "__main__":
    sys.exit(main())
