"""Weight files are told apart by their content, never run code, and say plainly why they cannot be read."""

import hashlib
import io
import json
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import nn

from slowfast_mvit.errors import UserError
from slowfast_mvit.weights import files
from slowfast_mvit.weights.files import hash_problem, read_weights, write_safetensors

# Of the readers, about damaged bytes.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Detected pickle protocol:UserWarning", "ignore:invalid escape sequence:DeprecationWarning"
)


def content():
    generator = torch.Generator().manual_seed(0)
    state = {f"blocks.{i}.norm1.weight": torch.randn(8, generator=generator) for i in range(4)}
    return {"epoch": 3, "model_state": state, "cfg": "MODEL:\n  ARCH: mvit\n", "label_names": ["run", "high jump"]}


def torch_file(value, new_format=True):
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=new_format)
    return buffer.getvalue()


def numpy_file(protocol=4):
    arrays = {name: tensor.numpy() for name, tensor in content()["model_state"].items()}
    return pickle.dumps({"model": arrays, "__author__": "someone"}, protocol=protocol)


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_weights(path)
    said = str(caught.value)
    assert "\n" not in said and "\x1b" not in said and str(path) in said
    return said


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


# Every kind, whatever the suffix


@pytest.mark.parametrize("suffix", [".pyth", ".pth", ".pkl", ".safetensors", ""])
@pytest.mark.parametrize(
    "write",
    [
        lambda: torch_file(content()),
        lambda: torch_file(content(), new_format=False),
        lambda: torch_file(content()["model_state"]),
        lambda: to_safetensors(content()["model_state"]),
        numpy_file,
    ],
    ids=["zip", "legacy", "bare", "safetensors", "pickle"],
)
def test_kinds(tmp_path, write, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(write())
    found = read_weights(path)
    state = found.get("model_state", found.get("model", found))
    torch.testing.assert_close(dict(state), content()["model_state"], rtol=0, atol=0)


def test_all_of_a_checkpoint_is_there(tmp_path):
    path = tmp_path / "c.pyth"
    path.write_bytes(torch_file(content()))
    found = read_weights(path)
    assert (found["epoch"], found["cfg"], found["label_names"]) == (3, content()["cfg"], ["run", "high jump"])


# Safetensors


def test_safetensors_round_trip(tmp_path):
    path = tmp_path / "new" / "ours.safetensors"
    whole = torch.arange(24.0).reshape(4, 6)
    state = {"a": whole, "b": whole[:, ::2].t(), "c": whole[1], "d": torch.ones(2, dtype=torch.float16)}
    write_safetensors(path, state, {"model": "mvitv2_s_16x4", "label_names": ["run", 'jump "high"', "größe"]})
    assert list(path.parent.iterdir()) == [path]
    found = read_weights(path)
    assert list(found) == ["model_state", "metadata", "label_names"]
    torch.testing.assert_close(found["model_state"], {k: v.contiguous() for k, v in state.items()}, rtol=0, atol=0)
    assert found["label_names"] == ["run", 'jump "high"', "größe"]
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata == {
        "format": "official",
        "model": "mvitv2_s_16x4",
        "label_names": json.dumps(["run", 'jump "high"', "größe"]),
    }


@pytest.mark.parametrize("moment", ["save_file", "fsync"])
def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch, moment):
    path = tmp_path / "ours.safetensors"
    write_safetensors(path, {"a": torch.zeros(2)}, {})
    old = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(*((files, "save_file") if moment == "save_file" else (os, "fsync")), fail)
    with pytest.raises(UserError, match=r"ours\.safetensors cannot be written: disk full"):
        write_safetensors(path, {"a": torch.ones(2)}, {})
    assert path.read_bytes() == old


@pytest.mark.parametrize("place", ["/proc/x.safetensors", "/proc/new/x.safetensors", "/dev/null/x.safetensors"])
def test_places_that_take_no_file(place):
    with pytest.raises(UserError, match=rf"^{place} cannot be written: [^\n]+$"):
        write_safetensors(Path(place), {"a": torch.zeros(2)}, {})


def test_our_own_files_may_have_any_name(tmp_path):
    path = tmp_path / "mvit-57aa784e.safetensors"
    for metadata in ({}, {"format": "timm"}, {"format": "the model's own"}):
        write_safetensors(path, {"a": torch.zeros(2)}, metadata)
        assert read_weights(path)["model_state"]["a"].tolist() == [0, 0]
    path.write_bytes(to_safetensors({"a": torch.zeros(2)}, {"format": "pt"}))
    assert "is not the file that its name says" in refusal(path)


# Names of classes


