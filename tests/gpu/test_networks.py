"""Networks on a GPU: the plain formula, no tensor of queries x keys, half precision, activations made again, compilation."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from slowfast_mvit.build.model import create_model
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.models.variants import VARIANTS
from tests.models import reference
from tests.models.small import CASES, VIDEO, leaves, randomize

# The kernels that never hold all weights; with others, torch raises an error.
LEAN = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
HALF = {torch.bfloat16: 4e-2, torch.float16: 5e-3}  # distances, as shares of what is wanted


def model_and_clips(arch, batch=2, **options):
    model = MViT(arch, 7, **options)
    randomize(model)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(batch, 3, *((4, 32, 32) if len(arch.input_size) == 3 else (32, 32)), generator=generator)
    return model.cuda(), x.cuda()


@pytest.mark.parametrize("name", CASES)
def test_equals_the_plain_formula(name, monkeypatch):
    arch = CASES[name]
    model, x = model_and_clips(arch)
    x, state = x.requires_grad_(), leaves(model)
    with sdpa_kernel(LEAN):
        actual = model(x)
    with torch.device("cuda"):
        expected = reference.mvit(x, arch, state)
    torch.testing.assert_close(actual, expected, rtol=2e-5, atol=2e-5)
    cpu = MViT(arch, 7)  # names and order of the parameters, where gradients can be compared
    cpu.load_state_dict(model.state_dict())
    on_cpu, state_on_cpu = x.detach().cpu().requires_grad_(), leaves(cpu)
    with sdpa_kernel(LEAN):
        weights = torch.randn(actual.shape, generator=torch.Generator().manual_seed(9)).cuda()
        ours = torch.autograd.grad((actual * weights).sum(), [x, *model.parameters()])
    theirs = torch.autograd.grad(
        (reference.mvit(on_cpu, arch, state_on_cpu) * weights.cpu()).sum(),
        [on_cpu, *(state_on_cpu[name] for name, _ in cpu.named_parameters())],
    )
    largest = max(grad.abs().max().item() for grad in theirs)
    for got, want in zip(ours, theirs, strict=True):
        assert (got.cpu() - want).abs().max().item() < 1e-4 * max(want.abs().max().item(), 1e-2 * largest)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", ["video", "image", "video, expansion in the MLP", "video, no positions"])
def test_half_precision(name, dtype):
    model, x = model_and_clips(CASES[name])
    weights = torch.randn(2, 7, generator=torch.Generator().manual_seed(9)).cuda()
    expected = model(x)
    with sdpa_kernel(LEAN), torch.autocast("cuda", dtype=dtype):
        found = model(x)
    assert (found - expected).norm() < HALF[dtype] * expected.norm()
    with sdpa_kernel(LEAN):
        wanted, got = (
            torch.cat([g.flatten() for g in torch.autograd.grad((logits * weights).sum(), list(model.parameters()))])
            for logits in (expected, found)
        )
    assert (got - wanted).norm() < 10 * HALF[dtype] * wanted.norm()


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith("mvit")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_every_model_finds_a_lean_kernel(name, dtype):
    """At real widths, and on fewer tokens."""
    with torch.device("meta"):  # on a CPU, the first weights of the largest take a minute
        model = create_model(name).eval()
    model.to_empty(device="cuda")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    size = VARIANTS[name].input_size
    x = torch.randn(1, 3, *(min(extent, limit) for extent, limit in zip(size[::-1], (96, 96, 4), strict=False)))
    x = x.permute(0, 1, *range(x.dim() - 1, 1, -1)).cuda()
    with sdpa_kernel(LEAN), torch.inference_mode(), torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
        assert model(x).isfinite().all()


def test_the_same_logits_as_on_a_cpu():
    torch.manual_seed(0)
    model = create_model("mvitv2_s_16x4").eval()
    x = torch.randn(1, 3, 16, 224, 224)
    with torch.inference_mode():
        expected = model(x)
        torch.testing.assert_close(model.cuda()(x.cuda()).cpu(), expected, rtol=1e-4, atol=1e-4)


def test_activations_made_again():
    alike = replace(VIDEO, depth=8, dim_mul=(), head_mul=(), pool_q_stride=())  # every block keeps the same
    kept, x = model_and_clips(alike, batch=16)
    again, _ = model_and_clips(alike, checkpoint_activations=True)
    found, peaks = [], []
    for model in (kept, again):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        found.append(torch.autograd.grad(model(x).square().sum(), list(model.parameters())))
        peaks.append(torch.cuda.max_memory_allocated() - before)
    largest = max(grad.abs().max() for grad in found[0])  # a key's bias has no gradient but for rounding
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(largest))
    assert peaks[1] < 0.7 * peaks[0]


@pytest.mark.slow  # minutes
def test_compiled_without_graph_breaks():
    model, x = model_and_clips(VIDEO)
    compiled = torch.compile(model, fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-4)
    expected = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    found = torch.autograd.grad(compiled(x).square().sum(), list(model.parameters()))
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3 * float(want.abs().max() + 1e-3))
    with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16):
        assert (compiled(x) - model(x)).abs().max() < 0.05 * model(x).abs().max()
