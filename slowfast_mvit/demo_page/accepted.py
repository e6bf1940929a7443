"""Which files of a visitor are looked at: by their names and first bytes, before any decoder sees them."""

import re
from pathlib import PurePosixPath

from slowfast_mvit.data.imagenet import image_suffixes
from slowfast_mvit.data.kinetics import VIDEO_SUFFIXES
from slowfast_mvit.errors import UserError

HEAD_BYTES = 197
"""First bytes of a file that :func:`refuse_content` needs."""
_MOST_LETTERS, _MOST_ENDING = 80, 9
_OF_MP4 = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_STARTS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"\x00\x00\x01",  # MPEG programme and video streams
    b"FLV\x01",
    b"0&\xb2u\x8ef\xcf\x11",  # Windows Media
)


def shown_name(given: str) -> str:
    """A visitor's name of a file as the page says it: without folders and control characters."""
    last = re.split(r"[/\\]", given)[-1]
    return "".join(letter for letter in last if letter.isprintable()).strip() or "the file"


def file_name(given: str) -> str:
    """The name of the file that a visitor's is kept as: letters, digits, ``_``, ``-``, dots inside; no folder, nothing hidden.

    A plain name stays as it is, so that a box list finds its video.
    """
    path = PurePosixPath(shown_name(given))
    stem = re.sub(r"[^\w-]+", "_", path.stem)[:_MOST_LETTERS] or "_"
    # Of several bytes a letter, more than a file's name may have.
    stem = stem.encode()[: 2 * _MOST_LETTERS].decode(errors="ignore")
    ending = re.sub(r"[^a-z0-9]", "", path.suffix.lower())[:_MOST_ENDING]
    return f"{stem}.{ending}" if ending else stem


def refuse_name(given: str, *, images: bool) -> None:
    """Refuse a file by its ending.

    Lists of files are refused by this, too: no name of a file on the server comes from a visitor.

    Raises:
        UserError: it is not that of a video, or with ``images`` not that of an image.
    """
    suffixes = sorted(image_suffixes() if images else VIDEO_SUFFIXES)
    if PurePosixPath(file_name(given)).suffix not in suffixes:
        what = "an image (.jpg, .png, .webp ...)" if images else f"a video ({', '.join(suffixes)})"
        raise UserError(f"{shown_name(given)} does not end as {what} does: choose one")


def refuse_content(head: bytes, given: str, *, images: bool) -> None:
    """Refuse a file by its first bytes: an empty one, and what is no video's container.

    Text is refused with that: FFmpeg goes by the content, and would open the files that a playlist names. PIL does not.

    Args:
        head: the first :data:`HEAD_BYTES`, or all of a shorter file.
        given: its name.
        images: an image is expected.

    Raises:
        UserError: see above.
    """
    if not head:
        raise UserError(f"{shown_name(given)} is empty: choose a file with something in it")
    if not images and not _is_container(head):
        raise UserError(
            f"{shown_name(given)} does not begin as a video does, whatever its name says: choose another file"
        )


def _is_container(head: bytes) -> bool:
    packets = any(head[at : at + 1] == b"G" == head[at + step : at + step + 1] for at, step in ((0, 188), (4, 192)))
    return (
        head[4:8] in _OF_MP4
        or head.startswith(_STARTS)
        or (head[:4], head[8:12]) == (b"RIFF", b"AVI ")
        or packets  # of an MPEG transport stream
    )
