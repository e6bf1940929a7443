"""Tests that need a GPU: each skips where there is none."""

from collections.abc import Iterator

import pytest
import torch


def pytest_itemcollected(item: pytest.Item) -> None:
    """For the tests of this folder."""
    item.add_marker(pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"))


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Convolutions in float32: cuDNN's are in TF32 by default, and our own runs turn it off."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before
