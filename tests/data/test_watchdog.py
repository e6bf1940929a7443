"""Workers that hang, stop, crash and are killed, for real: nothing is lost but the video, and the reason is said."""

import logging
import multiprocessing
import os
import re
import signal
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast_mvit.batches import Erasure, TrainItem, UnreadableVideo, collate_clips
from slowfast_mvit.data import watchdog
from slowfast_mvit.data.clips import ClipSampling, MultiViewVideos, TrainClips
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.data.loader import StepPlan, StepSampler, training_passes, views_of
from slowfast_mvit.data.transforms import AreaAspectCrop, TrainTransform
from slowfast_mvit.data.watchdog import AtWork, Patience, Roll, Stalled, _explain
from slowfast_mvit.errors import UserError

SAMPLING = ClipSampling(num_frames=4, sampling_rate=2)
RECIPE = TrainTransform(16, AreaAspectCrop((0.1, 0.9), (0.75, 1.333)), flip=True)
NUM_VIDEOS = 20


class Numbers:
    """Items that hold their number. With some of them, something happens to the worker."""

    def __init__(self, happens=None):
        self.happens = happens or {}

    def __len__(self):
        return NUM_VIDEOS

    def unreadable(self, index, cause):
        return UnreadableVideo(index, f"/videos/{index}.mp4", "none", cause)

    def __getitem__(self, key):
        index = getattr(key, "index", key)
        self.happens.get(index, lambda: None)()
        return TrainItem(torch.full((1, 3, 1, 2, 2), index, dtype=torch.uint8), 0, index, 0.0, 0.0, (Erasure(),))


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


def sleep_for_ever():
    time.sleep(1e6)


def passes(dataset, num_workers=2, timeout=0.4, num_epochs=3, num_videos=NUM_VIDEOS, collate=collate_clips):
    sampler = StepSampler(StepPlan(num_videos, 4), seed=1, first_epoch=0, first_step=0, num_epochs=num_epochs)
    return training_passes(
        dataset, sampler, num_workers=num_workers, pin_memory=False, timeout=timeout, collate=collate
    )


def order_of(shown):
    """Videos of each pass as they come, with a minus where one could not be read."""
    return [([] if one.clips is None else one.clips.video_index.tolist()) for one in shown]


@pytest.fixture(autouse=True)
def no_worker_is_left():
    before = active_children()
    yield
    assert [child for child in active_children() if child not in before] == []


@pytest.mark.parametrize("hang", [stop, sleep_for_ever])
@pytest.mark.parametrize("videos", [(7,), (7, 12)])
def test_a_hanging_video_costs_itself_and_nothing_else(hang, videos, caplog):
    undisturbed = order_of(passes(Numbers(), num_workers=0))
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        shown = list(passes(Numbers(dict.fromkeys(videos, hang))))
    assert time.monotonic() - began < 8
    assert order_of(shown) == [[index for index in batch if index not in videos] for batch in undisturbed]
    missing = [[bad.video_index for bad in one.unreadable] for one in shown]
    assert missing == [[index for index in batch if index in videos] for batch in undisturbed]
    assert {bad.cause for one in shown for bad in one.unreadable} <= {
        f"decoding hangs: no clip after {n} s" for n in (0, 1)
    }
    said = " ".join(record.getMessage() for record in caplog.records)
    for video in videos:
        told = re.findall(rf"loader worker [01] \(pid \d+\) has been at /videos/{video}.mp4 for [01] s", said)
        assert len(told) == 1, said  # in three epochs
    assert "the loader processes are ended and started anew" in said


def test_all_workers_hang_at_once(caplog):
    undisturbed = order_of(passes(Numbers(), num_workers=0, num_epochs=1))
    first, second = undisturbed[0][1], undisturbed[1][2]
    shown = list(passes(Numbers({first: stop, second: stop}), num_epochs=1))
    assert order_of(shown) == [[index for index in batch if index not in (first, second)] for batch in undisturbed]


