"""Checkpoints are whole or absent, and the newest that can be read is found."""

import logging
import re

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from slowfast_mvit.engine import checkpoint
from slowfast_mvit.engine.checkpoint import (
    checkpoint_path,
    drop_later,
    drop_old,
    list_checkpoints,
    read_newest,
    save_checkpoint,
)
from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.files import read_weights


def content(epoch=0):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {
        "epoch": epoch,
        "model_state": model.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "cfg": "MODEL:\n  ARCH: mvit\n",
        "label_names": ["run", "high jump"],
    }


def test_round_trip(tmp_path):
    path, saved = checkpoint_path(tmp_path / "new", 4), content(4)
    save_checkpoint(path, saved)
    assert path == tmp_path / "new" / "checkpoint_epoch_00005.pyth" and [path] == list(path.parent.iterdir())
    found = read_weights(path)
    assert list(found) == list(saved)
    assert (found["epoch"], found["cfg"], found["label_names"]) == (4, saved["cfg"], ["run", "high jump"])
    torch.testing.assert_close(found["model_state"], saved["model_state"], rtol=0, atol=0)
    torch.testing.assert_close(found["optimizer_state"]["state"], saved["optimizer_state"]["state"], rtol=0, atol=0)


def test_files_are_listed_by_epoch(tmp_path):
    assert list_checkpoints(tmp_path / "none") == [] == list_checkpoints(tmp_path)
    for epoch in (9, 0, 99, 10):
        checkpoint_path(tmp_path, epoch).touch()
    for other in (".checkpoint_epoch_00200.pyth.tmp", "checkpoint_epoch_00300.pyth.bak", "best.pyth"):
        (tmp_path / other).touch()
    assert list_checkpoints(tmp_path) == [checkpoint_path(tmp_path, epoch) for epoch in (0, 9, 10, 99)]


def test_tasks_keep_to_their_own(tmp_path):
    for task in ("", "ssl", "ssl_eval"):
        save_checkpoint(checkpoint_path(tmp_path, 0, task), content(len(task)))
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint_epoch_00001.pyth",
        "ssl_checkpoint_epoch_00001.pyth",
        "ssl_eval_checkpoint_epoch_00001.pyth",
    }
    for task in ("", "ssl", "ssl_eval"):
        path, found = read_newest(tmp_path, task)
        assert list_checkpoints(tmp_path, task) == [path] and found["epoch"] == len(task)
    assert read_newest(tmp_path, "eval") is None


@pytest.mark.parametrize("moment", ["save", "fsync", "replace"])
def test_a_failure_while_writing_leaves_the_old_one(tmp_path, monkeypatch, moment):
    path = checkpoint_path(tmp_path, 0)
    save_checkpoint(path, content(0))
    old = path.read_bytes()

    def fail(*args, **kwargs):
        for file in args:
            if hasattr(file, "write"):
                file.write(b"half a file")
        raise OSError(28, "disk full")

    where = {"save": (torch, "save"), "fsync": (checkpoint.os, "fsync"), "replace": (type(path), "replace")}
    monkeypatch.setattr(*where[moment], fail)
    said = f"{path} cannot be written: disk full; the newest checkpoint is {path.name}, which is intact. Make room"
    with pytest.raises(UserError, match=re.escape(said)):
        save_checkpoint(path, content(1))
    monkeypatch.undo()
    assert path.read_bytes() == old and list_checkpoints(tmp_path) == [path]
    assert read_newest(tmp_path)[1]["epoch"] == 0
    save_checkpoint(path, content(1))
    assert read_weights(path)["epoch"] == 1 and list(tmp_path.iterdir()) == [path]


