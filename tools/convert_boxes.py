"""Boxes of people from COCO-style JSON or CVAT's XML to a box list of one's own.

python tools/convert_boxes.py tracks.json --fps 25 --out boxes.csv

Writes video,second,x1,y1,x2,y2,action,score, one row for each box at a whole second (frame round(second * fps)). JSON files
are read as COCO's: images with frame_id and video_id (or files called VIDEO/000123.jpg), annotations, categories. XML files are
read as CVAT's of one task or job in the format "CVAT for video 1.1"; boxes between its key frames are interpolated.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from slowfast_mvit.data.tracks import at_whole_seconds, read_tracks, write_box_list
from slowfast_mvit.errors import UserError, check_output


def main(argv: Sequence[str] | None = None) -> int:
    """Convert; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        check_output(args.out, "--out", inputs=args.files)
        boxes = chain.from_iterable(read_tracks(path, args.attribute) for path in args.files)
        converted = at_whole_seconds(boxes, args.fps, args.first_frame)
        write_box_list(args.out, converted)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    videos = len({video for video, *_ in converted.rows})
    print(
        f"{args.out}: {len(converted.rows)} boxes at whole seconds of {videos} videos; {converted.left_out} between them"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="COCO-style .json or CVAT's .xml")
    parser.add_argument("--fps", type=float, required=True, help="frames per second of the videos")
    parser.add_argument("--first-frame", type=int, default=0, metavar="N", help="number of a video's first frame (0)")
    parser.add_argument(
        "--attribute", default="", metavar="NAME", help="CVAT: the attribute that is the action (default: the label)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="box list to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