@pytest.mark.parametrize("names", [None, 3, "run", [1, 2], ["run", None], {"run": 0}])
def test_label_names_that_are_none(tmp_path, names):
    path = tmp_path / "x.pyth"
    said = f"{path} holds label_names that are no list of texts: leave them out, or list the classes' names"
    path.write_bytes(torch_file(content() | {"label_names": names}))
    assert refusal(path) == said
    path.write_bytes(to_safetensors(content()["model_state"], {"label_names": json.dumps(names)}))
    assert refusal(path) == said


def test_label_names_as_a_tuple(tmp_path):
    path = tmp_path / "x.pyth"
    path.write_bytes(torch_file(content() | {"label_names": ("run", "jump")}))
    assert read_weights(path)["label_names"] == ("run", "jump")
    path.write_bytes(to_safetensors(content()["model_state"], {"label_names": "run, jump"}))
    assert "cannot be loaded as a checkpoint" in refusal(path)


# What is no weight file


def test_missing_file(tmp_path):
    assert refusal(tmp_path / "no.pyth") == f"the checkpoint {tmp_path}/no.pyth does not exist: check its path"
    assert refusal(tmp_path) == f"{tmp_path} is a folder: give the file of weights"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "is a web page and holds no weights"),
        (b"\xef\xbb\xbf\n  <html lang='en'>", "is a web page and holds no weights"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page and holds no weights"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "is a git-lfs pointer and holds no weights: fetch the file itself with git lfs pull",
        ),
        (b"video,label\na.mp4,3\n", "it is no file of torch, no safetensors and no pickle"),
        (b'{"epoch": 3}', "it is no file of torch, no safetensors and no pickle"),
        (b"PK\x03\x04", "is cut short"),
        (b"\x80\x02]q\x00.", "holds a list, not a checkpoint"),
    ],
)
def test_other_things(tmp_path, data, said):
    path = tmp_path / "other.pyth"
    path.write_bytes(data)
    assert said in refusal(path)


def test_other_contents(tmp_path):
    path = tmp_path / "c.pyth"
    for value in ([1, 2], torch.zeros(2)):
        path.write_bytes(torch_file(value))
        assert refusal(path) == f"{path} holds a {type(value).__name__}, not a checkpoint"


def test_caffe2(tmp_path):
    path = tmp_path / "C2D_8x8_R50.pkl"
    path.write_bytes(pickle.dumps({"blobs": {"conv1_w": np.zeros(3, "f4")}}, protocol=2))
    assert "is a Caffe2 file, whose networks this package does not build" in refusal(path)


