"""Finished videos on the disk: written, read again, told from another test's, damaged, and on a full disk."""

import errno
import os

import numpy as np
import pytest
import torch

from slowfast_mvit.batches import ClipBatch
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.journal import Journal
from slowfast_mvit.evaluation.multiview import MultiViewEvaluator, ViewProtocol

PROTOCOL = ViewProtocol(2, 1, 20, 16, (0.45,) * 3, (0.225,) * 3)


def evaluator(**kwargs):
    return MultiViewEvaluator(6, 4, PROTOCOL, **kwargs)


def count(collector, *videos, clips=(0, 1)):
    """Count views of some videos."""
    where = torch.tensor([(video, clip) for video in videos for clip in clips])
    seconds = where[:, 1].double()
    empty = torch.zeros(len(where), 3, 1, 1, 1)
    labels = where[:, 0] % 4
    if collector.labels.ndim == 2:
        labels = torch.nn.functional.one_hot(labels, 4).bool()
    batch = ClipBatch(empty, labels, where[:, 0], where[:, 1], torch.zeros(len(where)).long(), seconds, seconds + 1)
    rng = np.random.default_rng(int(where.sum()))
    collector.add(batch, torch.from_numpy(rng.dirichlet(np.ones(4), len(where))))


def read(folder, key="a"):
    return {
        int(video): rows.of(np.array([i]))
        for rows in Journal(folder, key).read()
        for i, video in enumerate(rows.videos)
    }


@pytest.mark.parametrize("kwargs", [{}, {"keep_probabilities": True}, {"multi_label": True}], ids=str)
def test_what_is_kept_comes_back_to_the_bit(tmp_path, kwargs):
    collector, journal = evaluator(**kwargs), Journal(tmp_path / "unfinished", "a")
    count(collector, 5, 2)
    count(collector, 3, clips=(0,))
    journal.keep(collector)
    count(collector, 0)
    journal.keep(collector)
    found = read(tmp_path / "unfinished")
    assert sorted(found) == [0, 2, 5]
    for video, rows in found.items():
        for name, array in vars(collector.rows(np.array([video]))).items():
            np.testing.assert_array_equal(getattr(rows, name), array)
            assert array is None or getattr(rows, name).dtype == array.dtype


def test_a_video_is_written_once_and_nothing_without_videos(tmp_path):
    collector, journal = evaluator(), Journal(tmp_path / "unfinished", "a")
    journal.keep(collector)
    assert journal.read() == [] and not (tmp_path / "unfinished").exists()
    count(collector, 1)
    for _ in range(3):
        journal.keep(collector)
    assert [rows.videos.tolist() for rows in journal.read()] == [[1]]
    count(collector, 4)
    journal.keep(collector)
    assert sorted(rows.videos.tolist() for rows in journal.read()) == [[1], [4]]


def test_what_another_test_left_is_removed_and_said(tmp_path, caplog):
    for key, video in (("a", 1), ("b", 2), ("ab", 3)):
        collector = evaluator()
        count(collector, video)
        Journal(tmp_path, key).keep(collector)
    (tmp_path / ".a-1234.part.tmp").write_bytes(b"half a part, of a test that was killed")
    (tmp_path / "notes.txt").write_text("somebody's")
    with caplog.at_level("INFO"):
        assert sorted(read(tmp_path)) == [1]
    assert caplog.messages == [f"{tmp_path}: removed what another test, which was not finished, has left (2 parts)"]
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["a", "notes.txt"]
    Journal(tmp_path, "a").remove()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_folder_goes_when_the_test_is_over(tmp_path):
    collector, journal = evaluator(), Journal(tmp_path / "unfinished", "a")
    journal.remove()
    count(collector, 1)
    journal.keep(collector)
    journal.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[:700] + bytes([content[700] ^ 4]) + content[701:],
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content + b"\0",
    ],
    ids=["cut", "empty", "shorter than its hash", "bit of the content", "bit of the hash", "longer"],
)
def test_damaged_parts_are_passed(tmp_path, caplog, spoil):
    journal = Journal(tmp_path, "a")
    collector = evaluator()
    for video in (1, 2):
        count(collector, video)
        journal.keep(collector)
    path = next(path for path in tmp_path.iterdir())
    path.write_bytes(spoil(path.read_bytes()))
    found = read(tmp_path)
    assert len(found) == 1
    assert caplog.messages == [f"{path} is damaged: its videos are tested again"]


def test_a_part_that_cannot_be_read_is_passed(tmp_path, caplog):
    (tmp_path / "a-1.part").mkdir()
    assert read(tmp_path) == {}
    assert caplog.messages == [f"{tmp_path / 'a-1.part'} cannot be read (Is a directory): its videos are tested again"]


def test_a_full_disk_is_said_and_leaves_no_half_part(tmp_path, monkeypatch):
    collector, journal = evaluator(), Journal(tmp_path, "a")
    count(collector, 1)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            UserError, match=rf"^{tmp_path}/a-.*\.part cannot be written: No space left on device; make room"
        ):
            journal.keep(collector)
    assert list(tmp_path.iterdir()) == []
    journal.keep(collector)  # what was not written is still to be written
    assert sorted(read(tmp_path)) == [1]
