"""Run-length codes against pycocotools' own encoder."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_masks

from slowfast_mvit.evaluation.mask_codes import codes_of, codes_of_runs, mask_of


@given(
    st.integers(0, 4), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5, 0.9])
)
@settings(max_examples=100, deadline=None)
def test_codes_are_pycocotools(n, height, width, seed, share) -> None:
    masks = np.random.default_rng(seed).random((n, height, width)) < share
    expected = [coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"] for mask in masks]
    codes = codes_of(torch.from_numpy(masks))
    assert codes == codes_of_runs(torch.from_numpy(masks)) == expected
    for code, mask in zip(codes, masks, strict=True):
        assert np.array_equal(mask_of(code, height, width), mask)


def test_empty_and_full_masks() -> None:
    masks = torch.tensor([[[False, False]], [[True, True]], [[False, True]]])
    counts = [
        coco_masks.frPyObjects({"size": [1, 2], "counts": runs}, 1, 2)["counts"] for runs in ([2], [0, 2], [1, 1])
    ]
    assert codes_of(masks) == codes_of_runs(masks) == counts
