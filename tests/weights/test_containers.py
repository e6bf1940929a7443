"""State dicts come out of every publisher's container."""

from collections import OrderedDict

import numpy as np
import pytest
import torch

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights.containers import unwrap

STATE = {"a.weight": torch.arange(3.0), "module.b": torch.ones(2)}


@pytest.mark.parametrize(
    "content",
    [
        {"epoch": 4, "model_state": STATE, "optimizer_state": {"state": {}}, "cfg": "A: 1\n"},  # PySlowFast, mvit, ours
        {"model_state": STATE},  # PyTorchVideo
        {"state_dict": STATE, "meta": {"mmengine_version": "0.9"}},  # mmaction2
        {"model": STATE, "__author__": "Detectron2 Model Zoo"},
        STATE,  # torchvision, timm
        OrderedDict(STATE),
        {"model": {name: tensor.numpy() for name, tensor in STATE.items()}},
        {"model_state": STATE, "metadata": {"format": "official"}, "label_names": ["run"]},  # our safetensors
        {"module." + name: tensor for name, tensor in STATE.items()},  # DistributedDataParallel
        {"_orig_mod.module." + name: tensor for name, tensor in STATE.items()},  # compiled, too
        {"state_dict": {"module._orig_mod." + name: tensor for name, tensor in STATE.items()}},
    ],
    ids=lambda content: ",".join(content),
)
def test_containers(content):
    found = unwrap(content, "x")
    assert list(found) == list(STATE)
    torch.testing.assert_close(found, STATE, rtol=0, atol=0)


def test_parameters_come_detached():
    assert not unwrap({"a": torch.nn.Parameter(torch.ones(1))}, "x")["a"].requires_grad


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "x.pyth is empty: there are no weights in it"),
        ({"epoch": 3, "cfg": ""}, "x.pyth holds no model_state; its keys are epoch, cfg"),
        ({"state_dict": {}, "epoch": 3}, "x.pyth holds an empty state_dict: there are no weights in it"),
        ({"model": {"a": {"b": 1}}}, "x.pyth holds a dict under 'a', where a tensor should be"),
        ({"a": torch.ones(1), "epoch": 3}, "x.pyth holds a int under 'epoch', where a tensor should be"),
        ({3: torch.ones(1)}, "x.pyth holds a Tensor under 3, where a tensor should be"),
        (
            {"a": torch.eye(2).to_sparse()},
            "x.pyth holds a as a sparse, quantized or empty tensor: save it as a plain one",
        ),
        (
            {"a": torch.ones(1, device="meta")},
            "x.pyth holds a as a sparse, quantized or empty tensor: save it as a plain one",
        ),
    ],
)
def test_other_contents(content, said):
    with pytest.raises(UserError) as caught:
        unwrap(content, "x.pyth")
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="f4").reshape(2, 3)[::-1, ::-1],
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.arange(6, dtype=">i8"),
        np.ones(1, "f4")[::-1],
        np.array(3, ">f4"),
    ],
)
def test_arrays_of_any_strides_and_byte_order(array):
    found = unwrap({"a": array}, "x")["a"]
    assert found.shape == array.shape and found.tolist() == array.tolist()


@pytest.mark.parametrize("array", [np.array([None]), np.array(["a"]), np.zeros(2, "datetime64[s]"), np.zeros(2, "V3")])
def test_arrays_that_are_no_weights(array):
    with pytest.raises(UserError) as caught:
        unwrap({"b": np.ones(1), "a": array}, "x.pkl")
    assert str(caught.value) == f"x.pkl holds a as an array of {array.dtype}, which are no weights"


def test_arrays_become_tensors():
    assert unwrap({"a": np.arange(2, dtype="f4")}, "x")["a"].tolist() == [0, 1]