def test_a_pass_of_hanging_videos_only():
    shown = list(passes(Numbers({0: stop, 1: sleep_for_ever}), num_videos=2, num_epochs=2))
    assert [one.clips for one in shown] == [None, None]
    assert [sorted(bad.video_index for bad in one.unreadable) for one in shown] == [[0, 1]] * 2


def test_patience_is_for_one_video_and_not_for_a_batch():
    """Every video takes 0.15 s and a batch 0.6 s; the limit is 0.4."""
    slow = Numbers(dict.fromkeys(range(NUM_VIDEOS), lambda: time.sleep(0.15)))
    shown = list(passes(slow, num_workers=1, num_epochs=1))
    assert order_of(shown) == order_of(passes(Numbers(), num_workers=0, num_epochs=1))
    assert not any(one.unreadable for one in shown)


def test_without_a_limit_it_waits():
    slow = Numbers({3: lambda: time.sleep(1.5)})
    assert not any(one.unreadable for one in passes(slow, timeout=0.0, num_epochs=1))


def test_closing_ends_workers_that_hear_nothing():
    stream = passes(Numbers({13: stop}), timeout=60.0)
    next(stream)
    time.sleep(0.3)
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < 2


class Rolls(Roll):
    """A roll that a test writes."""

    def __init__(self, *rows):
        super().__init__(Numbers(), len(rows))
        self.set(*rows)

    def set(self, *rows):
        self._rows[:] = torch.tensor([(index, began, 70 + n) for n, (index, began) in enumerate(rows)])


def test_only_waiting_counts():
    now = time.monotonic()
    roll = Rolls((4, now - 1000), (-1, now - 1000))
    patience = Patience(roll, 10.0)  # since all were stopped, say: the video is old, and nobody has waited for it
    patience.wait(9.0)
    roll.set((4, now - 1000), (6, now))
    with pytest.raises(Stalled, match=r"^loader worker 0 \(pid 70\) has been at /videos/4.mp4 for 100\d s$") as caught:
        patience.wait(2.0)
    assert [at.index for at in caught.value.hanging] == [4]  # and not the other one
    roll.set((5, now), (6, now))
    patience.wait(9.0)  # another video
    roll.set((5, now + 1), (6, now))
    with pytest.raises(Stalled, match=r"worker 1 \(pid 71\) has been at /videos/6") as caught:
        patience.wait(2.0)  # 5 has been begun anew; in 6 nothing has moved for 11 s
    assert len(caught.value.hanging) == 1


def test_idle_workers_without_a_batch_are_told_apart():
    roll = Rolls((-1, 0.0), (-1, 0.0))
    patience = Patience(roll, 10.0)
    patience.wait(9.0)
    with pytest.raises(
        Stalled, match=r"no batch has come for 10 s, and no loader worker is at any video \(.* /dev/shm"
    ) as e:
        patience.wait(1.0)
    assert e.value.hanging == []
    patience = Patience(roll, 10.0)
    roll.set((-1, 0.0), (3, 5.0))
    patience.wait(9.0)
    patience.wait(9.0)  # one is idle, the other has only begun: 9 s


class Lost:
    """A batch that cannot be sent: its pickling fails in a thread of the worker, which says so to nobody."""

    def __reduce__(self):
        raise OSError(28, "No space left on device")


def test_batches_that_never_come(caplog):
    with pytest.raises(
        UserError, match=r"no batch has come for 0.4 s, .*for the second time: start the same command again"
    ):
        list(passes(Numbers(), num_epochs=1, collate=lambda items: Lost()))
    assert sum("started anew" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, "lack of memory (.* of the machine's .* are available, .*process holds .* its workers .*): lower"),
        (signal.SIGSEGV, "a crash of the decoder: take that file off the list, or set another DATA.DECODING_BACKEND"),
        (signal.SIGBUS, "want of shared memory: .* GiB of .* GiB are free in /dev/shm: enlarge it"),
        (signal.SIGXCPU, "start the same command again"),
    ],
)  # fmt: skip
def test_a_worker_that_dies_is_explained(number, said):
    deadly = Numbers({7: lambda: os.kill(os.getpid(), number)})
    said = said.replace("(.", r"\(.").replace("*)", r"*\)")
    with pytest.raises(
        UserError, match=rf"^loader worker [01] \(pid \d+\), at /videos/7.mp4, was killed by {number.name}.*{said}"
    ):
        list(passes(deadly))


