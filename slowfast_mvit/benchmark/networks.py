"""What is timed of the networks: forward passes and training steps, ours and the peers'.

Every ``make_`` function builds the work in the process that calls it. Peers are built by their own libraries; where a model
exists nowhere else (L at 312 pixels), the peer is the plain formula of this project's tests.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib import import_module

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_mvit.benchmark.sides import Work
from slowfast_mvit.build.model import create_model
from slowfast_mvit.models.layout import Architecture
from slowfast_mvit.models.levels import detection_architecture
from slowfast_mvit.models.pyramid import PyramidBackbone
from slowfast_mvit.models.switches import apply_switches
from slowfast_mvit.models.variants import VARIANTS

MATMUL_SIDE = 4096
_DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
Build = Callable[[], nn.Module]


def ours(name: str, **options: object) -> nn.Module:
    """Our model of that name."""
    return create_model(name, **options)  # type: ignore[arg-type]


def torchvision_s() -> nn.Module:
    """torchvision's ``mvit_v2_s``, 400 classes; drop path as in :func:`ours`: none."""
    from torchvision.models.video import mvit_v2_s

    return mvit_v2_s(weights=None, stochastic_depth_prob=0.0, dropout=0.0)


def timm_s() -> nn.Module:
    """timm's ``mvitv2_small`` for images, 1000 classes."""
    import timm

    return timm.create_model("mvitv2_small", pretrained=False)


def plain_formula(name: str, **options: object) -> nn.Module:
    """The plain formula of the tests on our weights; needs the project's folder on the path."""
    return PlainFormula(ours(name, **options))


class PlainFormula(nn.Module):
    """The tests' reference as a module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, num_classes]."""
        with x.device:  # where it makes its tables
            return import_module("tests.models.reference").mvit(x, self.model.arch, dict(self.model.named_parameters()))


def backbone_architecture(name: str) -> Architecture:
    """That model's as detectors have it, with hybrid windows."""
    return detection_architecture(apply_switches(VARIANTS[name], attention="hybrid_window"))


def backbone(name: str) -> PyramidBackbone:
    """The backbone of detectors of that model."""
    return PyramidBackbone(backbone_architecture(name))


def plain_backbone(name: str) -> nn.Module:
    """The plain formula of the tests on the weights of :func:`backbone`; needs the project's folder on the path."""
    return PlainBackbone(backbone(name))


class PlainBackbone(nn.Module):
    """The tests' reference of a backbone as a module."""

    def __init__(self, model: PyramidBackbone) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Maps by name."""
        arch = self.model.arch
        with x.device:
            return import_module("tests.models.reference_pyramid").pyramid(
                x,
                dict(self.model.named_parameters()),
                tuple(level.block for level in self.model.levels),
                heads=arch.num_heads,
                side=arch.window_sides[0],
                windows=arch.windows,
            )


def make_matmul(precision: str, device: str = "cpu") -> Work:
    """A square product that shows what the machine can do: 2 * 4096 ** 3 FLOPs."""
    dtype = _DTYPES[precision] or torch.float32
    a, b = (torch.randn(MATMUL_SIDE, MATMUL_SIDE).to(device, dtype) for _ in range(2))
    return partial(torch.mm, a, b)


def make_forward(build: Build, shape: tuple[int, ...], precision: str, device: str = "cpu") -> Work:
    """A forward pass in eval and inference mode on a batch of ``shape``."""
    torch.manual_seed(0)
    model, x = build().eval().to(device), torch.randn(shape).to(device)

    def work() -> Tensor:
        with torch.inference_mode(), _autocast(precision, device):
            return model(x)

    return work


def make_compiled_forward(build: Build, shape: tuple[int, ...], precision: str, device: str = "cpu") -> Work:
    """:func:`make_forward` of the model under ``torch.compile``, weights packed for their products (inductor's freezing)."""
    return make_forward(partial(_compiled, build), shape, precision, device)


def _compiled(build: Build) -> nn.Module:
    model = build().eval()  # freezing wants it so
    model.compile(options={"freezing": True})
    return model


def make_training_step(build: Build, shape: tuple[int, ...], precision: str, device: str = "cpu") -> Work:
    """A step of AdamW on a batch of ``shape``: forward, cross entropy, backward, update."""
    torch.manual_seed(0)
    model, x = build().train().to(device), torch.randn(shape).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)
    labels = torch.arange(shape[0], device=device)

    def work() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with _autocast(precision, device):
            loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return work


def _autocast(precision: str, device: str) -> AbstractContextManager[object]:
    dtype = _DTYPES[precision]
    return nullcontext() if dtype is None else torch.autocast(device, dtype=dtype)
