"""PyTorchVideo's networks behind one function: names, counts, logits equal to the hub's, any clip length and size."""

import subprocess
import sys

import pytest
import torch
from pytorchvideo.models import hub
from torch import nn

from slowfast_mvit.errors import UserError
from slowfast_mvit.models.baselines import BASELINES, PackedPathways, create_baseline, slow_frames

# Counted here at 400 classes, and the millions of the two model zoos.
PARAMETERS = {
    "slow_r50": (32_454_096, 32.45),
    "slowfast_r50": (34_566_488, 34.57),
    "slowfast_r101": (62_826_968, 62.83),
    "x3d_xs": (3_794_274, 3.79),
    "x3d_s": (3_794_274, 3.79),
    "x3d_m": (3_794_274, 3.79),
    "x3d_l": (6_153_384, 6.15),
    "i3d_r50": (28_043_472, 28.04),
    "c2d_r50": (24_327_632, 24.33),
    "r2plus1d_r50": (28_107_600, 28.11),
    "csn_r101": (22_213_776, 22.21),
}
EVERY = sorted(PARAMETERS)
# Whose hub network gives probabilities instead of logits.
SOFTMAX = ("x3d_xs", "x3d_s", "x3d_m", "x3d_l", "r2plus1d_r50")
# Of the 32 frames of SlowFast's clip: i * 31 / 7, truncated.
SLOW_OF_32 = [0, 4, 8, 13, 17, 22, 26, 31]


def on_meta(make, *args, **options):
    with torch.device("meta"):
        return make(*args, **options)


def names_and_shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def hub_network(name, **options):
    return getattr(hub, name)(pretrained=False, **options)


