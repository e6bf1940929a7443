"""PySlowFast's frame lists, which name the images of videos one by one.

A header, then ``original_vido_id video_id frame_id path labels`` in each line, in the order in which the frames are shown.
"""

import os
from collections.abc import Collection, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from slowfast_mvit.data.lists import pack_frames, unpack_frames
from slowfast_mvit.errors import UserError

_HEADERS = ("original_vido_id", "original_video_id")  # the first is PySlowFast's


def lists_frames(path: Path) -> bool:
    """Whether a file is a frame list, by its header."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline().lstrip(' "').startswith(_HEADERS)


def read_frame_list(path: Path, wanted: Collection[str] | None = None) -> tuple[dict[str, bytes], dict[str, str]]:
    """Of the ``wanted`` videos (by default all), the images in the list's order, packed, and the folder of the first one.

    Raises:
        UserError: a line with too few fields.
    """
    packed, folder_of = dict[str, bytes](), dict[str, str]()
    for video, rows in groupby(_rows(path), key=itemgetter(0)):
        if wanted is None or video in wanted:
            images = [image for _, image in rows]
            packed[video] = pack_frames([*unpack_frames(packed[video]), *images] if video in packed else images)
            folder_of.setdefault(video, os.path.dirname(images[0]))  # noqa: PTH120
    return packed, folder_of


def first_frame(path: Path) -> str:
    """The first image of a list.

    Raises:
        UserError: there is none.
    """
    first = next(_rows(path), None)
    if first is None:
        raise UserError(f"{path} holds a header but no frames")
    return first[1]


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """(video, path of an image) of each line of a frame list; bytes that are no UTF-8 stand as in file names."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        next(file)
        for number, line in enumerate(file, 2):
            fields = line.split(None, 3)  # video, its number, the frame's number, and the path with labels
            if len(fields) == 4:
                yield fields[0].strip('"'), _listed_path(fields[3].rstrip())
            elif fields:
                raise UserError(
                    f"{path}:{number}: expected 'original_vido_id video_id frame_id path labels', got {line!r}"
                )


def _listed_path(text: str) -> str:
    """The path of ``path labels``: either may be in quotes, and a path that is not may hold spaces before labels that are."""
    if text[0] == '"':
        return text.split('"', 2)[1]
    return text.rsplit('"', 2)[0].rstrip() if text[-1] == '"' else text.split(None, 1)[0]
