"""Absolute positions: shapes under their official names, what is added where, and other grids than the planned one."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from slowfast_mvit.models.abspos import position_rows, position_tables
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.variants import VARIANTS
from tests.models.small import IMAGE, VIDEO, randomize


def test_tables_of_the_official_models():
    assert position_tables(VARIANTS["mvitv2_s_16x4"]) == {}
    assert position_tables(VARIANTS["mvitv1_b_16x4"]) == {
        "pos_embed_spatial": (1, 3136, 96),
        "pos_embed_temporal": (1, 8, 96),
        "pos_embed_class": (1, 1, 96),
    }
    assert position_tables(VARIANTS["mvitv1_b_16"])["pos_embed_temporal"] == (1, 1, 96)
    assert position_tables(VARIANTS["vit_b_16"]) == {"pos_embed": (1, 197, 768)}
    assert position_tables(replace(VIDEO, abs_pos="separable", cls_token=False)).keys() == {
        "pos_embed_spatial",
        "pos_embed_temporal",
    }


def test_separable_rows_by_hand():
    arch = replace(VIDEO, input_size=(4, 4, 8), embed_dim=1, abs_pos="separable")  # a grid of 2 x 1 x 2
    tables = {
        "pos_embed_spatial": torch.tensor([[[1.0], [2.0]]]),
        "pos_embed_temporal": torch.tensor([[[10.0], [20.0]]]),
        "pos_embed_class": torch.tensor([[[5.0]]]),
    }
    assert position_rows(tables, arch, (2, 1, 2)).flatten().tolist() == [5, 11, 12, 21, 22]
    # Three frames instead of two: linear, half-pixel centres: 10, 15, 20.
    assert position_rows(tables, arch, (3, 1, 2)).flatten().tolist() == [5, 11, 12, 16, 17, 21, 22]


@pytest.mark.parametrize("prefix", [0, 1])
def test_joint_rows_on_another_grid(prefix):
    image = replace(IMAGE, input_size=(16, 24), abs_pos="joint", cls_token=bool(prefix))
    table = torch.randn(1, prefix + 4 * 6, 8)
    rows = position_rows({"pos_embed": table}, image, (5, 4))
    volume = table[:, prefix:].reshape(1, 4, 6, 8).permute(0, 3, 1, 2)
    expected = F.interpolate(volume, size=(5, 4), mode="bicubic", align_corners=False)
    torch.testing.assert_close(rows[:, prefix:], expected.permute(0, 2, 3, 1).reshape(1, 20, 8))
    assert torch.equal(rows[:, :prefix], table[:, :prefix])
    assert torch.equal(position_rows({"pos_embed": table}, image, (4, 6)), table)


def test_joint_rows_of_video_are_interpolated_in_time_too():
    arch = replace(VIDEO, input_size=(4, 8, 8), embed_dim=1, abs_pos="joint", cls_token=False)  # 2 x 2 x 2
    table = torch.arange(8.0).reshape(1, 8, 1)
    rows = position_rows({"pos_embed": table}, arch, (3, 2, 2)).flatten().tolist()
    assert rows == [0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7]


@pytest.mark.parametrize("abs_pos", ["separable", "joint"])
@pytest.mark.parametrize(("arch", "size"), [(VIDEO, (8, 64, 64)), (VIDEO, (3, 36, 28)), (IMAGE, (36, 28))])
def test_they_are_added_to_the_tokens_before_the_first_block(arch, size, abs_pos):
    arch = replace(arch, abs_pos=abs_pos)
    model = MViT(arch, 3)
    randomize(model)
    for name in position_tables(arch):
        torch.nn.init.normal_(model.get_parameter(name))
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        model(x)
        tokens, grid = model.patch_embed(x)
        if arch.cls_token:
            tokens = torch.cat((model.cls_token, tokens), dim=1)
        rows = position_rows({name: model.get_parameter(name) for name in position_tables(arch)}, arch, grid)
    torch.testing.assert_close(seen[0], tokens + rows)
    assert rows.abs().max() > 0.1


def test_they_start_as_a_truncated_normal():
    model = MViT(replace(VIDEO, abs_pos="joint", embed_dim=48), 3)
    assert model.pos_embed.std().item() == pytest.approx(0.02, rel=0.05)
