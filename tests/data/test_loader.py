"""Which samples make which step, and that worker processes change nothing."""

import os
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mvit.batches import TrainPass, UnreadableVideo
from slowfast_mvit.data.augment import RandAugment, parse_rand_augment
from slowfast_mvit.data.clips import ClipSampling, MultiViewVideos, SampleKey, TrainClips
from slowfast_mvit.data.erasing import RandomErasing
from slowfast_mvit.data.lists import VideoList
from slowfast_mvit.data.loader import StepPlan, StepSampler, training_passes, views_of
from slowfast_mvit.data.transforms import AreaAspectCrop, TrainTransform
from slowfast_mvit.ops.randomness import epoch_order

SAMPLING = ClipSampling(num_frames=4, sampling_rate=2)
RECIPE = TrainTransform(
    32,
    AreaAspectCrop((0.1, 0.9), (0.75, 1.333)),
    flip=True,
    augment=RandAugment(parse_rand_augment("rand-m7-n4-mstd0.5-inc1")),
    erasing=RandomErasing(0.5),
)


@pytest.fixture(scope="module")
def videos(new_video):
    paths = [str(new_video(f"{n}.mp4", num_frames=n).path) for n in (10, 14, 18, 22, 26)]
    return VideoList(np.array(paths), np.array(paths), np.arange(5), (), "list.csv")


@pytest.mark.parametrize(
    ("num_videos", "batch_size", "accumulate", "per_step", "steps", "passes"),
    [
        (10, 4, 1, 4, 2, 1),  # two are left over
        (8, 4, 1, 4, 2, 1),
        (3, 4, 1, 3, 1, 1),  # shorter than a batch
        (17, 4, 2, 8, 2, 2),
        (10, 4, 4, 10, 1, 3),  # shorter than a step: 4 + 4 + 2
        (8, 4, 4, 8, 1, 2),
        (1, 1, 1, 1, 1, 1),
        (240_000, 16, 2, 32, 7500, 2),
    ],
)
def test_step_plan(num_videos, batch_size, accumulate, per_step, steps, passes):
    plan = StepPlan(num_videos, batch_size, accumulate)
    assert (plan.videos_per_step, plan.steps_per_epoch, plan.passes_per_step) == (per_step, steps, passes)
    sampler = StepSampler(plan, seed=0, first_epoch=0, first_step=0, num_epochs=1)
    sizes = [len(keys) for keys in islice(sampler, 50)]
    assert sum(sizes[:passes]) == per_step and max(sizes) <= batch_size
    assert len(sizes) == min(steps * passes, 50)


def keys_of(plan, first_epoch=0, first_step=0, num_epochs=3, seed=4, rank=0):
    return list(
        StepSampler(plan, seed=seed, first_epoch=first_epoch, first_step=first_step, num_epochs=num_epochs, rank=rank)
    )


def test_order_of_the_sampler():
    order = [epoch_order(4, epoch, 7).tolist() for epoch in range(2)]
    assert keys_of(StepPlan(7, 3), num_epochs=2) == [
        [SampleKey(0, i) for i in order[0][:3]],
        [SampleKey(0, i) for i in order[0][3:6]],
        [SampleKey(1, i) for i in order[1][:3]],
        [SampleKey(1, i) for i in order[1][3:6]],
    ]
    assert order[0] != order[1] and sorted(order[0]) == list(range(7))


def test_passes_of_a_step_share_its_videos():
    order = epoch_order(4, 0, 11).tolist()
    keys = keys_of(StepPlan(11, 2, 2), num_epochs=1)
    assert [[key.index for key in batch] for batch in keys] == [order[0:2], order[2:4], order[4:6], order[6:8]]


