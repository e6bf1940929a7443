"""The whole model: against the plain formula and torchvision, published sizes, any input extent, initial values."""

import math
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from slowfast_mvit.models.layout import plan_blocks
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.variants import VARIANTS, video_architecture
from tests.models import reference
from tests.models.small import CASES, IMAGE, VIDEO, assert_same_gradients, leaves, randomize
from tests.models.torchvision_names import from_torchvision

S, B, L = (VARIANTS[name] for name in ("mvitv2_s_16x4", "mvitv2_b_32x3", "mvitv2_l_40x3"))


def make_model(arch, **options):
    model = MViT(arch, 7, **options)
    randomize(model)
    return model


def make_input(*shape, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clip_for(arch, batch=2):
    return make_input(batch, 3, *((4, 32, 32) if len(arch.input_size) == 3 else (32, 32)))


@pytest.mark.parametrize(
    ("arch", "shape", "wanted"),
    [
        (VIDEO, (2, 3, 32, 32), "video [B, C, T, H, W]"),  # would pass for a single clip without its batch axis
        (VIDEO, (32, 32), "video [B, C, T, H, W]"),
        (IMAGE, (2, 3, 4, 32, 32), "images [B, C, H, W]"),
        (IMAGE, (3, 32, 32), "images [B, C, H, W]"),
    ],
)
def test_input_of_another_kind(arch, shape, wanted):
    said = f"this model takes {wanted}, and not a tensor of shape {list(shape)}"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        make_model(arch)(torch.zeros(shape))


# Against the plain formula.


@pytest.mark.parametrize("name", CASES)
def test_equals_the_plain_formula(name):
    arch = CASES[name]
    model = make_model(arch)
    x, state = clip_for(arch).requires_grad_(), leaves(model)
    actual, expected = model(x), reference.mvit(x, arch, state)
    assert actual.shape == (2, 7)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    assert_same_gradients(model, actual, expected, x, state)


@pytest.mark.parametrize(
    ("arch", "shape"),
    [
        (VIDEO, (8, 64, 64)),  # as planned
        (VIDEO, (10, 52, 44)),  # a grid of 5 x 13 x 11
        (VIDEO, (3, 36, 28)),  # 2 x 9 x 7, an odd number of frames
        (VIDEO, (1, 30, 50)),  # one frame, sides that the stem does not divide
        (IMAGE, (36, 28)),
        (IMAGE, (80, 52)),
    ],
)
def test_equals_the_plain_formula_at_any_extent(arch, shape):
    model = make_model(arch)
    x = make_input(2, 3, *shape)
    with torch.no_grad():
        torch.testing.assert_close(model(x), reference.mvit(x, arch, leaves(model)), rtol=1e-5, atol=1e-5)


def test_an_odd_grid_like_that_of_312_pixels():
    """78 -> 39 -> 20 -> 10, keys 10, 20 and 10: stored tables are too short, and the index rule's roundings count."""
    arch = video_architecture(embed_dim=8, num_heads=1, depth=4, stage_starts=(1, 2, 3), num_frames=2, crop_size=312)
    assert [spec.table_rows[1] for spec in plan_blocks(arch)] == [155, 77, 37, 37]
    model = make_model(arch)
    x = make_input(1, 3, 2, 312, 312)
    with torch.no_grad():
        tokens, grid = model.forward_tokens(x)
        torch.testing.assert_close(model(x), reference.mvit(x, arch, leaves(model)), rtol=1e-5, atol=1e-5)
    assert grid == (1, 10, 10) and tokens.shape == (1, 101, 64)


def test_samples_of_a_batch_do_not_meet():
    model = make_model(VIDEO).eval()
    x = clip_for(VIDEO, batch=3)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-5, atol=1e-5)


def test_mean_pooling_leaves_the_class_token_out():
    model = make_model(CASES["video, mean pooling"])
    tokens = make_input(2, 5, 32)
    torch.testing.assert_close(model.pool_tokens(tokens), model.norm(tokens[:, 1:].mean(dim=1)))


# Against torchvision.


