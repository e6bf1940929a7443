"""Training goes on without the videos that cannot be read, and says which these are."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from slowfast_mvit.batches import ClipBatch, TrainPass, UnreadableVideo
from slowfast_mvit.data.lists import LabelledList
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.predictions import unreadable_table, write_csv

_LOG = logging.getLogger(__name__)


class BadVideos:
    """Videos that one rank could not read, each named and counted once in a run.

    Args:
        videos: the training list.
        limit: DATA.MAX_BAD_VIDEOS, over all ranks.
    """

    def __init__(self, videos: LabelledList, limit: int) -> None:
        self.videos = videos
        self.limit = limit
        self._found: dict[int, UnreadableVideo] = {}
        self._told = self._total = self._written = 0

    def clips_of(self, passes: Iterable[TrainPass]) -> Iterator[ClipBatch | None]:
        """The clips of the passes, while their unreadable videos are noted."""
        for given in passes:
            for video in given.unreadable:
                if video.video_index not in self._found:
                    self._found[video.video_index] = video
                    if len(self._found) <= self.limit:  # the one that is too many is said by the error
                        _LOG.warning("cannot read %s with %s: %s", video.path, video.backend, video.cause)
            yield given.clips

    def new(self) -> int:
        """How many were found since this was last asked."""
        new, self._told = len(self._found) - self._told, len(self._found)
        return new

    def count(self, number: int) -> None:
        """So many more were found on all ranks.

        Raises:
            UserError: these are too many.
        """
        self._total += number
        if self._total <= self.limit:
            return
        last = next(reversed(self._found.values()), None)
        named = VideoError(last.path, last.backend, last.cause) if last else "some were found by another process"
        raise UserError(
            f"{self._total} training videos could not be read, and DATA.MAX_BAD_VIDEOS is {self.limit}: {named}; "
            f"mend the files, or take them off {self.videos.source}"
        )

    def write(self, world: World, path: Path) -> None:
        """Rank 0 writes the videos of all ranks, if there are new ones. Every rank calls this."""
        if self._total == self._written:
            return
        self._written = self._total
        found = world.gather(list(self._found.values()))
        if found is not None:
            unique = {video.video_index: video for videos in found for video in videos}
            write_csv(unreadable_table([unique[index] for index in sorted(unique)], self.videos.names), path)