@torch.no_grad()
def randomise(model):
    """Fresh networks hide their residual branches behind norms of weight 0; give every norm weights and statistics."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            for tensor in (module.weight, module.running_var):
                tensor.uniform_(0.5, 1.0, generator=generator)
            for tensor in (module.bias, module.running_mean):
                tensor.normal_(std=0.1, generator=generator)
    return model


def video(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_every_network_is_counted():
    assert set(BASELINES) == set(PARAMETERS)


@pytest.mark.parametrize("name", EVERY)
def test_parameters(name):
    exact, millions = PARAMETERS[name]
    count = sum(parameter.numel() for parameter in on_meta(create_baseline, name).parameters())
    assert count == exact
    assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize("name", EVERY)
def test_names_are_those_of_the_hub(name):
    ours, theirs = on_meta(create_baseline, name), on_meta(hub_network, name)
    assert list(names_and_shapes(ours).items()) == list(names_and_shapes(theirs).items())
    head = on_meta(create_baseline, name, num_classes=7, in_channels=2)
    shapes = names_and_shapes(head)
    *_, weight, bias = shapes.values()
    assert weight[0] == 7 and bias == (7,)
    stems = [shape for key, shape in shapes.items() if key.startswith("blocks.0.") and len(shape) == 5]
    assert stems[0][1] == 2
    if name.startswith("slowfast"):
        assert shapes["blocks.0.multipathway_blocks.1.conv.weight"][1] == 2


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in ("slowfast_r101", "x3d_l") else name for name in EVERY],
)
def test_logits_equal_the_hubs_at_its_own_size(name):
    baseline = BASELINES[name]
    theirs = randomise(hub_network(name)).eval()
    ours = create_baseline(name, dropout_rate=0.5).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    clip = video(1, 3, baseline.num_frames, baseline.crop_size, baseline.crop_size)
    with torch.no_grad():
        expected = theirs([clip[:, :, SLOW_OF_32], clip] if name.startswith("slowfast") else clip)
        logits = ours(clip)
    assert logits.shape == (1, 400)
    if name in SOFTMAX:
        assert expected.sum() == pytest.approx(1, abs=1e-4)
        assert logits.sum() != pytest.approx(1, abs=1e-2)
        logits, expected = logits.log_softmax(dim=1), expected.log()
    # Another clip changes the logits by at least 1e-3 of their spread.
    torch.testing.assert_close(logits, expected, rtol=0, atol=5e-5 * expected.std().item())


@pytest.mark.parametrize("name", EVERY)
def test_any_clip_length_and_size(name):
    model = create_baseline(name, num_classes=5).eval()
    least = BASELINES[name].least_frames
    with torch.no_grad():
        for shape in ((5, 97, 65), (least, 32, 32), (9, 33, 70)):
            logits = model(video(2, 3, *shape))
            assert logits.shape == (2, 5) and logits.isfinite().all()


def test_the_pool_is_over_the_whole_map():
    model = create_baseline("x3d_xs", num_classes=5).eval()
    pooled = []
    model.blocks[-1].pool.pool.register_forward_hook(lambda _, inputs, output: pooled.append((inputs[0], output)))
    with torch.no_grad():
        model(video(1, 3, 5, 70, 97))
    ((features, mean),) = pooled
    assert features.shape[2:] == (5, 3, 4)
    torch.testing.assert_close(mean, features.mean(dim=(2, 3, 4), keepdim=True))


@pytest.mark.parametrize("name", [name for name in EVERY if PARAMETERS[name][0] < 60e6])
def test_forward_and_backward_at_the_smallest_size(name):
    torch.manual_seed(0)
    model = randomise(create_baseline(name, num_classes=4, dropout_rate=0.5)).train()
    before = model.blocks[0].state_dict()
    statistic = next(key for key in before if key.endswith("running_mean"))
    old = before[statistic].clone()
    logits = model(video(2, 3, BASELINES[name].least_frames, 32, 32))
    nn.functional.cross_entropy(logits, torch.tensor([0, 3])).backward()
    missing = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert missing == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.blocks[0].state_dict()[statistic].ne(old).any()


@pytest.mark.parametrize("name", ["slowfast_r50", "x3d_xs", "r2plus1d_r50"])
def test_bfloat16_under_autocast(name):
    torch.manual_seed(0)
    model = randomise(create_baseline(name, num_classes=4)).train()
    clips = video(2, 3, 12, 64, 64)  # shorter ones meet a bug of CPUs, see slowfast_mvit.build.precision
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(clips)
    nn.functional.cross_entropy(logits.float(), torch.tensor([0, 3])).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    model.eval()
    with torch.no_grad():
        exact = model(clips)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(clips).float()
    assert (rounded - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (32, SLOW_OF_32),
        (8, [0, 7]),
        (16, [0, 5, 10, 15]),
        # What alpha does not divide: one frame more than T // alpha.
        (5, [0, 4]),
        (9, [0, 4, 8]),
        (4, [0]),
        (1, [0]),
    ],
)
def test_frames_of_the_slow_pathway(num_frames, expected):
    assert slow_frames(num_frames, 4) == expected


@pytest.mark.parametrize("num_frames", [*range(4, 68, 4), 128])
def test_slow_frames_are_the_official_ones_where_alpha_divides(num_frames):
    assert slow_frames(num_frames, 4) == torch.linspace(0, num_frames - 1, num_frames // 4).long().tolist()


def test_pathways_see_their_frames():
    class Spy(nn.Module):
        def forward(self, pathways):
            self.seen = pathways
            return pathways[0].mean(dim=(2, 3, 4))

    spy = Spy()
    clip = torch.arange(9.0).view(1, 1, 9, 1, 1)
    out = PackedPathways(nn.ModuleList([spy]), alpha=4)(clip)
    assert [pathway.flatten().tolist() for pathway in spy.seen] == [[0, 4, 8], list(range(9))]
    assert out.tolist() == [[4]]


def test_dropout_is_the_last_thing_before_the_classifier():
    for name in EVERY:
        model = on_meta(create_baseline, name, dropout_rate=0.3)
        rates = {key: module.p for key, module in model.named_modules() if isinstance(module, nn.Dropout)}
        assert rates == {f"blocks.{len(model.blocks) - 1}.dropout": 0.3}
    model = create_baseline("x3d_xs", num_classes=3)
    assert model.blocks[-1].dropout.p == 0


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("c2d_r50", {"num_frames": 1}, "num_frames is 1; c2d_r50 takes 2 or more"),
        ("i3d_r50", {"num_frames": 0}, "num_frames is 0; i3d_r50 takes 2 or more"),
        ("slow_r50", {"num_frames": 0}, "num_frames is 0; slow_r50 takes 1 or more"),
        ("x3d_m", {"crop_size": 31}, "height is 31; x3d_m takes 32 or more"),
        ("x3d_m", {"crop_size": (64, 16)}, "width is 16; x3d_m takes 32 or more"),
        ("csn_r101", {"num_classes": 0}, "num_classes is 0; csn_r101 takes 1 or more"),
        ("slowfast_r50", {"in_channels": 0}, "in_channels is 0; slowfast_r50 takes 1 or more"),
        ("x3d_s", {"dropout_rate": 1.0}, "dropout_rate is 1.0; it must be at least 0 and less than 1"),
        ("x3d_s", {"dropout_rate": -0.1}, "dropout_rate is -0.1; it must be at least 0 and less than 1"),
    ],
)
def test_numbers_that_a_network_cannot_take(name, numbers, message):
    with pytest.raises(UserError) as caught:
        create_baseline(name, **numbers)
    assert str(caught.value) == message


def test_least_frames_are_the_least():
    for name in ("c2d_r50", "i3d_r50"):
        with pytest.raises(RuntimeError):
            create_baseline(name, num_classes=2).eval()(video(1, 3, 1, 32, 32))


def test_pytorchvideo_is_loaded_when_a_network_is_built_and_quietly():
    code = (
        "import sys, torch, slowfast_mvit.models.baselines as b\n"
        "assert 'pytorchvideo' not in sys.modules\n"
        "with torch.device('meta'): b.create_baseline('x3d_xs')\n"
        "assert 'pytorchvideo.models.hub' in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