@pytest.fixture(scope="module")
def torchvision_model():
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = torchvision.models.video.mvit_v2_s(weights=None).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "rel_pos" in name or "class_token" in name:
                parameter.normal_(std=0.5, generator=generator)
            elif parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def test_logits_equal_torchvision(torchvision_model):
    model = MViT(S, 400).eval()
    model.load_state_dict(from_torchvision(torchvision_model.state_dict()), strict=True)
    x = make_input(1, 3, 16, 224, 224)
    with torch.inference_mode():
        expected, actual = torchvision_model(x), model(x)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
        for block in model.blocks:
            for axis in "thw":
                getattr(block.attn, f"rel_pos_{axis}").zero_()
        assert (model(x) - expected).abs().max() > 1e-2  # so the tables counted


# Published sizes.


def image(arch, **changes):
    """The image model of a video variant."""
    return replace(
        arch,
        input_size=(224, 224),
        patch_kernel=(7, 7),
        patch_stride=(4, 4),
        patch_padding=(3, 3),
        pool_q_stride=tuple((block, stride[1:]) for block, stride in arch.pool_q_stride),
        pool_kv_stride=(4, 4),
        pool_kernel=(3, 3),
        rel_pos_time=False,
        **{"cls_token": False} | changes,
    )


def at(arch, *size, **changes):
    return replace(arch, input_size=size, **changes)


T = video_architecture(embed_dim=96, num_heads=1, depth=10, stage_starts=(1, 3, 8), num_frames=16, crop_size=224)
H = video_architecture(embed_dim=192, num_heads=3, depth=80, stage_starts=(4, 12, 72), num_frames=16, crop_size=224)


@pytest.mark.parametrize(
    ("arch", "num_classes", "count"),
    [
        pytest.param(S, 400, 34_537_744, id="S, Kinetics-400"),
        pytest.param(S, 174, 34_363_950, id="S, Something-Something v2"),
        pytest.param(S, 80, 34_291_664, id="S, AVA"),
        pytest.param(B, 400, 51_230_128, id="B, Kinetics-400"),
        pytest.param(B, 600, 51_383_928, id="B, Kinetics-600"),
        pytest.param(B, 174, 51_056_334, id="B, Something-Something v2"),
        pytest.param(B, 80, 50_984_048, id="B, AVA"),
        pytest.param(L, 400, 213_390_112, id="L at 312"),
        pytest.param(L, 174, 213_129_534, id="L at 312, Something-Something v2"),
        pytest.param(L, 80, 213_021_152, id="L at 312, AVA"),
        pytest.param(at(L, 32, 312, 312), 600, 213_593_064, id="L 32x3 at 312"),
        pytest.param(at(L, 40, 352, 352), 600, 213_668_808, id="L at 352"),
        pytest.param(at(L, 40, 224, 224), 400, 213_303_424, id="L at 224"),
        pytest.param(at(L, 40, 224, 224, expand_in_attention=False), 400, 217_661_008, id="L at 224, MLP"),
        pytest.param(replace(S, rel_pos_space=False, rel_pos_time=False), 400, 34_407_568, id="S, no positions"),
        pytest.param(replace(S, rel_pos_space=False), 400, 34_430_608, id="S, positions in time"),
        pytest.param(replace(S, rel_pos_time=False), 400, 34_514_704, id="S, positions in space"),
        pytest.param(image(T), 1000, 24_173_320, id="image T"),
        pytest.param(image(S), 1000, 34_870_216, id="image S"),
        pytest.param(image(B), 1000, 51_472_744, id="image B"),
        pytest.param(image(L), 1000, 213_635_368, id="image L"),
        pytest.param(image(L, cls_token=True), 1000, 213_635_512, id="image L, class token"),
        pytest.param(image(L, expand_in_attention=False), 1000, 217_992_952, id="image L, MLP"),
        pytest.param(image(L, cls_token=True), 19168, 234_583_216, id="image L, ImageNet-21K"),
        pytest.param(image(B, cls_token=True), 19168, 65_444_032, id="image B, ImageNet-21K"),
        pytest.param(image(H, cls_token=True), 1000, 666_879_912, id="image H"),
    ],
)
def test_published_parameter_counts(arch, num_classes, count):
    with torch.device("meta"):
        model = MViT(arch, num_classes)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize(("arch", "depth"), [(S, 16), (B, 24), (L, 48)])
def test_number_of_tensors(arch, depth):
    with torch.device("meta"):
        assert len(MViT(arch, 400).state_dict()) == 24 * depth + 13
        assert len(MViT(image(arch), 1000).state_dict()) == 23 * depth + 12


