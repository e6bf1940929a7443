"""Where the pictures of AVA's videos are: video files, folders of frames, or the images of frame lists."""

import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from slowfast_mvit.data.frame_lists import lists_frames, read_frame_list
from slowfast_mvit.data.kinetics import VIDEO_SUFFIXES
from slowfast_mvit.data.lists import FrameLists, entries, pack_frames, unpack_frames
from slowfast_mvit.data.scan_cache import ScanCache
from slowfast_mvit.data.video import VideoReader, open_video
from slowfast_mvit.data.video_frames import FrameFilesReader, FrameFolderReader
from slowfast_mvit.errors import UserError

_LOG = logging.getLogger(__name__)
_SCANS = ScanCache(64_000_000)


@dataclass(frozen=True)
class AvaVideos:
    """V videos.

    Attributes:
        names: as box lists spell them.
        paths: str [V]; files, or folders of frames.
        frames: the images of each, where frame lists name them; their ``paths`` are then the folders.
        source: the folder, for messages.
        are_folders: whether ``paths`` are folders of frames.
    """

    names: tuple[str, ...]
    paths: np.ndarray
    frames: FrameLists | None
    source: str
    are_folders: bool

    def open(self, index: int, backend: str, frame_fps: float) -> VideoReader:
        """A reader of video ``index``: ``backend`` is of files, ``frame_fps`` the rate of frames. Raises VideoError."""
        path = str(self.paths[index])
        if self.frames is not None:
            return FrameFilesReader(path, self.frames[index], frame_fps)
        if self.are_folders:
            changed = os.stat(path).st_mtime_ns if os.path.isdir(path) else 0  # noqa: PTH112, PTH116
            return FrameFilesReader(path, unpack_frames(_images_of(path, changed)), frame_fps)
        return open_video(path, backend, scans=_SCANS)


@lru_cache(maxsize=1024)
def _images_of(folder: str, changed_ns: int) -> bytes:
    """The images of a folder that was ``changed_ns``, packed.

    AVA's folders have 27,000 images, which take half a second to list and sort, and hundreds of key frames.
    """
    return pack_frames([str(file) for file in FrameFolderReader(folder).files])


def find_videos(
    folder: Path, wanted: Sequence[str], frame_lists: Sequence[Path] = (), *, must_exist: bool = True
) -> AvaVideos:
    """The ``wanted`` videos under ``folder``, by what it holds.

    Files ``<video>.mp4`` (.mkv, .webm ...) if there are any; else, where there are frame lists, the images that these name, of
    the videos that they name; else folders ``<video>`` of frames.

    Args:
        folder: of the videos.
        wanted: names of videos.
        frame_lists: PySlowFast's; those that do not exist are passed over.
        must_exist: refuse a set that lacks some.

    Raises:
        UserError: missing folder, videos or frames; frame lists and box lists of different videos.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder of videos or frames {folder}: set AVA.FRAME_DIR")
    present = entries(str(folder))
    files = _files_of(wanted, present)
    if files:
        return _found(folder, wanted, files, False, must_exist)
    lists = [path for path in frame_lists if lists_frames(path)]
    if lists:
        return _listed(folder, wanted, lists, must_exist)
    return _found(folder, wanted, {name: name for name in wanted if name in present}, True, must_exist)


def _files_of(wanted: Sequence[str], present: Collection[str]) -> dict[str, str]:
    """File of each wanted video that has one; a name that has its ending already is one itself."""
    chosen = frozenset(wanted)
    files = dict[str, str]()
    for entry in sorted(present):
        path = Path(entry)
        if path.suffix.lower() in VIDEO_SUFFIXES:
            for name in (path.stem, entry):
                if name in chosen:
                    files.setdefault(name, entry)
    return files


def _found(
    folder: Path, wanted: Sequence[str], files: dict[str, str], are_folders: bool, must_exist: bool
) -> AvaVideos:
    missing = [name for name in wanted if name not in files]
    if missing and must_exist:
        raise UserError(
            f"{folder}: {len(missing)} of the {len(wanted)} videos of the box lists are not there, neither as files nor as "
            f"folders of frames, for example {', '.join(missing[:5])}: set AVA.FRAME_DIR, or take them off the box lists"
        )
    ending = "" if are_folders else ".mp4"  # what messages call a file that is not there
    paths = [str(folder / files.get(name, name + ending)) for name in wanted]
    return AvaVideos(tuple(wanted), np.array(paths), None, str(folder), are_folders)


def _listed(folder: Path, wanted: Sequence[str], lists: Sequence[Path], must_exist: bool) -> AvaVideos:
    packed, folder_of = dict[str, bytes](), dict[str, str]()
    for path in lists:
        images, folders = read_frame_list(path)
        twice = packed.keys() & images.keys()
        if twice:
            raise UserError(f"{path}: the video {min(twice)} is in another frame list of the same split as well")
        packed |= images
        folder_of |= folders
    source = ", ".join(map(str, lists))
    names = [name for name in packed if name in frozenset(wanted)]  # in the order of the lists
    if not names:
        raise UserError(
            f"{source}: none of its {len(packed)} videos ({', '.join(list(packed)[:3])} ...) is in the box lists "
            f"({', '.join(wanted[:3])} ...): they are of different sets"
        )
    left_out = [name for name in wanted if name not in packed]
    if left_out:
        _LOG.warning(
            "%s lacks %d of the %d videos of the box lists, which are left out, for example %s",
            source,
            len(left_out),
            len(wanted),
            ", ".join(left_out[:5]),
        )
    paths = [str(folder / folder_of[name]) for name in names]
    if must_exist:
        _check_folders(folder, paths, source)
    return AvaVideos(
        tuple(names), np.array(paths), FrameLists([packed[name] for name in names], str(folder)), source, True
    )


def _check_folders(folder: Path, paths: Sequence[str], source: str) -> None:
    """The folders of all videos must be there; single images are missed when they are read."""
    present = {parent: entries(str(parent)) for parent in {Path(path).parent for path in paths}}
    missing = [path for path in paths if Path(path).name not in present[Path(path).parent]]
    if missing:
        raise UserError(
            f"{source}: the frames of {len(missing)} of its {len(paths)} videos are not in {folder}, for example "
            f"{', '.join(missing[:5])}: set AVA.FRAME_DIR to the folder that its paths are relative to"
        )
