"""Make report.html of a folder again, from the files that a run or a prediction has left there.

python tools/report.py runs/toy        # OUTPUT_DIR of run_net.py
python tools/report.py runs/film       # --output of predict.py
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slowfast_mvit.errors import UserError
from slowfast_mvit.report.prediction_page import write_any


def main(argv: Sequence[str] | None = None) -> int:
    """Write the reports; returns the exit status, 2 for a mistake that the user can mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of a run or a prediction")
    status = 0
    for folder in parser.parse_args(argv).folders:
        try:
            path = write_any(folder)
            if path is None:
                raise UserError(f"{folder} holds nothing of a training, a test or a prediction: give the folder of one")
        except (UserError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
        else:
            print(path)
    return status


if __name__ == "__main__":
    sys.exit(main())
