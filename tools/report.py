"""Make report.html of a run's folder again, from the files that the run has left there.

python tools/report.py runs/toy
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slowfast_mvit.errors import UserError
from slowfast_mvit.report.page import write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Write the reports; returns the exit status, 2 for a mistake that the user can mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="OUTPUT_DIR of a run")
    status = 0
    for folder in parser.parse_args(argv).folders:
        try:
            path = write_report(folder)
            if path is None:
                raise UserError(f"{folder} holds nothing of a training or a test: give the OUTPUT_DIR of a run")
        except (UserError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
        else:
            print(path)
    return status


if __name__ == "__main__":
    sys.exit(main())
