"""Speed and memory, beside the peers and the machine's own limit.

python tools/benchmark.py model|compile|backbone|train|loader|test|eval|growth ... [--rows TEXT] [--runs N] [--json FILE]
python tools/benchmark.py model|compile|backbone|train|growth ... --device cuda [--batch N]
python tools/benchmark.py model|train ... --huge-pages
python tools/benchmark.py scale [--runs N] [--json FILE]

Every side runs in a process of its own, in turn with the others, so that a machine that slows down slows all of them. Run
nothing else meanwhile. Times are medians.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

# The plain formula, a peer of the models that exist nowhere else, is the one of the tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from slowfast_mvit.benchmark.decoding import write_videos
from slowfast_mvit.benchmark.networks import ours
from slowfast_mvit.benchmark.report import as_json, machine, run_rows, table
from slowfast_mvit.benchmark.rows import NETWORK_SUITES, NUM_VIDEOS, SUITES, Place, rows_of
from slowfast_mvit.benchmark.scaling import measure_scaling, scaling_table
from slowfast_mvit.benchmark.sides import Process
from slowfast_mvit.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status, 2 where something could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="+", choices=(*SUITES, "scale"), help="what to measure; scale alone")
    parser.add_argument("--rows", default="", metavar="TEXT", help="only rows whose title holds this")
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="counted runs of each side (7)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of each side (2)")
    parser.add_argument(
        "--huge-pages", action="store_true", help="for every side, memory as in our commands (as Python starts)"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="that networks run on (cpu)")
    parser.add_argument("--batch", type=int, metavar="N", help="clips or images at a time (each row's own number)")
    parser.add_argument("--json", metavar="FILE", help="write every run there")
    args = parser.parse_args(argv)
    try:
        _check(args)
        if "scale" in args.suites:
            return _scale(args)
        place, process = Place(args.device, args.batch), Process(args.threads, args.huge_pages)
        with tempfile.TemporaryDirectory() as folder:
            if {"loader", "test"} & set(args.suites):
                write_videos(Path(folder), NUM_VIDEOS)
            rows = [
                row for suite in args.suites for row in rows_of(suite, Path(folder), place) if args.rows in row.title
            ]
            if not rows:
                raise UserError(
                    f"no row of {', '.join(args.suites)} holds {args.rows!r} in its title: leave --rows out to see all"
                )
            measured = run_rows(rows, runs=args.runs, process=process, say=lambda text: print(text, file=sys.stderr))
        if args.json:
            Path(args.json).write_text(as_json(measured, process), encoding="utf-8")
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(", ".join(f"{name} {value}" for name, value in machine(process).items() if value is not None), end="\n\n")
    print(table(measured))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raise UserError for numbers below 1, and for a device or batch where nothing takes it."""
    for name in ("runs", "threads", "batch"):
        number = getattr(args, name)
        if number is not None and number < 1:
            raise UserError(f"--{name} {number} must be at least 1")
    others = [suite for suite in args.suites if suite not in NETWORK_SUITES]
    if others and (args.device != "cpu" or args.batch is not None):
        raise UserError(
            f"--device and --batch are for networks ({', '.join(NETWORK_SUITES)}): leave {', '.join(others)} out"
        )
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU here; leave --device out to measure on the CPU")


def _scale(args: argparse.Namespace) -> int:
    """The training step of S 16x4 on all cores as one process, on one core, and as one process per core."""
    if len(args.suites) > 1 or args.rows or args.huge_pages:
        raise UserError("scale is measured alone: leave the other suites, --rows and --huge-pages out")
    settings = [(1, args.threads), (1, 1), (args.threads, 1)]
    found = measure_scaling(partial(ours, "mvitv2_s_16x4"), (args.threads, 3, 16, 224, 224), settings, runs=args.runs)
    if args.json:
        content = {"machine": machine(Process(args.threads)), "rows": [asdict(entry) for entry in found]}
        Path(args.json).write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(scaling_table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
