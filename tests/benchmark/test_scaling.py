"""Steps on one and two processes, and the arithmetic of the estimate."""

from functools import partial

import pytest
from torch import nn

from slowfast_mvit.benchmark.scaling import Scaled, all_reduce_seconds, measure_scaling, scaling_table


def test_one_and_two_processes() -> None:
    build = partial(nn.Sequential, nn.Flatten(), nn.Linear(12, 4))
    one, two = measure_scaling(build, (2, 3, 1, 2, 2), [(1, 1), (2, 1)], runs=2)
    assert (one.processes, two.processes, one.clips, two.clips) == (1, 2, 2, 2)
    assert one.messages == () and sum(two.messages) == 4 * (12 * 4 + 4)
    assert one.seconds == one.quiet_seconds > 0 and two.seconds > 0 and two.quiet_seconds > 0
    assert one.communication == 0 <= two.communication < 1


def test_the_estimate_by_hand() -> None:
    # 8 GPUs: 2 * 7/8 * 300 MB / 300 GB/s = 1.75 ms, and 14 latencies of 5 us.
    assert all_reduce_seconds([300_000_000], 8) == pytest.approx(1.75e-3 + 14 * 5e-6)
    # 64: each GPU's eighth, 37.5 MB, round 8 machines: 2 * 7/8 * 37.5 MB / 25 GB/s = 2.625 ms, and 14 latencies of 15 us.
    assert all_reduce_seconds([300_000_000], 64) == pytest.approx(1.75e-3 + 14 * 5e-6 + 2.625e-3 + 14 * 15e-6)
    assert all_reduce_seconds([100, 100], 8) == pytest.approx(2 * all_reduce_seconds([100], 8))
    assert all_reduce_seconds([100], 1) == 0


def test_the_table() -> None:
    text = scaling_table([Scaled(1, 2, 2, 8.0, 8.0, ()), Scaled(2, 1, 2, 10.0, 9.0, (2**20, 2**19))])
    assert "| 1 x 2 | 8.00 s | 0.25 | 1.00 |  |  |" in text
    assert "| 2 x 1 | 10.00 s | 0.2 | 0.80 | 10.0% | 1.5 MiB in 2 |" in text
    assert text.count("\n| 8 |") == text.count("\n| 64 |") == text.count("\n| 512 |") == 1