def test_a_worker_that_is_killed_while_the_main_process_computes():
    """Torch's own handler would raise wherever the main process stands; here, the loader says it when it is asked."""
    stream = passes(Numbers(), timeout=60.0)
    next(stream)
    time.sleep(0.3)  # both are idle
    active_children()[0].kill()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        np.ones(10).sum()
    with pytest.raises(UserError, match=r"^loader worker \d \(pid \d+\) was killed by SIGKILL, mostly"):
        list(stream)


def test_a_worker_that_exits():
    with pytest.raises(UserError, match=r"^loader worker [01] \(pid \d+\), at /videos/7.mp4, ended with status 3 \("):
        list(passes(Numbers({7: lambda: os._exit(3)})))


def failing(error):
    raise error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("unable to open shared memory object </torch_1_2> in read-write mode: No space left"),
            "shared memory",
        ),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: Success (0)"), "--shm-size"),
        (
            OSError("Caught OSError in DataLoader worker process 0.\n...\n[Errno 28] No space left on device"),
            "shared memory",
        ),
        (RuntimeError("unable to open shared memory object </torch_1> in mode: Too many open files (24)"), "ulimit -n"),
        (RuntimeError("received 0 items of ancdata"), "ulimit -n"),
    ],
)
def test_lack_of_shared_memory_is_explained(error, said):
    assert said in _explain(error)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2"), OSError(5, "Input/output error")])
def test_other_errors_of_a_worker_are_left_alone(error):
    with pytest.raises(type(error), match=str(error.args[-1])):
        list(passes(Numbers({7: lambda: failing(error)})))


def test_workers_leave_signals_to_the_main_process():
    """A scheduler signals all processes of a job."""
    stream = passes(Numbers(), timeout=60.0, num_epochs=60)
    shown = [next(stream)]
    for child in active_children():
        os.kill(child.pid, signal.SIGTERM)
        os.kill(child.pid, signal.SIGUSR1)
    shown += list(stream)
    assert len(shown) == 60 * 5


def test_a_worker_that_is_still_starting_leaves_them_too(monkeypatch):
    set_up = watchdog._leave_signals_to_the_main_process

    def slowly(worker):
        time.sleep(worker)
        set_up(worker)

    monkeypatch.setattr(watchdog, "_leave_signals_to_the_main_process", slowly)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    stream = passes(Numbers(), timeout=60.0, num_epochs=2)
    shown = [next(stream)]  # of worker 0, while worker 1 is asleep
    for child in active_children():
        os.kill(child.pid, signal.SIGTERM)
        os.kill(child.pid, signal.SIGUSR1)
    shown += list(stream)
    assert len(shown) == 2 * 5
    assert signal.pthread_sigmask(signal.SIG_SETMASK, before) == {*before, signal.SIGUSR2}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are started, not forked")
def test_workers_share_the_lists_whatever_python_would_do(monkeypatch):
    forkserver = multiprocessing.get_context("forkserver")  # the default from Python 3.14 on
    monkeypatch.setattr(multiprocessing.context._default_context, "_actual_context", forkserver)
    cannot_be_pickled = Numbers({NUM_VIDEOS: lambda: None})
    assert multiprocessing.get_start_method() == "forkserver"
    shown = order_of(passes(cannot_be_pickled, timeout=60.0, num_epochs=1))
    assert sorted(video for one in shown for video in one) == list(range(NUM_VIDEOS))


