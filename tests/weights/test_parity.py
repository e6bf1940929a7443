"""The publishers' own networks and ours give the same logits, through their state dicts, and each name has its way back.

Every parameter of theirs is random, relative position tables included, so that nothing hides behind a neutral value.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from slowfast_mvit.build.model import create_model
from slowfast_mvit.weights.formats import from_official
from slowfast_mvit.weights.load import load_weights
from tests.weights.models import randomised
from tests.weights.test_formats import head_names


def torchvision_v2() -> nn.Module:
    from torchvision.models.video import mvit_v2_s

    return mvit_v2_s()


def torchvision_v1() -> nn.Module:
    from torchvision.models.video import mvit_v1_b

    return mvit_v1_b()


def pytorchvideo(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from pytorchvideo.models.hub import vision_transformers

        return getattr(vision_transformers, name)(pretrained=False)

    return build


def timm(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from timm import create_model as create_timm_model

        return create_timm_model(name)

    return build


@dataclass
class Pair:
    """Their network, ours with their weights, and the state dict they came from."""

    form: str
    theirs: nn.Module
    ours: nn.Module
    state: dict[str, Tensor]
    shape: tuple[int, ...]


CASES = {
    "torchvision mvit_v2_s": ("torchvision", torchvision_v2, "mvitv2_s_16x4", (3, 16, 224, 224)),
    "torchvision mvit_v1_b": ("torchvision", torchvision_v1, "mvitv1_b_16x4", (3, 16, 224, 224)),
    "pytorchvideo 16x4": ("pytorchvideo", pytorchvideo("mvit_base_16x4"), "mvitv1_b_16x4", (3, 16, 224, 224)),
    "pytorchvideo 32x3": ("pytorchvideo", pytorchvideo("mvit_base_32x3"), "mvitv1_b_32x3", (3, 32, 224, 224)),
    "pytorchvideo image": ("pytorchvideo", pytorchvideo("mvit_base_16"), "mvitv1_b_16", (3, 224, 224)),
    "timm tiny": ("timm", timm("mvitv2_tiny"), "mvitv2_t", (3, 224, 224)),
    "timm small": ("timm", timm("mvitv2_small"), "mvitv2_s", (3, 224, 224)),
    "timm base": ("timm", timm("mvitv2_base"), "mvitv2_b", (3, 224, 224)),
    "timm large": ("timm", timm("mvitv2_large"), "mvitv2_l", (3, 224, 224)),
}


@pytest.fixture(scope="module", params=CASES)
def pair(request):
    form, build, name, shape = CASES[request.param]
    theirs = randomised(build())
    state = theirs.state_dict()
    ours = create_model(name, num_classes=1000 if form == "timm" else 400).eval()
    report = load_weights(ours, state, strict=True)
    assert report.format == form and report.share == 1 and report.loaded == tuple(ours.state_dict())
    return Pair(form, theirs, ours, state, shape)


def test_equal_logits(pair):
    clip = torch.randn(1, *pair.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = pair.theirs(clip), pair.ours(clip)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_every_tensor_goes_back_bitwise(pair):
    back = from_official(pair.ours.state_dict(), pair.form)
    assert set(back) == set(pair.state)
    for name, tensor in pair.state.items():
        kernel_of_one_frame = tensor.dim() == 5 and tensor.shape[2] == 1  # of PyTorchVideo's image model
        assert torch.equal(back[name], tensor[:, :, 0] if kernel_of_one_frame else tensor), name


def test_names_of_pytorchvideo_after_its_release():
    source = randomised(create_model("mvitv1_b_16", num_classes=400))
    ours = create_model("mvitv1_b_16", num_classes=400)
    report = load_weights(ours, head_names(source.state_dict()), strict=True)
    assert report.format == "pytorchvideo"
    found = ours.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in source.state_dict().items())
