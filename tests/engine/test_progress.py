"""Time left where parts of a job are done: plain lines where there is no terminal."""

import logging

from slowfast_mvit.engine import progress
from slowfast_mvit.engine.progress import ShareBar


def test_plain_lines(caplog, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    caplog.set_level(logging.INFO, "slowfast_mvit")
    ours = logging.getLogger("slowfast_mvit")
    monkeypatch.setattr(ours, "propagate", True)
    monkeypatch.setattr(ours, "handlers", [])  # those of a command that another test ran
    bar = ShareBar("predict", 10, "videos", done=2)
    for seconds, done in ((5, 2.5), (20, 4.0), (21, 4.5), (22, 3.0), (80, 10)):
        now[0] = 100.0 + seconds
        bar.move_to(done)
    bar.close()
    # 2 of 8 in 20 seconds: 60 more. What was done before took no time.
    assert [record.getMessage() for record in caplog.records] == [
        "predict 4.0/10 videos, 01:00 left",
        "predict 10.0/10 videos, 00:00 left",
    ]