def test_ranks_deal_each_pass_out_like_cards():
    order = epoch_order(4, 0, 11).tolist()
    # Passes of 4, 3 and 3 videos on three ranks.
    dealt = [keys_of(StepPlan(11, 4, 3, num_ranks=3), num_epochs=1, rank=rank) for rank in range(3)]
    assert [[[key.index for key in keys] for keys in passes] for passes in dealt] == [
        [[order[0], order[3]], [order[4], order[7]], [order[8]]],
        [[order[1]], [order[5]], [order[9]]],
        [[order[2]], [order[6]], [order[10]]],
    ]
    # Fewer videos than ranks: the last ones have none, and as many passes.
    two = epoch_order(4, 0, 2).tolist()
    assert [keys_of(StepPlan(2, 8, 1, num_ranks=4), num_epochs=1, rank=rank) for rank in range(4)] == [
        [[SampleKey(0, two[0])]],
        [[SampleKey(0, two[1])]],
        [[]],
        [[]],
    ]


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 4), st.integers(1, 6), st.integers(0, 3))
def test_shares_of_all_ranks_are_the_pass_of_one_process(num_videos, batch_size, accumulate, num_ranks, first_step):
    alone, shared = (StepPlan(num_videos, batch_size, accumulate, ranks) for ranks in (1, num_ranks))
    assert alone.steps_per_epoch == shared.steps_per_epoch and alone.passes_per_step == shared.passes_per_step
    first_step %= alone.steps_per_epoch
    whole = keys_of(alone, 0, first_step, num_epochs=2)
    parts = [keys_of(shared, 0, first_step, num_epochs=2, rank=rank) for rank in range(num_ranks)]
    assert all(len(passes) == len(whole) for passes in parts)  # so that ranks meet after each
    for number, keys in enumerate(whole):
        shares = [passes[number] for passes in parts]
        assert sum(map(len, shares)) == len(keys)
        for place, key in enumerate(keys):
            assert shares[place % num_ranks][place // num_ranks] == key
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert min(filter(None, sizes)) >= shared.smallest_share
    for epoch in range(2):
        counted = [key.index for passes in parts for keys in passes for key in keys if key.epoch == epoch]
        assert len(counted) == len(set(counted)) <= num_videos


@pytest.mark.parametrize(
    ("plan", "share"),
    [
        (StepPlan(100, 16, 2, 1), 16),
        (StepPlan(100, 16, 2, 4), 4),
        (StepPlan(100, 15, 1, 4), 3),
        (StepPlan(11, 4, 3, 3), 1),
        (StepPlan(11, 4, 3, 1), 3),  # 4 + 4 + 3
        (StepPlan(2, 8, 1, 4), 1),  # those without any left aside
    ],
    ids=str,
)
def test_smallest_share(plan, share):
    assert plan.smallest_share == share
    sizes = [len(keys) for rank in range(plan.num_ranks) for keys in keys_of(plan, num_epochs=1, rank=rank)]
    assert min(filter(None, sizes)) == share


@pytest.mark.parametrize("plan", [StepPlan(7, 3), StepPlan(23, 2, 3), StepPlan(3, 4)], ids=str)
def test_a_resumed_sampler_goes_on_where_the_other_stopped(plan):
    whole, per_epoch = keys_of(plan), plan.steps_per_epoch * plan.passes_per_step
    for epoch in range(3):
        for step in range(plan.steps_per_epoch):
            done = epoch * per_epoch + step * plan.passes_per_step
            assert keys_of(plan, epoch, step) == whole[done:]
    assert keys_of(plan, first_epoch=3) == []
    assert keys_of(plan, seed=5) != whole


def batches(videos, num_workers, batch_size=2):
    dataset = TrainClips(videos, SAMPLING, RECIPE, seed=3, num_repeats=2)
    sampler = StepSampler(StepPlan(len(videos), batch_size), seed=3, first_epoch=0, first_step=0, num_epochs=2)
    return list(training_passes(dataset, sampler, num_workers=num_workers, pin_memory=False, timeout=60))


def test_worker_processes_change_nothing(videos):
    passes = batches(videos, 0), batches(videos, 2)
    assert all(shown.unreadable == () for shown in passes[0] + passes[1])
    alone, helped = ([shown.clips for shown in some] for some in passes)
    assert len(alone) == len(helped) == 4
    for one, other in zip(alone, helped, strict=True):
        assert one.video.dtype == torch.uint8 and one.video.shape == (4, 3, 4, 32, 32)
        assert torch.equal(one.video, other.video)
        assert one.labels.tolist() == other.labels.tolist() == one.video_index.tolist()
        assert torch.equal(one.start_sec, other.start_sec) and one.erasures == other.erasures
    assert any(erasure.boxes for batch in alone for erasure in batch.erasures)
    order = [epoch_order(3, epoch, 5)[:4].tolist() for epoch in range(2)]
    assert [batch.video_index[::2].tolist() for batch in helped] == [e[i : i + 2] for e in order for i in (0, 2)]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_unreadable_video_crosses_processes(videos, tmp_path, num_workers):
    (tmp_path / "bad.mp4").touch()
    paths = np.array([*videos.paths[:2], str(tmp_path / "bad.mp4")])
    broken = VideoList(paths, paths, np.arange(3), (), "list.csv")
    bad = UnreadableVideo(2, str(tmp_path / "bad.mp4"), "pyav", "the file is empty")
    for epoch, shown in enumerate(batches(broken, num_workers, batch_size=3)):
        order = [index for index in epoch_order(3, epoch, 3).tolist() if index != 2]
        assert shown.unreadable == (bad,)
        assert shown.clips.video_index[::2].tolist() == order
    paths = np.array([str(tmp_path / "bad.mp4")])
    nothing = VideoList(paths, paths, np.zeros(1, dtype=np.int64), (), "list.csv")
    assert batches(nothing, num_workers) == [TrainPass(None, (replace(bad, video_index=0),))] * 2


class Where(MultiViewVideos):
    """Says in `num_missing` which process reads it, and with how many threads."""

    def __getitem__(self, index):
        object.__setattr__(views := super().__getitem__(index), "num_missing", (os.getpid(), torch.get_num_threads()))
        return views


@pytest.mark.parametrize("num_workers", [0, 2])
def test_views_come_in_order_from_single_threaded_workers(videos, num_workers):
    dataset = Where(videos, SAMPLING, num_clips=2)
    items = list(views_of(dataset, range(len(videos)), num_workers=num_workers, timeout=60))
    assert [item.video_index for item in items] == [item.label for item in items] == list(range(5))
    assert all(item.frames.dtype == torch.uint8 and item.frames.shape[1:] == (64, 96, 3) for item in items)
    assert all(item.rows.shape == (2, 4) and item.seconds.dtype == torch.float64 for item in items)
    processes = {item.num_missing[0] for item in items}
    if num_workers:
        assert len(processes) == 2 and os.getpid() not in processes
        assert {item.num_missing[1] for item in items} == {1}
    else:
        assert processes == {os.getpid()}
    assert [item.video_index for item in views_of(dataset, [3, 1], num_workers=num_workers)] == [3, 1]
