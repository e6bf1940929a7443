"""Training goes on without the videos that cannot be read, and says which these are."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from slowfast_mvit.batches import BatchT, TrainPass, UnreadableVideo
from slowfast_mvit.data.lists import LabelledList
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.predictions import unreadable_table, write_csv

_LOG = logging.getLogger(__name__)


class BadVideos:
    """Videos that could not be read, each named and counted once in a run, whichever ranks it falls to over the epochs.

    A file counts once however many entries of the list it has, as AVA's have for their key frames.

    Args:
        videos: the training list.
        limit: DATA.MAX_BAD_VIDEOS, over all ranks.
    """

    def __init__(self, videos: LabelledList, limit: int) -> None:
        self.videos = videos
        self.limit = limit
        self._found: dict[str, UnreadableVideo] = {}  # by all ranks, under their paths
        self._new: dict[str, UnreadableVideo] = {}  # by this one, which the others do not know of
        self._written = 0

    def clips_of(self, passes: Iterable[TrainPass[BatchT]]) -> Iterator[BatchT | None]:
        """The clips of the passes, while their unreadable videos are noted."""
        for given in passes:
            for video in given.unreadable:
                if video.path not in self._found | self._new:
                    self._new[video.path] = video
                    if len(self._found) + len(self._new) <= self.limit:  # the one that is too many is said by the error
                        _LOG.warning("cannot read %s with %s: %s", video.path, video.backend, video.cause)
            yield given.clips

    def new(self) -> int:
        """How many this rank has found since the last count."""
        return len(self._new)

    def count(self, number: int, world: World) -> None:
        """So many new ones were found on all ranks; if there are any, the ranks tell each other.

        Raises:
            UserError: these are too many.
        """
        if not number:
            return
        for videos in world.everyones(list(self._new.values())):
            self._found |= {video.path: video for video in videos}
        self._new = {}
        if len(self._found) <= self.limit:
            return
        last = next(reversed(self._found.values()))
        raise UserError(
            f"{len(self._found)} training videos could not be read, and DATA.MAX_BAD_VIDEOS is {self.limit}: "
            f"{VideoError(last.path, last.backend, last.cause)}; mend the files, or take them off {self.videos.source}"
        )

    def write(self, world: World, path: Path) -> None:
        """Rank 0 writes the videos of all ranks, if there are new ones, to those that stand there from before a restart."""
        if not world.is_main or len(self._found) == self._written:
            return
        self._written = len(self._found)
        videos = sorted(self._found.values(), key=lambda video: video.video_index)
        table = unreadable_table(videos, self.videos.names)
        if path.exists():
            table = pd.concat((pd.read_csv(path), table)).drop_duplicates("path", keep="last")
        write_csv(table, path)