def test_official_names():
    with torch.device("meta"):
        model = MViT(S, 400)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    expected = {
        "cls_token": (1, 1, 96),
        "patch_embed.proj.weight": (96, 3, 3, 7, 7),
        "blocks.3.proj.weight": (384, 192),
        "blocks.3.norm2.bias": (384,),
        "blocks.3.attn.qkv.weight": (1152, 192),
        "blocks.3.attn.proj.weight": (384, 384),
        "blocks.3.attn.pool_k.weight": (96, 1, 3, 3, 3),
        "blocks.3.attn.norm_v.weight": (96,),
        "blocks.3.attn.rel_pos_h": (27, 96),
        "blocks.3.attn.rel_pos_t": (15, 96),
        "blocks.3.mlp.fc1.weight": (1536, 384),
        "blocks.3.mlp.fc2.bias": (384,),
        "norm.weight": (768,),
        "head.projection.weight": (400, 768),
    }
    assert {name: shapes.get(name) for name in expected} == expected


# Any input.


@pytest.mark.parametrize("frames", [1, 2, 5, 16])
def test_any_number_of_frames(frames):
    model = make_model(VIDEO).eval()
    with torch.no_grad():
        tokens, grid = model.forward_tokens(make_input(1, 3, frames, 32, 32))
    assert grid == ((frames + 1) // 2, 2, 2)
    assert tokens.shape == (1, 1 + math.prod(grid), 32)


def test_a_frame_that_is_not_square():
    model = MViT(S, 400).eval()
    with torch.no_grad():
        tokens, grid = model.forward_tokens(make_input(1, 3, 8, 96, 160))
    assert grid == (4, 3, 5) and tokens.shape == (1, 61, 768)


def test_one_channel():
    model = make_model(VIDEO, in_channels=1)
    assert tuple(model.patch_embed.proj.weight.shape) == (8, 1, 3, 7, 7)
    x = make_input(1, 1, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x), reference.mvit(x, VIDEO, leaves(model)), rtol=1e-5, atol=1e-5)
        with pytest.raises(RuntimeError, match="channels"):
            model(x.expand(1, 3, 4, 32, 32))


def test_training_after_inference():
    model = make_model(VIDEO)
    x = clip_for(VIDEO)
    with torch.inference_mode():
        inferred = model(x)
    logits = model(x)
    logits.sum().backward()
    torch.testing.assert_close(logits.detach(), inferred.clone())
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_bfloat16_under_autocast_stays_close():
    model = MViT(VIDEO, 7).eval()
    x = clip_for(VIDEO)
    with torch.no_grad():
        exact = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(x)
    assert rough.isfinite().all()
    torch.testing.assert_close(rough.float(), exact, rtol=0, atol=0.02)


# Activation checkpointing.


def loss_and_gradients(checkpoint_activations):
    model = MViT(VIDEO, 7, drop_path_rate=0.5, dropout_rate=0.5, checkpoint_activations=checkpoint_activations)
    randomize(model)
    model.train()
    calls = []
    for block in model.blocks:
        block.attn.register_forward_hook(lambda *_: calls.append(1))
    torch.manual_seed(5)
    loss = nn.functional.cross_entropy(model(clip_for(VIDEO, batch=4)), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    return loss, {name: parameter.grad for name, parameter in model.named_parameters()}, len(calls)


def test_activation_checkpointing_changes_only_the_memory():
    kept, kept_gradients, kept_calls = loss_and_gradients(False)
    recomputed, gradients, calls = loss_and_gradients(True)
    assert (kept_calls, calls) == (4, 8)
    torch.testing.assert_close(recomputed, kept, rtol=0, atol=0)
    assert gradients.keys() == kept_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, kept_gradients[name], rtol=1e-6, atol=1e-6, msg=name)


# Initial values.


@pytest.fixture(scope="module")
def fresh_video():
    torch.manual_seed(0)
    return MViT(replace(VIDEO, embed_dim=48), 400)


