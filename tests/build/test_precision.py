"""What the settings of precision mean on a device."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from slowfast_mvit.build.precision import DTYPES, precision_of, set_precision
from slowfast_mvit.config.load import load_config
from slowfast_mvit.config.schema import all_keys
from slowfast_mvit.errors import UserError

TOY = Path(__file__).parents[2] / "configs" / "Toy" / "MVITV2_TOY_8x4.yaml"
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def config(precision="float32", mixed=False, arch="mvit"):
    loaded = load_config(TOY)
    model = replace(loaded.MODEL, PRECISION=precision, ARCH=arch)
    return replace(loaded, MODEL=model, TRAIN=replace(loaded.TRAIN, MIXED_PRECISION=mixed))


@pytest.fixture(params=[True, False], ids=["bfloat16 in hardware", "without"])
def hardware(request, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": request.param}, raising=False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: request.param)
    return request.param


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_named_precision_is_taken(precision, device, hardware):
    for training in (True, False):
        assert precision_of(config(precision), device, training=training) == precision


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_auto_is_what_the_device_has(device, hardware):
    best = "bfloat16" if hardware else "float32"
    assert precision_of(config("auto"), device, training=False) == best
    assert precision_of(config("auto"), device, training=True) == best
    assert precision_of(config(mixed=True), device, training=True) == best
    assert precision_of(config(mixed=True), device, training=False) == "float32"
    assert precision_of(config("float16", mixed=True), device, training=True) == "float16"


def test_baselines_are_not_trained_in_half_precision_on_a_cpu(hardware):
    assert precision_of(config("auto", arch="slow_r50"), CPU, training=True) == "float32"
    assert precision_of(config(mixed=True, arch="slow_r50"), CPU, training=True) == "float32"
    assert precision_of(config("bfloat16", arch="slow_r50"), CPU, training=False) == "bfloat16"
    assert precision_of(config("bfloat16", arch="slow_r50"), CUDA, training=True) == "bfloat16"
    with pytest.raises(
        UserError, match="bfloat16 can give wrong gradients for slow_r50 on a CPU: set it to float32 or auto"
    ):
        precision_of(config("bfloat16", arch="slow_r50"), CPU, training=True)


def test_every_choice_has_a_type():
    assert set(DTYPES) | {"auto"} == set(all_keys()["MODEL.PRECISION"].choices)


@pytest.mark.parametrize("name", ["train", "evaluate", "predict_model", "predict_boxes", "predict_objects"])
def test_whatever_runs_a_network_sets_its_precision(name):
    module = import_module(f"slowfast_mvit.build.{name}")
    assert module.set_precision is set_precision and not hasattr(module, "precision_of")


@pytest.mark.parametrize(
    ("device", "arch", "exact"), [(CUDA, "mvit", True), (CPU, "mvit", False), (CUDA, "slow_r50", False)], ids=str
)
def test_float32_of_mvit_is_exact_on_a_gpu(device, arch, exact, hardware, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert set_precision(config(arch=arch), device, training=True) == "float32"
    assert torch.backends.cudnn.allow_tf32 == (not exact)
