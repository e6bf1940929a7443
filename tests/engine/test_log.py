"""What a run says."""

import json
import logging
import time

import pytest

from slowfast_mvit.engine.log import ALIKE, JsonLog, Logs, NoLog, ProgressBar, log_to_screen
from slowfast_mvit.errors import UserError


@pytest.fixture
def restore_logger():
    logger = logging.getLogger("slowfast_mvit")
    before = logger.handlers, logger.level, logger.propagate
    yield logger
    logger.handlers, logger.level, logger.propagate = before


def test_lines_are_json_and_there_at_once(tmp_path):
    path = tmp_path / "new" / "log.jsonl"
    start = time.time()
    with JsonLog(path) as log:
        log.write("train", step=1, loss=0.5, name="é")
        assert len(path.read_text(encoding="utf-8").splitlines()) == 1  # before the file is closed
        log.write("val", top1_acc=float("nan"), grad_norm=None, worst=float("inf"))
    first, second = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert list(first) == ["kind", "time", "step", "loss", "name"]
    assert (first["kind"], first["step"], first["loss"], first["name"]) == ("train", 1, 0.5, "é")
    assert start - 0.001 <= first["time"] <= second["time"] <= time.time() + 0.001
    assert second["top1_acc"] is None and second["grad_norm"] is None and second["worst"] is None


def test_a_full_disk_is_said_in_a_sentence(tmp_path):
    path = tmp_path / "log.jsonl"
    path.symlink_to("/dev/full")
    said = "log.jsonl cannot be written: No space left on device; make room"
    with pytest.raises(UserError, match=said), JsonLog(path) as log:
        log.write("train", step=1)


def test_a_resumed_run_appends(tmp_path):
    path = tmp_path / "log.jsonl"
    for step in range(3):
        with JsonLog(path) as log:
            log.write("train", step=step)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1, 2]


def test_an_error_is_not_hidden_and_closes_the_file(tmp_path):
    with pytest.raises(KeyError), JsonLog(tmp_path / "log.jsonl") as log:
        raise KeyError
    with pytest.raises(ValueError, match="closed"):
        log.write("train")


def test_screen(restore_logger, capsys):
    log_to_screen()
    log_to_screen()  # twice is once
    logging.getLogger("slowfast_mvit.engine.loop").info("epoch %d", 3)
    logging.getLogger("slowfast_mvit.build").debug("not this")
    shown = capsys.readouterr()
    assert shown.err.endswith(" epoch 3\n") and shown.err.count("\n") == 1 and shown.out == ""


def test_plain_lines_where_there_is_no_terminal(caplog):
    bar = ProgressBar("epoch 1/2", 25, plain_every=10)
    with caplog.at_level(logging.INFO):
        for step in range(25):
            bar.advance(loss=f"{step}")
    bar.close()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(", ")[0] for line in lines] == ["epoch 1/2 10/25", "epoch 1/2 20/25", "epoch 1/2 25/25"]
    assert [line.split(", ")[2] for line in lines] == ["loss 9", "loss 19", "loss 24"]
    assert lines[-1].split(", ")[1] == "00:00 left"


def test_time_left(caplog, monkeypatch):
    now = iter([100.0, 103.0])
    monkeypatch.setattr("slowfast_mvit.engine.log.time.perf_counter", lambda: next(now))
    bar = ProgressBar("test", 40, done=7, plain_every=10)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            bar.advance()
    bar.close()
    assert [record.getMessage() for record in caplog.records] == ["test 10/40, 00:30 left"]  # 3 s for 3 steps, 30 to go


def test_several_logs_are_told_the_same(tmp_path):
    with JsonLog(tmp_path / "a.jsonl") as first, JsonLog(tmp_path / "b.jsonl") as second:
        Logs(first, NoLog(), second).write("train", step=3)
    lines = [json.loads((tmp_path / name).read_text()) for name in ("a.jsonl", "b.jsonl")]
    assert [(line["kind"], line["step"]) for line in lines] == [("train", 3)] * 2


def test_ranks_that_are_not_shown_say_nothing(restore_logger, caplog):
    bar = ProgressBar("epoch 1/1", 2, plain_every=1, shown=False)
    with caplog.at_level("INFO"):
        bar.advance(loss="1")
    bar.close()
    assert not caplog.messages


def test_what_all_ranks_say_alike_is_shown_once(restore_logger, capsys):
    for rank in (0, 1):
        log_to_screen(rank)
        logging.getLogger("slowfast_mvit.test").warning("the same", extra=ALIKE)
        logging.getLogger("slowfast_mvit.test").warning("mine")
    assert [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()] == [
        "the same",
        "mine",
        "rank 1: mine",
    ]
