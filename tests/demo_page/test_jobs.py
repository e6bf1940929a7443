"""The queue: one after the other, in their order, whatever becomes of one of them."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slowfast_mvit.data.video import VideoError
from slowfast_mvit.demo_page.answers import Answer
from slowfast_mvit.demo_page.jobs import KEPT, MOST_WAITING, FullError, Job, Jobs
from slowfast_mvit.errors import UserError


class Slow:
    """A looker that waits to be let go, and notes who is looked at."""

    images = draws = False

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.at_once = 0
        self.go = threading.Semaphore(0)
        self.error: BaseException | None = None

    def look(self, path: Path, folder: Path, moved: Callable[[float], None], stopped: Callable[[], bool]) -> Answer:
        self.at_once += 1
        assert self.at_once == 1
        self.seen.append(path.read_text())
        try:
            while not self.go.acquire(timeout=0.01):
                moved(0.5)
            if self.error is not None:
                raise self.error
            folder.mkdir()
            (folder / "film.mp4").write_text("drawn")
            return Answer(file=folder / "film.mp4")
        finally:
            self.at_once -= 1


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def jobs(slow: Slow, tmp_path: Path) -> Iterator[Jobs]:
    made = Jobs(slow, tmp_path)
    yield made
    made.close()
    assert list(tmp_path.iterdir()) == []


def started(jobs: Jobs, text: str) -> Job:
    job = jobs.open(f"{text}'s film.mp4", "film.mp4")
    job.path.write_text(text)
    jobs.start(job)
    return job


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_one_after_the_other(jobs: Jobs, slow: Slow) -> None:
    first, second, third = (started(jobs, text) for text in "abc")
    until(lambda: first.share == 0.5)
    assert [job.state for job in (first, second, third)] == ["working", "waiting", "waiting"]
    assert [jobs.before(job) for job in (first, second, third)] == [0, 1, 2]
    slow.go.release()
    until(lambda: second.state == "working")
    assert first.state == "done" and not first.path.exists() and jobs.before(third) == 1
    assert first.answer is not None and first.answer.file is not None and first.answer.file.read_text() == "drawn"
    jobs.forget(first)
    assert jobs.find(first.id) is None and not first.path.parent.exists()
    slow.go.release(2)
    until(lambda: third.state == "done")
    assert slow.seen == ["a", "b", "c"]


def test_who_leaves_is_passed_over(jobs: Jobs, slow: Slow) -> None:
    first, second, third = (started(jobs, text) for text in "abc")
    until(lambda: first.state == "working")
    jobs.forget(second)
    jobs.forget(first)
    until(lambda: third.state == "working")
    assert slow.seen == ["a", "c"] and not first.path.parent.exists() and not second.path.parent.exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (VideoError("/tmp/x.mp4", "pyav", "no frames"), "a's film.mp4 cannot be read: no frames"),
        (UserError("scores of PATH are not finite"), "scores of a's film.mp4 are not finite"),
        (UserError("none of PATH: see FOLDER/drawn/unreadable.csv"), "none of a's film.mp4"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (
            RuntimeError("/secret"),
            "a's film.mp4 cannot be looked at, by a mistake of the program; the terminal of the server",
        ),
    ],
)
def test_an_error_is_said_and_the_next_is_looked_at(jobs: Jobs, slow: Slow, error: Exception, said: str) -> None:
    first = started(jobs, "a")
    if isinstance(error, UserError):
        text = str(error).replace("PATH", str(first.path)).replace("FOLDER", str(first.path.parent))
        error = UserError(text)
    slow.error = error
    slow.go.release()
    until(lambda: first.state == "failed")
    assert first.problem.startswith(said) and not first.path.exists()
    slow.error = None
    second = started(jobs, "b")
    slow.go.release()
    until(lambda: second.state == "done")


def test_no_more_than_so_many_wait(jobs: Jobs, slow: Slow) -> None:
    until(lambda: True)
    uploads = [jobs.open("a.mp4", "a.mp4") for _ in range(MOST_WAITING)]
    with pytest.raises(FullError):
        jobs.open("b.mp4", "b.mp4")
    jobs.forget(uploads[0])
    assert jobs.open("b.mp4", "b.mp4").state == "uploading"


def test_old_answers_are_forgotten(jobs: Jobs, slow: Slow, tmp_path: Path) -> None:
    slow.go.release(KEPT + 2)
    done = []
    for number in range(KEPT + 2):
        done.append(started(jobs, str(number)))
        until(lambda: done[-1].state == "done")
    until(lambda: jobs.find(done[1].id) is None)
    assert jobs.find(done[0].id) is None and jobs.find(done[2].id) is done[2]
    until(lambda: len(list(tmp_path.iterdir())) == KEPT)
