"""The backbone of detectors against the plain formula, window by window."""

from dataclasses import replace

import pytest
import torch

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.levels import detection_architecture
from slowfast_mvit.models.pyramid import PyramidBackbone
from slowfast_mvit.models.switches import apply_switches
from slowfast_mvit.models.variants import VARIANTS, image_architecture
from tests.models import reference_pyramid
from tests.models.small import randomize

# T's blocks and windows, and S's and B's way of several blocks before a global one; narrow, so that it is fast.
T = {"embed_dim": 8, "num_heads": 1, "depth": 10, "stage_starts": (1, 3, 8)}
LONG = {"embed_dim": 8, "num_heads": 2, "depth": 10, "stage_starts": (2, 5, 8)}


def architecture(attention: str = "hybrid_window", sizes: dict = T, **changes: object) -> Architecture:
    arch = apply_switches(image_architecture(**sizes), attention=attention)
    return replace(detection_architecture(arch), **changes)


def made(arch: Architecture, **options: object) -> PyramidBackbone:
    backbone = PyramidBackbone(arch, **options).eval()
    randomize(backbone)
    return backbone


def images(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_same_maps(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(actual) == list(expected)
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(607, 911), (224, 224), (448, 256), (97, 301)])
@pytest.mark.parametrize(("sizes", "ends"), [(T, (0, 2, 7, 9)), (LONG, (1, 4, 7, 9))], ids=["T", "long"])
def test_equals_the_plain_formula(sizes, ends, size):
    # In double precision, so that what differs is the formula and not the rounding of ten blocks.
    backbone, x = made(architecture(sizes=sizes)).double(), images(1, 3, *size).double()
    state = dict(backbone.named_parameters())
    with torch.no_grad():
        actual = backbone(x)
        expected = reference_pyramid.pyramid(x, state, ends, heads=sizes["num_heads"], side=56, windows="hybrid")
    assert_same_maps(actual, expected)
    for level in backbone.levels:
        grid = tuple(-(-extent // level.stride) for extent in size)
        assert actual[level.name].shape == (1, level.channels, *grid)


@pytest.mark.parametrize(("attention", "windows"), [("window", "fixed"), ("pooling", "none")])
def test_the_other_attentions_of_table_4_equal_the_plain_formula(attention, windows):
    backbone, x = made(architecture(attention)).double(), images(2, 3, 303, 255).double()
    state = dict(backbone.named_parameters())
    with torch.no_grad():
        expected = reference_pyramid.pyramid(x, state, (0, 2, 7, 9), heads=1, side=56, windows=windows)
        assert_same_maps(backbone(x), expected)


def test_gradients_equal_those_of_the_plain_formula():
    backbone, x = made(architecture()), images(1, 3, 255, 301).requires_grad_()
    backbone.train()
    state = {name: p.detach().clone().requires_grad_() for name, p in backbone.named_parameters()}
    maps = backbone(x)
    expected = reference_pyramid.pyramid(x, state, (0, 2, 7, 9), heads=1, side=56, windows="hybrid")
    weights = {name: images(*tensor.shape, seed=7) for name, tensor in expected.items()}
    parameters = dict(backbone.named_parameters())
    ours, theirs = (
        torch.autograd.grad(sum((weights[name] * tensor).sum() for name, tensor in given.items()), [x, *leaves])
        for given, leaves in ((maps, parameters.values()), (expected, (state[name] for name in parameters)))
    )
    largest = max(grad.abs().max().item() for grad in theirs)
    for name, got, want in zip(["image", *parameters], ours, theirs, strict=True):
        scale = max(want.abs().max().item(), 1e-2 * largest)
        assert torch.isfinite(got).all() and (got - want).abs().max().item() / scale < 1e-4, name


def test_windows_that_cover_the_image_are_global_attention():
    # At 224 pixels each window is the whole grid; the doubled key strides are those of the global blocks in both.
    local, x = architecture(), images(1, 3, 224, 224)
    for windows in ("fixed", "shifted", "hybrid"):
        windowed = made(replace(local, windows=windows))
        everywhere = made(replace(local, windows="none", window_sides=()))
        with torch.no_grad():
            assert_same_maps(windowed(x), everywhere(x))
            beyond = images(1, 3, 256, 224)
            assert not torch.allclose(windowed(beyond)["scale2"], everywhere(beyond)["scale2"], atol=1e-3)


def test_a_batch_equals_its_images():
    backbone, x = made(architecture()), images(3, 3, 288, 352)
    with torch.no_grad():
        together, alone = backbone(x), [backbone(image[None]) for image in x]
    assert_same_maps(together, {name: torch.cat([maps[name] for maps in alone]) for name in together})


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_activation_checkpointing_changes_no_gradient(precision):
    x, gradients = images(2, 3, 160, 224), []
    for checkpointed in (False, True):
        backbone = made(architecture(), drop_path_rate=0.5, checkpoint_activations=checkpointed).train()
        torch.manual_seed(3)
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            loss = sum(tensor.float().square().mean() for tensor in backbone(x).values())
        loss.backward()
        gradients.append([parameter.grad for parameter in backbone.parameters()])
    for plain, again in zip(*gradients, strict=True):
        assert torch.isfinite(plain).all() and torch.equal(plain, again)


def test_drop_path_grows_over_the_blocks():
    backbone = PyramidBackbone(architecture(), drop_path_rate=0.4)
    assert [spec.drop_path for spec in backbone.specs] == pytest.approx([0.4 * i / 9 for i in range(10)])


def test_stages_that_are_asked_for():
    full, x = made(architecture()), images(1, 3, 64, 96)
    last = PyramidBackbone(architecture(), out_stages=(4,)).eval()
    last.load_state_dict({n: t for n, t in full.state_dict().items() if "scale" not in n or "scale5" in n})
    assert last.channels == {"scale5": 64} and last.strides == {"scale5": 32}
    with torch.no_grad():
        assert_same_maps(last(x), {"scale5": full(x)["scale5"]})
    for stages in ((), (0,), (5,)):
        with pytest.raises(UserError, match=r"this model has the stages 1 to 4"):
            PyramidBackbone(architecture(), out_stages=stages)


def test_maps_are_channels_last():
    assert made(architecture())(images(2, 3, 64, 64))["scale3"].is_contiguous(memory_format=torch.channels_last)


def test_names_are_detectron2s():
    names = set(PyramidBackbone(architecture()).state_dict())
    classifier = {
        "blocks.3.attn.rel_pos_h",
        "blocks.9.mlp.fc2.bias",
        "patch_embed.proj.weight",
        "blocks.0.attn.pool_q.weight",
    }
    assert classifier <= names
    norms = {f"scale{n}_norm.{p}" for n in (2, 3, 4, 5) for p in ("weight", "bias")}
    assert {name for name in names if not name.startswith(("blocks.", "patch_embed."))} == norms
    assert PyramidBackbone(architecture()).scale2_norm.eps == 1e-6


def test_absolute_positions_are_resized_bicubically():
    arch = detection_architecture(replace(VARIANTS["vit_b_16"], embed_dim=8, num_heads=1, depth=4, input_size=(64, 64)))
    backbone, x = made(arch), images(1, 3, 96, 160)
    assert backbone.pos_embed.shape == (1, 16, 8)
    with torch.no_grad():
        tokens, grid = backbone.embed(x)
        plain, _ = backbone.patch_embed(x)
    table = backbone.pos_embed.reshape(1, 4, 4, 8).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(table, size=(6, 10), mode="bicubic", align_corners=False)
    assert grid == (6, 10)
    torch.testing.assert_close(tokens - plain, resized.flatten(2).transpose(1, 2), rtol=1e-5, atol=1e-5)


def test_what_is_no_backbone():
    for name in ("mvitv2_s_16x4", "mvitv2_h"):
        with pytest.raises(UserError, match="takes images and has no class token"), torch.device("meta"):
            PyramidBackbone(VARIANTS[name])
    with pytest.raises(ValueError, match=r"images \[B, C, H, W\]"):
        made(architecture())(torch.zeros(3, 64, 64))