def test_the_newest_that_can_be_read(tmp_path, caplog):
    assert read_newest(tmp_path) is None and read_newest(tmp_path / "none") is None
    for epoch in range(4):
        save_checkpoint(checkpoint_path(tmp_path, epoch), content(epoch))
    with caplog.at_level(logging.WARNING):
        path, found = read_newest(tmp_path)
    assert path == checkpoint_path(tmp_path, 3) and found["epoch"] == 3 and not caplog.records
    whole = checkpoint_path(tmp_path, 3).read_bytes()
    checkpoint_path(tmp_path, 3).write_bytes(whole[: len(whole) // 2])
    checkpoint_path(tmp_path, 2).write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        path, found = read_newest(tmp_path)
    assert path == checkpoint_path(tmp_path, 1) and found["epoch"] == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert [record.getMessage() for record in caplog.records] == [
        f"{checkpoint_path(tmp_path, 3)} is cut short: the download or the copy did not finish; do it again; "
        "trying the checkpoint before it",
        f"{checkpoint_path(tmp_path, 2)} is empty: download or copy it again; trying the checkpoint before it",
    ]


def test_a_file_without_a_model_is_passed(tmp_path, caplog):
    save_checkpoint(checkpoint_path(tmp_path, 0), content(0))
    save_checkpoint(checkpoint_path(tmp_path, 1), {"epoch": 1, "cfg": ""})
    with caplog.at_level(logging.WARNING):
        assert read_newest(tmp_path)[1]["epoch"] == 0
    assert "holds no model_state; its keys are epoch, cfg; trying" in caplog.text


def test_none_can_be_read(tmp_path):
    checkpoint_path(tmp_path, 0).write_text("no")
    with pytest.raises(UserError, match=r"none of the 1 checkpoints in .* can be read"):
        read_newest(tmp_path)


def test_places_inside_epochs_come_between_their_ends(tmp_path):
    """By place, and by name too, since PySlowFast takes the last name."""
    places = [(2, 0), (0, 0), (1, 7), (1, 0), (1, 12345), (-1, 3)]
    for epoch, step in places:
        checkpoint_path(tmp_path, epoch, step=step).touch()
    found = list_checkpoints(tmp_path)
    assert found == [checkpoint_path(tmp_path, epoch, step=step) for epoch, step in sorted(places)]
    assert [path.name for path in found] == sorted(path.name for path in found)
    assert (
        found[2].name == "checkpoint_epoch_00002.pyth" and found[3].name == "checkpoint_epoch_00002_step_00000007.pyth"
    )


def test_old_ones_are_dropped(tmp_path):
    for task in ("", "ssl"):
        for epoch in range(5):
            checkpoint_path(tmp_path, epoch, task).touch()
    checkpoint_path(tmp_path, 4, step=3).touch()
    leftover = tmp_path / ".checkpoint_epoch_00001.pyth.tmp"
    leftover.touch()
    drop_old(tmp_path, 0)
    assert len(list_checkpoints(tmp_path)) == 6 and not leftover.exists()
    drop_old(tmp_path, 2, spare=[checkpoint_path(tmp_path, 1)])
    assert list_checkpoints(tmp_path) == [
        checkpoint_path(tmp_path, 1), checkpoint_path(tmp_path, 4), checkpoint_path(tmp_path, 4, step=3),
    ]  # fmt: skip
    assert len(list_checkpoints(tmp_path, "ssl")) == 5


def test_what_a_training_went_past_is_dropped(tmp_path):
    """It would be taken for the newest, and the new ones for old."""
    for epoch, step in ((0, 0), (0, 5), (0, 90), (1, 0)):
        checkpoint_path(tmp_path, epoch, step=step).touch()
    other = checkpoint_path(tmp_path, 7, "ssl")
    other.touch()
    checkpoint_path(tmp_path, 2, sharded=True).mkdir()
    drop_later(checkpoint_path(tmp_path, 0, step=5))
    assert list_checkpoints(tmp_path) == [checkpoint_path(tmp_path, 0), checkpoint_path(tmp_path, 0, step=5)]
    assert other.exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_seen_or_changes_nothing(tmp_path, place, bit):
    path, saved = checkpoint_path(tmp_path, 0), content(0)
    save_checkpoint(path, saved)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    try:
        found = read_newest(tmp_path)[1]
    except UserError as error:
        assert "can be read" in str(error)
    else:
        assert found["epoch"] == 0 and found["label_names"] == saved["label_names"]
        torch.testing.assert_close(found["model_state"], saved["model_state"], rtol=0, atol=0)
        torch.testing.assert_close(found["optimizer_state"]["state"], saved["optimizer_state"]["state"], rtol=0, atol=0)
