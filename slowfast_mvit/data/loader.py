"""Loaders: which samples make which step, and the worker processes that read them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from slowfast_mvit.batches import TrainItem, TrainPass, UnreadableVideo, VideoViews, collate_clips
from slowfast_mvit.data.clips import SampleKey
from slowfast_mvit.ops.randomness import epoch_order


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

    One sampler for the whole training keeps the workers busy across epochs; a resumed run starts in the middle.
    """

    def __init__(
        self, plan: StepPlan, *, seed: int, first_epoch: int, first_step: int, num_epochs: int, rank: int = 0
    ) -> None:
        self.plan = plan
        self.seed = seed
        self.first_epoch = first_epoch
        self.first_step = first_step
        self.num_epochs = num_epochs
        self.rank = rank

    def __iter__(self) -> Iterator[list[SampleKey]]:
        plan = self.plan
        for epoch in range(self.first_epoch, self.num_epochs):
            order = epoch_order(self.seed, epoch, plan.num_videos)
            for step in range(self.first_step if epoch == self.first_epoch else 0, plan.steps_per_epoch):
                videos = order[step * plan.videos_per_step : (step + 1) * plan.videos_per_step]
                for part in np.array_split(videos, plan.passes_per_step):
                    yield [SampleKey(epoch, int(index)) for index in part[self.rank :: plan.num_ranks]]


def train_loader(
    dataset: Dataset[TrainItem | UnreadableVideo], sampler: StepSampler, *, num_workers: int, pin_memory: bool
) -> DataLoader[TrainPass]:
    """Batches of training clips in the sampler's order."""
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # the collate function makes batches of its items
        batch_sampler=sampler,
        collate_fn=collate_clips,
        num_workers=num_workers,
        pin_memory=pin_memory,
    )


def view_loader(
    dataset: Dataset[VideoViews | UnreadableVideo], videos: Sequence[int], *, num_workers: int
) -> DataLoader[VideoViews | UnreadableVideo]:
    """These videos of the set with all their views, one at a time and in order; batches are made of views on the device."""
    return DataLoader(dataset, batch_size=None, sampler=videos, num_workers=num_workers)