def kinds(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


def assert_std(tensor, std):
    assert tensor.mean().item() == pytest.approx(0, abs=4 * std / tensor.numel() ** 0.5)
    assert tensor.std().item() == pytest.approx(std, rel=4 / (2 * tensor.numel()) ** 0.5)


def test_initial_values_of_video(fresh_video):
    for linear in kinds(fresh_video, nn.Linear):
        assert_std(linear.weight, 0.02)
        assert (linear.bias == 0.02).all()
    for conv in kinds(fresh_video, nn.Conv3d):
        assert_std(conv.weight, 0.02)
    for norm in kinds(fresh_video, nn.LayerNorm):
        assert (norm.weight == 1).all() and (norm.bias == 0.02).all() and norm.eps == 1e-6
    for block in fresh_video.blocks:
        for axis in "thw":
            assert_std(getattr(block.attn, f"rel_pos_{axis}"), 0.02)
    assert_std(fresh_video.cls_token, 0.02)


def test_initial_values_of_images():
    torch.manual_seed(0)
    model = MViT(replace(IMAGE, embed_dim=48), 400)
    for linear in kinds(model, nn.Linear):
        assert_std(linear.weight, 0.02)
        assert (linear.bias == 0).all()
    for norm in kinds(model, nn.LayerNorm):
        assert (norm.weight == 1).all() and (norm.bias == 0).all() and norm.eps == 1e-6
    for conv in kinds(model, nn.Conv2d):  # the framework's default: uniform up to 1 / sqrt(fan in)
        bound = conv.weight[0].numel() ** -0.5
        assert 0.95 * bound < conv.weight.abs().max() <= bound
    assert_std(model.blocks[0].attn.rel_pos_h, 0.02)


def test_xavier():
    torch.manual_seed(0)
    model = MViT(replace(VIDEO, embed_dim=48), 400, init="xavier")
    for linear in kinds(model, nn.Linear):
        bound = (6 / sum(linear.weight.shape)) ** 0.5
        assert 0.95 * bound < linear.weight.abs().max() <= bound
        assert (linear.bias == 0.02).all()
    for conv in kinds(model, nn.Conv3d):
        bound = conv.weight[0].numel() ** -0.5
        assert 0.95 * bound < conv.weight.abs().max() <= bound
    assert_std(model.blocks[0].attn.rel_pos_h, 0.02)


def test_unknown_initial_values():
    with pytest.raises(ValueError, match="init is 'kaiming'; it must be official or xavier"):
        MViT(VIDEO, 7, init="kaiming")


def test_tables_may_start_at_zero():
    model = MViT(replace(VIDEO, rel_pos_zero_init=True), 7)
    tables = [parameter for name, parameter in model.named_parameters() if "rel_pos" in name]
    assert len(tables) == 12 and all((table == 0).all() for table in tables)
    assert model.cls_token.abs().sum() > 0


def test_head_init_scale():
    torch.manual_seed(0)
    model = MViT(replace(VIDEO, embed_dim=48), 400, head_init_scale=0.001)
    assert_std(model.head.projection.weight, 2e-5)
    torch.testing.assert_close(model.head.projection.bias, torch.full((400,), 2e-5))
    assert_std(model.blocks[-1].mlp.fc2.weight, 0.02)


def test_initial_values_follow_the_seed():
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(MViT(VIDEO, 7).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["head.projection.weight"], states[2]["head.projection.weight"])


def test_drop_path_and_dropout_reach_their_modules():
    model = MViT(VIDEO, 7, drop_path_rate=0.3, dropout_rate=0.4)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in model.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert model.head.dropout.p == 0.4
    x = clip_for(VIDEO)
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(x), model(x))


# ViT, as blocks without pooling.


def from_torchvision_vit(state):
    renamed = {}
    for name, tensor in state.items():
        for theirs, ours in (
            ("conv_proj.", "patch_embed.proj."),
            ("class_token", "cls_token"),
            ("encoder.pos_embedding", "pos_embed"),
            ("encoder.layers.encoder_layer_", "blocks."),
            ("ln_1.", "norm1."),
            ("ln_2.", "norm2."),
            ("self_attention.in_proj_", "attn.qkv."),
            ("self_attention.out_proj.", "attn.proj."),
            ("mlp.0.", "mlp.fc1."),
            ("mlp.3.", "mlp.fc2."),
            ("encoder.ln.", "norm."),
            ("heads.head.", "head.projection."),
        ):
            name = name.replace(theirs, ours)
        renamed[name] = tensor
    return renamed


def test_vit_equals_torchvision():
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.vit_b_16(weights=None).eval()
    randomize(theirs)
    model = MViT(VARIANTS["vit_b_16"], 1000).eval()
    model.load_state_dict(from_torchvision_vit(theirs.state_dict()), strict=True)
    x = make_input(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), theirs(x), rtol=1e-5, atol=1e-5)
