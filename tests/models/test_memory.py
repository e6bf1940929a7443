"""What a block keeps for its backward pass, counted in bytes of distinct storage."""

import pytest
import torch

from slowfast_mvit.models.block import MultiscaleBlock
from slowfast_mvit.models.layout import plan_blocks
from slowfast_mvit.models.variants import VARIANTS

S = VARIANTS["mvitv2_s_16x4"]
GRID = (4, 28, 28)


def kept(index, grid):
    """Storages that a block of S keeps besides its parameters, as {address: (bytes, shape of a tensor on it)}."""
    block = MultiscaleBlock(plan_blocks(S)[index], S)
    parameters = {p.untyped_storage().data_ptr() for p in block.parameters()}
    x = torch.randn(1, 1 + torch.Size(grid).numel(), block.spec.dim, requires_grad=True)
    found = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            found[storage.data_ptr()] = (storage.nbytes(), tuple(tensor.shape), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out, _ = block(x, grid)
    out.sum().backward()
    return found, x


def test_no_tensor_has_a_number_for_every_query_and_key():
    found, _ = kept(2, GRID)
    queries, keys = 1 + 4 * 28 * 28, 1 + 4 * 7 * 7
    assert all(shape[-2:] != (queries, keys) and shape[-2:] != (keys, queries) for _, shape, _ in found.values())
    assert any(queries in shape for _, shape, _ in found.values())


@pytest.mark.parametrize(("index", "most"), [(0, 13.1), (2, 14.1), (4, 16.3)])
def test_bytes_per_token_and_channel(index, most):
    """In floats per query token and channel: 4 for the MLP's hidden layer, 1 each for tokens, queries before and after their
    pool and norm, attended queries; more where the position terms widen them, and for keys and values."""
    found, x = kept(index, GRID)
    units = sum(size for size, _, _ in found.values()) / (x.numel() * 4)
    assert 4 < units < most
    hidden = [shape for _, shape, _ in found.values() if shape[-1] == 4 * x.shape[-1]]
    assert len(hidden) == 1  # and not the activation besides
