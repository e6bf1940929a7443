"""Unreadable videos of a training: named once, counted once, written for all ranks, and not more than allowed."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from slowfast_mvit.batches import ClipBatch, TrainPass, UnreadableVideo
from slowfast_mvit.build.bad_videos import BadVideos
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.engine.distributed import World
from slowfast_mvit.errors import UserError

NAMES = np.array([f"{n}.mp4" for n in range(9)])
VIDEOS = VideoList(
    np.array([f"/data/{name}" for name in NAMES]), NAMES, np.zeros(9, dtype=np.int64), (), "/data/train.csv"
)


def bad(index: int, cause: str = "the file is empty") -> UnreadableVideo:
    return UnreadableVideo(index, f"/data/{index}.mp4", "pyav", cause)


def clips() -> ClipBatch:
    zero, second = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.float64)
    return ClipBatch(torch.zeros(1, 3, 1, 2, 2), zero, zero, zero, zero, second, second)


def test_each_video_is_named_and_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    videos, one = BadVideos(VIDEOS, limit=3), clips()
    passes = [
        TrainPass(one),
        TrainPass(None, (bad(4), bad(2))),
        TrainPass(one, (bad(4),)),
        TrainPass(None, (bad(7, "cut"),)),
    ]
    stream = videos.clips_of(passes)
    news = []
    with caplog.at_level(logging.WARNING):
        for expected in (one, None, one, None):
            assert next(stream) is expected
            news.append(videos.new())
            videos.count(news[-1], World())
    assert news == [0, 2, 0, 1] and videos.new() == 0
    assert [record.getMessage() for record in caplog.records] == [
        "cannot read /data/4.mp4 with pyav: the file is empty",
        "cannot read /data/2.mp4 with pyav: the file is empty",
        "cannot read /data/7.mp4 with pyav: cut",
    ]


def test_one_too_many_stops_the_run(caplog: pytest.LogCaptureFixture) -> None:
    videos = BadVideos(VIDEOS, limit=1)
    with caplog.at_level(logging.WARNING):
        list(videos.clips_of([TrainPass(None, (bad(4),)), TrainPass(None, (bad(2, "cut"),))]))
    assert len(caplog.records) == 1  # the other one is in the error
    with pytest.raises(UserError) as error:
        videos.count(videos.new(), World())
    said = str(error.value)
    assert said.startswith("2 training videos could not be read, and DATA.MAX_BAD_VIDEOS is 1: ")
    assert "/data/2.mp4" in said and "cut" in said and said.endswith("mend the files, or take them off /data/train.csv")


class Three(World):
    """Rank 0 of three, of which the others have found these."""

    def everyones(self, item):
        return [item, [bad(1), bad(4)], []]


def test_what_others_have_found_is_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    videos, path = BadVideos(VIDEOS, limit=3), tmp_path / "unreadable.csv"
    videos.write(Three(), path)
    assert not path.exists()  # there are none
    list(videos.clips_of([TrainPass(None, (bad(2),))]))
    videos.count(3, Three())
    list(videos.clips_of([TrainPass(None, (bad(4),))]))  # fell to another rank in the epoch before
    assert videos.new() == 0 and len(caplog.records) == 1
    videos.write(Three(), path)
    table = pd.read_csv(path)
    assert list(table["video"]) == ["1.mp4", "2.mp4", "4.mp4"]
    assert list(table["path"]) == ["/data/1.mp4", "/data/2.mp4", "/data/4.mp4"]
    path.unlink()
    videos.write(Three(), path)
    assert not path.exists()  # nothing new
    with pytest.raises(UserError, match=r"3 training videos could not be read.*MAX_BAD_VIDEOS is 2: .*/data/4.mp4"):
        again = BadVideos(VIDEOS, limit=2)
        list(again.clips_of([TrainPass(None, (bad(2),))]))
        again.count(3, Three())


def test_only_rank_0_writes(tmp_path: Path) -> None:
    videos = BadVideos(VIDEOS, limit=3)
    list(videos.clips_of([TrainPass(None, (bad(2),))]))
    videos.count(1, World())
    videos.write(World(rank=1, size=2), tmp_path / "unreadable.csv")
    assert not (tmp_path / "unreadable.csv").exists()


def test_what_was_found_before_a_restart_stays_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "unreadable_train.csv"
    for found in ((bad(4), bad(2)), (bad(7), bad(2, "cut"))):
        videos = BadVideos(VIDEOS, limit=9)
        list(videos.clips_of([TrainPass(None, found)]))
        videos.count(videos.new(), World())
        videos.write(World(), path)
    table = pd.read_csv(path)
    assert dict(zip(table["video"], table["cause"], strict=True)) == {
        "4.mp4": "the file is empty", "2.mp4": "cut", "7.mp4": "the file is empty",
    }  # fmt: skip
