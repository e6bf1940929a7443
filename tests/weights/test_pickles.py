"""Pickled arrays are read without a single call."""

import codecs
import collections
import io
import pickle

import numpy as np
import pytest
import torch

from slowfast_mvit.weights.pickles import CodeRefusedError, read_pickle


def read(data):
    return read_pickle(io.BytesIO(data))


ARRAYS = {
    "float": np.arange(6, dtype="f4").reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype="f8").reshape(2, 3)),
    "strided": np.arange(12, dtype="f4")[::2],
    "half": np.array([0.5, -2], "f2"),
    "big endian": np.array([1, 256], ">i4"),
    "bool": np.array([True, False]),
    "scalar array": np.array(7, "i8"),
    "empty": np.zeros((0, 3), "f4"),
    "bytes": np.array([1, 255], "u1"),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_every_kind(protocol):
    found = read(
        pickle.dumps({"model": ARRAYS, "number": np.float32(3.5), "author": "Zoë", "n": 2**40}, protocol=protocol)
    )
    assert list(found["model"]) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert isinstance(found["model"][name], torch.Tensor) and found["model"][name].shape == array.shape, name
        np.testing.assert_array_equal(found["model"][name].numpy(), array, err_msg=name)
    assert (found["number"], found["author"], found["n"]) == (3.5, "Zoë", 2**40)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_containers(protocol):
    shared = np.ones(2, "f4")
    value = {
        "o": collections.OrderedDict(a=shared, b=shared),
        "l": [1, [2.5, None]],
        "t": ((), (1,), (1, 2, 3, 4)),
        "y": True,
    }
    found = read(pickle.dumps(value, protocol=protocol))
    assert found["l"] == value["l"] and found["t"] == value["t"] and found["y"] is True
    assert list(found["o"]) == ["a", "b"]
    found["o"]["a"][0] = 5  # tensors can be written to
    assert found["o"]["a"].tolist() == [5, 1]


def test_names_of_numpy_1():
    data = pickle.dumps({"a": np.ones(2, "f4")}, protocol=2).replace(b"numpy._core.", b"numpy.core.")
    assert b"numpy.core.multiarray" in data and read(data)["a"].tolist() == [1, 1]


class Called:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Called(eval, "1"), "builtins.eval"),
        (Called(codecs.decode, b"x", "rot13"), "_codecs.decode"),
        (Called(np.load, "x.npy"), "numpy.load"),
        (torch.zeros(2), "torch.storage._load_from_bytes"),
        (ValueError("x"), "builtins.ValueError"),
        (collections.Counter("aab"), "collections.Counter"),
    ],
)
def test_other_calls_are_named(value, named, protocol):
    with pytest.raises(CodeRefusedError) as caught:
        read(pickle.dumps({"model": value}, protocol=protocol))
    assert str(caught.value).replace("__builtin__", "builtins").replace("exceptions", "builtins") == named


def test_objects_are_refused():
    with pytest.raises(CodeRefusedError, match="the pickle instruction NEWOBJ"):
        read(b"\x80\x04\x8c\x0bcollections\x8c\x07Counter\x93)\x81.")


def test_the_encoding_call_takes_latin_1_only():
    data = pickle.dumps({"a": b"\xff"}, protocol=2)
    assert b"_codecs\nencode" in data and read(data) == {"a": b"\xff"}
    with pytest.raises(ValueError, match="bytes in the encoding"):
        read(data.replace(b"latin1", b"base64"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04",  # no end
        b"\x80\x04.",  # nothing to return
        b"\x80\x04}t.",  # a tuple without its mark
        b"\x80\x04]K\x01K\x02s.",  # a list filled as a dictionary
        b"\x80\x04h\x05.",  # something never stored
        b"\x80\x04K\x01)R.",  # a number is called
        pickle.dumps({"a": np.array(["x"])}, protocol=4),  # texts are no numbers
        pickle.dumps({"a": np.array([None])}, protocol=4),
        pickle.dumps({"a": np.zeros(2, "f4")}, protocol=4).replace(b"K\x02\x85", b"K\x03\x85"),  # 3 numbers in 8 bytes
    ],
)
def test_nonsense_is_an_error_of_its_kind(data):
    with pytest.raises((ValueError, TypeError, LookupError, AttributeError)):
        read(data)
