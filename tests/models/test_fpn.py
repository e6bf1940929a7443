"""What the heads of a detector look at: a feature pyramid, ViT's, and the last map alone."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.fpn import FeaturePyramid, Resampling, SingleScale
from slowfast_mvit.models.levels import detection_architecture
from slowfast_mvit.models.variants import VARIANTS
from tests.models.small import randomize
from tests.models.test_pyramid import architecture, assert_same_maps, images

VIT = detection_architecture(replace(VARIANTS["vit_b_16"], embed_dim=16, num_heads=2, depth=4, input_size=(64, 64)))


def made(module: torch.nn.Module) -> torch.nn.Module:
    randomize(module)
    return module.eval()


def plain_fpn(maps: list[Tensor], state: dict[str, Tensor]) -> list[Tensor]:
    """Lateral 1 x 1, top-down sums of nearest neighbours, output 3 x 3, and every second cell of the last."""
    sums: list[Tensor] = []
    for n in reversed(range(len(maps))):
        lateral = F.conv2d(maps[n], state[f"inner_blocks.{n}.0.weight"], state[f"inner_blocks.{n}.0.bias"])
        if sums:
            h, w = lateral.shape[2:]
            lateral = lateral + sums[0].repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :h, :w]
        sums.insert(0, lateral)
    outputs = [
        F.conv2d(joined, state[f"layer_blocks.{n}.0.weight"], state[f"layer_blocks.{n}.0.bias"], padding=1)
        for n, joined in enumerate(sums)
    ]
    return [*outputs, outputs[-1][:, :, ::2, ::2]]


@pytest.mark.parametrize("size", [(224, 320), (96, 32)])
def test_the_pyramid_equals_the_plain_formula(size):
    backbone, x = made(FeaturePyramid(architecture())), images(2, 3, *size)
    with torch.no_grad():
        maps, actual = backbone.bottom_up(x), backbone(x)
        expected = plain_fpn(list(maps.values()), dict(backbone.fpn.named_parameters()))
    assert list(actual) == ["p2", "p3", "p4", "p5", "p6"] == list(backbone.names)
    assert_same_maps(actual, dict(zip(actual, expected, strict=True)))
    assert backbone.out_channels == 256 and backbone.strides == (4, 8, 16, 32, 64)
    for tensor, stride in zip(actual.values(), backbone.strides, strict=True):
        assert tensor.shape == (2, 256, *(-(-extent // stride) for extent in size))


def test_the_pyramid_takes_sizes_that_no_stride_divides():
    with torch.no_grad():
        maps = made(FeaturePyramid(architecture()))(images(1, 3, 101, 203))
    assert [tuple(tensor.shape[2:]) for tensor in maps.values()] == [(26, 51), (13, 26), (7, 13), (4, 7), (2, 4)]


def test_convolutions_begin_as_detectron2s():
    torch.manual_seed(0)
    fpn = FeaturePyramid(architecture()).fpn
    for block, fan_in in ((fpn.inner_blocks[3], 64), (fpn.layer_blocks[0], 256 * 9)):
        bound = (3 / fan_in) ** 0.5  # Caffe's Xavier: uniform, of variance 1 / fan in
        assert block[0].weight.abs().max() <= bound
        assert block[0].weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert not block[0].bias.any()


def test_vit_is_brought_to_the_strides_of_a_pyramid():
    backbone, x = made(FeaturePyramid(VIT)), images(2, 3, 64, 96)
    with torch.no_grad():
        bottom, actual = backbone.bottom_up(x), backbone(x)
        state = dict(backbone.resampling.named_parameters())
        first, second, third, last = bottom.values()
        doubled = doubled_by(first, state, "to_stride_4.0")
        groups = doubled.reshape(2, 1, -1)  # 16 channels have one group: 32 do not divide them
        normed = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
        scale, shift = (state[f"to_stride_4.1.{p}"][:, None, None] for p in ("weight", "bias"))
        hidden = normed.reshape_as(doubled) * scale + shift
        hidden = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))
        halved = last.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax(dim=(3, 5))
        maps = [doubled_by(hidden, state, "to_stride_4.3"), doubled_by(second, state, "to_stride_8"), third, halved]
        expected = plain_fpn(maps, dict(backbone.fpn.named_parameters()))
    assert [tensor.shape[2] for tensor in bottom.values()] == [4] * 4
    assert_same_maps(actual, dict(zip(backbone.names, expected, strict=True)))
    assert [tuple(tensor.shape[2:]) for tensor in actual.values()] == [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]


def doubled_by(tensor: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """A transposed convolution 2 x 2 of stride 2: each cell becomes four by a product of its own."""
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    cells = torch.einsum("bchw,cdij->bdhiwj", tensor, weight)
    return cells.flatten(4, 5).flatten(2, 3) + bias[:, None, None]


def test_vit_b_s_group_norm_has_32_groups():
    with torch.device("meta"):
        assert Resampling(768).to_stride_4[1].num_groups == 32


@pytest.mark.parametrize(("arch", "name", "stride", "width"), [(architecture(), "p5", 32, 64), (VIT, "p4", 16, 16)])
def test_a_single_scale_is_the_last_map(arch, name, stride, width):
    backbone, full, x = made(SingleScale(arch)), made(FeaturePyramid(arch)), images(1, 3, 64, 96)
    full.bottom_up.load_state_dict(backbone.bottom_up.state_dict(), strict=False)
    with torch.no_grad():
        maps, last = backbone(x), full.bottom_up(x)["scale5"]
    assert_same_maps(maps, {name: last})
    assert (backbone.out_channels, backbone.strides, backbone.names) == (width, (stride,), (name,))
    assert maps[name].shape == (1, width, 64 // stride, 96 // stride)
    norms = {key for key in backbone.state_dict() if key.startswith("bottom_up.scale")}
    assert norms == {"bottom_up.scale5_norm.weight", "bottom_up.scale5_norm.bias"}


def test_options_reach_the_backbone():
    for form in (FeaturePyramid, SingleScale):
        backbone = form(architecture(), drop_path_rate=0.3, checkpoint_activations=True).bottom_up
        assert backbone.specs[-1].drop_path == pytest.approx(0.3) and backbone.checkpoint_activations


def test_gradients_reach_every_parameter():
    for form, arch in ((FeaturePyramid, architecture()), (FeaturePyramid, VIT), (SingleScale, VIT)):
        backbone = made(form(arch)).train()
        sum(tensor.square().mean() for tensor in backbone(images(1, 3, 64, 96)).values()).backward()
        for name, parameter in backbone.named_parameters():
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


def test_strides_that_make_no_pyramid():
    arch = replace(architecture(), pool_q_stride=tuple((i, (2, 2) if i in (1, 3) else (1, 1)) for i in range(10)))
    with pytest.raises(UserError, match=r"have the strides \[4, 8, 16\], and a feature pyramid needs 4, 8, 16 and 32"):
        FeaturePyramid(replace(arch, windows="none", window_sides=()))
