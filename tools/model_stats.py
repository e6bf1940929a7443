"""Print every model with its parameters and FLOPs, beside the paper's figures.

python tools/model_stats.py [NAME ...] [--csv FILE]
"""

import argparse
import sys
import textwrap
from collections.abc import Sequence

from slowfast_mvit.build.model_stats import footnotes, model_stats, stats_table
from slowfast_mvit.errors import UserError

WIDTH = 130  # of the footnotes, about that of the table


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit status, 2 for a name that does not exist."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models to show; all by default")
    parser.add_argument("--csv", metavar="FILE", help="write the table there too")
    args = parser.parse_args(argv)
    try:
        stats = model_stats(args.names)
        if args.csv:
            stats.to_csv(args.csv, index=False)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(stats_table(stats))
    for number, text in footnotes(stats).items():
        print(f"\n{textwrap.fill(f'[{number}] {text}', WIDTH, subsequent_indent='    ')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
