"""Draw boxes and actions of a detections file on their video.

python tools/draw_detections.py film.mp4 runs/ava/predictions/detections.csv film_boxes.mp4 \\
    --labelmap ava_action_list_v2.2_for_activitynet_2019.pbtxt --first-second 900

The file is AVA's, video,second,x1,y1,x2,y2,action_id,score, as a test writes it. A frame shows the key second nearest to it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slowfast_mvit.build.draw_detections import draw_detections
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Draw one video; returns the exit status, 2 for a mistake that the user can mend."""
    args = _parser().parse_args(argv)
    try:
        count = draw_detections(
            args.video,
            args.detections,
            args.out,
            label_map=args.labelmap,
            name=args.name,
            first_second=args.first_second,
            min_score=args.min_score,
        )
    except (UserError, VideoError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {count} frames")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, help="a video file")
    parser.add_argument("detections", type=Path, metavar="D.csv", help="detected boxes with scores")
    parser.add_argument("out", type=Path, metavar="OUT.mp4", help="is written, as .mp4 or .mkv")
    parser.add_argument("--labelmap", type=Path, metavar="L.pbtxt", help="names of the actions")
    parser.add_argument(
        "--name", default="", help="name of the video in D.csv (the file's, with or without its ending)"
    )
    parser.add_argument(
        "--first-second", type=float, default=0.0, metavar="S", help="what D.csv calls the time of the first frame (0)"
    )
    parser.add_argument("--min-score", type=float, default=0.3, metavar="P", help="actions below it are left out (0.3)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
