"""Processes that read files: crashes and hangs cost one file, whatever the order."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from slowfast_mvit.data import inspectors
from slowfast_mvit.data.inspect import OK, UNREADABLE, Request
from slowfast_mvit.data.inspectors import inspect_all
from slowfast_mvit.errors import UserError


@pytest.fixture
def stuck(tmp_path):
    """A folder of frames whose second image never comes: opening it blocks the process that reads it."""
    folder = tmp_path / "stuck"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "0.png")
    os.mkfifo(folder / "1.png")
    return Request(str(folder), "frames")


def good(new_video, number):
    path = new_video(f"good_{number}.mp4", num_frames=5).path
    return [Request(str(path))] * number


def readers_of(fifo: str) -> list[int]:
    """Processes that wait for the other end of a named pipe."""
    return [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdecimal() and _waits_in_open(process) and _is_ours(process)
    ]


def _waits_in_open(process: Path) -> bool:
    try:
        return (process / "wchan").read_text() in ("wait_for_partner", "fifo_open")
    except OSError:
        return False


def _is_ours(process: Path) -> bool:
    try:
        return process.stat().st_uid == os.getuid() and b"forkserver" in (process / "cmdline").read_bytes()
    except OSError:
        return False


def test_every_file_is_answered_once(new_video):
    requests = good(new_video, 7)
    answers = list(inspect_all(iter(requests), num_workers=3, timeout=60))
    assert len(answers) == 7 and all(request is not None and found.status == OK for request, found in answers)
    assert list(inspect_all([], num_workers=2, timeout=60)) == []


def test_a_hang_costs_one_file(new_video, stuck):
    requests = [*good(new_video, 3), stuck, *good(new_video, 4)]
    start = time.monotonic()
    answers = dict(inspect_all(requests, num_workers=2, timeout=2.0))
    assert 2 <= time.monotonic() - start < 60
    assert answers.pop(stuck).cause.startswith("no answer after 2 s: its decoder hangs")
    assert {found.status for found in answers.values()} == {OK}


def test_a_killed_process_costs_one_file(new_video, stuck):
    def kill_it():
        while not (pids := readers_of(stuck.path)):
            time.sleep(0.05)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_it, daemon=True)
    killer.start()
    answers = dict(inspect_all([stuck, *good(new_video, 3)], num_workers=1, timeout=60))
    killer.join(timeout=10)
    lost = answers.pop(stuck)
    assert lost.status == UNREADABLE and "was killed by SIGKILL" in lost.cause
    assert {found.status for found in answers.values()} == {OK}


def test_processes_end_with_the_work(new_video, stuck):
    answers = inspect_all([*good(new_video, 2), stuck], num_workers=1, timeout=600)
    next(answers), next(answers)
    answers.close()
    assert not readers_of(stuck.path)


def test_processes_that_cannot_start_are_not_started_for_ever(new_video, monkeypatch):
    monkeypatch.setattr(inspectors, "_serve", exit)  # with the connection as its status
    with pytest.raises(UserError, match="end as soon as they start"):
        list(inspect_all(good(new_video, 2), num_workers=1, timeout=60))


def test_a_process_that_ended_while_it_was_idle_is_replaced(new_video):
    answers = inspect_all(iter(good(new_video, 2)), num_workers=1, timeout=60)
    next(answers)
    (child,) = multiprocessing.active_children()
    child.kill(), child.join()
    assert next(answers)[1].status == OK
