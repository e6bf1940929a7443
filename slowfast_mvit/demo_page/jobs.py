"""Files of visitors, looked at one after the other by one model, and what became of each."""

import logging
import secrets
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from slowfast_mvit.data.video import VideoError
from slowfast_mvit.demo_page.answers import Answer, Looker
from slowfast_mvit.errors import UserError

_LOG = logging.getLogger(__name__)
MOST_WAITING = 8
"""Files that may be on the disk and not looked at yet, uploads included."""
KEPT = 8
"""Answers that are kept; older ones are forgotten."""


class FullError(Exception):
    """So many files wait that no more is taken."""


class _LeftError(Exception):
    """The visitor, or the server, wants no answer any more."""


@dataclass(eq=False)
class Job:
    """A visitor's file.

    Attributes:
        id: a secret of the visitor.
        name: what the visitor calls the file.
        path: the file; its folder is the job's own.
        state: ``uploading``, ``waiting``, ``working``, ``done`` or ``failed``.
        share: how far the work is, 0 to 1; None while nobody knows.
        problem: why there is no answer, in a sentence.
        answer: once it is done.
    """

    name: str
    path: Path
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = "uploading"
    share: float | None = None
    problem: str = ""
    answer: Answer | None = None
    left: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """The queue.

    Args:
        looker: the one model.
        folder: for the files; theirs are removed as soon as they are looked at, drawn ones when they are forgotten.
    """

    def __init__(self, looker: Looker, folder: Path) -> None:
        self.looker = looker
        self.folder = folder
        self._jobs: dict[str, Job] = {}  # in the order in which they came
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    def open(self, name: str, file_name: str) -> Job:
        """A place for a file that is going to be uploaded to the job's path.

        Raises:
            FullError: there is none.
        """
        with self._lock:
            if sum(job.state in ("uploading", "waiting") for job in self._jobs.values()) >= MOST_WAITING:
                raise FullError
            job = Job(name, Path())
            job.path = self.folder / job.id / file_name
            job.path.parent.mkdir()
            self._jobs[job.id] = job
        return job

    def start(self, job: Job) -> None:
        """Look at the file when its turn has come."""
        job.state = "waiting"
        self._worker.submit(self._work, job).add_done_callback(lambda future: self._finish(job, future))

    def find(self, job_id: str) -> Job | None:
        """The job, or None where it is not known (any more)."""
        return self._jobs.get(job_id)

    def before(self, job: Job) -> int:
        """How many files are looked at before this one."""
        with self._lock:
            ahead = [one for one in self._jobs.values() if one.state in ("waiting", "working")]
        return ahead.index(job) if job in ahead else 0

    def forget(self, job: Job) -> None:
        """Remove the job and its files; if it is being worked on, after that has ended, which is soon."""
        job.left.set()
        with self._lock:
            self._jobs.pop(job.id, None)
        if job.state != "working":
            shutil.rmtree(job.path.parent, ignore_errors=True)

    def close(self) -> None:
        """End the work and remove everything."""
        for job in list(self._jobs.values()):
            self.forget(job)
        self._worker.shutdown(cancel_futures=True)

    def _work(self, job: Job) -> Answer:
        if job.left.is_set():
            raise _LeftError
        job.state = "working"

        def moved(share: float) -> None:
            job.share = share
            if job.left.is_set():
                raise _LeftError

        return self.looker.look(job.path, job.path.parent / "drawn", moved, job.left.is_set)

    def _finish(self, job: Job, future: Future[Answer]) -> None:
        """Take what came of a job, its bugs too: the next one is looked at all the same."""
        job.path.unlink(missing_ok=True)
        error = None if future.cancelled() else future.exception()
        if job.left.is_set():
            shutil.rmtree(job.path.parent, ignore_errors=True)
        elif error is None:
            job.answer = future.result()
        else:
            job.problem = _said(error, job)
            if not isinstance(error, UserError | VideoError | OSError):
                _LOG.error("a mistake of the program, on %s", job.name, exc_info=error)
        job.state = "failed" if job.answer is None else "done"
        finished = [one for one in list(self._jobs.values()) if one.state in ("done", "failed")]
        for old in finished[:-KEPT]:
            self.forget(old)


def _said(error: BaseException, job: Job) -> str:
    """A sentence for the visitor, in which the file has its own name."""
    if isinstance(error, VideoError):
        return f"{job.name} cannot be read: {error.cause}"
    if isinstance(error, UserError | OSError):
        said = str(error).partition(f": see {job.path.parent}")[0]  # a file that nobody can see
        return said.replace(str(job.path), job.name).replace(str(job.path.parent), "the server's folder")
    return f"{job.name} cannot be looked at, by a mistake of the program; the terminal of the server says more"
