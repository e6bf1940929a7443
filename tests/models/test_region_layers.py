"""The norm of regions, alone and over ranks."""

import warnings

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from slowfast_mvit.models.region_layers import RegionConv, RegionNorm


def normed(norm, x, weights):
    """Outputs, gradients of the input and of the norm's parameters, and running statistics, after one pass in training."""
    x = x.clone().requires_grad_()
    out = norm(x)
    (out * weights).sum().backward()
    return out.detach(), x.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var


def started(kind=RegionNorm):
    torch.manual_seed(0)
    norm = kind(4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def test_alone_it_is_torch_s():
    x, weights = torch.randn(5, 4, 3, 3) * 2 + 1, torch.randn(5, 4, 3, 3)
    for ours, theirs in zip(normed(started(), x, weights), normed(started(nn.BatchNorm2d), x, weights), strict=True):
        torch.testing.assert_close(ours, theirs)
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(started().eval()(x), started(nn.BatchNorm2d).eval()(x))


def test_without_regions():
    norm = started()
    out, *_ = normed(norm, torch.zeros(0, 4, 3, 3), torch.zeros(0, 4, 3, 3))
    assert out.shape == (0, 4, 3, 3) and not norm.weight.grad.any() and not norm.bias.grad.any()
    assert not norm.running_mean.any() and (norm.running_var == 1).all()
    assert norm.eval()(torch.zeros(0, 4, 3, 3)).shape == (0, 4, 3, 3)


def test_regions_that_are_not_finite_leave_nothing():
    norm = started()
    norm(torch.full((2, 4, 3, 3), torch.inf))
    assert not norm.running_mean.any() and (norm.running_var == 1).all() and norm.num_batches_tracked == 0


def test_a_convolution_has_a_bias_or_a_norm():
    assert RegionConv(3, 4, norm=False).bias is not None and RegionConv(3, 4, norm=True).bias is None
    assert set(RegionConv(3, 4, norm=True).state_dict()) == {
        "weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
    }  # fmt: skip


def test_a_convolution_begins_by_its_outputs():
    torch.manual_seed(0)
    std = RegionConv(16, 64, norm=True).weight.std().item()
    assert std == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)


SHARES = ((3, 4), (7, 0), (0, 0))


def regions(counts):
    torch.manual_seed(1)
    return torch.randn(sum(counts), 4, 3, 3) * 2 + 1, torch.randn(sum(counts), 4, 3, 3)


def rank(index, path):
    """One of two ranks with its share of the regions, for each of the shares. What came of it is left in a file."""
    dist.init_process_group("gloo", init_method=f"file://{path}/store", rank=index, world_size=2)
    warnings.simplefilter("error")
    results = []
    for counts in SHARES:
        x, weights = regions(counts)
        part = slice(counts[0]) if index == 0 else slice(counts[0], None)
        results.append(normed(started(), x[part], weights[part]))
    ruined = started()
    ruined(torch.full((2, 4, 3, 3), torch.nan if index else 1.0))
    results.append((ruined.running_mean, ruined.running_var))
    torch.save(results, f"{path}/{index}.pt")
    dist.destroy_process_group()


def test_ranks_together_are_one(tmp_path):
    """Outputs and gradients of each share are those of all regions in one process; parameters' add up. Without any region on
    any rank nothing moves, and where one has what is not finite, no rank's statistics do."""
    mp.spawn(rank, (str(tmp_path),), nprocs=2)
    of_ranks = [torch.load(tmp_path / f"{i}.pt") for i in range(2)]
    for mean, variance in (results.pop() for results in of_ranks):
        assert not mean.any() and (variance == 1).all()
    for counts, *parts in zip(SHARES, *of_ranks, strict=True):
        whole = normed(started(), *regions(counts))
        for i in (0, 1):
            torch.testing.assert_close(torch.cat([part[i] for part in parts]), whole[i])
        for i in (2, 3):
            torch.testing.assert_close(sum(part[i] for part in parts), whole[i])
        for i in (4, 5):
            for part in parts:
                torch.testing.assert_close(part[i], whole[i])