def test_the_roll_is_shared_and_exact():
    class Seen(Roll):
        last = None

        def __init__(self, *args):
            super().__init__(*args)
            Seen.last = self

    from slowfast_mvit.data import loader

    original, loader.Roll, seen = loader.Roll, Seen, []
    try:
        for _ in passes(Numbers({3: lambda: time.sleep(0.5)}), num_epochs=1, timeout=60.0):
            seen += Seen.last.read()
    finally:
        loader.Roll = original
    assert {at.worker for at in seen} == {0, 1}
    assert all(at.pid != os.getpid() for at in seen)
    assert all(-1 <= at.index < NUM_VIDEOS for at in seen)
    assert all(0 <= time.monotonic() - at.began < 10 for at in seen if at.pid)
    huge = Roll(Numbers(), 1)
    huge._rows[0] = torch.tensor([17_000_003, 123456.789012, 4194303], dtype=torch.float64)  # pids end at 2**22
    assert huge.read() == [AtWork(0, 4194303, 17_000_003, 123456.789012)]


def test_a_worker_at_work_costs_almost_nothing(monkeypatch):
    """Below 50 microseconds for each video, whose decoding takes 10 milliseconds and more."""
    monkeypatch.setattr(watchdog, "get_worker_info", lambda: type("Info", (), {"id": 0}))
    roll = Roll(Numbers(), 1)
    best = min(_seconds(roll) for _ in range(5))
    assert best / 1000 < 50e-6


def _seconds(roll):
    began = time.perf_counter()
    for index in range(1000):
        roll.begin(index)
        roll.end()
    return time.perf_counter() - began


# The decoder itself


@pytest.fixture
def with_a_pipe(new_video, tmp_path):
    """Four good videos, and one whose decoder waits for the other end of a pipe, in C."""
    os.mkfifo(tmp_path / "pipe.ts")
    bad = tmp_path / "waits.mp4"
    bad.write_text("ffconcat version 1.0\nfile pipe.ts\n")
    paths = [str(new_video(f"{n}.mp4", num_frames=n).path) for n in (10, 14, 18, 22)]
    paths.insert(2, str(bad))
    return VideoList(np.array(paths), np.array(paths), np.arange(5), (), "list.csv")


def test_a_decoder_that_hangs_in_training(with_a_pipe):
    dataset = TrainClips(with_a_pipe, SAMPLING, RECIPE, seed=3, num_repeats=2)
    good = VideoList(
        np.where(np.arange(5) == 2, with_a_pipe.paths[0], with_a_pipe.paths),
        with_a_pipe.names,
        np.arange(5),
        (),
        "list.csv",
    )
    undisturbed = list(passes(TrainClips(good, SAMPLING, RECIPE, seed=3, num_repeats=2), 0, num_videos=5))
    shown = list(passes(dataset, timeout=1.5, num_videos=5))
    assert len(shown) == len(undisturbed) == 3
    for one, other in zip(shown, undisturbed, strict=True):
        kept = other.clips.video_index != 2
        assert torch.equal(one.clips.video_index, other.clips.video_index[kept])
        assert torch.equal(one.clips.video, other.clips.video[kept])  # every pixel
        if not kept.all():
            (bad,) = one.unreadable
            assert (bad.video_index, Path(bad.path).name, bad.backend) == (2, "waits.mp4", "pyav")
    assert (
        sum(len(one.unreadable) for one in shown) == sum((one.clips.video_index == 2).any() for one in undisturbed) > 0
    )


def test_a_decoder_that_hangs_in_a_test(with_a_pipe):
    dataset = MultiViewVideos(with_a_pipe, SAMPLING, num_clips=2)
    shown = []
    with pytest.raises(
        UserError,
        match=r"^loader worker [01] \(pid \d+\) has been at .*/waits.mp4 for [12] s: take the file off the list, or raise "
        r"DATA_LOADER.TIMEOUT$",
    ):
        shown.extend(views_of(dataset, range(5), num_workers=2, timeout=1.0))
    began = time.monotonic()
    assert [view.video_index for view in views_of(dataset, [0, 1, 3, 4], num_workers=2, timeout=60.0)] == [0, 1, 3, 4]
    assert time.monotonic() - began < 20
