"""A state dict is fitted to a model's clip length and crop size by the half-pixel rule, and by nothing else."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.variants import VARIANTS
from slowfast_mvit.weights.grids import Grids, source_grid
from slowfast_mvit.weights.resize import adapt

STEM = "patch_embed.proj.weight"


def half_pixel(table, rows):
    """Linear interpolation along the first axis, written out: centres of rows at r + 0.5, ends held."""
    table, old = np.asarray(table, "f8"), len(table)
    at = np.maximum((np.arange(rows) + 0.5) * old / rows - 0.5, 0)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, old - 1)
    weight = (at - low)[:, None]
    return (1 - weight) * table[low] + weight * table[high]


def bicubic(table, side, grid):
    """A table [side * side, C] on another grid, by torch alone."""
    volume = table.t().reshape(1, -1, side, side)
    return F.interpolate(volume, size=grid, mode="bicubic", align_corners=False).flatten(2)[0].t()


def test_the_rule_by_hand():
    state = {"blocks.0.attn.rel_pos_h": torch.tensor([[0.0, 10], [1, 20], [2, 30]])}
    found, changed = adapt(state, {"blocks.0.attn.rel_pos_h": torch.zeros(5, 2)})
    expected = torch.tensor([[0, 10], [0.4, 14], [1, 20], [1.6, 26], [2, 30]])
    torch.testing.assert_close(found["blocks.0.attn.rel_pos_h"], expected)
    assert changed == ["blocks.0.attn.rel_pos_h"]
    assert state["blocks.0.attn.rel_pos_h"].shape == (3, 2)  # the given one is as it was


def test_from_224_to_312_pixels():
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in MViT(VARIANTS["mvitv2_l_40x3"], 4).state_dict().items()}
    rows = {axis: {shape[0] for name, shape in shapes.items() if name.endswith(f"rel_pos_{axis}")} for axis in "thw"}
    assert rows == {"t": {39}, "h": {155, 77, 37, 17}, "w": {155, 77, 37, 17}}
    generator = torch.Generator().manual_seed(0)
    pairs = [(111, 155), (55, 77), (27, 37), (13, 17), (31, 39)]
    state = {
        f"blocks.{i}.attn.rel_pos_{'hwhwt'[i]}": torch.randn(old, 72, generator=generator)
        for i, (old, _) in enumerate(pairs)
    }
    own = {name: torch.zeros(new, 72) for name, (_, new) in zip(state, pairs, strict=True)}
    found, changed = adapt(state, own)
    assert changed == list(state)
    for name, (_, new) in zip(state, pairs, strict=True):
        # Places near row 100 are 8e-6 apart in float32, and neighbouring rows differ by up to 6.
        np.testing.assert_allclose(found[name].numpy(), half_pixel(state[name].numpy(), new), rtol=0, atol=5e-5)


def test_absolute_tables():
    generator = torch.Generator().manual_seed(0)
    state = {
        "pos_embed_temporal": torch.randn(1, 8, 4, generator=generator),
        "pos_embed_spatial": torch.randn(1, 49, 4, generator=generator),
        "pos_embed_class": torch.randn(1, 1, 4, generator=generator),
    }
    own = {
        "pos_embed_temporal": torch.zeros(1, 20, 4),
        "pos_embed_spatial": torch.zeros(1, 100, 4),
        "pos_embed_class": torch.zeros(1, 1, 4),
    }
    found, changed = adapt(state, own, Grids((20, 10, 10)))
    assert changed == ["pos_embed_temporal", "pos_embed_spatial"]
    expected = half_pixel(state["pos_embed_temporal"][0].numpy(), 20)
    np.testing.assert_allclose(found["pos_embed_temporal"][0].numpy(), expected, rtol=0, atol=1e-6)
    assert torch.equal(found["pos_embed_spatial"][0], bicubic(state["pos_embed_spatial"][0], 7, (10, 10)))
    assert torch.equal(found["pos_embed_class"], state["pos_embed_class"])


def test_the_time_table_of_an_image_stands_at_every_frame():
    table = torch.randn(1, 1, 4)
    found, _ = adapt({"pos_embed_temporal": table}, {"pos_embed_temporal": torch.zeros(1, 8, 4)})
    assert torch.equal(found["pos_embed_temporal"], table.expand(1, 8, 4))


@pytest.mark.parametrize(("old_prefix", "new_prefix"), [(0, 0), (1, 1), (1, 0)])
def test_joint_tables_of_images(old_prefix, new_prefix):
    table = torch.randn(1, old_prefix + 49, 4)
    own = {STEM: torch.zeros(4, 3, 7, 7), "pos_embed": torch.zeros(1, new_prefix + 100, 4)}
    found, changed = adapt({"pos_embed": table}, own, Grids((10, 10), new_prefix))
    assert changed == ["pos_embed"]
    assert torch.equal(found["pos_embed"][0, new_prefix:], bicubic(table[0, old_prefix:], 7, (10, 10)))
    assert torch.equal(found["pos_embed"][:, :new_prefix], table[:, :new_prefix])


def test_the_row_of_a_class_token_is_dropped_without_resizing():
    table = torch.randn(1, 50, 4)
    found, _ = adapt({"pos_embed": table}, {"pos_embed": torch.zeros(1, 49, 4)}, Grids((7, 7)))
    assert torch.equal(found["pos_embed"], table[:, 1:])


def test_joint_relative_tables():
    table = torch.arange(9.0)[:, None].repeat(1, 2)  # over 3 x 3 distances
    name = "blocks.0.attn.rel_pos_hw"
    found, changed = adapt({name: table}, {name: torch.zeros(25, 2)}, Grids((), 0, {name: (5, 5)}))
    rows, columns = np.mgrid[0:5, 0:5]
    line = half_pixel(np.arange(3)[:, None], 5)[:, 0]
    np.testing.assert_allclose(found[name][:, 0].numpy(), (3 * line[rows] + line[columns]).ravel(), atol=1e-6)
    assert changed == [name]


def test_terms_on_keys_and_values():
    state = {f"blocks.0.attn.rel_pos_{name}": torch.randn(3, 2) for name in ("k_h", "v_t")}
    found, changed = adapt(state, {name: torch.zeros(5, 2) for name in state})
    assert changed == list(state) and all(tensor.shape == (5, 2) for tensor in found.values())


@pytest.mark.parametrize("name", ["blocks.3.attn.pool_q.weight", "blocks.0.attn.pool_v.weight", STEM])
def test_kernels_of_one_frame(name):
    flat, deep = torch.randn(4, 1, 3, 3), torch.randn(4, 1, 1, 3, 3)
    found, changed = adapt({name: flat}, {name: deep})
    assert torch.equal(found[name], flat[:, :, None]) and changed == [name]
    found, changed = adapt({name: deep}, {name: flat})
    assert torch.equal(found[name], deep[:, :, 0]) and changed == [name]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("blocks.0.attn.pool_q.weight", (4, 1, 3, 3, 3), (4, 1, 3, 3)),  # a video's kernel for an image
        ("blocks.0.attn.pool_q.weight", (4, 1, 3, 3), (4, 1, 3, 3, 3)),  # which is inflation's work
        ("blocks.0.attn.pool_q.weight", (4,), (4, 1, 3, 3, 3)),
        ("blocks.0.attn.rel_pos_h", (3, 4), (5, 6)),  # another width
        ("blocks.0.attn.rel_pos_h", (0, 4), (5, 4)),
        ("blocks.0.attn.rel_pos_hw", (8, 2), (25, 2)),  # no square
        ("blocks.0.attn.rel_pos_thw", (25, 2), (49, 2)),  # its length does not tell its grid
        ("pos_embed_spatial", (1, 48, 4), (1, 100, 4)),
        ("pos_embed", (1, 64, 4), (1, 256, 4)),  # nor does it for a video
        ("pos_embed_temporal", (8, 4), (1, 20, 4)),
        ("head.projection.weight", (400, 8), (174, 8)),
        ("blocks.0.mlp.fc1.weight", (16, 8), (32, 8)),
    ],
)
def test_what_fits_no_rule_stays(name, old, new):
    tensor = torch.randn(old)
    own = {name: torch.zeros(new)} | ({STEM: torch.zeros(4, 3, 3, 7, 7)} if name == "pos_embed" else {})
    found, changed = adapt({name: tensor}, own)
    assert changed == [] and found[name] is tensor


@pytest.mark.parametrize(
    ("rows", "wanted", "grid"),
    [
        (49, (8, 12), (7, 7)),
        (48, (8, 12), None),
        (0, (8, 12), None),
        (-1, (8, 12), None),
        (7 * 81, (15, 9, 9), (7, 9, 9)),  # the space is the model's
        (7 * 81, (7, 9, 13), (7, 9, 9)),  # the time is
        (7 * 81, (7, 9, 9), (7, 9, 9)),
        (5 * 25, (7, 11, 11), None),  # neither
        (5 * 25 * 25, (5, 5, 25), None),  # both: 25 times 5 x 25, or 5 times 25 x 25
        (0, (7, 9, 9), None),
        (-1, (7, 9, 9), None),
    ],
)
def test_grids_of_sources(rows, wanted, grid):
    assert source_grid(rows, wanted) == grid


def test_distances_are_odd_in_number():
    name = "blocks.0.attn.rel_pos_hw"
    table = torch.randn(16, 2)
    found, changed = adapt({name: table}, {name: torch.zeros(25, 2)}, Grids((), 0, {name: (5, 5)}))
    assert changed == [] and found[name] is table


def test_the_joint_table_of_an_image_stands_at_every_frame():
    table = torch.randn(1, 50, 4)
    found, _ = adapt({"pos_embed": table}, {"pos_embed": torch.zeros(1, 393, 4)}, Grids((8, 7, 7), 1))
    torch.testing.assert_close(found["pos_embed"], torch.cat((table[:, :1], table[:, 1:].repeat(1, 8, 1)), dim=1))


def test_a_joint_table_without_the_row_that_the_model_needs_stays():
    table = torch.randn(1, 49, 4)
    found, changed = adapt({"pos_embed": table}, {"pos_embed": torch.zeros(1, 50, 4)}, Grids((7, 7), 1))
    assert changed == [] and found["pos_embed"] is table


def test_equal_shapes_and_strange_names_stay():
    state = {"blocks.0.attn.rel_pos_h": torch.randn(3, 2), "other": torch.randn(2)}
    found, changed = adapt(state, {"blocks.0.attn.rel_pos_h": torch.zeros(3, 2), "more": torch.zeros(1)})
    assert changed == [] and found == state


def test_half_precision_stays_half():
    state = {"blocks.0.attn.rel_pos_h": torch.randn(3, 2).half()}
    found, _ = adapt(state, {"blocks.0.attn.rel_pos_h": torch.zeros(5, 2)})
    assert found["blocks.0.attn.rel_pos_h"].dtype == torch.float16