def test_archives_of_something_else(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "it is a zip archive without weights" in refusal(path)
    torch.jit.script(nn.Linear(1, 1)).save(path)
    assert "would have to execute code to load (it asks for TorchScript" in refusal(path)


# Code


def test_the_trap_is_a_real_one(tmp_path):
    mark = tmp_path / "it ran"
    pickle.loads(pickle.dumps(Evil(mark)))
    assert mark.exists()


@pytest.mark.parametrize("where", ["value", "name", "nested"])
@pytest.mark.parametrize("kind", ["zip", "legacy", 0, 1, 2, 3, 4, 5])
def test_code_is_refused_and_does_not_run(tmp_path, kind, where):
    path, mark = tmp_path / "evil.pyth", tmp_path / "it ran"
    trap = Evil(mark)
    value = {"value": {"model_state": trap}, "name": {"model_state": {}, "x": [trap]}, "nested": {"a": {"b": trap}}}[
        where
    ]
    if isinstance(kind, int):
        path.write_bytes(pickle.dumps(value, protocol=kind))
    else:
        path.write_bytes(torch_file(value, new_format=kind == "zip"))
    said = refusal(path)
    if kind in (0, 1):  # they have no first byte of their own
        assert "it is no file of torch, no safetensors and no pickle" in said
    else:
        assert "would have to execute code to load (it asks for io.open), which is refused" in said
    assert not mark.exists()


def test_numbers_of_numpy_in_a_torch_file_are_named(tmp_path):
    path = tmp_path / "n.pyth"
    path.write_bytes(torch_file({"model_state": {}, "best": np.float64(3)}))
    assert re.search(r"it asks for numpy\.\S*multiarray\.scalar\)", refusal(path))


# Hashes in names


def test_hash_in_the_name(tmp_path):
    data = torch_file(content())
    digest, md5 = hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
    for name in (
        f"m-{digest[:8]}.pth",
        f"m-{digest}.pth",
        f"model_final_{md5[:6]}.pkl",
        "run-20240131.pth",
        "m-1234.pth",
    ):
        path = tmp_path / name
        path.write_bytes(data)
        assert hash_problem(path) is None and read_weights(path)["epoch"] == 3
    path = tmp_path / "m-abcdef01.pth"
    path.write_bytes(data)
    assert hash_problem(path) == refusal(path)
    assert refusal(path) == (
        f"{path} is not the file that its name says: its sha256 begins with {digest[:8]}, not abcdef01; "
        "download it again, or rename it if that part of its name is no hash"
    )


def test_a_flipped_bit_under_a_hash(tmp_path):
    data = bytearray(torch_file(content()))
    path = tmp_path / f"m-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    place = data.index(content()["model_state"]["blocks.0.norm1.weight"].numpy().tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert "is not the file that its name says" in refusal(path)


# Damage: every file ends in a sentence or in what it held

WHOLE = {
    "zip": torch_file(content()),
    "legacy": torch_file(content(), new_format=False),
    "safetensors": to_safetensors(content()["model_state"], {"format": "pt"}),
    "pickle": numpy_file(),
    "old pickle": numpy_file(protocol=2),
}


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("kind", WHOLE)
def test_truncated_files(tmp_path, share, kind):
    path = tmp_path / "cut.pyth"
    path.write_bytes(WHOLE[kind][: int(len(WHOLE[kind]) * share)])
    refusal(path)


@pytest.mark.parametrize("kind", WHOLE)
def test_two_hundred_damaged_files(tmp_path, kind):
    rng, path, refused = np.random.default_rng(0), tmp_path / "bad.pyth", 0
    for _ in range(200):
        data = bytearray(WHOLE[kind])
        for place in rng.integers(0, len(data), rng.integers(1, 5)):
            data[place] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            read_weights(path)  # a bit of a weight may change unseen
        except UserError as error:
            refused += str(path) in str(error) and "\n" not in str(error)
    assert refused > 20


def covered(data):
    """Places in a zip file that stand under a checksum, by the name of the record."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for record in archive.infolist():
            names, extras = struct.unpack("<HH", data[record.header_offset + 26 : record.header_offset + 30])
            start = record.header_offset + 30 + names + extras
            assert data[start : start + record.file_size] == archive.read(record)
            yield record.filename, range(start, start + record.file_size)


def test_every_flip_under_a_checksum_is_refused(tmp_path):
    path, whole = tmp_path / "bad.pyth", WHOLE["zip"]
    places = [(name, place) for name, span in covered(whole) for place in span]
    for name, place in places[:: max(1, len(places) // 200)]:
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        assert f"its record {name} is not what its checksum says" in refusal(path)


def test_files_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        data = torch_file(content())
    finally:
        torch.serialization.set_crc32_options(True)
    (tmp_path / "x.pyth").write_bytes(data)
    assert read_weights(tmp_path / "x.pyth")["epoch"] == 3


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=60), st.sampled_from([b"", b"\x80\x04", b"\x80\x02", b"PK\x03\x04", b"\x20" + bytes(7) + b"{"])
)
@example(b"a b c\n1 2 3\n", b"")
@example(b"GXX-", b"")
def test_random_bytes(tmp_path, data, start):
    path = tmp_path / "other.pyth"
    path.write_bytes(start + data)
    try:
        assert read_weights(path) == {}  # as the pickle of an empty dictionary is
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)


def test_a_damaged_list_of_contents(tmp_path):
    data = WHOLE["legacy"]
    key = re.findall(rb"\d{8,}", data)[-1]  # where the old format lists its tensors, before their bytes
    place = data.rindex(key)
    path = tmp_path / "old.pyth"
    path.write_bytes(data[:place] + b"1" * len(key) + data[place + len(key) :])
    assert "cannot be loaded as a checkpoint" in refusal(path)


def test_safetensors_that_lie_about_their_length(tmp_path):
    path, header = tmp_path / "s.safetensors", b'{"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    assert "is cut short: the download or the copy did not finish; do it again" in refusal(path)
    path.write_bytes(struct.pack("<Q", 90 << 20) + header)
    assert "is cut short" in refusal(path)


@pytest.mark.parametrize("left", [9, 0.5, -1])
def test_safetensors_that_are_cut_short(tmp_path, left):
    path, whole = tmp_path / "s.safetensors", to_safetensors(content()["model_state"], {"format": "pt"})
    path.write_bytes(whole[: int(left * len(whole)) if isinstance(left, float) else left])
    assert "is cut short: the download or the copy did not finish; do it again" in refusal(path)


@pytest.mark.parametrize(
    "header", [b"[1]", b"{}", b'{"a":{"dtype":"F32"}}', b'{"a":3}', b'{"a', b'{"a":{"dtype":0,"data_offsets":[0,"x"]}}']
)
def test_safetensors_that_are_damaged_otherwise(tmp_path, header):
    path = tmp_path / "s.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    assert "is cut short" not in refusal(path)
