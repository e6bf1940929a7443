"""Loaders: which samples make which step, and the worker processes that read them."""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

from slowfast_mvit.batches import AvaViews, TrainPass, UnreadableVideo, VideoViews, collate_clips
from slowfast_mvit.data.clips import SampleKey
from slowfast_mvit.data.watchdog import Roll, Stalled, WatchedDataset, attended
from slowfast_mvit.errors import UserError
from slowfast_mvit.ops.randomness import epoch_order
from slowfast_mvit.pictures import DetectionViews

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepPlan:
    """How videos are dealt into steps.

    A step consumes ``batch_size * accumulate_steps`` videos in forward passes of at most ``batch_size``, as equal as can be.
    Videos left over at the end of an epoch wait for the next one; a list shorter than one step makes one step of all its
    videos. Of each forward pass, rank r of R takes the videos r, r + R, r + 2R ...

    Attributes:
        num_videos: length of the list.
        batch_size: videos of a forward pass on all ranks together.
        accumulate_steps: forward passes of a step.
        num_ranks: processes that share every pass.
    """

    num_videos: int
    batch_size: int
    accumulate_steps: int = 1
    num_ranks: int = 1

    @property
    def videos_per_step(self) -> int:
        """Videos in one step, over all its forward passes and ranks."""
        return min(self.batch_size * self.accumulate_steps, self.num_videos)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one epoch, at least one."""
        return self.num_videos // self.videos_per_step

    @property
    def passes_per_step(self) -> int:
        """Forward passes in one step."""
        return -(-self.videos_per_step // self.batch_size)

    @property
    def smallest_share(self) -> int:
        """Videos in the smallest part of a forward pass that a rank may get, those without any left aside."""
        return max(1, self.videos_per_step // self.passes_per_step // self.num_ranks)


class StepSampler(Sampler[list[SampleKey]]):
    """The samples of every forward pass of one rank from (epoch, step) on, through the last epoch; some may have none.

    With ``num_steps`` the last epoch ends where so many steps of the training are done. One sampler for the whole training
    keeps the workers busy across epochs; a resumed run starts in the middle.
    """

    def __init__(
        self,
        plan: StepPlan,
        *,
        seed: int,
        first_epoch: int,
        first_step: int,
        num_epochs: int,
        num_steps: int = 0,
        rank: int = 0,
    ) -> None:
        self.plan = plan
        self.seed = seed
        self.first_epoch = first_epoch
        self.first_step = first_step
        self.num_epochs = num_epochs
        self.num_steps = num_steps
        self.rank = rank

    def __iter__(self) -> Iterator[list[SampleKey]]:
        plan = self.plan
        for epoch in range(self.first_epoch, self.num_epochs):
            order = epoch_order(self.seed, epoch, plan.num_videos)
            left = self.num_steps - epoch * plan.steps_per_epoch if self.num_steps else plan.steps_per_epoch
            for step in range(self.first_step if epoch == self.first_epoch else 0, min(plan.steps_per_epoch, left)):
                videos = order[step * plan.videos_per_step : (step + 1) * plan.videos_per_step]
                for part in np.array_split(videos, plan.passes_per_step):
                    yield [SampleKey(epoch, int(index)) for index in part[self.rank :: plan.num_ranks]]


def training_passes(
    dataset: WatchedDataset,
    sampler: StepSampler,
    *,
    num_workers: int,
    pin_memory: bool,
    timeout: float = 0.0,
    collate: Callable[[Any], TrainPass] = collate_clips,
) -> Generator[TrainPass, None, None]:
    """Forward passes of training clips in the sampler's order. Close it, and its workers end.

    A worker that hangs costs its video and nothing else: the video is unreadable from then on, all workers are ended, and new
    ones begin at the pass that was waited for.

    Args:
        dataset: gives :class:`TrainItem` and :class:`UnreadableVideo`.
        sampler: see :class:`StepSampler`.
        num_workers: processes that read; 0: this one does, and a video that hangs it hangs it.
        pin_memory: batches in page-locked memory.
        timeout: seconds that a worker may be at one video while its pass is waited for; 0: for ever.
        collate: items to a pass.

    Raises:
        UserError: a worker has died, or twice in a row nothing comes though all are idle.
    """
    settings: dict[str, Any] = {"collate_fn": collate, "num_workers": num_workers, "pin_memory": pin_memory}
    if not num_workers:
        yield from DataLoader(dataset, batch_sampler=sampler, **settings)  # type: ignore[arg-type]  # it has all that is used
        return
    keys = _Outstanding(sampler)
    hanging: dict[int, UnreadableVideo] = {}
    in_vain = False
    while True:
        passes = attended(Roll(dataset, num_workers), hanging, timeout=timeout, batch_sampler=keys, **settings)
        try:
            with closing(passes):
                for given in passes:
                    keys.came()
                    in_vain = False
                    yield given
            return
        except Stalled as stalled:
            if in_vain and not stalled.hanging:
                raise UserError(f"{stalled}, for the second time: start the same command again") from None
            in_vain = True
            _LOG.warning("%s: the loader processes are ended and started anew", stalled)
            for at, seconds in zip(stalled.hanging, stalled.seconds, strict=True):
                hanging[at.index] = dataset.unreadable(at.index, f"decoding hangs: no clip after {seconds:.0f} s")


def views_of(
    dataset: WatchedDataset, videos: Sequence[int], *, num_workers: int, timeout: float = 0.0
) -> Generator[VideoViews | AvaViews | DetectionViews | UnreadableVideo, None, None]:
    """These videos of the set with all their views, one at a time and in order. Close it, and its workers end.

    Batches are made of views later, on the device. Arguments are those of :func:`training_passes`.

    Raises:
        UserError: a worker hangs or has died.
    """
    settings: dict[str, Any] = {"batch_size": None, "sampler": videos, "num_workers": num_workers}
    if not num_workers:
        yield from DataLoader(dataset, **settings)  # type: ignore[arg-type]  # it has all that is used
        return
    try:
        with closing(attended(Roll(dataset, num_workers), {}, timeout=timeout, **settings)) as views:
            yield from views
    except Stalled as stalled:
        raise UserError(
            f"{stalled}: "
            + ("take the file off the list, or raise DATA_LOADER.TIMEOUT" if stalled.hanging else "start again")
        ) from None


class _Outstanding(Sampler[list[SampleKey]]):
    """The keys of a sampler; asked again, those that have been given out and have not come back go first."""

    def __init__(self, sampler: StepSampler) -> None:
        self._source = iter(sampler)
        self._out: deque[list[SampleKey]] = deque()

    def __iter__(self) -> Iterator[list[SampleKey]]:
        yield from list(self._out)
        for keys in self._source:
            self._out.append(keys)
            yield keys

    def came(self) -> None:
        """The first of those given out has come back."""
        self._out.popleft()
