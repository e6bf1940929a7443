"""Curves as TensorBoard itself reads them."""

import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from slowfast_mvit.engine.tensorboard import TensorBoardLog
from slowfast_mvit.errors import UserError


def curves(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(point.step, point.value) for point in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_curves(tmp_path):
    with TensorBoardLog(tmp_path) as log:
        log.write("train", epoch=1, step=10, steps=40, loss=0.5, grad_norm=None)
        log.write("train", epoch=1, step=20, steps=40, loss=0.25, grad_norm=2.0)
        log.write("skipped", step=21, reason="a text", clips=["a.mp4"])
        log.write("val", epoch=1, top1_acc=75.0)
    assert curves(tmp_path) == {
        "train/loss": [(10, 0.5), (20, 0.25)],
        "train/grad_norm": [(20, 2.0)],
        "val/top1_acc": [(1, 75.0)],
    }


def test_a_resumed_run_draws_over_what_was_lost(tmp_path):
    """Steps 3 and 4 came after the last checkpoint."""
    with TensorBoardLog(tmp_path) as log:
        for step in (1, 2, 3, 4):
            log.write("train", step=step, loss=float(step))
    with TensorBoardLog(tmp_path, first_step=2) as log:
        log.write("train", step=3, loss=30.0)
    assert curves(tmp_path)["train/loss"] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'slowfast_mvit\[tensorboard\]'"):
        TensorBoardLog(tmp_path)
